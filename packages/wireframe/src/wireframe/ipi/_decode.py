"""Bytes to messages: the i-PI decoder and the short way for one whole reply."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal

from wireframe._decoder import NEED_DATA, NeedData, StreamDecoder
from wireframe.errors import BadHeader, BadPayload, FrameTooLarge
from wireframe.ipi._encode import encode_header
from wireframe.ipi._messages import (
    FORCEREADY,
    FROM_DRIVER,
    FROM_SERVER,
    HEADER_LENGTH,
    INIT,
    MATRIX,
    POSDATA,
    REPLY_LENGTH,
    REQUEST_FIELD_OFFSET,
    VECTOR,
    Event,
    ForceReady,
    ForceReadyBatch,
    Init,
    PosData,
    PosDataBatch,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

_INT = struct.Struct("<i")
_REAL = struct.Struct("<d")
_REPLY = struct.Struct("<12sdi24s72si")

_NAMES: Final = {encode_header(name): name for name in FROM_SERVER | FROM_DRIVER}
_FORCEREADY_HEAD: Final = encode_header(FORCEREADY)


def reals(block: Buffer) -> tuple[float, ...]:
    """Read a block of little-endian float64.

    Examples
    --------
    >>> from wireframe.ipi import encode_request
    >>> reals(encode_request((1.5, -2.0, 0.25))[160:184])
    (1.5, -2.0, 0.25)
    """
    view = memoryview(block)
    return struct.unpack(f"<{view.nbytes // 8}d", view)


def split_reply(data: Buffer, size: int) -> tuple[bytes, bytes] | None:
    """Read one whole ``FORCEREADY`` of one atom, if it is just that.

    The short way through the hot path of a hub: nearly every read returns
    exactly one reply. In every other case let a `Decoder` see the bytes.

    Parameters
    ----------
    data : bytes-like
        Starts with what was read.
    size : int
        How many bytes of `data` were read.

    Returns
    -------
    tuple of (bytes, bytes) or None
        The force (24 bytes) and the extra; None if the `size` bytes are
        anything but one complete, legal reply with nat 1.

    Examples
    --------
    >>> from wireframe.ipi import encode_forceready
    >>> reply = encode_forceready((0.0, 0.0, 2.0), extra=b"{}")
    >>> force, extra = split_reply(reply, len(reply))
    >>> reals(force), extra
    ((0.0, 0.0, 2.0), b'{}')
    >>> split_reply(reply, len(reply) - 1) is None
    True
    """
    if size < REPLY_LENGTH:
        return None
    header, _, nat, force, _, length = _REPLY.unpack_from(data)
    if header != _FORCEREADY_HEAD or nat != 1 or length != size - REPLY_LENGTH:
        return None
    return force, (bytes(memoryview(data)[REPLY_LENGTH:size]) if length else b"")


class Decoder(StreamDecoder[Event]):
    """Incremental decoder for one direction of an i-PI connection.

    Parameters
    ----------
    accept : set of bytes, optional
        Message names that may come; any other header is a `BadHeader`.
        `FROM_DRIVER` for a server, `FROM_SERVER` for a driver; both by default.
    nat : int, optional
        The only legal atom count. By default any up to `max_nat`.
    max_nat : int
        Largest atom count; of a batch, largest sum.
    max_text : int
        Largest ``INIT`` text, bytes.
    max_extra : int
        Largest extra, bytes; of a batch, largest sum.
    batch_size : int, optional
        Number of systems per message once both sides have agreed on batches
        (``batch_size:N`` in the ``INIT`` text). It may be set later, between
        messages. None, the default, is the ordinary protocol.

    Notes
    -----
    Limits are checked as soon as the number is there, before the body is
    stored. Memory is bounded by the largest legal message plus what is fed at
    once. Batch layouts: ``POSDATA`` is nat, N x (cell, inverse cell),
    N x positions; ``FORCEREADY`` is N energies, nat, N x forces, N x virials,
    N x (length, extra).

    Examples
    --------
    >>> from wireframe.ipi import READY, encode_forceready
    >>> decoder = Decoder(accept=FROM_DRIVER, nat=1)
    >>> decoder.feed(encode_header(READY) + encode_forceready((0, 0, 1))[:50])
    >>> decoder.next_event()
    b'READY'
    >>> decoder.next_event(), decoder.needed
    (NEED_DATA, 74)
    """

    __slots__ = ("_accept", "_max_extra", "_max_nat", "_max_text", "_nat", "batch_size")

    def __init__(
        self,
        *,
        accept: frozenset[bytes] = FROM_SERVER | FROM_DRIVER,
        nat: int | None = None,
        max_nat: int = 1 << 20,
        max_text: int = 16 << 20,
        max_extra: int = 16 << 20,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(HEADER_LENGTH)
        self._accept = accept
        self._nat = nat
        self._max_nat = max_nat
        self._max_text = max_text
        self._max_extra = max_extra
        self.batch_size = batch_size

    def _parse(self) -> Event | Literal[NeedData.NEED_DATA]:
        header = self._buffer.peek(HEADER_LENGTH)
        name = _NAMES.get(header)
        if name is None or name not in self._accept:
            raise BadHeader(f"peer sent {header!r}, which is not a header it may send", header)
        if name == FORCEREADY:
            return self._forceready() if self.batch_size is None else self._forceready_batch(self.batch_size)
        if name == POSDATA:
            return self._posdata() if self.batch_size is None else self._posdata_batch(self.batch_size)
        if name == INIT:
            return self._init()
        self._buffer.skip(HEADER_LENGTH)
        return name

    def _has(self, size: int) -> bool:
        """Whether the frame's first `size` bytes are here; else asks for them."""
        if len(self._buffer) >= size:
            return True
        self._needed = size
        return False

    def _int(self, offset: int) -> int:
        value: int = _INT.unpack_from(self._buffer.data, self._buffer.start + offset)[0]
        return value

    def _count(self, offset: int, systems: int = 1) -> int:
        """Return a checked atom count."""
        nat = self._int(offset)
        if nat < 0 or (self._nat is not None and nat != self._nat):
            wanted = "at least 0" if self._nat is None else str(self._nat)
            raise BadPayload(f"peer sent atom count {nat}, expected {wanted}", self._buffer.peek(32))
        if nat * systems > self._max_nat:
            raise FrameTooLarge("atom count", nat * systems, self._max_nat, self._buffer.peek(32))
        return nat

    def _length(self, offset: int, what: str, limit: int, before: int = 0) -> int:
        """Return a checked byte string length; `before` counts against the same limit."""
        length = self._int(offset)
        if length < 0:
            raise BadPayload(f"peer sent {what} length {length}", self._buffer.peek(32))
        if before + length > limit:
            raise FrameTooLarge(f"{what} length", before + length, limit, self._buffer.peek(32))
        return length

    def _whole(self, size: int) -> memoryview:
        """Take a complete frame."""
        self._needed = HEADER_LENGTH
        return memoryview(self._buffer.take(size))

    def _init(self) -> Event | Literal[NeedData.NEED_DATA]:
        if not self._has(20):
            return NEED_DATA
        size = 20 + self._length(16, "INIT text", self._max_text)
        if not self._has(size):
            return NEED_DATA
        bead = self._int(12)
        return Init(bead, bytes(self._whole(size)[20:]))

    def _posdata(self) -> Event | Literal[NeedData.NEED_DATA]:
        if not self._has(REQUEST_FIELD_OFFSET):
            return NEED_DATA
        size = REQUEST_FIELD_OFFSET + VECTOR * self._count(156)
        if not self._has(size):
            return NEED_DATA
        frame = self._whole(size)
        return PosData(bytes(frame[12:84]), bytes(frame[84:156]), bytes(frame[160:]))

    def _forceready(self) -> Event | Literal[NeedData.NEED_DATA]:
        if not self._has(24):
            return NEED_DATA
        virial_at = 24 + VECTOR * self._count(20)
        extra_at = virial_at + MATRIX + 4
        if not self._has(extra_at):
            return NEED_DATA
        size = extra_at + self._length(extra_at - 4, "extra", self._max_extra)
        if not self._has(size):
            return NEED_DATA
        frame = self._whole(size)
        energy: float = _REAL.unpack_from(frame, 12)[0]
        return ForceReady(
            energy,
            bytes(frame[24:virial_at]),
            bytes(frame[virial_at : extra_at - 4]),
            bytes(frame[extra_at:]),
        )

    def _posdata_batch(self, systems: int) -> Event | Literal[NeedData.NEED_DATA]:
        if not self._has(16):
            return NEED_DATA
        nat = self._count(12, systems)
        positions_at = 16 + 2 * MATRIX * systems
        size = positions_at + VECTOR * nat * systems
        if not self._has(size):
            return NEED_DATA
        frame = self._whole(size)
        return PosDataBatch(bytes(frame[16:positions_at]), bytes(frame[positions_at:]), nat)

    def _forceready_batch(self, systems: int) -> Event | Literal[NeedData.NEED_DATA]:
        nat_at = 12 + 8 * systems
        if not self._has(nat_at + 4):
            return NEED_DATA
        nat = self._count(nat_at, systems)
        forces_at = nat_at + 4
        virials_at = forces_at + VECTOR * nat * systems
        end = virials_at + MATRIX * systems
        spans = []
        total = 0
        for _ in range(systems):
            if not self._has(end + 4):
                return NEED_DATA
            length = self._length(end, "extra", self._max_extra, total)
            total += length
            spans.append((end + 4, end + 4 + length))
            end += 4 + length
        if not self._has(end):
            return NEED_DATA
        frame = self._whole(end)
        return ForceReadyBatch(
            bytes(frame[12:nat_at]),
            bytes(frame[forces_at:virials_at]),
            bytes(frame[virials_at : virials_at + MATRIX * systems]),
            [bytes(frame[a:b]) for a, b in spans],
            nat,
        )
