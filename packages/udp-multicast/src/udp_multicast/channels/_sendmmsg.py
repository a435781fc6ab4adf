"""Several datagrams in one call: ``sendmmsg`` of Linux.

For the fragments of large messages, which are there all at once.
"""

from __future__ import annotations

import ctypes
from array import array
from typing import TYPE_CHECKING, Final

from udp_multicast.channels._mmsg import Header, Message, Piece, address_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from udp_multicast.channels._mmsg import Call
    from wireframe.datagram import Parts

#: Datagrams of one call.
COUNT: Final = 64
#: An address, or a size.
_WORD: Final = "L"


class Volley:
    """Sends datagrams of two parts each, several in a call.

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

    def send(self, descriptor: int, datagrams: Sequence[Parts], payload: bytes) -> int:
        """Send datagrams by a connected socket.

        Parameters
        ----------
        descriptor : int
            Of the socket.
        datagrams : sequence of Parts
            Their second parts are, one after the other, the payload.
        payload : bytes
            All of it.

        Returns
        -------
        int
            How many were sent, from the first on. The next one has to be sent
            otherwise, and that will tell what is wrong with it.
        """
        heads = bytearray().join([parts[0] for parts in datagrams])
        head, body = address_of(heads), ctypes.cast(ctypes.c_char_p(payload), ctypes.c_void_p).value or 0
        sent = 0
        while sent < len(datagrams):
            some = datagrams[sent : sent + COUNT]
            words: list[int] = []
            for first, second in some:
                head_size, body_size = len(first), len(second)
                words += (head, head_size, body, body_size)
                head += head_size
                body += body_size
            self._words[: len(words)] = array(_WORD, words)
            count = self._call(descriptor, self._begin, len(some), 0)
            sent += max(count, 0)
            if count < len(some):
                break
        return sent
