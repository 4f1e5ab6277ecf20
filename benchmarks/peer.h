/* A connection to the server over TCP, a Unix socket or TLS, for loads that never sleep. ADDRESS is
 *
 *     PORT        TCP on 127.0.0.1
 *     tls:PORT    TLS over it; the certificate is not looked at
 *     /PATH       a Unix socket
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#endif

enum { ADDRESSES = 64 };

struct peer {
    int fd;
#ifdef WITH_TLS
    SSL *tls;
#endif
};

static union { struct sockaddr any; struct sockaddr_in tcp; struct sockaddr_un local; } server;
static socklen_t server_length;
#ifdef WITH_TLS
static SSL_CTX *tls_context;
#endif

static void choose_server(const char *address)
{
    if (address[0] == '/') {
        server.local.sun_family = AF_UNIX;
        snprintf(server.local.sun_path, sizeof server.local.sun_path, "%s", address);
        server_length = sizeof server.local;
        return;
    }
    if (!strncmp(address, "tls:", 4)) {
#ifdef WITH_TLS
        address += 4;
        tls_context = SSL_CTX_new(TLS_client_method());
        if (!tls_context)
            die("no TLS context");
        SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        /* Each handshake is a whole one. */
        SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF);
#else
        die("built without OpenSSL's headers (in Debian, the package libssl-dev)");
#endif
    }
    server.tcp = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(address)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server_length = sizeof server.tcp;
}

static void connect_peer(struct peer *peer)
{
    static unsigned opened;
    int one = 1;
    peer->fd = socket(server.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->fd < 0)
        die("no socket: %s", strerror(errno));
    if (server.any.sa_family == AF_INET) {
        /* Other source addresses, so that connections that were just closed (TIME_WAIT) do not use up the ports. */
        struct sockaddr_in source = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK + opened++ % ADDRESSES)};
        setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        setsockopt(peer->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(peer->fd, (struct sockaddr *)&source, sizeof source) < 0)
            die("bind: %s", strerror(errno));
    }
    if (connect(peer->fd, &server.any, server_length) < 0)
        die("no connection: %s", strerror(errno));
#ifdef WITH_TLS
    if (tls_context) {
        int flags = 1;
        if (ioctl(peer->fd, FIONBIO, &flags) < 0 || !(peer->tls = SSL_new(tls_context)))
            die("no TLS connection");
        SSL_set_fd(peer->tls, peer->fd);
        SSL_set_connect_state(peer->tls);
    }
#endif
}

static void close_peer(struct peer *peer)
{
#ifdef WITH_TLS
    if (peer->tls) {
        SSL_shutdown(peer->tls);
        SSL_free(peer->tls);
        peer->tls = NULL;
    }
#endif
    close(peer->fd);
}

#ifdef WITH_TLS
/* 0 when the connection has nothing for us now. */
static size_t tls_result(struct peer *peer, int result)
{
    if (result > 0)
        return result;
    int error = SSL_get_error(peer->tls, result);
    if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0))
        die("the server closed a connection");
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        die("TLS: %s", ERR_reason_error_string(ERR_peek_error()));
    ERR_clear_error();
    return 0;
}

static size_t receive_records(struct peer *peer, char *to, size_t room)
{
    size_t total = 0, got;
    while (total < room && (got = tls_result(peer, SSL_read(peer->tls, to + total, room - total))))
        total += got;
    return total;
}
#endif

/* How many bytes were taken, 0 if none can be now. */
static size_t send_to_peer(struct peer *peer, const char *data, size_t length)
{
#ifdef WITH_TLS
    if (peer->tls)
        return tls_result(peer, SSL_write(peer->tls, data, length));
#endif
    ssize_t sent = send(peer->fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0)
        return sent;
    if (errno != EAGAIN)
        die("send: %s", strerror(errno));
    return 0;
}

/* Up to `room` bytes, 0 if there are none now. Fewer than `room`: there was no more. */
static size_t receive_from_peer(struct peer *peer, char *to, size_t room)
{
#ifdef WITH_TLS
    if (peer->tls)
        return receive_records(peer, to, room);
#endif
    ssize_t received = recv(peer->fd, to, room, MSG_DONTWAIT);
    if (received < 0) {
        if (errno == EAGAIN)
            return 0;
        die("recv: %s", strerror(errno));
    }
    if (received == 0)
        die("the server closed a connection");
    return received;
}
