/* When the pieces of an answer arrive whose handler computes between them, as one that streams tokens does.
 *
 *     firstbyte ADDRESS PID WARMUP SECONDS
 *
 * ADDRESS is as peer.h says. A request is 64 bytes, of which the first eight say how many microseconds the handler
 * computes after each of the four pieces of 64 bytes that it answers with. A round is SHORT requests with nothing to
 * compute, and LONG ones with WORK each. Prints what load.c prints, and by how many microseconds the pieces of the long
 * ones came later than if each had been sent before the handler began to compute:
 *
 *     first        the first piece of a long request that follows a long one, median
 *     after_short  the first piece of a long request that follows short ones, median
 *     mean, p99    all pieces of all long requests
 */
#define _GNU_SOURCE
#include "figures.h"
#include "peer.h"
#include "samples.h"

enum { PIECE = 64, PIECES = 4, NUMBER = 8, SHORT = 16, LONG = 3, WORK = 2000 };

static struct peer peer;
static char request[PIECE], reply[PIECE + 1];
static struct samples all, first, after_short;

static void await_piece(int number, double deadline)
{
    for (size_t received = 0; received < PIECE;) {
        received += receive_from_peer(&peer, reply + received, PIECE - received);
        if (now() > deadline)
            die("no reply for %d s", STUCK_SECONDS);
    }
    for (size_t i = 0; i < PIECE; i++)
        if (reply[i] != number)
            die("a reply with other bytes");
}

static void ask(uint64_t work, struct samples *of_first)
{
    memcpy(request, &work, NUMBER);
    double asked = now();
    for (size_t sent = 0; sent < PIECE;)
        sent += send_to_peer(&peer, request + sent, PIECE - sent);
    for (int number = 0; number < PIECES; number++) {
        await_piece(number, asked + STUCK_SECONDS);
        double late = (now() - asked) * 1e6 - number * (double)work;
        if (of_first) {
            add_sample(&all, late);
            if (number == 0)
                add_sample(of_first, late);
        }
    }
    requests++;
    /* The handler computes after its last piece too: only then can it take the next request. */
    for (double end = asked + PIECES * work * 1e-6 + 100e-6; now() < end;)
        continue;
}

static void rounds(double seconds)
{
    all.count = first.count = after_short.count = 0;
    double end = now() + seconds;
    do {
        for (int i = 0; i < SHORT; i++)
            ask(0, NULL);
        for (int i = 0; i < LONG; i++)
            ask(WORK, i ? &first : &after_short);
    } while (now() < end);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        die("usage: firstbyte ADDRESS PID WARMUP SECONDS");
    choose_server(argv[1]);
    watch_process(argv[2]);
    connect_peer(&peer);
    rounds(atof(argv[3]));
    struct reading before = read_figures();
    rounds(atof(argv[4]));
    print_figures(before, read_figures());
    printf(", \"first\": %.3f, \"after_short\": %.3f, \"mean\": %.3f, \"p99\": %.3f}\n",
           percentile(&first, 50), percentile(&after_short, 50), mean_of(&all), percentile(&all, 99));
    close_peer(&peer);
    return 0;
}
