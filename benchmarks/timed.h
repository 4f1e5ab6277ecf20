/* A TCP connection whose answers are timed by the kernel: the moment at which it had them, and not that at which a load
 * with other things to do came to look (socket(7), SO_TIMESTAMPNS). After figures.h.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MESSAGE = 64, NUMBER = 8 };

struct timed { int fd; double asked; bool waiting; size_t received; char request[MESSAGE], reply[MESSAGE]; };

/* The clock of the kernel's time stamps. */
static double clock_of_stamps(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void open_timed(struct timed *timed, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    timed->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (timed->fd < 0 || connect(timed->fd, (struct sockaddr *)&address, sizeof address) < 0
        || setsockopt(timed->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0
        || setsockopt(timed->fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one) < 0)
        die("no connection: %s", strerror(errno));
}

/* Sends the request, which begins with `number`. The rest differs each time, so that a reply to another is noticed. */
static void ask_timed(struct timed *timed, uint64_t number)
{
    memcpy(timed->request, &number, NUMBER);
    for (size_t i = NUMBER; i < MESSAGE; i++)
        timed->request[i]++;
    timed->asked = clock_of_stamps();
    timed->received = 0;
    timed->waiting = true;
    if (send(timed->fd, timed->request, MESSAGE, MSG_NOSIGNAL | MSG_DONTWAIT) != MESSAGE)
        die("send: %s", strerror(errno));
}

static double stamp_of(struct msghdr *message)
{
    struct timespec time;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_TIMESTAMPNS) {
            memcpy(&time, CMSG_DATA(part), sizeof time);
            return time.tv_sec + time.tv_nsec * 1e-9;
        }
    return clock_of_stamps();
}

/* The microseconds until the whole reply was there, below 0 while it is not. All but the number is what was sent. */
static double answered_after(struct timed *timed)
{
    char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {timed->reply + timed->received, MESSAGE - timed->received};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(timed->fd, &message, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return -1;
    if (got < 0)
        die("recv: %s", strerror(errno));
    if (got == 0)
        die("the server closed a connection");
    timed->received += got;
    if (timed->received < MESSAGE)
        return -1;
    if (memcmp(timed->reply + NUMBER, timed->request + NUMBER, MESSAGE - NUMBER))
        die("a reply with other bytes");
    timed->waiting = false;
    return (stamp_of(&message) - timed->asked) * 1e6;
}

static inline uint64_t number_in_reply(const struct timed *timed)
{
    uint64_t number;
    memcpy(&number, timed->reply, NUMBER);
    return number;
}
