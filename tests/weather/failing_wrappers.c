/* The calls of the C library that failing_calls.c counts and has fail, each under its own name. */
#include "failing_calls.h"

static long answer(int fault) {
    errno = fault;
    return -1;
}

/* Half of what is there to be read, at least a byte; of nothing, nothing. */
static size_t half_of(int fd, size_t size) {
    int there = 0;
    if (real_syscall(SYS_ioctl, fd, FIONREAD, (long)&there, 0, 0, 0) == 0 && there > 0 && (size_t)there < size) size = there;
    return size > 1 ? (size + 1) / 2 : size;
}

static size_t half(size_t size) { return size > 1 ? (size + 1) / 2 : size; }

/* pipe(7): a write of at most PIPE_BUF bytes is atomic. */
static size_t writable_half(int fd, size_t size) { return size <= PIPE_BUF && is_pipe(fd) ? size : half(size); }

API ssize_t recv(int fd, void *buffer, size_t size, int flags) {
    REAL(recv);
    int fault = fault_of(RECV, fd, flags);
    if (fault == SHORT) {
        ssize_t got = real(fd, buffer, half_of(fd, size), flags);
        rearm(fd);
        return got;
    }
    return fault ? answer(fault) : real(fd, buffer, size, flags);
}

API ssize_t __recv_chk(int fd, void *buffer, size_t size, size_t room, int flags) { return recv(fd, buffer, size, flags); }

API ssize_t recvfrom(int fd, void *buffer, size_t size, int flags, struct sockaddr *from, socklen_t *length) {
    REAL(recvfrom);
    int fault = fault_of(RECVFROM, fd, flags);
    return fault ? answer(fault) : real(fd, buffer, size, flags, from, length);
}

API ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    REAL(recvmsg);
    int fault = fault_of(RECVMSG, fd, flags);
    if (fault == SHORT && message->msg_iovlen) {
        struct iovec *pieces = message->msg_iov, piece = {pieces->iov_base, half_of(fd, pieces->iov_len)};
        size_t n = message->msg_iovlen;
        message->msg_iov = &piece;
        message->msg_iovlen = 1;
        ssize_t got = real(fd, message, flags);
        message->msg_iov = pieces;
        message->msg_iovlen = n;
        rearm(fd);
        return got;
    }
    return fault ? answer(fault) : real(fd, message, flags);
}

API int recvmmsg(int fd, struct mmsghdr *messages, unsigned int most, int flags, struct timespec *limit) {
    REAL(recvmmsg);
    int fault = fault_of(RECVMMSG, fd, flags);
    if (fault == SHORT) {
        int got = real(fd, messages, 1, flags, limit);
        rearm(fd);
        return got;
    }
    return fault ? answer(fault) : real(fd, messages, most, flags, limit);
}

API ssize_t read(int fd, void *buffer, size_t size) {
    REAL(read);
    int fault = fault_of(READ, fd, 0);
    if (fault == SHORT) {
        ssize_t got = real(fd, buffer, half_of(fd, size));
        rearm(fd);
        return got;
    }
    return fault ? answer(fault) : real(fd, buffer, size);
}

API ssize_t __read_chk(int fd, void *buffer, size_t size, size_t room) { return read(fd, buffer, size); }

API ssize_t readv(int fd, const struct iovec *pieces, int n) {
    REAL(readv);
    int fault = fault_of(READV, fd, 0);
    if (fault == SHORT && n) {
        struct iovec piece = {pieces[0].iov_base, half_of(fd, pieces[0].iov_len)};
        ssize_t got = real(fd, &piece, 1);
        rearm(fd);
        return got;
    }
    return fault ? answer(fault) : real(fd, pieces, n);
}

API ssize_t send(int fd, const void *buffer, size_t size, int flags) {
    REAL(send);
    int fault = fault_of(SEND, fd, flags);
    if (fault == SHORT) {
        ssize_t sent = real(fd, buffer, half(size), flags);
        rearm(fd);
        return sent;
    }
    return fault ? answer(fault) : real(fd, buffer, size, flags);
}

API ssize_t sendto(int fd, const void *buffer, size_t size, int flags, const struct sockaddr *to, socklen_t length) {
    REAL(sendto);
    int fault = fault_of(SENDTO, fd, flags);
    return fault ? answer(fault) : real(fd, buffer, size, flags, to, length);
}

