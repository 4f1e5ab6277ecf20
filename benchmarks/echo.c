/* The limit: the least that a server on edge-triggered epoll can do for each message.
 *
 *     echo echo  SIZE [WHERE]      sends back what it receives
 *     echo sink  SIZE [WHERE]      sends one byte for each SIZE bytes received
 *     echo fetch SIZE [WHERE]      sends SIZE bytes for each 8 bytes received
 *     echo http  SIZE [WHERE]      answers each request without a body with "Hello, world!"
 *     echo work  SIZE [WHERE]      computes for as many microseconds as the first 8 of 64 bytes say, then sends them back
 *     echo token SIZE [WHERE]      four times: sends 64 bytes, then computes as above
 *
 * Listens on a free port of 127.0.0.1, or on the Unix socket WHERE if that is a path, prints which, and runs until it
 * is killed or its parent is gone. With "busy" for WHERE it never sleeps, so that a client never waits for its waking.
 * It obeys the rules that a correct server on edges has to obey: what a socket would not take is kept and sent on
 * EPOLLOUT, and only EAGAIN, or a short read on an event without RDHUP, ends the reading. It does without fairness,
 * time limits, flow control and every other thing that costs an event loop its microseconds.
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
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, READ_SIZE = 256 * 1024, REQUEST_SIZE = 8, PIECE = 64, PIECES = 4 };

enum service { ECHO, SINK, FETCH, HTTP, WORK, TOKEN };

struct connection {
    int fd;
    char *rest;        /* what the socket did not take; while there is any, EPOLLOUT is armed and nothing is read */
    size_t rest_at, rest_end;
    size_t counted;    /* bytes of the message that is being received (sink, fetch), of a header's end (http) */
};

static enum service service;
static size_t size;
static int epoll_fd, listener;
static char buffer[READ_SIZE];
static char *document;

static const char http_reply[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                 "Content-Length: 13\r\n\r\nHello, world!";

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int op, struct connection *connection, uint32_t interest)
{
    struct epoll_event event = {.events = interest | EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(epoll_fd, op, connection->fd, &event) < 0)
        die("epoll_ctl");
}

static void end(struct connection *connection)
{
    close(connection->fd);
    free(connection->rest);
    free(connection);
}

/* Sends what it can and keeps the rest. False: the peer is gone. */
static bool transmit(struct connection *connection, const char *data, size_t length)
{
    if (connection->rest) {     /* an earlier answer waits: this one goes behind it */
        connection->rest = realloc(connection->rest, connection->rest_end + length);
        if (!connection->rest)
            die("realloc");
        memcpy(connection->rest + connection->rest_end, data, length);
        connection->rest_end += length;
        return true;
    }
    ssize_t sent = send(connection->fd, data, length, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            return false;
        sent = 0;
    }
    if ((size_t)sent == length)
        return true;
    connection->rest = malloc(length - sent);
    if (!connection->rest)
        die("malloc");
    memcpy(connection->rest, data + sent, length - sent);
    connection->rest_at = 0;
    connection->rest_end = length - sent;
    watch(EPOLL_CTL_MOD, connection, EPOLLOUT);
    return true;
}

static bool transmit_rest(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->rest + connection->rest_at,
                        connection->rest_end - connection->rest_at, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN;
    connection->rest_at += sent;
    if (connection->rest_at == connection->rest_end) {
        free(connection->rest);
        connection->rest = NULL;
        watch(EPOLL_CTL_MOD, connection, 0);
    }
    return true;
}

