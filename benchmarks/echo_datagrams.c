/* The limit of a server of datagrams: several with each system call, both ways.
 *
 *     echo_datagrams echo     sends each datagram back
 *     echo_datagrams count    sends one byte back for each thousandth datagram
 *
 * Binds a free port of 127.0.0.1, prints it and runs until it is killed or its parent is gone.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { BATCH = 64, COUNTED = 1000, LARGEST = 65536 };

static struct mmsghdr messages[BATCH];
static struct iovec parts[BATCH];
static struct sockaddr_in addresses[BATCH];
static char buffers[BATCH][LARGEST];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int receive(int fd)
{
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){buffers[i], LARGEST};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &addresses[i], .msg_namelen = sizeof addresses[i],
                                              .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        die("recvmmsg");
    return got;
}

static void echo(int fd, int got)
{
    for (int i = 0; i < got; i++)
        parts[i].iov_len = messages[i].msg_len;
    /* What the socket does not take is lost, as datagrams may be. */
    if (sendmmsg(fd, messages, got, MSG_DONTWAIT) < 0 && errno != EAGAIN)
        die("sendmmsg");
}

static void count(int fd, int got)
{
    static int counted;
    counted += got;
    if (counted < COUNTED)
        return;
    counted -= COUNTED;
    if (sendto(fd, "", 1, MSG_DONTWAIT, (struct sockaddr *)&addresses[0], sizeof addresses[0]) < 0 && errno != EAGAIN)
        die("sendto");
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 2)
        die("usage: echo_datagrams echo|count");
    bool counting = !strcmp(argv[1], "count");
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || epoll_fd < 0
        || getsockname(fd, (struct sockaddr *)&address, &length) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        die("bind");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        if (epoll_wait(epoll_fd, &event, 1, -1) < 0 && errno != EINTR)
            die("epoll_wait");
        for (int got = BATCH; got == BATCH;)
            if ((got = receive(fd)) > 0)
                (counting ? count : echo)(fd, got);
    }
}
