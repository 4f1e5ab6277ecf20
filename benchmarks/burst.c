/* How long the answers to many requests take that come at the same time.
 *
 *     burst PORT PID CONNECTIONS WORK WARMUP SECONDS
 *
 * Each of CONNECTIONS sends a request, and when all are answered and the server had a moment to fall asleep, all send
 * the next one. A request is 64 bytes, of which the first eight say how many microseconds, WORK, the server's handler
 * has to compute before it sends them back. Prints what load.c prints, with the microseconds from sending a request to
 * its answer: mean, p50, p99.
 */
#define _GNU_SOURCE
#include "figures.h"
#include "samples.h"
#include "timed.h"

enum { LEAST_BURSTS = 2 };

static const double pause_seconds = 300e-6;
static struct timed *connections;
static size_t connection_count;
static uint64_t work;
static struct samples samples;

static void burst(void)
{
    size_t missing = connection_count;
    for (size_t i = 0; i < connection_count; i++)
        ask_timed(&connections[i], work);
    for (double deadline = now() + STUCK_SECONDS; missing;) {
        for (size_t i = 0; i < connection_count; i++) {
            if (!connections[i].waiting)
                continue;
            double taken = answered_after(&connections[i]);
            if (taken < 0)
                continue;
            if (number_in_reply(&connections[i]) != work)
                die("a reply with other bytes");
            add_sample(&samples, taken);
            requests++;
            missing--;
        }
        if (missing && now() > deadline)
            die("%zu replies are missing", missing);
    }
    for (double end = now() + pause_seconds; now() < end;)
        continue;
}

static void bursts(double seconds)
{
    int count = 0;
    samples.count = 0;
    for (double end = now() + seconds; count < LEAST_BURSTS || now() < end; count++)
        burst();
}

int main(int argc, char **argv)
{
    if (argc != 7)
        die("usage: burst PORT PID CONNECTIONS WORK WARMUP SECONDS");
    watch_process(argv[2]);
    connection_count = strtoul(argv[3], NULL, 10);
    work = strtoul(argv[4], NULL, 10);
    connections = calloc(connection_count, sizeof *connections);
    if (!connection_count || !connections)
        die("CONNECTIONS is at least 1");
    for (size_t i = 0; i < connection_count; i++)
        open_timed(&connections[i], atoi(argv[1]));
    bursts(atof(argv[5]));
    struct reading before = read_figures();
    bursts(atof(argv[6]));
    print_figures(before, read_figures());
    printf(", \"mean\": %.3f, \"p50\": %.3f, \"p99\": %.3f}\n",
           mean_of(&samples), percentile(&samples, 50), percentile(&samples, 99));
    return 0;
}