/* A vector of which half is sent: what is cut off stands behind the copy's end. */
static int half_vector(int fd, const struct iovec *pieces, size_t n, struct iovec *cut) {
    size_t total = 0, i, left;
    for (i = 0; i < n; i++) total += pieces[i].iov_len;
    left = writable_half(fd, total);
    for (i = 0; i < n && i < 64 && left; i++) {
        cut[i] = pieces[i];
        if (cut[i].iov_len > left) cut[i].iov_len = left;
        left -= cut[i].iov_len;
    }
    return (int)i;
}

API ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    REAL(sendmsg);
    int fault = fault_of(SENDMSG, fd, flags);
    if (fault == SHORT) {
        struct iovec cut[64];
        struct msghdr shorter = *message;
        shorter.msg_iov = cut;
        shorter.msg_iovlen = half_vector(fd, message->msg_iov, message->msg_iovlen, cut);
        ssize_t sent = real(fd, &shorter, flags);
        rearm(fd);
        return sent;
    }
    return fault ? answer(fault) : real(fd, message, flags);
}

API int sendmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags) {
    REAL(sendmmsg);
    int fault = fault_of(SENDMMSG, fd, flags);
    if (fault == SHORT) {
        int sent = real(fd, messages, n ? 1 : 0, flags);
        rearm(fd);
        return sent;
    }
    return fault ? answer(fault) : real(fd, messages, n, flags);
}

API ssize_t write(int fd, const void *buffer, size_t size) {
    REAL(write);
    int fault;
    if (is_an_eventfd(fd)) {
        fault = fault_of(EVENTFD_WRITE, -1, 0);
        if (fault) real(fd, buffer, size); /* its counter is full: the edge of another write is still to come */
        return fault ? answer(fault) : real(fd, buffer, size);
    }
    fault = fault_of(WRITE, fd, 0);
    if (fault == SHORT) {
        ssize_t sent = real(fd, buffer, writable_half(fd, size));
        rearm(fd);
        return sent;
    }
    return fault ? answer(fault) : real(fd, buffer, size);
}

API ssize_t writev(int fd, const struct iovec *pieces, int n) {
    REAL(writev);
    int fault = fault_of(WRITEV, fd, 0);
    if (fault == SHORT) {
        struct iovec cut[64];
        ssize_t sent = real(fd, cut, half_vector(fd, pieces, n, cut));
        rearm(fd);
        return sent;
    }
    return fault ? answer(fault) : real(fd, pieces, n);
}

API ssize_t sendfile64(int to, int from, off_t *offset, size_t size) {
    static ssize_t (*real)(int, int, off_t *, size_t);
    if (!real) real = (ssize_t (*)(int, int, off_t *, size_t))dlsym(RTLD_NEXT, "sendfile64");
    int fault = fault_of(SENDFILE, to, 0);
    if (fault == SHORT) {
        ssize_t sent = real(to, from, offset, half(size));
        rearm(to);
        return sent;
    }
    return fault ? answer(fault) : real(to, from, offset, size);
}

API ssize_t sendfile(int to, int from, off_t *offset, size_t size) { return sendfile64(to, from, offset, size); }

API int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    REAL(accept4);
    int fault = fault_of(ACCEPT4, fd, 0);
    return fault ? answer(fault) : real(fd, address, length, flags);
}

API int connect(int fd, const struct sockaddr *address, socklen_t length) {
    REAL(connect);
    int fault = fault_of(CONNECT, fd, 0);
    if (fault == EINPROGRESS || fault == EINTR) {
        int done = real(fd, address, length);
        return done < 0 && errno != EINPROGRESS ? done : answer(fault);
    }
    return fault ? answer(fault) : real(fd, address, length);
}

API int socket(int family, int kind, int proto) {
    REAL(socket);
    int fault = fault_of(SOCKET, -1, 0);
    return fault ? answer(fault) : real(family, kind, proto);
}

API int socketpair(int family, int kind, int proto, int pair[2]) {
    REAL(socketpair);
    int fault = fault_of(SOCKETPAIR, -1, 0);
    return fault ? answer(fault) : real(family, kind, proto, pair);
}

