"""Many datagrams in one call: UDP_SEGMENT out, UDP_GRO in.

The kernel cuts one buffer into ordinary datagrams, so a receiver that knows
nothing of this sees each one; a receiver that asked for it gets as many as
arrived together in one buffer, and their size. Rules of the kernel:

* all parts have one size, only the last may be shorter; none is empty;
* at most 64 parts (128 on newer kernels) and 65507 bytes in all;
* a part and its headers fit into one frame of the interface.

What does not fit goes out one by one. A kernel before 4.18 would take the
option for nothing and send all parts as a single datagram, therefore it is
asked first whether it knows the option.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Any, Final

from udp_multicast import _options
from wireframe.datagram import MAX_DATAGRAM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Parts of one call that every kernel with the option takes.
MAX_PARTS: Final = 64
#: Bytes of ancillary data that hold one int.
ANCILLARY_SIZE: Final = socket.CMSG_SPACE(4) if hasattr(socket, "CMSG_SPACE") else 0

_UDP: Final = socket.IPPROTO_UDP
_PART_SIZE: Final = struct.Struct("@H")
_GRO_SIZE: Final = struct.Struct("@i")
#: How a kernel or an interface says that it does not cut parts of this size ...
_TOO_LARGE: Final = frozenset({errno.EINVAL, errno.EMSGSIZE})
#: ... or that it does not cut at all.
_UNABLE: Final = frozenset({errno.EIO, errno.ENOPROTOOPT, errno.EOPNOTSUPP})


def runs(datagrams: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Split datagrams, in order, into runs that one call can send.

    Parameters
    ----------
    datagrams : sequence of bytes
        Any sizes.

    Yields
    ------
    sequence of bytes
        Of one size, the last one perhaps shorter.

    Examples
    --------
    >>> [list(run) for run in runs([b"aa", b"bb", b"c", b"dd", b"eee"])]
    [[b'aa', b'bb', b'c'], [b'dd'], [b'eee']]
    """
    start, total = 0, len(datagrams)
    while start < total:
        size = len(datagrams[start])
        stop = start + 1
        if size:
            limit = min(total, start + max(1, min(MAX_PARTS, MAX_DATAGRAM // size)))
            while stop < limit and len(datagrams[stop]) == size:
                stop += 1
            if stop < limit and 0 < len(datagrams[stop]) < size:
                stop += 1
        yield datagrams[start:stop]
        start = stop


class BatchSender:
    """Sends many datagrams, with as few calls as the kernel allows.

    Parameters
    ----------
    sock : socket.socket
        Datagram socket, not connected.
    target : tuple
        Where to.
    send_one : callable
        Sends one datagram; for what cannot go in a batch.
    largest_part : int
        Bytes that are not tried to be sent in a batch above.
    """

    def __init__(
        self,
        sock: socket.socket,
        target: tuple[Any, ...],
        send_one: Callable[[bytes], int],
        largest_part: int,
    ) -> None:
        self._sock = sock
        self._target = target
        self._send_one = send_one
        self._largest_part = largest_part if self._is_known() else 0

    def _is_known(self) -> bool:
        if _options.UDP_SEGMENT is None:
            return False
        try:
            self._sock.setsockopt(_UDP, _options.UDP_SEGMENT, 0)
        except OSError:
            return False
        return True

    def send(self, datagrams: Sequence[Any]) -> None:
        """Send all of them, in order.

        Raises
        ------
        OSError
            A datagram could not be sent; those after it were not tried.
        """
        if set(map(type, datagrams)) != {bytes}:
            # Parts are counted by len(), which is not bytes for every buffer.
            datagrams = [one if isinstance(one, bytes) else bytes(memoryview(one)) for one in datagrams]
        for run in runs(datagrams):
            self._send_run(run)

    def _send_run(self, run: Sequence[bytes]) -> None:
        size = len(run[0])
        if len(run) > 1 and size <= self._largest_part and _options.UDP_SEGMENT is not None:
            ancillary = [(_UDP, _options.UDP_SEGMENT, _PART_SIZE.pack(size))]
            try:
                self._sock.sendmsg(run, ancillary, 0, self._target)
            except OSError as error:
                if error.errno not in _TOO_LARGE and error.errno not in _UNABLE:
                    raise
                self._largest_part = 0 if error.errno in _UNABLE else size - 1
            else:
                return
        for datagram in run:
            self._send_one(datagram)


def enable_gro(sock: socket.socket) -> bool:
    """Ask for datagrams that arrived together; False where the kernel cannot."""
    if _options.UDP_GRO is None:
        return False
    try:
        sock.setsockopt(_UDP, _options.UDP_GRO, 1)
    except OSError:
        return False
    return True


def part_size(ancillary: Sequence[tuple[int, int, bytes]]) -> int:
    """Return the size of the parts of a received batch; 0 for a single datagram."""
    for level, kind, data in ancillary:
        if level == _UDP and kind == _options.UDP_GRO:
            return int(_GRO_SIZE.unpack_from(data)[0])
    return 0


def cut(data: bytes, size: int) -> list[bytes]:
    """Return the datagrams of a received batch.

    Parameters
    ----------
    data : bytes
        What one receive call brought.
    size : int
        Bytes of each but the last; 0 if it is one datagram.
    """
    if not 0 < size < len(data):
        return [data]
    return [data[start : start + size] for start in range(0, len(data), size)]
