/* How long a server takes from the start of its process to its first answer.
 *
 *     coldstart CPU SECONDS COMMAND...
 *
 * Starts COMMAND on CPU, reads the port that it prints, connects, sends 64 bytes, waits for the same bytes, and kills it;
 * again and again for SECONDS, and three times at least. Prints what load.c prints, over all starts, and the milliseconds
 * to the answer and of CPU time until then, medians.
 */
#define _GNU_SOURCE
#include "figures.h"
#include "samples.h"
#include "timed.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

enum { LEAST = 3 };

static struct samples taken, used;
static struct reading total;

static pid_t start(int cpu, char **command, int *output)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        die("pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        cpu_set_t only;
        CPU_ZERO(&only);
        CPU_SET(cpu, &only);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (sched_setaffinity(0, sizeof only, &only) == 0 && dup2(ends[1], STDOUT_FILENO) >= 0)
            execv(command[0], command);
        die("%s: %s", command[0], strerror(errno));
    }
    if (pid < 0)
        die("fork: %s", strerror(errno));
    close(ends[1]);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *output = ends[0];
    return pid;
}

/* Without sleeping, as all that is measured here. */
static int read_port(int output)
{
    char line[32] = "";
    size_t length = 0;
    for (double deadline = now() + STUCK_SECONDS; !strchr(line, '\n');) {
        ssize_t got = read(output, line + length, sizeof line - 1 - length);
        if (got == 0 || length == sizeof line - 1)
            die("the server printed no port");
        if (now() > deadline)
            die("no port for %d s", STUCK_SECONDS);
        length += got > 0 ? got : 0;
    }
    return atoi(line);
}

static void measure(int cpu, char **command)
{
    struct timed ask = {0};
    static char text[16];
    int output;
    double begun = now();
    pid_t pid = start(cpu, command, &output);
    open_timed(&ask, read_port(output));
    ask_timed(&ask, 0);
    while (answered_after(&ask) < 0)
        if (now() > begun + STUCK_SECONDS)
            die("no reply for %d s", STUCK_SECONDS);
    add_sample(&taken, (now() - begun) * 1e3);
    snprintf(text, sizeof text, "%d", pid);
    watch_process(text);
    struct reading reading = read_figures();
    add_sample(&used, reading.cpu * 1e-6);
    total.cpu += reading.cpu, total.ticks += reading.ticks, total.user += reading.user;
    total.server_waited += reading.server_waited;
    total.load_waited = reading.load_waited;
    requests++;
    close(ask.fd);
    close(output);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        die("usage: coldstart CPU SECONDS COMMAND...");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    double begun = now(), end = begun + atof(argv[2]);
    do
        measure(atoi(argv[1]), argv + 3);
    while (requests < LEAST || now() < end);
    total.time = now() - begun;
    total.requests = requests;
    print_figures((struct reading){0}, total);
    printf(", \"ms\": %.4f, \"cpu_ms\": %.4f}\n", percentile(&taken, 50), percentile(&used, 50));
    return 0;
}
