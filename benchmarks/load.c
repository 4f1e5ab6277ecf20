/* The load on a server: one thread that never sleeps, so that it is no part of what is waited for.
 *
 *     load KIND ADDRESS PID CONNECTIONS SIZE WARMUP SECONDS
 *
 * ADDRESS is as peer.h says.
 * KIND   echo     send SIZE bytes, wait for the same bytes, again (closed loop on each connection)
 *        fetch    send 8 bytes, wait for SIZE bytes of known content
 *        http     send a GET, wait for status 200 and the body "Hello, world!"
 *        sink     send messages of SIZE bytes without waiting; the server answers each with one byte
 *        accept   connect, send one byte, wait for its echo, close; CONNECTIONS of these at a time
 *        idle     open CONNECTIONS, one echo of SIZE bytes on each, print "ready", hold them until standard input ends
 *
 * Every reply is compared byte by byte; a wrong or missing byte, or one too many, ends the program with exit code 1.
 * The figures cover SECONDS after WARMUP seconds of the same load and are printed as one line of JSON:
 *
 *     requests, seconds
 *     cpu_ns             CPU time of process PID in the meantime, user and system, all threads
 *     ticks_ns, user_ns  the same sampled by the kernel's tick: only good for the share of user time
 *     waited_ns          how long PID's first thread or the load had to wait for a CPU, the longer of both
 *     load_waited_ns     the load's alone
 *
 * CPU time is read from the CPU-time clock of PID here, so that it covers the same moments as the count of requests.
 */
#define _GNU_SOURCE
#include "figures.h"
#include "peer.h"
#include "polling.h"
#include <sys/epoll.h>

enum { EVENTS = 256, FETCH_REQUEST = 8, OFFSETS = 4093, HTTP_REPLY = 4096 };

enum kind { ECHO, FETCH, HTTP, SINK, ACCEPT, IDLE };
static const char *const kinds[] = {"echo", "fetch", "http", "sink", "accept", "idle"};

struct connection {
    struct peer peer;
    size_t offset;              /* where in the pattern the current message begins */
    size_t sent, received;      /* of the current request and of its reply */
    uint64_t sent_messages, acknowledged;   /* sink */
    bool answered;              /* at least once */
    char *reply;                /* http: a reply is only complete when its length is known */
};

static enum kind kind;
static size_t size;
static int epoll_fd;
static struct connection *connections;
static size_t connection_count;
static char *pattern, *document, *scratch;
static bool stopping;

static const char http_request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
static const char http_status[] = "HTTP/1.1 200 ";
static const char http_body[] = "Hello, world!";

static size_t request_size(void)
{
    switch (kind) {
    case FETCH: return FETCH_REQUEST;
    case HTTP: return sizeof http_request - 1;
    case ACCEPT: return 1;
    default: return size;
    }
}

static const char *request_data(const struct connection *connection)
{
    return kind == HTTP ? http_request : pattern + connection->offset;
}

/* Another part of the pattern for each message of each connection: a reply meant for another request is noticed. */
static void next_message(struct connection *connection)
{
    connection->offset = (connection->offset + 1031) % OFFSETS;
    connection->sent = connection->received = 0;
}

/* True: the request is out, or was before. */
static bool transmit(struct connection *connection)
{
    size_t length = request_size();
    while (connection->sent < length) {
        size_t sent = send_to_peer(&connection->peer, request_data(connection) + connection->sent,
                                   length - connection->sent);
        if (!sent)
            return false;
        connection->sent += sent;
    }
    return true;
}

static size_t receive(struct connection *connection, char *to, size_t room)
{
    return receive_from_peer(&connection->peer, to, room);
}

/* The length of the whole reply, 0 while its header is incomplete. */
static size_t http_length(const struct connection *connection)
{
    const char *end = memmem(connection->reply, connection->received, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (connection->received < sizeof http_status - 1 || memcmp(connection->reply, http_status, sizeof http_status - 1))
        die("not status 200");
    const char *field = strcasestr(connection->reply, "\r\ncontent-length:");
    if (!field || field > end)
        die("a reply without a content length");
    return end + 4 - connection->reply + strtoul(field + 17, NULL, 10);
}

static bool receive_http(struct connection *connection)
{
    size_t got = receive(connection, connection->reply + connection->received, HTTP_REPLY - connection->received);
    connection->received += got;
    connection->reply[connection->received] = 0;
    size_t length = http_length(connection);
    if (!length || connection->received < length) {
        if (connection->received == HTTP_REPLY)
            die("a reply that is too long");
        return false;
    }
    if (connection->received > length || memcmp(strstr(connection->reply, "\r\n\r\n") + 4, http_body, sizeof http_body))
        die("a reply with another body");
    return true;
}

/* True: the reply is complete and correct. One byte more than is due is asked for, to notice one that is too many. */
static bool receive_reply(struct connection *connection)
{
    if (kind == HTTP)
        return receive_http(connection);
    size_t length = kind == ACCEPT ? 1 : size;
    const char *expected = kind == FETCH ? document : pattern + connection->offset;
    size_t due = length - connection->received;
    size_t got = receive(connection, scratch, due + 1);
    if (got > due)
        die("a reply that is too long");
    if (memcmp(scratch, expected + connection->received, got))
        die("a reply with other bytes");
    connection->received += got;
    return connection->received == length;
}

static void converse(struct connection *connection)
{
    if (connection->sent == 0 && stopping && (kind != IDLE || connection->answered))
        return;
    transmit(connection);
    while (connection->sent && receive_reply(connection)) {
        if (connection->sent < request_size())
            die("a reply before the request was complete");
        requests++;
        connection->answered = true;
        next_message(connection);
        if (stopping)
            return;
        transmit(connection);
    }
}

static void pour(struct connection *connection)
{
    size_t got = receive(connection, scratch, size + 1);
    connection->acknowledged += got;
    requests += got;
    if (connection->acknowledged > connection->sent_messages)
        die("more messages acknowledged than sent");
    /* One message at a time, so that a server that reads all the time cannot keep us from looking at the clock. */
    if (!(stopping && connection->sent == 0) && transmit(connection)) {
        connection->sent_messages++;
        next_message(connection);
    }
}

static void open_connection(struct connection *connection)
{
    connect_peer(&connection->peer);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = connection};
    if (kind != ACCEPT)
        event.events |= EPOLLOUT | EPOLLET;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connection->peer.fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
    next_message(connection);
    if (kind != SINK)
        transmit(connection);
}

