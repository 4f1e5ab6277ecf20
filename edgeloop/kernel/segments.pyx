"""Datagrams that pass the kernel as one buffer. ``segments.py`` is the pure edition, and says what callers may rely on."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_INCREF, PyObject
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, EOPNOTSUPP, errno
from libc.stdint cimport uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from edgeloop.kernel cimport datagrams
from edgeloop.kernel.datagrams cimport (
    BATCH, MAX_BYTES, SEND_FLAGS, STRIDE, SendBatch, data_of, failure, fill, free_batch, gather, peer_of, send_datagram,
)
from edgeloop.kernel.headers cimport (
    CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, MSG_DONTWAIT, cmsghdr, iovec, msghdr, sendmmsg, sockaddr_storage, socklen_t,
)

import socket
import sys

cdef enum:
    # udp(7). The headers of older C libraries lack the last two.
    LEVEL_UDP = 17
    UDP_SEGMENT = 103
    UDP_GRO = 104
    MAX_SEGMENTED = 65507  # bytes, of IPv4: a packet of them is made before it is cut
    CONTROL_WORDS = 4
    CONTROL_SIZE = 32  # bytes of one message of 2 or 4, cmsg(3), with its padding

# The control messages are of no more than an int.
cdef long long incoming_control[BATCH][CONTROL_WORDS]  # of that type for its alignment


cpdef bint can_segment(sock) except -1:
    """Return True if the kernel cuts what a UDP socket sends (UDP_SEGMENT, Linux 4.18)."""
    try:
        sock.getsockopt(socket.IPPROTO_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


cpdef bint coalesce(sock) except -1:
    """Have the kernel deliver datagrams of one size together (UDP_GRO, Linux 5.0). Return True if it will.

    ``recv_segments`` must receive them from now on.
    """
    try:
        sock.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
    except OSError:
        return False
    return True


cpdef tuple recv_segments(int fd, int family, sock):
    """``recv_datagrams`` of a UDP socket that coalesces: at most MAX_DATAGRAMS buffers, each cut into its datagrams.

    Return the list, and True if the next call would block or fail: its length does not say it.
    """
    cdef int i
    if datagrams.in_use:
        return recv_segments_by_object(sock)
    datagrams.in_use = True
    try:
        for i in range(BATCH):
            datagrams.incoming[i].msg_hdr.msg_control = incoming_control[i]
            datagrams.incoming[i].msg_hdr.msg_controllen = CONTROL_SIZE
        return recv_batch_of_segments(fd)
    finally:
        for i in range(BATCH):
            datagrams.incoming[i].msg_hdr.msg_control = NULL
            datagrams.incoming[i].msg_hdr.msg_controllen = 0
        datagrams.in_use = False


cdef tuple recv_batch_of_segments(int fd):
    cdef int i, count = fill(fd)
    cdef list arrived
    if count == -EAGAIN:
        return [], True
    if count < 0:
        return [failure(-count), None], True
    arrived = []
    try:
        for i in range(count):
            cut(arrived, datagrams.scratch + i * STRIDE, datagrams.incoming[i].msg_len, segment_size(&datagrams.incoming[i].msg_hdr),
                peer_of(fd, &datagrams.incoming_names[i], datagrams.incoming[i].msg_hdr.msg_namelen))
    finally:
        for i in range(count):
            datagrams.incoming[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
    return arrived, count < BATCH


cdef Py_ssize_t segment_size(msghdr* header) noexcept:
    """Return the size of the datagrams that came together, 0 if it is one."""
    cdef int size = 0
    cdef cmsghdr* control = CMSG_FIRSTHDR(header)
    while control != NULL:
        if control.cmsg_level == LEVEL_UDP and control.cmsg_type == UDP_GRO:
            memcpy(&size, CMSG_DATA(control), sizeof(int))
        control = CMSG_NXTHDR(header, control)
    return size if size > 0 else 0


cdef int cut(list arrived, const char* buffer, Py_ssize_t count, Py_ssize_t size, address) except -1:
    cdef Py_ssize_t start = 0
    if size == 0:
        size = count
    while True:  # an empty datagram is one too
        arrived.append(PyBytes_FromStringAndSize(buffer + start, min(size, count - start)))
        arrived.append(address)
        start += size
        if start >= count:
            return 0


cdef tuple recv_segments_by_object(sock):
    # The pure edition's way, for a call within a call: it needs a buffer of its own.
    cdef list arrived = []
    cdef Py_ssize_t size
    try:
        for _ in range(BATCH):
            data, control, _flags, address = sock.recvmsg(MAX_BYTES, CONTROL_SIZE, MSG_DONTWAIT)
            size = 0
            for level, kind, value in control:
                if level == LEVEL_UDP and kind == UDP_GRO:
                    size = max(0, <int>int.from_bytes(value[:4], sys.byteorder, signed=True))
            cut(arrived, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), size, address)
    except BlockingIOError:
        return arrived, True
    except OSError as exc:
        arrived.append(exc)
        arrived.append(None)
        return arrived, True
    return arrived, False


cdef struct SegmentBatch:
    SendBatch each
    long long control[BATCH][CONTROL_WORDS]
    int sizes[BATCH]  # how many messages a buffer has
    int buffers


cpdef tuple send_segments(int fd, int family, sock, list messages, Py_ssize_t first):
    """``send_datagrams`` of a UDP socket: what follows one another to one address, in one size, leaves as one buffer.

    The last of them may be smaller. If the kernel does not take them so, they are sent one by one.
    """
    cdef Py_ssize_t index = first
    cdef int sent, i
    cdef int alone = 0  # so many messages from ``index`` on are to be sent one by one
    cdef SegmentBatch* batch = <SegmentBatch*>malloc(sizeof(SegmentBatch))
    if batch == NULL:
        return index, MemoryError()
    batch.each.count = 0
    try:
        if index < 0:
            raise IndexError("the first message's index is negative")
        while index < len(messages):
            if alone == 0:
                gather(family, messages, index, &batch.each)
                if batch.each.count == 0:
                    gather_to_peer(messages, index, &batch.each)
                if batch.each.count < 2:
                    free_batch(&batch.each)
                    alone = 1
            if alone:
                message = messages[index]
                if not send_datagram(fd, family, sock, data_of(message), message[1]):
                    break
                index += 1
                alone -= 1
                continue
            join(batch)
            sent = sendmmsg(fd, batch.each.headers, batch.buffers, SEND_FLAGS)
            free_batch(&batch.each)
            if sent > 0:
                for i in range(sent):
                    index += batch.sizes[i]
            elif errno == EAGAIN:
                break
            elif errno == EINTR:
                PyErr_CheckSignals()
            elif batch.sizes[0] > 1 and (errno == EINVAL or errno == EMSGSIZE or errno == EIO or errno == EOPNOTSUPP):
                # Larger than the route's MTU, or by a device that makes no checksums.
                alone = batch.sizes[0]
            else:
                return index, failure(errno)
    except BaseException as exc:
        return index, exc
    finally:
        free_batch(&batch.each)
        free(batch)
    return index, None


cdef int gather_to_peer(list messages, Py_ssize_t first, SendBatch* batch) except -1:
    """``gather`` of messages to a connected socket's peer, and no more than leave as one buffer.

    An ICMP error of one fails the next call, and must not be lost.
    """
    cdef int count = 0
    cdef size_t total = 0
    cdef bytes data
    cdef msghdr* header
    while count < BATCH and first + count < len(messages):
        message = messages[first + count]
        data = data_of(message)
        if (<tuple>message)[1] is not None:
            break
        total += <size_t>PyBytes_GET_SIZE(data)
        if count and not fits(&batch.data[0], &batch.data[count - 1], <size_t>PyBytes_GET_SIZE(data), total):
            break
        batch.data[count].iov_base = PyBytes_AS_STRING(data)
        batch.data[count].iov_len = PyBytes_GET_SIZE(data)
        header = &batch.headers[count].msg_hdr
        memset(header, 0, sizeof(msghdr))
        header.msg_iov = &batch.data[count]
        header.msg_iovlen = 1
        Py_INCREF(data)
        batch.held[count] = <PyObject*>data
        count += 1
        batch.count = count
    return 0


cdef bint fits(iovec* begin, iovec* last, size_t size, size_t total) noexcept:
    """Return True if a datagram of ``size`` may follow ``last`` in a buffer of ``total`` bytes that begins with ``begin``."""
    return 0 < size <= begin.iov_len and last.iov_len == begin.iov_len and total <= MAX_SEGMENTED


cdef void join(SegmentBatch* batch) noexcept:
    """Make one header of those whose messages can leave as one buffer."""
    cdef SendBatch* each = &batch.each
    cdef int i
    cdef int begin = 0  # of the buffer that is being made
    cdef size_t total = each.data[0].iov_len
    batch.buffers = 0
    for i in range(1, each.count):
        total += each.data[i].iov_len
        if fits(&each.data[begin], &each.data[i - 1], each.data[i].iov_len, total) and same_name(each, begin, i):
            continue
        join_range(batch, begin, i)
        begin = i
        total = each.data[i].iov_len
    join_range(batch, begin, each.count)


cdef bint same_name(SendBatch* each, int one, int other) noexcept:
    cdef socklen_t length = each.headers[one].msg_hdr.msg_namelen
    if each.headers[other].msg_hdr.msg_namelen != length:
        return False
    return length == 0 or memcmp(&each.names[one], &each.names[other], length) == 0


cdef void join_range(SegmentBatch* batch, int begin, int end) noexcept:
    cdef int place = batch.buffers
    cdef msghdr* header = &batch.each.headers[place].msg_hdr
    cdef cmsghdr* control
    cdef uint16_t size
    header[0] = batch.each.headers[begin].msg_hdr
    header.msg_iovlen = end - begin
    batch.sizes[place] = end - begin
    batch.buffers = place + 1
    if end - begin > 1:
        size = <uint16_t>batch.each.data[begin].iov_len
        memset(batch.control[place], 0, CONTROL_SIZE)
        header.msg_control = batch.control[place]
        header.msg_controllen = CONTROL_SIZE
        control = CMSG_FIRSTHDR(header)
        control.cmsg_level = LEVEL_UDP
        control.cmsg_type = UDP_SEGMENT
        control.cmsg_len = CMSG_LEN(sizeof(uint16_t))
        memcpy(CMSG_DATA(control), &size, sizeof(uint16_t))
        header.msg_controllen = control.cmsg_len
