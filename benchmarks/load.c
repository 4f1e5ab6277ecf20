/* The load on a server: one thread that never sleeps, so that it is no part of what is waited for.
 *
 *     load KIND PORT PID CONNECTIONS SIZE WARMUP SECONDS
 *
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
 *
 * CPU time is read from the CPU-time clock of PID here, so that it covers the same moments as the count of requests.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, FETCH_REQUEST = 8, OFFSETS = 4093, ADDRESSES = 64, HTTP_REPLY = 4096, STUCK_SECONDS = 10 };

enum kind { ECHO, FETCH, HTTP, SINK, ACCEPT, IDLE };
static const char *const kinds[] = {"echo", "fetch", "http", "sink", "accept", "idle"};

struct connection {
    int fd;
    size_t offset;              /* where in the pattern the current message begins */
    size_t sent, received;      /* of the current request and of its reply */
    uint64_t sent_messages, acknowledged;   /* sink */
    char *reply;                /* http: a reply is only complete when its length is known */
};

struct reading { double time; int64_t cpu, ticks, user, server_waited, load_waited; uint64_t requests; };

static enum kind kind;
static size_t size;
static struct sockaddr_in server;
static int epoll_fd;
static struct connection *connections;
static size_t connection_count;
static char *pattern, *document, *scratch;
static uint64_t requests;
static bool stopping;
static const char *server_pid;
static clockid_t cpu_clock, ticks_clock, user_clock;

static const char http_request[] = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
static const char http_status[] = "HTTP/1.1 200 ";
static const char http_body[] = "Hello, world!";

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static int64_t cpu_time(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        die("the server's CPU-time clock: %s", strerror(errno));
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* The second number of /proc/PID/schedstat: nanoseconds of being ready to run without running. */
static int64_t waited(const char *pid)
{
    char path[64];
    int64_t nanoseconds;
    snprintf(path, sizeof path, "/proc/%s/schedstat", pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*d %ld", &nanoseconds) != 1)
        die("%s: no scheduler statistics", path);
    fclose(file);
    return nanoseconds;
}

static struct reading read_figures(void)
{
    return (struct reading){now(), cpu_time(cpu_clock), cpu_time(ticks_clock), cpu_time(user_clock),
                            waited(server_pid), waited("self"), requests};
}

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
        ssize_t sent = send(connection->fd, request_data(connection) + connection->sent, length - connection->sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EAGAIN)
                return false;
            die("send: %s", strerror(errno));
        }
        connection->sent += sent;
    }
    return true;
}

/* Up to `room` bytes, 0 if there are none now. */
static size_t receive(struct connection *connection, char *to, size_t room)
{
    ssize_t received = recv(connection->fd, to, room, MSG_DONTWAIT);
    if (received < 0) {
        if (errno == EAGAIN)
            return 0;
        die("recv: %s", strerror(errno));
    }
    if (received == 0)
        die("the server closed a connection");
    return received;
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
    if (connection->sent == 0 && stopping)
        return;
    transmit(connection);
    while (connection->sent && receive_reply(connection)) {
        if (connection->sent < request_size())
            die("a reply before the request was complete");
        requests++;
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
    static unsigned opened;
    /* Other source addresses, so that connections that were just closed (TIME_WAIT) do not use up the ports. */
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + opened++ % ADDRESSES)};
    int one = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (connection->fd < 0 || bind(connection->fd, (struct sockaddr *)&source, sizeof source) < 0
        || connect(connection->fd, (struct sockaddr *)&server, sizeof server) < 0)
        die("no connection: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = connection};
    if (kind != ACCEPT)
        event.events |= EPOLLOUT | EPOLLET;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, connection->fd, &event) < 0)
        die("epoll_ctl: %s", strerror(errno));
    next_message(connection);
    if (kind != SINK)
        transmit(connection);
}

static void knock(struct connection *connection)
{
    if (!receive_reply(connection))
        return;
    close(connection->fd);
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

static void poll_until(double end)
{
    uint64_t last = requests;
    double changed = now();
    for (double time = changed; time < end; time = now()) {
        poll_once();
        if (requests != last) {
            last = requests;
            changed = time;
        } else if (time > changed + STUCK_SECONDS) {
            die("no reply for %d s", STUCK_SECONDS);
        }
    }
}

/* Every message that was sent has to be answered in the end: a connection that fell silent is an error. */
static void settle(void)
{
    stopping = true;
    for (double deadline = now() + STUCK_SECONDS;;) {
        bool settled = true;
        poll_once();
        for (size_t i = 0; i < connection_count; i++)
            settled &= connections[i].sent == 0 && connections[i].acknowledged == connections[i].sent_messages;
        if (settled)
            return;
        if (now() > deadline)
            die("no reply on some connection for %d s", STUCK_SECONDS);
    }
}

static void measure(double warmup, double seconds)
{
    poll_until(now() + warmup);
    struct reading before = read_figures();
    poll_until(before.time + seconds);
    struct reading after = read_figures();
    settle();
    int64_t server_waited = after.server_waited - before.server_waited;
    int64_t load_waited = after.load_waited - before.load_waited;
    printf("{\"requests\": %lu, \"seconds\": %.6f, \"cpu_ns\": %ld, \"ticks_ns\": %ld, \"user_ns\": %ld, "
           "\"waited_ns\": %ld}\n", after.requests - before.requests, after.time - before.time, after.cpu - before.cpu,
           after.ticks - before.ticks, after.user - before.user,
           server_waited > load_waited ? server_waited : load_waited);
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
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (argc != 8)
        die("usage: load KIND PORT PID CONNECTIONS SIZE WARMUP SECONDS");
    while (strcmp(kinds[kind], argv[1]))
        if (kind++ == IDLE)
            die("no such kind: %s", argv[1]);
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[2])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* clock_getcpuclockid(3) gives the scheduler's exact clock; the lowest two bits choose between it (2), the tick's
       sample of user time (1) and the tick's sample of both (0): CPUCLOCK_* in Linux's posix-timers_types.h. */
    server_pid = argv[3];
    if (clock_getcpuclockid(atoi(server_pid), &cpu_clock) != 0)
        die("no such process: %s", server_pid);
    user_clock = (cpu_clock & ~3) | 1;
    ticks_clock = cpu_clock & ~3;
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
