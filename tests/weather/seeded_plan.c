/* A plan for whole programs: each call on the loop's descriptors comes up short, would block or is interrupted, now and then.
 *
 * WEATHER_SEED says which, WEATHER_PERMILLE how many of a thousand. Only what a correct loop rides out unseen: a short count
 * and EAGAIN are followed by an edge, as if the rest had come a moment later. It falls on what is registered edge-triggered,
 * and so is the loop's: a test's own ends of its connections, and blocking descriptors, are spared. What fell is counted in
 * the file WEATHER_COUNTS, which all processes of the run share.
 */
#include "failing_calls.h"
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

static uint64_t seed, drawn;
static unsigned permille;
static pid_t owner; /* a child between vfork(2) and execve(2) has our memory, but another process id */
static uint64_t *counts; /* of each call: EAGAIN, EINTR, SHORT, another */

static const int harmless[MAX_WHICH][5] = {
    [RECV] = {EAGAIN, EINTR, SHORT},
    [RECVFROM] = {EAGAIN, EINTR},
    [RECVMSG] = {EAGAIN, EINTR, SHORT},
    [RECVMMSG] = {EAGAIN, EINTR, SHORT},
    [READ] = {EAGAIN, EINTR, SHORT},
    [READV] = {EAGAIN, EINTR, SHORT},
    [SEND] = {EAGAIN, EINTR, SHORT},
    [SENDTO] = {EAGAIN, EINTR},
    [SENDMSG] = {EAGAIN, EINTR, SHORT},
    [SENDMMSG] = {EAGAIN, EINTR, SHORT},
    [WRITE] = {EAGAIN, EINTR, SHORT},
    [WRITEV] = {EAGAIN, EINTR, SHORT},
    [SENDFILE] = {EAGAIN, EINTR, SHORT},
    [ACCEPT4] = {EAGAIN, EINTR, ECONNABORTED}, /* the connection that was gone, and the next one */
    [CONNECT] = {EINPROGRESS, EINTR},
    [EPOLL_WAIT] = {EINTR, SHORT}, /* EINTR: SIGSTOP and SIGCONT do that without a handler, signal(7) */
    [EPOLL_PWAIT2] = {EINTR, SHORT},
    [PREADV2] = {EAGAIN, EINTR, SHORT},
    [PWRITEV2] = {EAGAIN, EINTR, SHORT},
};

static uint64_t next_draw(void) { /* splitmix64: the n-th draw depends on n alone, whichever thread makes it */
    uint64_t z = seed + __atomic_add_fetch(&drawn, 1, __ATOMIC_RELAXED) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int is_owner(void) { return !owner || real_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0) == owner; }

static void forked(void) {
    owner = real_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
    forget_registered(); /* the entries are the parent's: a MOD here would be an edge there */
}

__attribute__((constructor)) static void begin(void) {
    const char *from = getenv("WEATHER_SEED"), *rate = getenv("WEATHER_PERMILLE"), *file = getenv("WEATHER_COUNTS");
    owner = real_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
    pthread_atfork(NULL, NULL, forked);
    if (!from) return;
    seed = strtoull(from, NULL, 10);
    if (file) {
        int fd = real_syscall(SYS_openat, AT_FDCWD, (long)file, O_RDWR | O_CLOEXEC, 0, 0, 0);
        void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(uint64_t[MAX_WHICH][4]), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (fd >= 0) real_syscall(SYS_close, fd, 0, 0, 0, 0, 0);
        if (memory != MAP_FAILED) counts = memory;
    }
    permille = rate ? atoi(rate) : 50;
}

API int weather_plan(void) { return permille; }

static int falls_on(enum which which, int fd) {
    if (which == CONNECT) return is_tcp(fd) && !blocks(fd);
    return which == EPOLL_WAIT || which == EPOLL_PWAIT2 || is_edge_triggered(fd);
}

int planned_fault(enum which which, int fd, int flags) {
    int n = 0, fault;
    uint64_t draw;
    if (!permille || !harmless[which][0] || flags & MSG_OOB || !is_owner() || !falls_on(which, fd)) return 0; /* OOB: no loop's */
    draw = next_draw();
    if (draw % 1000 >= permille) return 0;
    while (harmless[which][n]) n++;
    fault = harmless[which][(draw >> 32) % n];
    if (!is_plausible(which, fd, flags, fault)) return 0;
    if (counts) {
        int kind = fault == EAGAIN ? 0 : fault == EINTR ? 1 : fault == SHORT ? 2 : 3;
        __atomic_add_fetch(&counts[which * 4 + kind], 1, __ATOMIC_RELAXED);
    }
    return fault;
}
