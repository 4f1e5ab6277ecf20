/* How long a small request waits while the server has nothing else to do, and while one peer floods it.
 *
 *     fairness ADDRESS PID SIZE SECONDS
 *
 * One connection sends SIZE bytes and waits for the same bytes, again and again, for half of SECONDS. For the other half
 * a second connection pours as much into the server as that takes, and reads what comes back. Prints one line of JSON:
 * the microseconds in which half and 99 % of the replies were there (calm_p50, calm_p99, flood_p50, flood_p99), the MiB
 * that came back through the flood in a second, and what load.c prints, over both halves.
 */
#define _GNU_SOURCE
#include "figures.h"
#include "peer.h"
#include "samples.h"

enum { CHUNK = 16 * 1024 };

static struct peer small, large;
static size_t size;
static char *request, *reply, chunk[CHUNK], scratch[8 * CHUNK];
static uint64_t poured;
static struct samples samples;

/* A little of the flood at a time, so that the small reply is looked for often. */
static void pour(void)
{
    send_to_peer(&large, chunk, sizeof chunk);
}

static void drain(void)
{
    poured += receive_from_peer(&large, scratch, sizeof scratch);
}

static size_t wait_for_reply(size_t received)
{
    size_t got = receive_from_peer(&small, reply + received, size + 1 - received);
    if (received + got > size || memcmp(request, reply, received + got))
        die("a reply with other bytes");
    return received + got;
}

static double ask(bool flooding)
{
    double begin = now();
    for (size_t sent = 0; sent < size;)
        sent += send_to_peer(&small, request + sent, size - sent);
    for (size_t received = 0; (received = wait_for_reply(received)) < size;) {
        if (flooding) {
            pour();
            if ((received = wait_for_reply(received)) == size)
                break;
            drain();
        }
        if (now() > begin + STUCK_SECONDS)
            die("no reply for %d s", STUCK_SECONDS);
    }
    return now() - begin;
}

static void measure(bool flooding, double seconds, double *half, double *most)
{
    samples.count = 0;
    for (double end = now() + seconds; now() < end; requests++) {
        request[requests % size] ^= 1 + requests;
        add_sample(&samples, ask(flooding) * 1e6);
    }
    *half = percentile(&samples, 50);
    *most = percentile(&samples, 99);
}

int main(int argc, char **argv)
{
    double calm_p50, calm_p99, flood_p50, flood_p99, unused;
    if (argc != 5)
        die("usage: fairness ADDRESS PID SIZE SECONDS");
    choose_server(argv[1]);
    watch_process(argv[2]);
    size = strtoul(argv[3], NULL, 10);
    double seconds = atof(argv[4]) / 2;
    request = calloc(1, size);
    reply = calloc(1, size + 1);
    if (!size || !request || !reply)
        die("SIZE is at least 1");
    connect_peer(&small);
    connect_peer(&large);
    measure(false, seconds / 5, &unused, &unused);
    struct reading before = read_figures();
    measure(false, seconds, &calm_p50, &calm_p99);
    measure(true, seconds / 5, &unused, &unused);
    double begin = now();
    poured = 0;
    measure(true, seconds, &flood_p50, &flood_p99);
    double mebibytes = poured / (now() - begin) / (1 << 20);
    print_figures(before, read_figures());
    printf(", \"calm_p50\": %.3f, \"calm_p99\": %.3f, \"flood_p50\": %.3f, \"flood_p99\": %.3f, \"mebibytes\": %.3f}\n",
           calm_p50, calm_p99, flood_p50, flood_p99, mebibytes);
    close_peer(&small);
    close_peer(&large);
    return 0;
}
