/* Preloaded: what the C library has handed out and keeps free, in this process, whenever somebody opens the pipe $HELD/PID for reading. One line:
 * bytes in its arenas, of these in use, of these free, and bytes that were mapped for one piece each. */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[4096];

static void *answer(void *unused)
{
    for (;;) {
        int pipe = open(path, O_WRONLY);
        if (pipe < 0)
            return unused;
        struct mallinfo2 info = mallinfo2();
        dprintf(pipe, "%zu %zu %zu %zu\n", info.arena, info.uordblks, info.fordblks, info.hblkhd);
        close(pipe);
        /* Who has read it has seen its end, before it can open it again. */
        usleep(20000);
    }
}

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("HELD");
    pthread_t thread;
    if (!folder)
        return;
    snprintf(path, sizeof path, "%s/%d", folder, getpid());
    /* One program may have become another. */
    mkfifo(path, 0600);
    pthread_create(&thread, NULL, answer, NULL);
}
