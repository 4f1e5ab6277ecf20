"""The C of pulse.pyx that needs no GIL: the watchdog's sleep, what the kernel says about a thread, and the guard.

The guard is no thread of Python's. It runs from the moment at which the watchdog asks for the GIL until it sleeps again. If the
GIL doesn't come within GRACE seconds and the turn is still the same, the guard prints the stacks: by the C function that
faulthandler has registered for a signal (pulse.open_dump), called directly. That function allocates nothing and takes no lock.
While one thread holds the GIL for so long, the frames that it reads don't change. The watchdog's thread may also lose the GIL
later, when it writes a log: edgeloop_starves.
"""

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>

    int edgeloop_quiet_threads = 0;  /* interpreter.pxd: the loop keeps the GIL in a poll while all other threads are such */

    static void edgeloop_be_quiet(int change) {
        if (change) __atomic_add_fetch(&edgeloop_quiet_threads, change, __ATOMIC_SEQ_CST);
        else edgeloop_quiet_threads = 0;
    }

    static double edgeloop_seconds(clockid_t clock) {
        struct timespec moment;
        if (clock_gettime(clock, &moment) < 0) return 0.0;
        return moment.tv_sec + moment.tv_nsec * 1e-9;
    }

    static double edgeloop_now(void) { return edgeloop_seconds(CLOCK_MONOTONIC); }

    static struct timespec edgeloop_moment(double seconds) {
        struct timespec moment;
        moment.tv_sec = (time_t)seconds;
        moment.tv_nsec = (long)((seconds - moment.tv_sec) * 1e9);
        return moment;
    }

    /* A sleep that another thread can end: a flag, and a condition on the clock of the loop. */
    typedef struct edgeloop_sleeper {
        pthread_mutex_t mutex;
        pthread_cond_t condition;
        int woken;
    } edgeloop_sleeper;

    static edgeloop_sleeper *edgeloop_new_sleeper(void) {
        edgeloop_sleeper *sleeper = calloc(1, sizeof *sleeper);
        pthread_condattr_t attributes;
        if (sleeper == NULL) return NULL;
        pthread_mutex_init(&sleeper->mutex, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&sleeper->condition, &attributes);
        pthread_condattr_destroy(&attributes);
        return sleeper;
    }

    static void edgeloop_free_sleeper(edgeloop_sleeper *sleeper) {
        if (sleeper == NULL) return;
        pthread_cond_destroy(&sleeper->condition);
        pthread_mutex_destroy(&sleeper->mutex);
        free(sleeper);
    }

    static void edgeloop_end_sleep(edgeloop_sleeper *sleeper) {
        pthread_mutex_lock(&sleeper->mutex);
        sleeper->woken = 1;
        pthread_cond_broadcast(&sleeper->condition);
        pthread_mutex_unlock(&sleeper->mutex);
    }

    static void edgeloop_sleep_until(edgeloop_sleeper *sleeper, double when) {
        struct timespec moment = edgeloop_moment(when);
        pthread_mutex_lock(&sleeper->mutex);
        while (!sleeper->woken) {
            if (pthread_cond_timedwait(&sleeper->condition, &sleeper->mutex, &moment) == ETIMEDOUT) break;
        }
        sleeper->woken = 0;
        pthread_mutex_unlock(&sleeper->mutex);
    }

    /* proc_pid(5): read a small file of a thread of this process. Return 0 if there is none. */
    static int edgeloop_read(int tid, const char *name, char *text, size_t size) {
        char path[64];
        int fd;
        ssize_t length;
        snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return 0;
        length = read(fd, text, size - 1);
        close(fd);
        text[length > 0 ? length : 0] = 0;
        return length > 0;
    }

    static int edgeloop_tid(void) { return (int)syscall(SYS_gettid); }

    /* Seconds that a thread has waited for a processor: the second number of schedstat, in nanoseconds. */
    static double edgeloop_delay(int tid) {
        char text[128];
        unsigned long long cpu, delay;
        if (tid <= 0 || !edgeloop_read(tid, "schedstat", text, sizeof text)) return 0.0;
        return sscanf(text, "%llu %llu", &cpu, &delay) == 2 ? delay * 1e-9 : 0.0;
    }

    /* clock_getcpuclockid(3) for a thread: the complement of its number, and CPUCLOCK_PERTHREAD | CPUCLOCK_SCHED. */
    static double edgeloop_cpu(int tid) {
        return tid > 0 ? edgeloop_seconds((clockid_t)((~(unsigned)tid << 3) | 6)) : 0.0;
    }

    static void edgeloop_examine(int tid, char *state, int *call) {
        char text[512], *end;
        *state = '?';
        *call = -2;
        if (tid <= 0) return;
        if (edgeloop_read(tid, "stat", text, sizeof text) && (end = strrchr(text, ')')) != NULL && end[1] && end[2]) {
            *state = end[2];
        }
        if (edgeloop_read(tid, "syscall", text, sizeof text)) {
            *call = text[0] == 'r' ? -1 : atoi(text);  /* "running", or the number first */
        }
    }

    static void (*edgeloop_dump)(int) = NULL;
    static int edgeloop_dump_signal = 0;
    static int edgeloop_dump_file = -1;

    /* Return 1 if faulthandler has a function for this signal. */
    static int edgeloop_find_dump(int number, int file) {
        struct sigaction action;
        edgeloop_dump = NULL;
        if (number <= 0 || sigaction(number, NULL, &action) < 0 || action.sa_flags & SA_SIGINFO) return 0;
        if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) return 0;
        edgeloop_dump_signal = number;
        edgeloop_dump_file = file;
        edgeloop_dump = action.sa_handler;
        return 1;
    }

    typedef struct edgeloop_guard {
        pthread_t thread;
        int started, cancelled, locked;
        volatile double *busy_since, *collecting_since;
        double threshold, offset, seconds, printed;
        int tid, watcher;
        char state;
        int call;
    } edgeloop_guard;

    static void edgeloop_write(const char *text, size_t length) {
        while (length > 0) {
            ssize_t written = write(2, text, length);
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0) return;
            text += written;
            length -= (size_t)written;
        }
    }

    static void edgeloop_print(edgeloop_guard *guard) {
        char text[4096];
        void (*dump)(int) = edgeloop_dump;
        const char *place = *guard->collecting_since ? "it collects garbage" : guard->state == 'R' ? "it runs" : "it sleeps";
        off_t offset = 0;
        ssize_t length = snprintf(text, sizeof text,
            "edgeloop.watch: the event loop of thread %d has been blocked for %.3f s, and the interpreter's lock is held"
            " (%s, system call %d). All threads:\\n", guard->tid, guard->seconds, place, guard->call);
        edgeloop_write(text, (size_t)length);
        if (ftruncate(edgeloop_dump_file, 0) < 0 || lseek(edgeloop_dump_file, 0, SEEK_SET) < 0) return;
        dump(edgeloop_dump_signal);
        while ((length = pread(edgeloop_dump_file, text, sizeof text, offset)) > 0) {
            edgeloop_write(text, (size_t)length);
            offset += length;
        }
    }

    static int edgeloop_wait(edgeloop_guard *guard, double seconds) {
        double end = edgeloop_now() + seconds;
        struct timespec step = {0, 2000000};
        do {
            if (__atomic_load_n(&guard->cancelled, __ATOMIC_ACQUIRE)) return 0;
            nanosleep(&step, NULL);
        } while (edgeloop_now() < end);
        return !__atomic_load_n(&guard->cancelled, __ATOMIC_ACQUIRE);
    }

    static unsigned long long edgeloop_slices(int tid) {
        char text[128];
        unsigned long long cpu, delay, slices;
        if (!edgeloop_read(tid, "schedstat", text, sizeof text)) return 0;
        return sscanf(text, "%llu %llu %llu", &cpu, &delay, &slices) == 3 ? slices : 0;
    }

    /* Return 1 if the watchdog's thread waits for the GIL. It wakes up each switch interval then, does nothing but ask for
       the GIL, and sleeps in the system call in which this thread, which has no part in that, sees it. */
    static int edgeloop_starves(edgeloop_guard *guard) {
        unsigned long long slices = edgeloop_slices(guard->watcher);
        double cpu = edgeloop_cpu(guard->watcher);
        char state;
        int call;
        if (!slices || !edgeloop_wait(guard, 0.06)) return 0;
        if (edgeloop_slices(guard->watcher) < slices + 3 || edgeloop_cpu(guard->watcher) - cpu > 0.006) return 0;
        edgeloop_examine(guard->watcher, &state, &call);
        return state == 'S' && call == SYS_futex;
    }

    /* From the moment at which the watchdog asks for the GIL until it sleeps again. */
    static void *edgeloop_run_guard(void *argument) {
        edgeloop_guard *guard = argument;
        double began = edgeloop_now(), delay = edgeloop_delay(guard->tid), turn;
        while (edgeloop_wait(guard, 0.02)) {
            turn = *guard->busy_since;
            if (turn == 0.0 || turn == 1.0 || turn == guard->printed) continue;
            guard->seconds = edgeloop_now() + guard->offset - turn;
            if (guard->seconds < guard->threshold) continue;
            if (__atomic_load_n(&guard->locked, __ATOMIC_ACQUIRE)) {
                /* A thread that gets no processor gives no lock away: that time doesn't count. */
                if (edgeloop_now() - began - (edgeloop_delay(guard->tid) - delay) < 0.1) continue;
            }
            else if (!edgeloop_starves(guard)) continue;
            if (__atomic_load_n(&guard->cancelled, __ATOMIC_ACQUIRE) || *guard->busy_since != turn) continue;
            guard->printed = turn;
            edgeloop_examine(guard->tid, &guard->state, &guard->call);
            edgeloop_print(guard);
        }
        return NULL;
    }

    static void edgeloop_start_guard(edgeloop_guard *guard) {
        sigset_t all, before;
        guard->cancelled = 0;
        guard->locked = 1;
        if (edgeloop_dump == NULL || guard->started) return;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);  /* signals are the program's threads' */
        guard->started = pthread_create(&guard->thread, NULL, edgeloop_run_guard, guard) == 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }

    static void edgeloop_got_lock(edgeloop_guard *guard) {
        __atomic_store_n(&guard->locked, 0, __ATOMIC_RELEASE);
    }

    /* It ends within 2 ms, or when it has printed. */
    static void edgeloop_end_guard(edgeloop_guard *guard) {
        if (!guard->started) return;
        __atomic_store_n(&guard->cancelled, 1, __ATOMIC_RELEASE);
        pthread_join(guard->thread, NULL);
        guard->started = 0;
    }
    """
    ctypedef struct edgeloop_sleeper:
        pass
    ctypedef struct edgeloop_guard:
        double* busy_since
        double* collecting_since
        double threshold
        double offset
        double printed
        int tid
        int watcher
    void edgeloop_be_quiet(int change) noexcept nogil
    edgeloop_sleeper* edgeloop_new_sleeper() noexcept nogil
    void edgeloop_free_sleeper(edgeloop_sleeper* sleeper) noexcept nogil
    void edgeloop_end_sleep(edgeloop_sleeper* sleeper) noexcept nogil
    void edgeloop_sleep_until(edgeloop_sleeper* sleeper, double when) noexcept nogil
    double edgeloop_now() noexcept nogil
    int edgeloop_tid() noexcept nogil
    double edgeloop_delay(int tid) noexcept nogil
    double edgeloop_cpu(int tid) noexcept nogil
    void edgeloop_examine(int tid, char* state, int* call) noexcept nogil
    int edgeloop_find_dump(int number, int file) noexcept nogil
    void edgeloop_start_guard(edgeloop_guard* guard) noexcept nogil
    void edgeloop_got_lock(edgeloop_guard* guard) noexcept nogil
    void edgeloop_end_guard(edgeloop_guard* guard) noexcept nogil
