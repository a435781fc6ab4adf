"""Several datagrams in one call: ``recvmmsg`` of Linux.

A message is a few microseconds of work, of which fetching its datagram is a
good part: measured with 64 bytes, 1.2 microseconds one by one and 0.6 in calls
of 16; with 64 KiB 4.2 and 2.9. Nothing waits for a batch to become full: a
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

from udp_multicast._inlet import BUFFER_SIZE
from udp_multicast.channels._mmsg import Header, Message, Piece, address_of
from udp_multicast.channels._slots import COPIED
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
#: Senders whose address is remembered as it is shown.
_MAX_KNOWN: Final = 256
#: An address.
_WORD: Final = "L"
#: Wait for the first datagram only.
_MSG_WAITFORONE: Final = 0x10000

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
        self._fileno = inlet.fileno
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
        names, heads, pieces = (
            address_of(self._names),
            address_of(self._heads),
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
                )
        self._begin = ctypes.addressof(self._headers)
        words = memoryview(self._headers).cast("B").cast("I")
        self._sizes = words[Header.size.offset // 4 :: ctypes.sizeof(Header) // 4]
        #: Where the payloads of expected fragments belong.
        self._places = memoryview(self._pieces).cast("B").cast(_WORD)[2 : 4 * COUNT : 4]
        #: Senders by the bytes in which the system names them.
        self._known: dict[bytes, Address] = {}
        #: These bytes, one after the other, for the slots that `_senders` tells of.
        self._named = b""
        self._senders: list[Address] = []
        #: Whether full fragments came lately.
        self._is_large = False

    def fetch(self, flags: int, /) -> list[Arrived]:
        """Return the next datagrams, see `Slots`."""
        room = self._assembly.room(self._most_expected)
        if room is None:
            most = _LAST_AND_FIRST if self._is_large else COUNT
            arrived = self._filled(self._fetch(COUNT, most, flags))
            if any(len(data) == MAX_DATAGRAM for data, _ in arrived):
                self._is_large = True
            elif len(arrived) == most:  # if it is less, more of a large message may follow
                self._is_large = False
            return arrived
        self._is_large = True
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
        lengths = self._sizes[COUNT : COUNT + count].tolist()
        return [
            (bytes(slot[:length]) if length <= COPIED else slot[:length], sender)
            for slot, length, sender in zip(self._slots, lengths, self._senders, strict=False)
        ]

    def _fetch(self, first: int, most: int, flags: int) -> int:
        """Have the system fill this many headers, or fewer; return how many."""
        begin = self._begin + first * ctypes.sizeof(Header)
        while (count := self._call(self._fileno(), begin, most, flags | _MSG_WAITFORONE, None)) < 0:
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
        full = count
        # Mostly all are as expected.
        if sizes != [MAX_DATAGRAM] * count or named != named[:size] * count:
            full = 0
            while sizes[full] == MAX_DATAGRAM and named.startswith(named[:size], full * size):
                full += 1
        entered = self._assembly.enter(heads[:full], self._sender(named[:size])) if full else 0
        others: list[Arrived] = []
        for number in range(entered, count):
            place = room[number * FULL_FRAGMENT :][: max(0, sizes[number] - _HEAD)]
            data = heads[number][: sizes[number]] + place
            others.append((data, self._sender(named[number * size :][:size])))
        return others

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