static bool answer_requests(struct connection *connection, size_t received)
{
    for (size_t i = 0; i < received; i++) {
        connection->counted = buffer[i] == "\r\n\r\n"[connection->counted] ? connection->counted + 1 : buffer[i] == '\r';
        if (connection->counted == 4) {
            connection->counted = 0;
            if (!transmit(connection, http_reply, sizeof http_reply - 1))
                return false;
        }
    }
    return true;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static bool compute_and_answer(struct connection *connection, size_t received)
{
    uint64_t microseconds;
    memcpy(&microseconds, buffer, sizeof microseconds);
    for (int i = 0; i < (service == TOKEN ? PIECES : 1); i++) {
        char piece[PIECE];
        memset(piece, i, sizeof piece);
        if (service == TOKEN && !transmit(connection, piece, sizeof piece))
            return false;
        for (double end = now() + microseconds * 1e-6; microseconds && now() < end;)
            continue;
    }
    return service == TOKEN || transmit(connection, buffer, received);
}

static bool answer(struct connection *connection, size_t received)
{
    if (service == HTTP)
        return answer_requests(connection, received);
    if (service == WORK || service == TOKEN)
        return compute_and_answer(connection, received);
    static char acknowledgements[READ_SIZE];
    if (service == ECHO)
        return transmit(connection, buffer, received);
    size_t unit = service == SINK ? size : REQUEST_SIZE;
    connection->counted += received;
    size_t messages = connection->counted / unit;
    connection->counted %= unit;
    if (service == SINK)
        return messages == 0 || transmit(connection, acknowledgements, messages);
    for (; messages; messages--)
        if (!transmit(connection, document, size))
            return false;
    return true;
}

static void serve(struct connection *connection, uint32_t events)
{
    bool ending = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (connection->rest && !transmit_rest(connection)) {
        end(connection);
        return;
    }
    while (!connection->rest) {
        ssize_t received = recv(connection->fd, buffer, sizeof buffer, 0);
        if (received < 0 && errno == EAGAIN)
            return;
        if (received <= 0 || !answer(connection, received)) {
            end(connection);
            return;
        }
        if (received < (ssize_t)sizeof buffer && !ending)
            return;
    }
}

static void accept_all(void)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN)
                return;
            if (errno == ECONNABORTED || errno == EINTR)
                continue;
            die("accept4");
        }
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection)
            die("calloc");
        connection->fd = fd;
        watch(EPOLL_CTL_ADD, connection, 0);
    }
}

static void listen_and_say_where(const char *path)
{
    union { struct sockaddr any; struct sockaddr_in tcp; struct sockaddr_un local; } address = {0};
    socklen_t length = path ? sizeof address.local : sizeof address.tcp;
    if (path) {
        address.local.sun_family = AF_UNIX;
        snprintf(address.local.sun_path, sizeof address.local.sun_path, "%s", path);
    } else {
        address.tcp = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    }
    listener = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, &address.any, length) < 0 || listen(listener, 4096) < 0
        || (!path && getsockname(listener, &address.any, &length) < 0))
        die("listen");
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll_ctl");
    if (path)
        puts(path);
    else
        printf("%d\n", ntohs(address.tcp.sin_port));
    fflush(stdout);
}

static bool choose(const char *name)
{
    static const char *const names[] = {[ECHO] = "echo", [SINK] = "sink", [FETCH] = "fetch", [HTTP] = "http",
                                        [WORK] = "work", [TOKEN] = "token"};
    for (service = ECHO; service <= TOKEN; service++)
        if (!strcmp(name, names[service]))
            return true;
    return false;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: echo echo|sink|fetch|http|work|token SIZE [PATH|busy]\n");
        return 2;
    }
    bool busy = argc == 4 && !strcmp(argv[3], "busy");
    size = strtoul(argv[2], NULL, 10);
    document = size ? malloc(size) : NULL;
    if (!document || !choose(argv[1])) {
        fprintf(stderr, "echo: no such service or size: %s %s\n", argv[1], argv[2]);
        return 2;
    }
    for (size_t i = 0; i < size; i++)
        document[i] = i % 251;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1");
    listen_and_say_where(argc == 4 && !busy ? argv[3] : NULL);
    struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, EVENTS, busy ? 0 : -1);
        if (ready < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr)
                serve(events[i].data.ptr, events[i].events);
            else
                accept_all();
        }
    }
}
