/* Preloaded (ld.so(8), LD_PRELOAD): counts the system calls that can fail, and has one of them fail.
 *
 * Only the calls of the thread that armed it count: not those of other threads, nor of a child between vfork(2) and
 * execve(2), which has our memory but another thread id.
 *
 * A fault must be one that the kernel could have answered with, or the test would ask for the impossible. EAGAIN and a
 * short count mean that the rest came a moment later, so the kernel reports an edge for it: here by EPOLL_CTL_MOD, which
 * makes it look again. EINTR of connect(2) does not undo it. A blocking descriptor never answers EAGAIN, and the blocking
 * pipe that Popen reads its child's errors from has none. What can't fail has no faults here, and is only counted: close(2)
 * of what has no flush operation, neither sockets, pipes nor anonymous inodes; flags that are asked for and set.
 */
#include "failing_calls.h"

static const struct { const char *name; short faults[MAX_FAULTS]; } calls[MAX_WHICH] = {
    [RECV] = {"recv", {EAGAIN, EINTR, SHORT, ECONNRESET, ETIMEDOUT, ENOMEM}},
    [RECVFROM] = {"recvfrom", {EAGAIN, EINTR, ECONNREFUSED, ENOMEM}},
    [RECVMSG] = {"recvmsg", {EAGAIN, EINTR, ECONNREFUSED, ECONNRESET, ENOMEM, SHORT}},
    [RECVMMSG] = {"recvmmsg", {EAGAIN, EINTR, SHORT, ECONNREFUSED, ENOMEM}},
    [READ] = {"read", {EAGAIN, EINTR, SHORT, ECONNRESET, EIO, ENOMEM}},
    [READV] = {"readv", {EAGAIN, EINTR, SHORT, ECONNRESET, ENOMEM}},
    [SEND] = {"send", {EAGAIN, EINTR, SHORT, EPIPE, ECONNRESET, ENOBUFS, ENOMEM}},
    [SENDTO] = {"sendto", {EAGAIN, EINTR, ECONNREFUSED, ENOBUFS, EPERM, ENOMEM}},
    [SENDMSG] = {"sendmsg", {EAGAIN, EINTR, SHORT, EPIPE, ECONNRESET, ENOBUFS, ENOMEM}},
    [SENDMMSG] = {"sendmmsg", {EAGAIN, EINTR, SHORT, ECONNREFUSED, ENOBUFS, ENOMEM}},
    [WRITE] = {"write", {EAGAIN, EINTR, SHORT, EPIPE, ECONNRESET, ENOSPC, ENOMEM}},
    [WRITEV] = {"writev", {EAGAIN, EINTR, SHORT, EPIPE, ECONNRESET, ENOMEM}},
    [SENDFILE] = {"sendfile", {EAGAIN, EINTR, SHORT, EPIPE, ECONNRESET, EINVAL, ENOSYS, EIO, ENOMEM}},
    [ACCEPT4] = {"accept4", {EAGAIN, EINTR, ECONNABORTED, EPROTO, EPERM, EMFILE, ENFILE, ENOBUFS, ENOMEM}},
    [CONNECT] = {"connect", {EINPROGRESS, EINTR, ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EADDRNOTAVAIL, EPERM}},
    [SOCKET] = {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT}},
    [SOCKETPAIR] = {"socketpair", {EMFILE, ENFILE, ENOMEM}},
    [BIND] = {"bind", {EADDRINUSE, EADDRNOTAVAIL, EACCES, ENOMEM}},
    [LISTEN] = {"listen", {EADDRINUSE, EOPNOTSUPP}},
    [SHUTDOWN] = {"shutdown", {ENOTCONN}},
    [GETSOCKNAME] = {"getsockname", {ENOBUFS}},
    [GETPEERNAME] = {"getpeername", {ENOTCONN, ENOBUFS}},
    [SETSOCKOPT] = {"setsockopt", {EINVAL, ENOPROTOOPT, ENOMEM}},
    [SO_ERROR_ASKED] = {"getsockopt(SO_ERROR)", {ANSWERED + ECONNREFUSED, ANSWERED + ETIMEDOUT}},
    [EPOLL_CREATE1] = {"epoll_create1", {EMFILE, ENFILE, ENOMEM}},
    [EPOLL_ADD] = {"epoll_ctl(ADD)", {ENOMEM, ENOSPC}},
    [EPOLL_MOD] = {"epoll_ctl(MOD)", {ENOMEM}},
    [EPOLL_WAIT] = {"epoll_wait", {EINTR, SHORT}},
    [EPOLL_PWAIT2] = {"epoll_pwait2", {EINTR, SHORT, ENOSYS, EPERM}},
    [EVENTFD] = {"eventfd", {EMFILE, ENFILE, ENOMEM}},
    [EVENTFD_WRITE] = {"write to an eventfd", {EAGAIN}},
    [PIPE2] = {"pipe2", {EMFILE, ENFILE}},
    [OPEN] = {"open", {EMFILE, ENFILE, ENOMEM, EACCES}},
    [DUP] = {"dup", {EMFILE}},
    [DUPFD] = {"fcntl(F_DUPFD)", {EMFILE}},
    [SETFL] = {"fcntl(F_GETFL, F_SETFL)", {0}},
    [NONBLOCK] = {"ioctl(FIONBIO)", {0}},
    [UNREAD] = {"ioctl(FIONREAD)", {0}},
    [CLOSE] = {"close", {0}},
    [FORK] = {"fork", {EAGAIN, ENOMEM}},
    [VFORK] = {"vfork", {EAGAIN, ENOMEM}},
    [PIDFD_OPEN] = {"pidfd_open", {EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM}},
    [PREADV2] = {"preadv2", {EAGAIN, EINTR, SHORT, ECONNRESET, EIO, ENOMEM, EOPNOTSUPP, ENOSYS}},
    [PWRITEV2] = {"pwritev2", {EAGAIN, EINTR, SHORT, EPIPE, ENOMEM, EOPNOTSUPP, ENOSYS}},
    [PIDFD_SIGNAL] = {"pidfd_send_signal", {EPERM}},
};