static void knock(struct connection *connection)
{
    if (!transmit(connection) || !receive_reply(connection))
        return;
    close_peer(&connection->peer);
    requests++;
    if (stopping)
        next_message(connection);
    else
        open_connection(connection);
}

static void poll_once(void)
{
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll_fd, events, EVENTS, 0);
    if (ready < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < ready; i++) {
        if (kind == SINK)
            continue;
        (kind == ACCEPT ? knock : converse)(events[i].data.ptr);
    }
    for (size_t i = 0; kind == SINK && i < connection_count; i++)
        pour(&connections[i]);
}

static bool settled(const struct connection *connection)
{
    return connection->sent == 0 && connection->acknowledged == connection->sent_messages
        && (kind != IDLE || connection->answered);
}

/* Every message that was sent has to be answered in the end: a connection that fell silent is an error. */
static void settle(void)
{
    size_t first = 0;   /* all before it are settled */
    uint64_t last = requests;
    stopping = true;
    for (double deadline = now() + STUCK_SECONDS;;) {
        poll_once();
        while (first < connection_count && settled(&connections[first]))
            first++;
        if (first == connection_count)
            return;
        if (requests != last)
            last = requests, deadline = now() + STUCK_SECONDS;
        if (now() > deadline)
            die("no reply on some connection for %d s", STUCK_SECONDS);
    }
}

static bool all_answered(void)
{
    static size_t first;    /* all before it have been */
    if (kind == SINK || kind == ACCEPT)
        return true;
    while (first < connection_count && connections[first].answered)
        first++;
    return first == connection_count;
}

static void measure(double warmup, double seconds)
{
    double deadline = now() + STUCK_SECONDS;
    poll_until(now() + warmup);
    /* Handshakes are no part of what is measured, however long all of them take. */
    while (!all_answered() && now() < deadline)
        poll_until(now() + warmup);
    struct reading before = read_figures();
    poll_until(before.time + seconds);
    struct reading after = read_figures();
    settle();
    print_figures(before, after);
    puts("}");
}

static void hold(void)
{
    char byte;
    settle();
    puts("ready");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
}

static void prepare(void)
{
    uint32_t random = 1;
    pattern = malloc(size + OFFSETS);
    document = malloc(size);
    scratch = malloc(size + HTTP_REPLY);
    connections = calloc(connection_count, sizeof *connections);
    if (!pattern || !document || !scratch || !connections)
        die("out of memory");
    for (size_t i = 0; i < size + OFFSETS; i++) {
        random ^= random << 13, random ^= random >> 17, random ^= random << 5;
        pattern[i] = random;
    }
    for (size_t i = 0; i < size; i++)
        document[i] = i % 251;
    for (size_t i = 0; i < connection_count; i++)
        connections[i].offset = i * 59 % OFFSETS;
}

int main(int argc, char **argv)
{
    if (argc != 8)
        die("usage: load KIND ADDRESS PID CONNECTIONS SIZE WARMUP SECONDS");
    while (strcmp(kinds[kind], argv[1]))
        if (kind++ == IDLE)
            die("no such kind: %s", argv[1]);
    choose_server(argv[2]);
    watch_process(argv[3]);
    connection_count = strtoul(argv[4], NULL, 10);
    size = strtoul(argv[5], NULL, 10);
    if (!connection_count || !size)
        die("CONNECTIONS and SIZE are at least 1");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    prepare();
    for (size_t i = 0; i < connection_count; i++) {
        if (kind == HTTP && !(connections[i].reply = malloc(HTTP_REPLY + 1)))
            die("out of memory");
        open_connection(&connections[i]);
    }
    if (kind == IDLE)
        hold();
    else
        measure(atof(argv[6]), atof(argv[7]));
    return 0;
}
