"""The system calls on datagram sockets. ``datagrams.py`` is the pure edition, and says what callers may rely on.

The calls hold the GIL. The addresses of IPv4, IPv6 and Unix sockets are converted here. The socket object converts all
others, and resolves host names.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF, PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

from edgeloop.kernel cimport sockets
from edgeloop.kernel.calls cimport again
from edgeloop.kernel.headers cimport (
    AF_INET, AF_INET6, AF_UNIX, MSG_DONTWAIT, MSG_NOSIGNAL, c_send, c_sendto, htonl, htons, inet_pton, iovec, mmsghdr, msghdr, recvmmsg, sendmmsg, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_storage, sockaddr_un, socklen_t,
)

import os

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bytes PyUnicode_EncodeFSDefault(object text)
    bint PyUnicode_CheckExact(object text)
    bint PyLong_CheckExact(object number)
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

cdef enum:
    PATH_SIZE = 108
    FAMILY_SIZE = 2  # the length of an address includes the family field, unix(7)
    KNOWN = 1024

MAX_DATAGRAMS = BATCH

# The owner of a socket that was passed in may have set it to block.
cdef int SEND_FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT

# Shared by every loop of the process. A page takes no memory until a datagram reaches it.
cdef char scratch[BATCH * STRIDE]
cdef mmsghdr incoming[BATCH]
cdef iovec incoming_data[BATCH]
cdef sockaddr_storage incoming_names[BATCH]

# Set while the buffers are in use. Making objects of the messages may run a garbage collection: any code, in any thread.
cdef bint in_use = False

# Recent senders, by the address that the kernel returns, and recent targets, by the identity of the caller's tuple. Both are
# direct-mapped tables: a new entry replaces what is in its place. Converting an address costs nearly as much as the rest of
# the loop's work on a datagram.
cdef struct Known:
    PyObject* address  # owned
    socklen_t length
    sockaddr_in6 name  # or the shorter sockaddr_in

cdef Known peers[KNOWN]
cdef Known targets[KNOWN]


cdef void prepare() noexcept:
    cdef int i
    for i in range(BATCH):
        incoming_data[i].iov_base = scratch + i * STRIDE
        incoming_data[i].iov_len = MAX_BYTES
        incoming[i].msg_hdr.msg_iov = &incoming_data[i]
        incoming[i].msg_hdr.msg_iovlen = 1
        incoming[i].msg_hdr.msg_name = &incoming_names[i]
        incoming[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)


prepare()


cdef object failure(int error):
    return OSError(error, os.strerror(error))


cdef void remember(Known* place, address, const void* name, socklen_t length) noexcept:
    cdef PyObject* before = place.address
    Py_INCREF(address)
    place.address = <PyObject*>address
    place.length = length
    memcpy(&place.name, name, length)
    Py_XDECREF(before)


cdef object peer_of(int fd, sockaddr_storage* name, socklen_t length):
    """Return the sender's address in the form of the socket module, or None for a Unix socket without a name."""
    cdef uint32_t words[2]
    cdef uint32_t mixed
    cdef Known* place
    cdef sockaddr_in6* six = <sockaddr_in6*>name
    if length == 0:
        return None
    if name.ss_family == AF_INET:
        length = 8  # family, port, address; the rest is padding
        memcpy(words, name, 8)
        mixed = words[0] ^ words[1]
    elif name.ss_family == AF_INET6 and length == sizeof(sockaddr_in6):
        memcpy(words, <char*>&six.sin6_addr + 8, 8)
        mixed = words[0] ^ words[1] ^ six.sin6_port
    else:
        return sockets.address_of(fd, name, length, True)
    place = &peers[(mixed * 2654435761u) >> 22]
    if place.address != NULL and place.length == length and memcmp(&place.name, name, length) == 0:
        return <object>place.address
    address = sockets.address_of(fd, name, length, True)
    remember(place, address, name, length)
    return address


cpdef list recv_datagrams(int fd, int family, sock):
    """Receive at most MAX_DATAGRAMS messages. Fewer mean that the next call would block or has failed.

    Return a flat list: data, sender's address, data, address. An error is the last pair, (OSError, None): the kernel reports
    each once, so raising it would lose the messages before it. The address is None for a Unix socket without a name.
    """
    global in_use
    if in_use or (family != AF_INET and family != AF_INET6 and family != AF_UNIX):
        return recv_by_object(sock)
    in_use = True
    try:
        return recv_batch(fd)
    finally:
        in_use = False


