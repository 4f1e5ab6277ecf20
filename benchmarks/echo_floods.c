/* The limit of a server that is flooded: how soon it can answer a ping, and how much of the flood it can take.
 *
 *     echo_floods connections|datagrams
 *
 * Listens on a free port of 127.0.0.1, for pings and for the flood of connections, and binds a UDP port for that of
 * datagrams. Prints both ports, the second being the one to flood, and runs until it is killed or its parent is gone.
 * Each 64 bytes are sent back with the number of connections or datagrams so far in the first eight. It is a correct
 * server on edges that gives way: what is left of a flood after a batch waits until the others had their turn.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 64, ACCEPTED = 8, BATCH = 32, MESSAGE = 64 };

static int epoll_fd, listener, datagrams;
static uint64_t flooded;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int bound(int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("bind");
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("getsockname");
    return ntohs(address.sin_port);
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

/* True: there may be more. */
static bool accept_some(bool counted)
{
    for (int i = 0; i < ACCEPTED; i++) {
        int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            if (errno == EAGAIN)
                return false;
            die("accept4");
        }
        flooded += counted;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(fd);
    }
    return true;
}

static bool receive_some(void)
{
    static char buffers[BATCH][MESSAGE];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){buffers[i], MESSAGE};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(datagrams, messages, BATCH, MSG_DONTWAIT, NULL);
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        die("recvmmsg");
    flooded += got > 0 ? got : 0;
    return got == BATCH;
}

/* A ping is one segment, and there is one at a time: it is received whole. */
static void answer(int fd)
{
    char message[MESSAGE];
    for (;;) {
        ssize_t got = recv(fd, message, sizeof message, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        memcpy(message, &flooded, sizeof flooded);
        if (got != MESSAGE || send(fd, message, got, MSG_NOSIGNAL) != got) {
            close(fd);
            return;
        }
    }
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 2)
        die("usage: echo_floods connections|datagrams");
    bool connecting = !strcmp(argv[1], "connections"), arriving = false, received = false;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listener = bound(SOCK_STREAM);
    datagrams = bound(SOCK_DGRAM);
    if (epoll_fd < 0 || listen(listener, 4096) < 0)
        die("listen");
    watch(listener);
    watch(datagrams);
    printf("%d %d\n", port_of(listener), port_of(connecting ? listener : datagrams));
    fflush(stdout);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll_fd, events, EVENTS, arriving || received ? 0 : -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            arriving |= events[i].data.fd == listener;
            received |= events[i].data.fd == datagrams;
            if (events[i].data.fd != listener && events[i].data.fd != datagrams)
                answer(events[i].data.fd);
        }
        arriving = arriving && accept_some(connecting);
        received = received && receive_some();
    }
}
