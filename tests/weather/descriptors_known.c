/* What is known of descriptors: where they are registered, so that EAGAIN can be followed by an edge, and which are eventfds. */
#include "failing_calls.h"
#include <sys/stat.h>

#define MAX_SETS 3 /* of a descriptor: its loop's, its host's, a test's */

static struct registration {
    int set; /* the epoll descriptor, 0 for none */
    ino_t file; /* 0: neither a socket nor a pipe */
    struct epoll_event event;
} registered[MAX_FDS][MAX_SETS];
static int most_registered = -1;
static char is_eventfd[MAX_FDS], is_epoll[MAX_FDS];
static volatile char locked;

static void lock(void) { while (__atomic_test_and_set(&locked, __ATOMIC_ACQUIRE)) real_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0); }
static void unlock(void) { __atomic_clear(&locked, __ATOMIC_RELEASE); }

static ino_t file_of(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && (S_ISSOCK(found.st_mode) || S_ISFIFO(found.st_mode)) ? found.st_ino : 0;
}

void note_registered(int set, int fd, const struct epoll_event *event) {
    struct registration *entry = NULL;
    int i;
    if (fd < 0 || fd >= MAX_FDS || set < 0 || set >= MAX_FDS || !is_owner()) return;
    ino_t file = file_of(fd);
    lock();
    is_epoll[set] = 1;
    for (i = 0; i < MAX_SETS; i++)
        if (registered[fd][i].set == set || (!registered[fd][i].set && !entry)) entry = &registered[fd][i];
    if (entry) *entry = (struct registration){set, file, *event};
    if (entry && fd > most_registered) most_registered = fd;
    unlock();
}

void forget_registration(int set, int fd) {
    int i;
    if (fd < 0 || fd >= MAX_FDS || !is_owner()) return;
    lock();
    for (i = 0; i < MAX_SETS; i++)
        if (registered[fd][i].set == set) registered[fd][i].set = 0;
    unlock();
}

/* A descriptor that is closed, or replaced by dup2(2). */
void forget_descriptor(int fd) {
    int i, other;
    if (fd < 0 || fd >= MAX_FDS || !is_owner()) return;
    lock();
    for (i = 0; i < MAX_SETS; i++) registered[fd][i].set = 0;
    if (is_epoll[fd])
        for (other = 0; other <= most_registered; other++)
            for (i = 0; i < MAX_SETS; i++)
                if (registered[other][i].set == fd) registered[other][i].set = 0;
    is_epoll[fd] = is_eventfd[fd] = 0;
    unlock();
}

/* In a forked child: the entries are the parent's, and a MOD here would be an edge there. */
void forget_registered(void) {
    memset(registered, 0, sizeof(registered));
    most_registered = -1;
    unlock();
}

int is_edge_triggered(int fd) {
    int i;
    for (i = 0; fd >= 0 && fd < MAX_FDS && i < MAX_SETS; i++)
        if (registered[fd][i].set && registered[fd][i].event.events & EPOLLET) return 1;
    return 0;
}

/* The kernel has news for the file behind fd: whoever registered it, under this number or another, gets another edge. */
void rearm(int fd) {
    int error = errno, other, i;
    if (fd < 0) return;
    ino_t file = file_of(fd);
    lock();
    for (other = 0; other <= most_registered; other++)
        for (i = 0; i < MAX_SETS; i++) {
            struct registration *entry = &registered[other][i];
            if (entry->set && (other == fd || (file && entry->file == file)))
                real_syscall(SYS_epoll_ctl, entry->set, EPOLL_CTL_MOD, other, (long)&entry->event, 0, 0);
        }
    unlock();
    errno = error;
}

void note_eventfd(int fd) {
    if (fd >= 0 && fd < MAX_FDS && is_owner()) is_eventfd[fd] = 1;
}

int is_an_eventfd(int fd) { return fd >= 0 && fd < MAX_FDS && is_eventfd[fd]; }

int is_pipe(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 && S_ISFIFO(found.st_mode);
}
