/* Preloaded into a node of a test. While the file that FAILING_CLOCK names exists, the clock fails for the native library
   in calls of processes, which the standard library of Rust takes for impossible: it panics, in a real call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Threads of the engine have its name. */
static int fails(void *caller) {
    Dl_info library;
    char thread[16] = "";
    const char *file = getenv("FAILING_CLOCK");
    return file && dladdr(caller, &library) && library.dli_fname && strstr(library.dli_fname, "sockeye_nif")
        && pthread_getname_np(pthread_self(), thread, sizeof thread) == 0 && strncmp(thread, "sockeye", 7) != 0
        && access(file, F_OK) == 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if (fails(__builtin_return_address(0))) {
        errno = EINVAL;
        return -1;
    }
    return real(clock, now);
}
