/* A library around Sockeye's: times each of its calls on a normal scheduler, by the clock of the thread, which stands still while the system has
 * stopped it, and by that of the wall. HELD_LIBRARY names Sockeye's, HELD_CALLS the file that has the figures, see bench/held.
 * Beside them a thread does the same piece of work again and again, whose longest time is what the machine itself adds. */
#include <dlfcn.h>
#include <erl_nif.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MOST 256
#define LONG 1000000

struct row {
    char name[48];
    _Atomic uint64_t calls, all, cpu, wall, longer;
};
/* The first row is the piece of work. */
static struct { _Atomic uint64_t on; struct row rows[MOST]; } *shared;
static ERL_NIF_TERM (*real[MOST])(ErlNifEnv *, int, const ERL_NIF_TERM[]);

static uint64_t now(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000000000ULL + at.tv_nsec;
}

static void at_least(_Atomic uint64_t *most, uint64_t value)
{
    uint64_t seen = atomic_load(most);
    while (seen < value && !atomic_compare_exchange_weak(most, &seen, value)) {
    }
}

static void took(struct row *row, uint64_t wall, uint64_t cpu)
{
    wall = now(CLOCK_MONOTONIC) - wall;
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    row->calls++;
    row->all += cpu;
    row->longer += cpu > LONG;
    at_least(&row->cpu, cpu);
    at_least(&row->wall, wall);
}

static ERL_NIF_TERM timed(int n, ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[])
{
    if (!shared->on)
        return real[n](env, argc, argv);
    uint64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
    ERL_NIF_TERM result = real[n](env, argc, argv);
    took(&shared->rows[n], wall, cpu);
    return result;
}

/* A function of its own for each call: the VM says nothing else about which it is. */
#define ONE(n) static ERL_NIF_TERM call_##n(ErlNifEnv *env, int argc, const ERL_NIF_TERM argv[]) { return timed(0x##n, env, argc, argv); }
#define ROW(m, n) m(n##0) m(n##1) m(n##2) m(n##3) m(n##4) m(n##5) m(n##6) m(n##7) m(n##8) m(n##9) m(n##a) m(n##b) m(n##c) m(n##d) m(n##e) m(n##f)
#define ALL(m) ROW(m, 0) ROW(m, 1) ROW(m, 2) ROW(m, 3) ROW(m, 4) ROW(m, 5) ROW(m, 6) ROW(m, 7) ROW(m, 8) ROW(m, 9) ROW(m, a) ROW(m, b) ROW(m, c) ROW(m, d) ROW(m, e) ROW(m, f)
ALL(ONE)
#define POINTER(n) call_##n,
static ERL_NIF_TERM (*const calls[MOST])(ErlNifEnv *, int, const ERL_NIF_TERM[]) = { ALL(POINTER) };

/* Some 0.1 ms. */
static void *work(void *unused)
{
    static volatile uint64_t sum;
    for (;;) {
        usleep(5000);
        if (!shared->on)
            continue;
        uint64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID);
        for (uint64_t i = 0; i < 100000; i++)
            sum += i;
        took(&shared->rows[0], wall, cpu);
    }
    return unused;
}

ErlNifEntry *nif_init(void)
{
    void *library = dlopen(getenv("HELD_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return NULL;
    }
    int file = open(getenv("HELD_CALLS"), O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, sizeof *shared) != 0)
        return NULL;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    ErlNifEntry *entry = malloc(sizeof *entry);
    *entry = *((ErlNifEntry *(*) (void)) dlsym(library, "nif_init"))();
    ErlNifFunc *funcs = malloc(entry->num_of_funcs * sizeof *funcs);
    memcpy(funcs, entry->funcs, entry->num_of_funcs * sizeof *funcs);
    for (int i = 0; i < entry->num_of_funcs && i + 1 < MOST; i++) {
        if (funcs[i].flags != 0)
            continue;
        snprintf(shared->rows[i + 1].name, sizeof shared->rows->name, "%s/%u", funcs[i].name, funcs[i].arity);
        real[i + 1] = funcs[i].fptr;
        funcs[i].fptr = calls[i + 1];
    }
    entry->funcs = funcs;
    strcpy(shared->rows[0].name, "a piece of work");
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    return entry;
}
