"""Bytes to messages: the i-PI decoder."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from wireframe._decoder import NeedData
from wireframe.errors import FrameTooLarge
from wireframe.ipi._header_decoder import HeaderDecoder, frames_of
from wireframe.ipi._messages import (
    FORCEREADY,
    FROM_DRIVER,
    FROM_SERVER,
    HEADER_LENGTH,
    INIT,
    MATRIX,
    MAX_NAT,
    MAX_STRING,
    POSDATA,
    REAL,
    REPLY,
    REPLY_LENGTH,
    VECTOR,
    Event,
    ForceReady,
    ForceReadyBatch,
    Init,
    PosData,
    PosDataBatch,
)

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_INT_AT = struct.Struct("<i").unpack_from
_TWO_INTS_AT = struct.Struct("<ii").unpack_from
_CELLS_AND_INT_AT = struct.Struct("<12x72s72si").unpack_from
_REAL_AND_INT_AT = struct.Struct("<di").unpack_from

_REPLY_AT = REPLY.unpack_from

_Parsed: TypeAlias = Event | Literal[NeedData.NEED_DATA]


class Decoder(HeaderDecoder[Event]):
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
    max_init : int
        Largest ``INIT`` text, bytes.
    max_extra : int
        Largest extra, bytes; of a batch, largest sum.
    batch_size : int, optional
        Number of systems per message once both sides have agreed on batches
        (``batch_size:N`` in the ``INIT`` text). It may be set later, between
        messages. None, the default, is the ordinary protocol.

    Raises
    ------
    ValueError
        A name that is no message of this protocol, a negative limit, `nat`
        beyond `max_nat`, or a batch of no system.

    Notes
    -----
    Limits are checked as soon as the number is there, before the body is
    stored. Memory is bounded by the largest legal message plus what is fed at
    once. Batch layouts: ``POSDATA`` is nat, N x (cell, inverse cell),
    N x positions; ``FORCEREADY`` is N energies, nat, N x forces, N x virials,
    N x (length, extra).

    Examples
    --------
    >>> from wireframe.ipi import READY, encode_forceready, encode_header
    >>> decoder = Decoder(accept=FROM_DRIVER, nat=1)
    >>> decoder.feed(encode_header(READY) + encode_forceready((0, 0, 1))[:50])
    >>> decoder.next_event()
    b'READY'
    >>> decoder.next_event(), decoder.needed
    (NEED_DATA, 74)
    """

    __slots__ = (
        "_batch_size",
        "_max_extra",
        "_max_init",
        "_max_nat",
        "_nat",
        "_one_atom",
        "_spans",
    )

    def __init__(
        self,
        *,
        accept: AbstractSet[bytes] = FROM_SERVER | FROM_DRIVER,
        nat: int | None = None,
        max_nat: int = MAX_NAT,
        max_init: int = MAX_STRING,
        max_extra: int = MAX_STRING,
        batch_size: int | None = None,
    ) -> None:
        super().__init__(accept, _FRAMES, "i-PI")
        if min(max_nat, max_init, max_extra) < 0:
            raise ValueError("limits must be at least 0")
        if nat is not None and not 0 <= nat <= max_nat:
            raise ValueError(f"nat must be from 0 to max_nat {max_nat}, not {nat}")
        self._nat = nat
        self._one_atom = nat in {1, None} and max_nat > 0
        self._max_nat = max_nat
        self._max_init = max_init
        self._max_extra = max_extra
        self._spans: list[tuple[int, int]] = []
        self._batch_size: int | None = None
        self.batch_size = batch_size

    @property
    def batch_size(self) -> int | None:
        """Number of systems per message, or None; set it only between messages.

        Raises
        ------
        ValueError
            It is less than 1, or set while a message is half read.
        """
        return self._batch_size

    @batch_size.setter
    def batch_size(self, systems: int | None) -> None:
        if systems is not None and systems < 1:
            raise ValueError(f"a batch has at least one system, not {systems}")
        if self._needed != HEADER_LENGTH:
            raise ValueError("the batch size cannot change inside a message")
        self._batch_size = systems

    def _check_nat(self, nat: int, at: int, systems: int = 1) -> int:
        """Check an atom count that stands `at` bytes from the first of the frame."""
        if nat < 0 or (self._nat is not None and nat != self._nat):
            wanted = "at least 0" if self._nat is None else str(self._nat)
            raise self._bad(f"peer sent atom count {nat}, expected {wanted}", at)
        if nat * systems > self._max_nat:
            raise FrameTooLarge("atom count", nat * systems, self._max_nat, self._excerpt(), at=at)
        return nat

    def _init(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        if held < 20:
            return self._ask(20)
        bead, length = _TWO_INTS_AT(data, start + 12)
        size = 20 + self._check(length, self._max_init, "INIT text length", 16)
        if held < size:
            return self._ask(size)
        event = Init(bead, self._buffer.copy(20, size))
        self._done(size)
        return event

    def _posdata(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        if self._batch_size is not None:
            return self._posdata_batch(data, start, held, self._batch_size)
        if held < 160:
            return self._ask(160)
        cell, inverse_cell, nat = _CELLS_AND_INT_AT(data, start)
        size = 160 + VECTOR * self._check_nat(nat, 156)
        if held < size:
            return self._ask(size)
        event = PosData(cell, inverse_cell, self._buffer.copy(160, size))
        self._done(size)
        return event

    def _forceready(self, data: bytes | bytearray, start: int, held: int) -> _Parsed:
        if self._batch_size is not None:
            return self._forceready_batch(data, start, held, self._batch_size)
        # Nearly all are of one atom and whole: one step instead of five. What
        # is anything else goes the long way, so every check stands only there.
        if held >= REPLY_LENGTH:
            _, energy, nat, forces, virial, length = _REPLY_AT(data, start)
            size = REPLY_LENGTH + length
            if nat == 1 and self._one_atom and 0 <= length <= self._max_extra and held >= size:
                event = ForceReady(energy, forces, virial, self._buffer.copy(REPLY_LENGTH, size))
                self._done(size)
                return event
        if held < 24:
            return self._ask(24)
        energy, nat = _REAL_AND_INT_AT(data, start + 12)
        virial_at = 24 + VECTOR * self._check_nat(nat, 20)
        extra_at = virial_at + MATRIX + 4
        if held < extra_at:
            return self._ask(extra_at)
        length = _INT_AT(data, start + extra_at - 4)[0]
        size = extra_at + self._check(length, self._max_extra, "extra length", extra_at - 4)
        if held < size:
            return self._ask(size)
        copy = self._buffer.copy
        event = ForceReady(energy, copy(24, virial_at), copy(virial_at, extra_at - 4), copy(extra_at, size))
        self._done(size)
        return event

    def _posdata_batch(self, data: bytes | bytearray, start: int, held: int, systems: int) -> _Parsed:
        if held < 16:
            return self._ask(16)
        nat = self._check_nat(_INT_AT(data, start + 12)[0], 12, systems)
        positions_at = 16 + 2 * MATRIX * systems
        size = positions_at + VECTOR * nat * systems
        if held < size:
            return self._ask(size)
        copy = self._buffer.copy
        event = PosDataBatch(copy(16, positions_at), copy(positions_at, size), nat)
        self._done(size)
        return event

    def _forceready_batch(self, data: bytes | bytearray, start: int, held: int, systems: int) -> _Parsed:
        nat_at = 12 + REAL * systems
        forces_at = nat_at + 4
        if held < forces_at:
            return self._ask(forces_at)
        nat = self._check_nat(_INT_AT(data, start + nat_at)[0], nat_at, systems)
        virials_at = forces_at + VECTOR * nat * systems
        extras_at = virials_at + MATRIX * systems
        # Where the extras are is remembered from one look to the next, so that
        # N extras that come one by one are N steps and not N squared.
        spans, self._spans = self._spans, []
        end = spans[-1][1] if spans else extras_at
        wanted = end
        while len(spans) < systems:
            wanted = end + 4
            if held < wanted:
                break
            before = end - extras_at - 4 * len(spans)
            length = _INT_AT(data, start + end)[0]
            end = wanted + self._check(length, self._max_extra, "extra length", end, before)
            spans.append((wanted, end))
            wanted = end
        if held < wanted:
            self._spans = spans
            return self._ask(wanted)
        copy = self._buffer.copy
        event = ForceReadyBatch(
            copy(12, nat_at),
            copy(forces_at, virials_at),
            copy(virials_at, extras_at),
            [copy(begin, stop) for begin, stop in spans],
            nat,
        )
        self._done(end)
        return event


_FRAMES: Final = frames_of(
    FROM_SERVER | FROM_DRIVER,
    {INIT: Decoder._init, POSDATA: Decoder._posdata, FORCEREADY: Decoder._forceready},
)
