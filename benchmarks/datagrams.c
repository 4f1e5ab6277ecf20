/* The load on a server of datagrams: one thread that never sleeps.
 *
 *     datagrams KIND PORT PID SOCKETS SIZE WARMUP SECONDS
 *
 * KIND   echo     each socket sends SIZE bytes, waits for the same bytes, and sends the next ones
 *        flood    the sockets send as fast as they can; the server answers each thousandth datagram that it gets with
 *                 one, and these are what is counted, a thousand for each
 *
 * On one machine a datagram is only lost where the server's socket is full, which an echo with few sockets never makes
 * it: there a reply that is missing at the end is an error, and so is one with other bytes. Prints what load.c prints.
 */
#define _GNU_SOURCE
#include "figures.h"
#include "polling.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, OFFSETS = 4093, BATCH = 32, COUNTED = 1000, LARGEST = 65507 };

struct speaker {
    int fd;
    size_t offset;      /* where in the pattern its present datagram begins */
    bool waiting;
};

static bool flooding, stopping;
static size_t size, speaker_count;
static struct speaker *speakers;
static int epoll_fd;
static char pattern[LARGEST + OFFSETS], scratch[LARGEST + 1];

static void open_speaker(struct speaker *speaker, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = speaker};
    speaker->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (speaker->fd < 0 || connect(speaker->fd, (struct sockaddr *)&address, sizeof address) < 0
        || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, speaker->fd, &event) < 0)
        die("no socket: %s", strerror(errno));
}

static void ask(struct speaker *speaker)
{
    if (send(speaker->fd, pattern + speaker->offset, size, 0) < 0)
        die("send: %s", strerror(errno));
    speaker->waiting = true;
}

static void listen_to(struct speaker *speaker)
{
    ssize_t got;
    while ((got = recv(speaker->fd, scratch, sizeof scratch, 0)) >= 0) {
        if (flooding) {
            requests += COUNTED;
            continue;
        }
        if (!speaker->waiting)
            die("a reply that is too many");
        if ((size_t)got != size || memcmp(scratch, pattern + speaker->offset, size))
            die("a reply with other bytes");
        requests++;
        speaker->offset = (speaker->offset + 1031) % OFFSETS;
        speaker->waiting = false;
        if (!stopping)
            ask(speaker);
    }
    if (errno != EAGAIN)
        die("recv: %s", strerror(errno));
}

static void flood(void)
{
    static struct speaker *turn;
    struct mmsghdr messages[BATCH];
    struct iovec part = {pattern, size};
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
    turn = turn && turn + 1 < speakers + speaker_count ? turn + 1 : speakers;
    if (sendmmsg(turn->fd, messages, BATCH, 0) < 0 && errno != EAGAIN && errno != ENOBUFS)
        die("sendmmsg: %s", strerror(errno));
}

static void poll_once(void)
{
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll_fd, events, EVENTS, 0);
    for (int i = 0; i < ready; i++)
        listen_to(events[i].data.ptr);
    if (flooding && !stopping)
        flood();
}

static void settle(void)
{
    stopping = true;
    for (double deadline = now() + STUCK_SECONDS; !flooding;) {
        size_t waiting = 0;
        poll_once();
        for (size_t i = 0; i < speaker_count; i++)
            waiting += speakers[i].waiting;
        if (!waiting)
            return;
        if (now() > deadline)
            die("%zu replies are missing", waiting);
    }
}

int main(int argc, char **argv)
{
    uint32_t random = 1;
    if (argc != 8)
        die("usage: datagrams echo|flood PORT PID SOCKETS SIZE WARMUP SECONDS");
    flooding = !strcmp(argv[1], "flood");
    watch_process(argv[3]);
    speaker_count = strtoul(argv[4], NULL, 10);
    size = strtoul(argv[5], NULL, 10);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    speakers = calloc(speaker_count, sizeof *speakers);
    if (!speaker_count || !size || size > LARGEST || epoll_fd < 0 || !speakers)
        die("SOCKETS and SIZE are at least 1, and SIZE at most %d", LARGEST);
    for (size_t i = 0; i < sizeof pattern; i++) {
        random ^= random << 13, random ^= random >> 17, random ^= random << 5;
        pattern[i] = random;
    }
    for (size_t i = 0; i < speaker_count; i++) {
        speakers[i].offset = i * 59 % OFFSETS;
        open_speaker(&speakers[i], atoi(argv[2]));
        if (!flooding)
            ask(&speakers[i]);
    }
    poll_until(now() + atof(argv[6]));
    struct reading before = read_figures();
    poll_until(before.time + atof(argv[7]));
    struct reading after = read_figures();
    settle();
    print_figures(before, after);
    puts("}");
    return 0;
}
