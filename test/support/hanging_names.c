/* Loaded before all else: the look-up of a host whose name begins with "hang" does not end, and writes a byte to HANGING_NAMES. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int look_up(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    look_up *real = (look_up *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (node != NULL && strncmp(node, "hang", 4) == 0) {
        int file = open(getenv("HANGING_NAMES"), O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (write(file, "x", 1) != 1) abort();
        for (;;) pause();
    }
    return real(node, service, hints, found);
}
