/* Preloaded: answers whenever somebody opens the pipe $HELD/PID for reading. One line of bytes: what the C library has handed out in its
 * arenas, and has mapped for one piece each; what is resident of its arenas, and of what the program itself has mapped (the VM's carriers). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RANGES 65536
#define PAGE 4096
/* HEAP_MAX_SIZE of glibc with 64 bits. */
#define ARENA 0x4000000UL

static char path[4096];

/* What the program has mapped without a file. The C library's own arenas and stacks do not come here. Ranges do not overlap. */
static struct range { uintptr_t from, to; } ranges[RANGES];
static int count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(uintptr_t from, uintptr_t to)
{
    if (from >= to)
        return;
    if (count == RANGES)
        abort();
    ranges[count++] = (struct range) { from, to };
}

static void forget(uintptr_t from, uintptr_t to)
{
    for (int i = 0; i < count; i++) {
        struct range old = ranges[i];
        if (old.to <= from || old.from >= to)
            continue;
        ranges[i--] = ranges[--count];
        keep(old.from, old.from < from ? from : old.from);
        keep(old.to > to ? to : old.to, old.to);
    }
}

void *mmap(void *at, size_t size, int rights, int flags, int fd, off_t offset)
{
    static void *(*real)(void *, size_t, int, int, int, off_t);
    if (!real)
        real = (void *(*)(void *, size_t, int, int, int, off_t)) dlsym(RTLD_NEXT, "mmap");
    pthread_mutex_lock(&lock);
    void *got = real(at, size, rights, flags, fd, offset);
    if (got != MAP_FAILED) {
        uintptr_t from = (uintptr_t) got;
        forget(from, from + size);
        if (flags & MAP_ANONYMOUS)
            keep(from, from + size);
    }
    pthread_mutex_unlock(&lock);
    return got;
}

void *mmap64(void *at, size_t size, int rights, int flags, int fd, off_t offset)
{
    return mmap(at, size, rights, flags, fd, offset);
}

int munmap(void *at, size_t size)
{
    static int (*real)(void *, size_t);
    if (!real)
        real = (int (*)(void *, size_t)) dlsym(RTLD_NEXT, "munmap");
    pthread_mutex_lock(&lock);
    int result = real(at, size);
    if (result == 0)
        forget((uintptr_t) at, (uintptr_t) at + size);
    pthread_mutex_unlock(&lock);
    return result;
}

void *mremap(void *at, size_t size, size_t new_size, int flags, ...)
{
    static void *(*real)(void *, size_t, size_t, int, ...);
    va_list more;
    va_start(more, flags);
    void *fixed = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
    va_end(more);
    if (!real)
        real = (void *(*)(void *, size_t, size_t, int, ...)) dlsym(RTLD_NEXT, "mremap");
    pthread_mutex_lock(&lock);
    void *got = real(at, size, new_size, flags, fixed);
    if (got != MAP_FAILED) {
        forget((uintptr_t) at, (uintptr_t) at + size);
        forget((uintptr_t) got, (uintptr_t) got + new_size);
        keep((uintptr_t) got, (uintptr_t) got + new_size);
    }
    pthread_mutex_unlock(&lock);
    return got;
}

/* The highest bit of a page's entry says that it is present. */
static size_t resident(int map, uintptr_t from, uintptr_t to)
{
    size_t pages = 0;
    while (from < to) {
        uint64_t entries[512];
        size_t most = (to - from + PAGE - 1) / PAGE;
        ssize_t got = pread(map, entries, (most < 512 ? most : 512) * 8, from / PAGE * 8);
        if (got <= 0)
            break;
        for (ssize_t n = 0; n < got / 8; n++)
            pages += entries[n] >> 63;
        from += got / 8 * PAGE;
    }
    return pages * PAGE;
}

static size_t carriers(int map)
{
    size_t bytes = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < count; i++)
        bytes += resident(map, ranges[i].from, ranges[i].to);
    pthread_mutex_unlock(&lock);
    return bytes;
}

/* The first range at or after an address, or the end. */
static struct range next(uintptr_t from, uintptr_t end)
{
    struct range first = { end, end };
    for (int i = 0; i < count; i++)
        if (ranges[i].to > from && ranges[i].from < first.from)
            first = ranges[i];
    return first;
}

/* The arenas of the C library: the heap of the program, and what it has mapped at multiples of ARENA, each of which begins a
 * piece that is written from its begin. What the system shows as one may be an arena behind something else. */
static size_t arenas(int map)
{
    size_t bytes = 0;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    pthread_mutex_lock(&lock);
    while (maps && fgets(line, sizeof line, maps)) {
        uintptr_t from, to;
        char rights[8], name[256] = "";
        unsigned long inode;
        if (sscanf(line, "%lx-%lx %7s %*s %*s %lu %255s", &from, &to, rights, &inode, name) < 4 || rights[1] != 'w' || inode)
            continue;
        if (strcmp(name, "[heap]") == 0) {
            bytes += resident(map, from, to);
            continue;
        }
        if (name[0])
            continue;
        for (from = (from + ARENA - 1) / ARENA * ARENA; from < to; from += ARENA) {
            struct range not = next(from, to);
            uintptr_t end = from + ARENA < to ? from + ARENA : to;
            bytes += resident(map, from, not.from < end ? not.from : end);
        }
    }
    pthread_mutex_unlock(&lock);
    if (maps)
        fclose(maps);
    return bytes;
}

static void *answer(void *unused)
{
    for (;;) {
        int pipe = open(path, O_WRONLY);
        if (pipe < 0)
            return unused;
        int map = open("/proc/self/pagemap", O_RDONLY);
        struct mallinfo2 info = mallinfo2();
        dprintf(pipe, "%zu %zu %zu %zu\n", info.uordblks, info.hblkhd, arenas(map), carriers(map));
        close(map);
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
