"""Several datagrams in one call: ``sendmmsg`` of Linux.

For the fragments of large messages, which are there all at once.
"""

from __future__ import annotations

import ctypes
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from udp_multicast.channels._mmsg import Header, Message, Piece, address_of
from wireframe.datagram import FragmentHeads

if TYPE_CHECKING:
    from udp_multicast.channels._mmsg import Call

#: Datagrams of one call.
COUNT: Final = 64
#: An address, or a size.
_WORD: Final = "L"


class Volley:
    """Sends the fragments of messages, several in a call.

    What messages of one size have in common is kept for the next one: it
    takes as long as everything else that Python has to do (measured with 17
    fragments: 20 microseconds).

    Parameters
    ----------
    call : callable
        ``sendmmsg``, as `_mmsg.find` returned it.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._pieces = (Piece * (2 * COUNT))()
        self._headers = (Header * COUNT)()
        begin = ctypes.addressof(self._pieces)
        for number in range(COUNT):
            self._headers[number].message = Message(None, 0, begin + 2 * number * ctypes.sizeof(Piece), 2)
        self._begin = ctypes.addressof(self._headers)
        #: Where and how long, of both parts of each datagram.
        self._words = memoryview(self._pieces).cast("B").cast(_WORD)
        self._of: tuple[str, int, int] | None = None

    def send(self, descriptor: int, sequence: int, channel: str, payload: bytes, max_datagram: int) -> int:
        """Send the fragments of a message by a connected socket.

        Parameters
        ----------
        descriptor : int
            Of the socket.
        sequence, channel, payload, max_datagram : int, str, bytes, int
            As for `encode_fragments`.

        Returns
        -------
        int
            How many were not sent, the last ones of those that `encode_fragments`
            makes. They have to be sent otherwise, and that will tell what is
            wrong with the first of them.

        Raises
        ------
        ValueError, TypeError
            The message does not fit the wire; nothing was sent.
        """
        if self._of != (channel, len(payload), max_datagram):
            self._prepare(channel, payload, max_datagram)
        self._heads.renumber(sequence)
        body = ctypes.cast(ctypes.c_char_p(payload), ctypes.c_void_p).value or 0
        sent, total = 0, len(self._heads.sizes)
        while sent < total:
            count = min(COUNT, total - sent)
            self._aim(sent, count, body)
            moved = self._call(descriptor, self._begin, count, 0)
            sent += max(moved, 0)
            if moved < count:
                break
        return total - sent

    def _prepare(self, channel: str, payload: bytes, max_datagram: int) -> None:
        """Lay out the fragments of messages of this size."""
        self._of = None  # should it fail
        self._heads = heads = FragmentHeads(channel, payload, max_datagram)
        self._offsets = [0, *accumulate(share for _, share in heads.sizes)]
        place = address_of(heads.memory)
        #: As in `_words`, for all fragments; where their shares are is still missing.
        self._all_words = array(_WORD)
        for number, (head, share) in enumerate(heads.sizes):
            self._all_words.extend((place + number * heads.stride, head, 0, share))
        self._of = channel, len(payload), max_datagram

    def _aim(self, first: int, count: int, body: int) -> None:
        """Let the headers of the call point to these fragments."""
        words = self._words[: 4 * count]
        words[:] = self._all_words[4 * first : 4 * (first + count)]
        words[2::4] = array(_WORD, [body + offset for offset in self._offsets[first : first + count]])