cdef int fill(int fd) except? -1:
    """Receive into ``incoming``. Return the number of messages, or the negative errno."""
    cdef int count
    while True:
        count = recvmmsg(fd, incoming, BATCH, MSG_DONTWAIT, NULL)
        if count >= 0:
            return count
        if errno != EINTR:
            return -errno
        PyErr_CheckSignals()


cdef list recv_batch(int fd):
    cdef int i, count = fill(fd)
    cdef list arrived
    if count == -EAGAIN:
        return []
    if count < 0:
        return [failure(-count), None]
    arrived = []
    try:
        for i in range(count):
            arrived.append(PyBytes_FromStringAndSize(scratch + i * STRIDE, incoming[i].msg_len))
            arrived.append(peer_of(fd, &incoming_names[i], incoming[i].msg_hdr.msg_namelen))
    finally:
        for i in range(count):
            incoming[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)  # recvmmsg(2) has overwritten it
    return arrived


cdef list recv_by_object(sock):
    cdef list arrived = []
    try:
        while len(arrived) < 2 * BATCH:
            arrived.extend(sock.recvfrom(MAX_BYTES, MSG_DONTWAIT))
    except BlockingIOError:
        pass
    except OSError as exc:
        arrived.append(exc)
        arrived.append(None)
    return arrived


cdef socklen_t name_of(int family, address, void* name) except? 0:
    """Write the socket address to ``name``. Return its length, or 0 if the socket object must convert it."""
    cdef Known* place
    cdef socklen_t length
    if family == AF_UNIX:
        return local_name(address, <sockaddr_un*>name)
    if type(address) is not tuple:
        return 0
    # The table owns a reference to the tuple, so no other object can have its address in memory.
    place = &targets[<uint32_t>((<uintptr_t><PyObject*>address >> 4) * 2654435761u) >> 22]
    if place.address == <PyObject*>address and place.name.sin6_family == family:
        memcpy(name, &place.name, place.length)
        return place.length
    length = internet_name(family, <tuple>address, name)
    if length:
        remember(place, address, name, length)
    return length


cdef socklen_t internet_name(int family, tuple address, void* name) except? 0:
    cdef sockaddr_in* four = <sockaddr_in*>name
    cdef sockaddr_in6* six = <sockaddr_in6*>name
    cdef const char* host
    cdef Py_ssize_t size
    cdef long long numbers[3]
    cdef int i, overflow
    cdef int parts = <int>len(address)
    if parts < 2 or parts > 4 or not PyUnicode_CheckExact(address[0]):
        return 0
    memset(numbers, 0, sizeof(numbers))
    for i in range(parts - 1):
        if not PyLong_CheckExact(address[i + 1]):
            return 0
        numbers[i] = PyLong_AsLongLongAndOverflow(address[i + 1], &overflow)
        if overflow:
            return 0
    if not 0 <= numbers[0] <= 0xFFFF or not 0 <= numbers[1] <= 0xFFFFF or not 0 <= numbers[2] <= 0xFFFFFFFF:
        return 0
    if not address[0].isascii():
        return 0
    host = PyUnicode_AsUTF8AndSize(address[0], &size)
    if strlen(host) != <size_t>size:
        return 0  # it contains a NUL
    if family == AF_INET:
        memset(four, 0, sizeof(sockaddr_in))
        if parts != 2 or inet_pton(AF_INET, host, &four.sin_addr) != 1:
            return 0
        four.sin_family = <unsigned short>AF_INET
        four.sin_port = htons(<unsigned short>numbers[0])
        return sizeof(sockaddr_in)
    memset(six, 0, sizeof(sockaddr_in6))
    if inet_pton(AF_INET6, host, &six.sin6_addr) != 1:
        return 0
    six.sin6_family = <unsigned short>AF_INET6
    six.sin6_port = htons(<unsigned short>numbers[0])
    six.sin6_flowinfo = htonl(<uint32_t>numbers[1])
    six.sin6_scope_id = <uint32_t>numbers[2]
    return sizeof(sockaddr_in6)


cdef socklen_t local_name(address, sockaddr_un* name) except? 0:
    cdef bytes path
    cdef Py_ssize_t size
    if type(address) is str:
        path = PyUnicode_EncodeFSDefault(address)
    elif type(address) is bytes:
        path = address
    else:
        return 0
    size = PyBytes_GET_SIZE(path)
    if size == 0 or size > PATH_SIZE:
        return 0
    memset(name, 0, sizeof(sockaddr_un))
    name.sun_family = <unsigned short>AF_UNIX
    memcpy(name.sun_path, PyBytes_AS_STRING(path), size)
    if name.sun_path[0] == 0:
        return <socklen_t>(FAMILY_SIZE + size)
    if size == PATH_SIZE:
        return 0  # the NUL does not fit
    return <socklen_t>(FAMILY_SIZE + size + 1)