API int bind(int fd, const struct sockaddr *address, socklen_t length) {
    REAL(bind);
    int fault = fault_of(BIND, -1, 0);
    return fault ? answer(fault) : real(fd, address, length);
}

API int listen(int fd, int backlog) {
    REAL(listen);
    int fault = fault_of(LISTEN, -1, 0);
    return fault ? answer(fault) : real(fd, backlog);
}

API int shutdown(int fd, int how) {
    REAL(shutdown);
    int fault = fault_of(SHUTDOWN, -1, 0);
    return fault ? answer(fault) : real(fd, how);
}

API int getsockname(int fd, struct sockaddr *address, socklen_t *length) {
    REAL(getsockname);
    int fault = fault_of(GETSOCKNAME, -1, 0);
    return fault ? answer(fault) : real(fd, address, length);
}

API int getpeername(int fd, struct sockaddr *address, socklen_t *length) {
    REAL(getpeername);
    int fault = fault_of(GETPEERNAME, -1, 0);
    return fault ? answer(fault) : real(fd, address, length);
}

API int setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
    REAL(setsockopt);
    int fault = fault_of(SETSOCKOPT, -1, 0);
    return fault ? answer(fault) : real(fd, level, option, value, length);
}

API int getsockopt(int fd, int level, int option, void *value, socklen_t *length) {
    REAL(getsockopt);
    int fault;
    if (level != SOL_SOCKET || option != SO_ERROR) return real(fd, level, option, value, length);
    fault = fault_of(SO_ERROR_ASKED, -1, 0);
    int result = real(fd, level, option, value, length);
    if (fault > ANSWERED && !result) *(int *)value = fault - ANSWERED;
    return result;
}

API int epoll_create1(int flags) {
    REAL(epoll_create1);
    int fault = fault_of(EPOLL_CREATE1, -1, 0);
    return fault ? answer(fault) : real(flags);
}

API int epoll_ctl(int set, int op, int fd, struct epoll_event *event) {
    REAL(epoll_ctl);
    int fault = op == EPOLL_CTL_ADD ? fault_of(EPOLL_ADD, -1, 0) : op == EPOLL_CTL_MOD ? fault_of(EPOLL_MOD, -1, 0) : 0;
    if (fault) return answer(fault);
    int result = real(set, op, fd, event);
    if (op == EPOLL_CTL_DEL) forget_registration(set, fd);
    else if (!result) note_registered(set, fd, event);
    return result;
}

API int epoll_wait(int set, struct epoll_event *events, int most, int limit) {
    REAL(epoll_wait);
    int fault = fault_of(EPOLL_WAIT, -1, 0);
    if (fault == SHORT) most = 1;
    else if (fault) return answer(fault);
    return real(set, events, most, limit);
}

API int eventfd(unsigned int first, int flags) {
    REAL(eventfd);
    int fault = fault_of(EVENTFD, -1, 0);
    int fd = fault ? answer(fault) : real(first, flags);
    note_eventfd(fd);
    return fd;
}

API int eventfd_write(int fd, uint64_t value) { return write(fd, &value, sizeof(value)) == sizeof(value) ? 0 : -1; }

API int pipe2(int ends[2], int flags) {
    REAL(pipe2);
    int fault = fault_of(PIPE2, -1, 0);
    return fault ? answer(fault) : real(ends, flags);
}

API int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list more;
        va_start(more, flags);
        mode = va_arg(more, mode_t);
        va_end(more);
    }
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    int fault = fault_of(OPEN, -1, 0);
    return fault ? answer(fault) : real(path, flags, mode);
}

API int dup(int fd) {
    REAL(dup);
    int fault = fault_of(DUP, -1, 0);
    return fault ? answer(fault) : real(fd);
}

API int close_range(unsigned int first, unsigned int last, int flags) {
    unsigned int fd;
    for (fd = first; fd <= last && fd < MAX_FDS && !flags; fd++) forget_descriptor(fd);
    return real_syscall(SYS_close_range, first, last, flags, 0, 0, 0);
}

API int dup2(int fd, int other) {
    REAL(dup2);
    if (fd != other) forget_descriptor(other);
    return real(fd, other);
}

