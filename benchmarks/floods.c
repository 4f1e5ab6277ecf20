/* How long a small request waits while something floods the server, and how much of the flood the server takes.
 *
 *     floods KIND PORT FLOODED PID WARMUP SECONDS
 *
 * A ping of 64 bytes goes to PORT over one connection, at most one in PACE, and is sent back; in the first eight bytes of the
 * answer the server says how much of the flood it has dealt with. FLOODED is where the flood goes, as peer.h says.
 * KIND   connections  connect and reset, one after the other, as fast as can be
 *        datagrams    64 bytes over UDP from eight sockets, as fast as can be
 *        handshakes   TLS: connect, handshake, one byte there and back, close; sixteen at a time
 *        signals      SIGUSR1 to PID, 100,000 in a second: more, and the process would do nothing but take signals
 *        bytes        reads what the server sends over another connection; MiB are counted here
 *        none         the server floods itself
 *
 * Prints what load.c prints, with the pings' p50 and p99 in microseconds and `flood`, how much was dealt with.
 */
#define _GNU_SOURCE
#include "figures.h"
#include "peer.h"
#include "samples.h"
#include "timed.h"

enum { SPEAKERS = 8, BATCH = 8, SLOTS = 16, ROOM = 256 * 1024 };

static const double pace = 200e-6, between_signals = 10e-6;
static struct timed ping;
static double next_ping;
static struct samples samples;
static uint64_t dealt_with;
static char scratch[ROOM];

static void look_after_ping(void)
{
    if (ping.waiting) {
        double taken = answered_after(&ping);
        if (taken >= 0) {
            requests++;
            add_sample(&samples, taken);
            if (number_in_reply(&ping))
                dealt_with = number_in_reply(&ping);
            next_ping = now() + pace;
        } else if (clock_of_stamps() > ping.asked + STUCK_SECONDS) {
            die("no reply for %d s", STUCK_SECONDS);
        }
    } else if (now() >= next_ping) {
        ask_timed(&ping, 0);
    }
}

/* Without waiting: a backlog that is full would hold us up. */
static void connect_and_reset(void)
{
    static unsigned opened;
    struct linger abort = {.l_onoff = 1};
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + opened++ % ADDRESSES)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort) < 0
        || setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) < 0
        || bind(fd, (struct sockaddr *)&source, sizeof source) < 0
        || (connect(fd, &server.any, server_length) < 0 && errno != EINPROGRESS))
        die("no connection: %s", strerror(errno));
    close(fd);
}

static void send_datagrams(void)
{
    static int speakers[SPEAKERS], turn;
    static struct iovec part = {scratch, MESSAGE};
    struct mmsghdr messages[BATCH] = {0};
    int *fd = &speakers[turn++ % SPEAKERS];
    if (!*fd) {
        *fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (*fd < 0 || connect(*fd, &server.any, server_length) < 0)
            die("no socket: %s", strerror(errno));
    }
    for (int i = 0; i < BATCH; i++)
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
    if (sendmmsg(*fd, messages, BATCH, 0) < 0 && errno != EAGAIN && errno != ENOBUFS)
        die("sendmmsg: %s", strerror(errno));
}

static void shake_hands(void)
{
    static struct { struct peer peer; bool open, sent; } slots[SLOTS];
    static int turn;
    int i = turn++ % SLOTS;
    if (!slots[i].open) {
        connect_peer(&slots[i].peer);
        slots[i].open = true;
        slots[i].sent = false;
    }
    if (!slots[i].sent && !(slots[i].sent = send_to_peer(&slots[i].peer, "!", 1)))
        return;
    if (receive_from_peer(&slots[i].peer, scratch, 1)) {
        close_peer(&slots[i].peer);
        slots[i].open = false;
    }
}

static void send_signal(void)
{
    static double next;
    if (now() < next)
        return;
    next = now() + between_signals;
    if (kill(atoi(server_pid), SIGUSR1) < 0)
        die("kill: %s", strerror(errno));
}

static void read_bytes(void)
{
    static struct peer peer;
    static uint64_t received;
    if (!peer.fd)
        connect_peer(&peer);
    received += receive_from_peer(&peer, scratch, sizeof scratch);
    dealt_with = received >> 20;
}

static void do_nothing(void)
{
}

static const struct { const char *name; void (*step)(void); } kinds[] = {
    {"connections", connect_and_reset}, {"datagrams", send_datagrams}, {"handshakes", shake_hands},
    {"signals", send_signal}, {"bytes", read_bytes}, {"none", do_nothing}, {NULL, NULL}};

static void (*step)(void);

static void flood_until(double end)
{
    while (now() < end) {
        look_after_ping();
        step();
    }
}

/* How much was dealt with is only known by an answer: the figures of the moment at which there is one. */
static struct reading read_at_answer(void)
{
    for (uint64_t before = requests; requests == before;) {
        look_after_ping();
        step();
    }
    return read_figures();
}

int main(int argc, char **argv)
{
    int kind = 0;
    if (argc != 7)
        die("usage: floods KIND PORT FLOODED PID WARMUP SECONDS");
    while (kinds[kind].name && strcmp(kinds[kind].name, argv[1]))
        kind++;
    if (!kinds[kind].name)
        die("no such kind: %s", argv[1]);
    step = kinds[kind].step;
    choose_server(argv[3]);
    watch_process(argv[4]);
    open_timed(&ping, atoi(argv[2]));
    flood_until(now() + atof(argv[5]));
    struct reading before = read_at_answer();
    uint64_t begun = dealt_with;
    samples.count = 0;
    flood_until(before.time + atof(argv[6]));
    struct reading after = read_at_answer();
    print_figures(before, after);
    printf(", \"p50\": %.3f, \"p99\": %.3f, \"flood\": %lu}\n",
           percentile(&samples, 50), percentile(&samples, 99), dealt_with - begun);
    return 0;
}