cpdef bint send_datagram(int fd, int family, sock, bytes data, address) except -1:
    """Send one message. Return True, or False if the call would block."""
    cdef sockaddr_storage name
    cdef socklen_t length
    cdef ssize_t count
    if data is None:
        raise TypeError("a message's data must be bytes")
    if address is not None:
        length = name_of(family, address, &name)
        if length == 0:
            try:
                sock.sendto(data, SEND_FLAGS, address)
            except BlockingIOError:
                return False
            return True
    while True:
        if address is None:
            count = c_send(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), SEND_FLAGS)
        else:
            count = c_sendto(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), SEND_FLAGS, <sockaddr*>&name, length)
        if count >= 0:
            return True
        if not again():
            return False


cpdef bint is_plain(int family, address) noexcept:
    """Return True if the kernel takes the address as it is: no name has to be looked up, and its form raises nothing.

    False says nothing: the socket object decides.
    """
    cdef sockaddr_storage name
    if family != AF_INET and family != AF_INET6 and family != AF_UNIX:
        return False
    try:
        return name_of(family, address, &name) != 0
    except Exception:
        return False


cpdef tuple send_datagrams(int fd, int family, sock, list messages, Py_ssize_t first):
    """Send ``messages[first:]`` in order. Return the index of the first that was not sent, and its exception or None.

    With None it would block, or, at the end of the list, all were sent. Nothing is raised: the index would be lost.
    """
    cdef Py_ssize_t index = first
    cdef int sent
    # Not on the stack, which may be small in a thread, threading.stack_size().
    cdef SendBatch* batch = <SendBatch*>malloc(sizeof(SendBatch))
    if batch == NULL:
        return index, MemoryError()
    batch.count = 0
    try:
        if index < 0:
            raise IndexError("the first message's index is negative")
        while index < len(messages):
            gather(family, messages, index, batch)
            if batch.count < 2:
                free_batch(batch)
                message = messages[index]
                if not send_datagram(fd, family, sock, data_of(message), message[1]):
                    break
                index += 1
                continue
            sent = sendmmsg(fd, batch.headers, batch.count, SEND_FLAGS)
            free_batch(batch)
            if sent > 0:
                # If fewer were sent, the error of the next is lost, sendmmsg(2). Sent again as the first, it returns it.
                index += sent
            elif errno == EAGAIN:
                break
            elif errno == EINTR:
                PyErr_CheckSignals()
            else:
                return index, failure(errno)
    except BaseException as exc:
        return index, exc
    finally:
        free_batch(batch)
        free(batch)
    return index, None


cdef bytes data_of(message):
    if type(message) is not tuple or len(<tuple>message) != 2 or type((<tuple>message)[0]) is not bytes:
        raise TypeError("a message must be a tuple of its data, which is bytes, and its address")
    return (<tuple>message)[0]


cdef void free_batch(SendBatch* batch) noexcept:
    cdef int error = errno
    while batch.count:
        batch.count -= 1
        Py_DECREF(<object>batch.held[batch.count])
    (&errno)[0] = error


cdef int gather(int family, list messages, Py_ssize_t first, SendBatch* batch) except -1:
    """Prepare a sendmmsg(2) of the messages from ``first`` on. ``free_batch`` must follow, also when it raises.

    A message to a connected socket's peer ends the batch: an ICMP error of one fails the next, and sendmmsg(2) would lose
    the error. They are sent one by one, which costs no more.
    """
    cdef int count = 0
    cdef socklen_t length
    cdef bytes data
    cdef msghdr* header
    while count < BATCH and first + count < len(messages):
        message = messages[first + count]
        data = data_of(message)
        address = (<tuple>message)[1]
        if address is None:
            break
        length = name_of(family, address, &batch.names[count])
        if length == 0:
            break
        batch.data[count].iov_base = PyBytes_AS_STRING(data)
        batch.data[count].iov_len = PyBytes_GET_SIZE(data)
        header = &batch.headers[count].msg_hdr
        memset(header, 0, sizeof(msghdr))
        header.msg_name = &batch.names[count]
        header.msg_namelen = length
        header.msg_iov = &batch.data[count]
        header.msg_iovlen = 1
        Py_INCREF(data)
        batch.held[count] = <PyObject*>data
        count += 1
        batch.count = count
    return 0
