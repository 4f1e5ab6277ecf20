/* What the programs that load a server have in common: the clocks of the server's process, and the line that is printed. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { STUCK_SECONDS = 10 };

struct reading { double time; int64_t cpu, ticks, user, server_waited, load_waited; uint64_t requests; };

static uint64_t requests;
static const char *server_pid;
static clockid_t cpu_clock, ticks_clock, user_clock;

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

/* clock_getcpuclockid(3) gives the scheduler's exact clock; the lowest two bits choose between it (2), the tick's
   sample of user time (1) and the tick's sample of both (0): CPUCLOCK_* in Linux's posix-timers_types.h. */
static void watch_process(const char *pid)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    server_pid = pid;
    if (clock_getcpuclockid(atoi(pid), &cpu_clock) != 0)
        die("no such process: %s", pid);
    user_clock = (cpu_clock & ~3) | 1;
    ticks_clock = cpu_clock & ~3;
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

/* All but the closing brace and the end of the line, for programs that have more to say. */
static void print_figures(struct reading before, struct reading after)
{
    int64_t server_waited = after.server_waited - before.server_waited;
    int64_t load_waited = after.load_waited - before.load_waited;
    printf("{\"requests\": %lu, \"seconds\": %.6f, \"cpu_ns\": %ld, \"ticks_ns\": %ld, \"user_ns\": %ld, "
           "\"waited_ns\": %ld, \"load_waited_ns\": %ld", after.requests - before.requests, after.time - before.time, after.cpu - before.cpu,
           after.ticks - before.ticks, after.user - before.user,
           server_waited > load_waited ? server_waited : load_waited, load_waited);
}
