/* Preloaded: counts the calls of the C library's functions below, and writes "name count" lines to $COUNTED_CALLS at the end.
 * strace counts too, but makes each call last as long as what a connection is trusted for (rule 5). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define COUNTED(type, name, parameters, arguments)                                                                    \
    static long count_of_##name;                                                                                      \
    type name parameters {                                                                                            \
        static type(*next) parameters;                                                                                \
        if (!next) next = (type(*) parameters)dlsym(RTLD_NEXT, #name);                                                \
        __atomic_add_fetch(&count_of_##name, 1, __ATOMIC_RELAXED);                                                    \
        return next arguments;                                                                                        \
    }

COUNTED(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
COUNTED(ssize_t, sendto, (int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t length),
        (fd, data, size, flags, to, length))
COUNTED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
COUNTED(int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned int number, int flags), (fd, messages, number, flags))
COUNTED(ssize_t, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
COUNTED(ssize_t, recvfrom, (int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *length),
        (fd, data, size, flags, from, length))
COUNTED(int, recvmmsg, (int fd, struct mmsghdr *messages, unsigned int number, int flags, struct timespec *limit),
        (fd, messages, number, flags, limit))
COUNTED(int, epoll_ctl, (int set, int what, int fd, struct epoll_event *event), (set, what, fd, event))

#define TELL(name) fprintf(out, #name " %ld\n", count_of_##name)

__attribute__((destructor)) static void tell(void) {
    const char *path = getenv("COUNTED_CALLS");
    FILE *out = path ? fopen(path, "w") : NULL;
    if (!out) return;
    TELL(send); TELL(sendto); TELL(sendmsg); TELL(sendmmsg); TELL(recv); TELL(recvfrom); TELL(recvmmsg); TELL(epoll_ctl);
    fclose(out);
}
