/* What failing_calls.c (which call fails, and how), seeded_plan.c (the same for whole programs) and failing_wrappers.c (the
 * calls) have in common. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif

#define API __attribute__((visibility("default")))
#define MAX_CALLS 65536
#define MAX_FDS 4096
#define MAX_FAULTS 12

enum { SHORT = 1000, ANSWERED = 2000 }; /* ANSWERED + errno: getsockopt(2) succeeds, and SO_ERROR is that */

enum which {
    RECV, RECVFROM, RECVMSG, RECVMMSG, READ, READV, SEND, SENDTO, SENDMSG, SENDMMSG, WRITE, WRITEV, SENDFILE, ACCEPT4,
    CONNECT, SOCKET, SOCKETPAIR, BIND, LISTEN, SHUTDOWN, GETSOCKNAME, GETPEERNAME, SETSOCKOPT, SO_ERROR_ASKED,
    EPOLL_CREATE1, EPOLL_ADD, EPOLL_MOD, EPOLL_WAIT, EPOLL_PWAIT2, EVENTFD, EVENTFD_WRITE, PIPE2, OPEN, DUP, DUPFD, SETFL,
    NONBLOCK, UNREAD, CLOSE, FORK, VFORK, PIDFD_OPEN, PIDFD_SIGNAL, PREADV2, PWRITEV2,
    MAX_WHICH
};

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

long real_syscall(long number, long a, long b, long c, long d, long e, long f);

/* failing_calls.c */
int fault_of(enum which which, int fd, int flags);
int is_plausible(enum which which, int fd, int flags, int fault);
int blocks(int fd);
int is_tcp(int fd);

/* seeded_plan.c */
int planned_fault(enum which which, int fd, int flags);
int is_owner(void);

/* descriptors_known.c */
void note_registered(int set, int fd, const struct epoll_event *event);
void note_eventfd(int fd);
void forget_registration(int set, int fd);
void forget_descriptor(int fd);
void forget_registered(void);
void rearm(int fd);
int is_an_eventfd(int fd);
int is_pipe(int fd);
int is_edge_triggered(int fd);