API int dup3(int fd, int other, int flags) {
    REAL(dup3);
    forget_descriptor(other);
    return real(fd, other, flags);
}

static int controlled(int fd, int command, long argument) {
    int fault = command == F_DUPFD || command == F_DUPFD_CLOEXEC ? fault_of(DUPFD, -1, 0)
                : command == F_GETFL || command == F_SETFL     ? fault_of(SETFL, -1, 0)
                                                               : 0;
    return fault ? answer(fault) : real_syscall(SYS_fcntl, fd, command, argument, 0, 0, 0);
}

API int fcntl64(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    long argument = va_arg(more, long);
    va_end(more);
    return controlled(fd, command, argument);
}

API int fcntl(int fd, int command, ...) {
    va_list more;
    va_start(more, command);
    long argument = va_arg(more, long);
    va_end(more);
    return controlled(fd, command, argument);
}

API int ioctl(int fd, unsigned long request, ...) {
    va_list more;
    va_start(more, request);
    long argument = va_arg(more, long);
    va_end(more);
    int fault = request == FIONBIO ? fault_of(NONBLOCK, -1, 0) : request == FIONREAD ? fault_of(UNREAD, -1, 0) : 0;
    return fault ? answer(fault) : real_syscall(SYS_ioctl, fd, request, argument, 0, 0, 0);
}

API int close(int fd) {
    REAL(close);
    fault_of(CLOSE, -1, 0);
    forget_descriptor(fd);
    return real(fd);
}

API pid_t fork(void) {
    REAL(fork);
    int fault = fault_of(FORK, -1, 0);
    return fault ? answer(fault) : real();
}

/* The child returns through the caller's frame: this must be left by a jump, which is what -O2 makes of the last line. */
static pid_t (*real_vfork)(void);
__attribute__((constructor)) static void find_vfork(void) { real_vfork = (pid_t (*)(void))dlsym(RTLD_NEXT, "vfork"); }
API pid_t vfork(void) {
    int fault = fault_of(VFORK, -1, 0);
    if (fault) return answer(fault);
    return real_vfork();
}

/* RWF_NOWAIT: these never block, whatever the descriptor's flags are. */
static ssize_t without_waiting(long number, int fd, const struct iovec *pieces, int n, long low, long high, long flags) {
    int fault = fault_of(number == SYS_preadv2 ? PREADV2 : PWRITEV2, fd, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
    if (fault == SHORT && n) {
        struct iovec cut[64] = {{pieces[0].iov_base, half_of(fd, pieces[0].iov_len)}};
        int some = number == SYS_preadv2 ? 1 : half_vector(fd, pieces, n, cut);
        ssize_t count = real_syscall(number, fd, (long)cut, some, low, high, flags);
        rearm(fd);
        return count;
    }
    return fault ? answer(fault) : real_syscall(number, fd, (long)pieces, n, low, high, flags);
}

API ssize_t preadv64v2(int fd, const struct iovec *pieces, int n, off64_t at, int flags) {
    return without_waiting(SYS_preadv2, fd, pieces, n, at, 0, flags);
}

API ssize_t pwritev64v2(int fd, const struct iovec *pieces, int n, off64_t at, int flags) {
    return without_waiting(SYS_pwritev2, fd, pieces, n, at, 0, flags);
}

API long syscall(long number, ...) {
    va_list more;
    long argument[6];
    int i, fault = 0;
    va_start(more, number);
    for (i = 0; i < 6; i++) argument[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_preadv2 || number == SYS_pwritev2) {
        const struct iovec *pieces = (const struct iovec *)argument[1];
        return without_waiting(number, argument[0], pieces, argument[2], argument[3], argument[4], argument[5]);
    }
    if (number == SYS_epoll_pwait2) {
        fault = fault_of(EPOLL_PWAIT2, -1, 0);
        if (fault == SHORT) {
            argument[2] = 1;
            fault = 0;
        }
    } else if (number == SYS_pidfd_open) {
        fault = fault_of(PIDFD_OPEN, -1, 0);
    } else if (number == SYS_pidfd_send_signal) {
        fault = fault_of(PIDFD_SIGNAL, -1, 0);
    }
    return fault ? answer(fault)
                 : real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}
