"""Several datagrams in one call: ``recvmmsg`` of Linux.

A message is a few microseconds of work, of which fetching its datagram is a
good part: measured with 64 bytes, 1.3 microseconds one by one and 0.6 in calls
of 16, each of which takes another 5. So a call for several pays from three on,
and is made when there may be so many: it fetched three the last time, or some
were fetched one by one since (measured with 64 bytes and a receiver that keeps
up: 8.5 microseconds a message with such calls only, 5.7 so). Of long datagrams
only fragments gain, which it puts where they belong; others come one by one, into
memory that stays in the cache of the processor (measured with 60 KiB: 12.8 and
9.2, and the same if 16 are waiting). Nothing waits for a batch to become full: a
call returns what is there, and waits for the first one at the most.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from array import array
from typing import TYPE_CHECKING, Final

from udp_multicast import _options
from udp_multicast._batch import ANCILLARY_SIZE, cut
from udp_multicast._inlet import BUFFER_SIZE
from udp_multicast.channels._mmsg import Header, Message, Piece, address_of
from udp_multicast.channels._slots import COPIED, OneSlot
from wireframe.datagram import FULL_FRAGMENT, MAX_DATAGRAM

if TYPE_CHECKING:
    from udp_multicast._inlet import Inlet
    from udp_multicast.channels._message import Address, Arrived
    from udp_multicast.channels._mmsg import Call
    from udp_multicast.channels._slots import Assembly

#: Slots. More of them take memory and gain nothing (measured: 32).
COUNT: Final = 16
#: Bytes from slot to slot. With a power of two, all of them would compete for
#: the same few lines of the cache.
_STEP: Final = 65600
#: Bytes of header in a fragment.
_HEAD: Final = MAX_DATAGRAM - FULL_FRAGMENT
#: Slots that are filled behind full fragments: what follows the first one of the
#: next message has a place again.
_LAST_AND_FIRST: Final = 2
#: Datagrams from which a call for several is quicker.
_WORTH: Final = 3
#: Datagrams that are fetched one by one, before several are asked for again.
_ALONE: Final = 8
#: Bytes. Longer ones would come into more memory than a processor has cache of its own.
_LONG: Final = 1 << 15
#: Bytes.
_HEADER_SIZE: Final = ctypes.sizeof(Header)
#: Senders whose address is remembered as it is shown.
_MAX_KNOWN: Final = 256
#: An address.
_WORD: Final = "L"
#: Wait for the first datagram only.
_MSG_WAITFORONE: Final = 0x10000

#: Length, level, kind and value of what the system tells about a batch.
_TOLD: Final = struct.Struct("@Niii")
#: Family, port, address.
_IPV4: Final = struct.Struct("=H2s4s8x")
#: Family, port, flow, address, scope.
_IPV6: Final = struct.Struct("=H2s4s16sI")


class ManySlots:
    """Up to `COUNT` datagrams a call; see `Slots`.

    Each comes into a slot of its own, or, if it seems to be the next fragment
    of a large message, to where it belongs (measured with 1 MiB: 60 of 330
    microseconds).

    Parameters
    ----------
    inlet : Inlet
        Where datagrams come from.
    call : callable
        As `find` returned it.
    assembly : Assembly
        Where fragments belong.
    ipv6 : bool
        Whether their senders have addresses of IPv6.
    """

    def __init__(self, inlet: Inlet, call: Call, assembly: Assembly, *, ipv6: bool) -> None:
        self._inlet = inlet
        self._call = call
        self._assembly = assembly
        self._read_name = _ipv6_address if ipv6 else _ipv4_address
        self._name_size = (_IPV6 if ipv6 else _IPV4).size
        # With IPv6 there are datagrams beyond the fullest of LCM.
        self._most_expected = 0 if ipv6 else COUNT
        # The system writes to memory of Python, which has to live as long as this.
        view = memoryview(bytearray(COUNT * _STEP))
        self._slots = [view[start : start + BUFFER_SIZE] for start in range(0, len(view), _STEP)]
        # First the headers of what is expected, then those of the slots, so
        # that one call can fill the last of the former and the first of the latter.
        self._names = bytearray(2 * COUNT * self._name_size)
        self._heads = bytearray(COUNT * _HEAD)
        self._pieces = (Piece * (3 * COUNT))()
        self._headers = (Header * (2 * COUNT))()
        #: What the system tells about each datagram, if that is a batch.
        self._told = bytearray(2 * COUNT * ANCILLARY_SIZE)
        names, heads, told, pieces = (
            address_of(self._names),
            address_of(self._heads),
            address_of(self._told),
            ctypes.addressof(self._pieces),
        )
        for number in range(COUNT):
            self._pieces[2 * number] = Piece(heads + number * _HEAD, _HEAD)
            self._pieces[2 * number + 1] = Piece(0, FULL_FRAGMENT)
            self._pieces[2 * COUNT + number] = Piece(address_of(self._slots[number]), BUFFER_SIZE)
            for header, first, count in ((number, 2 * number, 2), (COUNT + number, 2 * COUNT + number, 1)):
                self._headers[header].message = Message(
                    names + header * self._name_size,
                    self._name_size,
                    pieces + first * ctypes.sizeof(Piece),
                    count,
                    told + header * ANCILLARY_SIZE,
                )
        self._begin = ctypes.addressof(self._headers)
        octets = memoryview(self._headers).cast("B")
        self._sizes = octets.cast("I")[Header.size.offset // 4 :: _HEADER_SIZE // 4]
        word = ctypes.sizeof(ctypes.c_size_t)
        #: Bytes that the system may tell, and then those that it told: 0 unless it is a batch.
        self._told_sizes = octets.cast(_WORD)[Message.control_size.offset // word :: _HEADER_SIZE // word]
        self._to_be_told = array(_WORD, [ANCILLARY_SIZE]) * (2 * COUNT)
        #: Where the payloads of expected fragments belong.
        self._places = memoryview(self._pieces).cast("B").cast(_WORD)[2 : 4 * COUNT : 4]
        #: Senders by the bytes in which the system names them.
        self._known: dict[bytes, Address] = {}
        #: These bytes, one after the other, for the slots that `_senders` tells of.
        self._named = b""
        self._senders: list[Address] = []
        self._one = OneSlot(inlet)
        #: Bytes of what was filled last.
        self._lengths: list[int] = []
        #: How many of the next datagrams are fetched one by one.
        self._alone = 0
        #: Whether the last ones were full, so that fragments may be expected.
        self._is_large = False

    def fetch(self, flags: int, /) -> list[Arrived]:
        """Return the next datagrams, see `Slots`."""
        if self._is_large:
            room = self._assembly.room(self._most_expected)
            if room is not None:
                return self._fetch_expected(room, flags)
        if self._alone:
            arrived = self._one.fetch(flags)
            if len(arrived) == 1:  # a batch is as good as several in a call
                self._alone -= 1
            longest = len(arrived[0][0])
        else:
            count = self._fetch(COUNT, COUNT, flags)
            arrived = self._filled(count)
            longest = max(self._lengths)
            if count < _WORTH:
                self._alone = _ALONE
        self._is_large = longest == MAX_DATAGRAM
        if longest > _LONG:
            self._alone = _ALONE
        return arrived

    def _fetch_expected(self, room: memoryview, flags: int) -> list[Arrived]:
        """Fetch fragments into their place, and what comes behind them."""
        # Released on every way out: an error that is kept has this frame, and the memory could not be joined.
        with room:
            expected = len(room) // FULL_FRAGMENT
            self._aim(room, expected)
            count = self._fetch(COUNT - expected, expected + _LAST_AND_FIRST, flags) - expected
            arrived = self._sort(room, expected + min(count, 0))
        return arrived + self._filled(count) if count > 0 else arrived

    def _filled(self, count: int) -> list[Arrived]:
        """Return the datagrams in so many slots."""
        size = self._name_size
        named = bytes(self._names[COUNT * size : (COUNT + count) * size])
        # Mostly they are the same ones as before.
        if not self._named.startswith(named):
            self._named = named
            self._senders = [
                self._sender(named[start : start + size]) for start in range(0, len(named), size)
            ]
        self._lengths = self._sizes[COUNT : COUNT + count].tolist()
        arrived: list[Arrived] = [
            (slot[:length].tobytes() if length <= COPIED else slot[:length], sender)
            for slot, length, sender in zip(self._slots, self._lengths, self._senders, strict=False)
        ]
        return self._cut(arrived, COUNT)

    def _cut(self, arrived: list[Arrived], first: int) -> list[Arrived]:
        """Return datagrams, whose headers begin with this one, with each batch as what it consists of."""
        if not (self._inlet.has_gro and any(self._told_sizes[first : first + len(arrived)].tolist())):
            return arrived
        parts: list[Arrived] = []
        for header, (data, sender) in enumerate(arrived, first):
            size = 0
            if self._told_sizes[header]:
                _, level, kind, told = _TOLD.unpack_from(self._told, header * ANCILLARY_SIZE)
                size = told if (level, kind) == (socket.IPPROTO_UDP, _options.UDP_GRO) else 0
            if size:
                parts += [(part, sender) for part in cut(bytes(data), size)]
            else:
                parts.append((data, sender))
        return parts

    def _fetch(self, first: int, most: int, flags: int) -> int:
        """Have the system fill this many headers, or fewer; return how many."""
        if self._inlet.has_gro:
            self._told_sizes[first : first + most] = self._to_be_told[:most]
        begin = self._begin + first * _HEADER_SIZE
        while (count := self._call(self._inlet.fileno(), begin, most, flags | _MSG_WAITFORONE, None)) < 0:
            code = ctypes.get_errno()
            # Handlers of signals have run when Python comes back here, and may have raised.
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))
        return count

    def _aim(self, room: memoryview, expected: int) -> None:
        """Let the last headers of their kind point to where these fragments belong."""
        places = range(address_of(room), address_of(room) + len(room), FULL_FRAGMENT)
        self._places[COUNT - expected :] = array(_WORD, places)

    def _sort(self, room: memoryview, count: int) -> list[Arrived]:
        """Enter what was expected of so many datagrams, and return the others."""
        first = COUNT - len(room) // FULL_FRAGMENT
        size = self._name_size
        named = bytes(self._names[first * size : (first + count) * size])
        sizes = self._sizes[first : first + count].tolist()
        block = bytes(self._heads[first * _HEAD : (first + count) * _HEAD])
        heads = [block[start : start + _HEAD] for start in range(0, len(block), _HEAD)]
        batches = self._told_sizes[first : first + count].tolist()
        full = count
        # Mostly all are as expected. A batch is not, however long it is.
        if sizes != [MAX_DATAGRAM] * count or named != named[:size] * count or any(batches):
            full = 0
            while sizes[full] == MAX_DATAGRAM and named.startswith(named[:size], full * size):
                if batches[full]:
                    break
                full += 1
        entered = self._assembly.enter(heads[:full], self._sender(named[:size])) if full else 0
        others: list[Arrived] = []
        for number in range(entered, count):
            place = room[number * FULL_FRAGMENT :][: max(0, sizes[number] - _HEAD)]
            data = heads[number][: sizes[number]] + place
            others.append((data, self._sender(named[number * size :][:size])))
        return self._cut(others, first + entered)

    def _sender(self, name: bytes) -> Address:
        """Return an address as Python shows it."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            known = self._known[name] = self._read_name(name)
        return known


def _ipv4_address(name: bytes) -> Address:
    _, port, host = _IPV4.unpack(name)
    return socket.inet_ntop(socket.AF_INET, host), int.from_bytes(port, "big")


def _ipv6_address(name: bytes) -> Address:
    _, port, flow, host, scope = _IPV6.unpack(name)
    text = socket.inet_ntop(socket.AF_INET6, host)
    return text, int.from_bytes(port, "big"), int.from_bytes(flow, "big"), scope