static volatile long armed_by; /* the thread's id, 0 while nobody's calls are counted */
static int paused;
static long count, fail_at;
static int variant, fired, fired_call, implausible;
static unsigned char trace[MAX_CALLS];
static uint64_t seed; /* not 0: calls fail at random, only with what a program should not notice */
static int permille;
static long failed_at_random;

long real_syscall(long number, long a, long b, long c, long d, long e, long f) {
    static long (*real)(long, ...);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return real(number, a, b, c, d, e, f);
}

/* What the thread that armed it can see, and nobody else changes. */
API void weather_arm(long at, int fault) {
    count = 0;
    fired = fired_call = implausible = 0;
    paused = 0;
    fail_at = at;
    variant = fault;
    seed = 0;
    armed_by = real_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

API void weather_arm_at_random(uint64_t from, int rate) {
    weather_arm(0, 0);
    failed_at_random = 0;
    permille = rate;
    seed = from * 2 + 1;
}

API long weather_disarm(void) { armed_by = 0; return count; }
API long weather_count(void) { return count; }
API void weather_pause(int by) { paused += by; }
API int weather_fired(void) { return fired; }
API int weather_implausible(void) { return implausible; }
API const char *weather_fired_call(void) { return calls[fired_call].name; }
API const char *weather_call(long number) { return number < MAX_CALLS ? calls[trace[number]].name : ""; }
API long weather_failed_at_random(void) { return failed_at_random; }

API int weather_faults(long number) {
    int n = 0;
    while (number < MAX_CALLS && n < MAX_FAULTS && calls[trace[number]].faults[n]) n++;
    return n;
}

int blocks(int fd) {
    long flags = real_syscall(SYS_fcntl, fd, F_GETFL, 0, 0, 0, 0);
    return flags >= 0 && !(flags & O_NONBLOCK);
}

/* Of these connect(2) goes on by itself; a Unix socket or one of datagrams is connected when it returns. */
int is_tcp(int fd) {
    int protocol = 0;
    socklen_t length = sizeof(protocol);
    return !real_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PROTOCOL, (long)&protocol, (long)&length, 0)
           && protocol == IPPROTO_TCP;
}

/* Messages go whole or not at all. */
static int keeps_messages(int fd) {
    int kind = 0;
    socklen_t length = sizeof(kind);
    return !real_syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, (long)&kind, (long)&length, 0) && kind != SOCK_STREAM;
}

/* Whether the descriptor could have answered so: one that blocks never answers EAGAIN, and no message comes short. */
int is_plausible(enum which which, int fd, int flags, int fault) {
    if ((fault == EAGAIN || which == READ) && which != FORK && which != VFORK && which != EVENTFD_WRITE
        && fault != EINTR && fault != SHORT && !(flags & MSG_DONTWAIT) && blocks(fd))
        return 0;
    return fault != SHORT || fd < 0 || which == RECVMMSG || which == SENDMMSG || !keeps_messages(fd);
}

static int at_random(enum which which) {
    int n = 0, fault;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    if ((int)((seed >> 33) % 1000) >= permille) return 0;
    while (n < MAX_FAULTS && calls[which].faults[n]) n++;
    if (!n) return 0;
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    fault = calls[which].faults[(seed >> 33) % n];
    return fault == EAGAIN || fault == EINTR || fault == SHORT || fault == EINPROGRESS ? fault : 0;
}

/* The fault this call is to answer with, 0 for none. fd: whose EAGAIN must be plausible, -1 for none. */
int fault_of(enum which which, int fd, int flags) {
    int n = 0, fault;
    if (!armed_by) {
        fault = planned_fault(which, fd, flags);
        if (fault == EAGAIN) rearm(fd);
        return fault;
    }
    if (paused || real_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0) != armed_by) return 0;
    if (count < MAX_CALLS) trace[count] = which;
    count++;
    if (seed) {
        fault = at_random(which);
    } else {
        if (count != fail_at) return 0;
        while (n < MAX_FAULTS && calls[which].faults[n]) n++;
        fault = n ? calls[which].faults[variant % n] : 0;
    }
    if (!fault) return 0;
    if (!is_plausible(which, fd, flags, fault)) {
        implausible = 1;
        return 0;
    }
    fired = fault;
    fired_call = which;
    failed_at_random++;
    if (fault == EAGAIN && fd >= 0) rearm(fd);
    return fault;
}

API const char *weather_name(int which) { return which < MAX_WHICH ? calls[which].name : ""; }
