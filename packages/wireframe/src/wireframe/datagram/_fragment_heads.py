"""The headers of all fragments of a message, to be used again for the next one of its size."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING, Final

from wireframe.datagram._encode import encode_fragments
from wireframe.datagram._messages import FRAGMENT_MAGIC, MAX_DATAGRAM

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Format of an unsigned number of 32 bits.
_WORD: Final = "I"
_WORD_SIZE: Final = array(_WORD).itemsize


class FragmentHeads:
    """Headers in one piece of memory, in which only the number of the message changes.

    For a sender of many large messages of one size, which hands addresses to
    the system. Followed by their shares of the payload, they are the datagrams
    of `encode_fragments`.

    Parameters
    ----------
    channel, payload, max_datagram : str, bytes-like, int
        As for `encode_fragments`; of the payload, only its length counts.

    Attributes
    ----------
    memory : bytearray
        All headers, `stride` bytes from each to the next. It never moves.
    sizes : list of tuple of int
        For each fragment the bytes of its header and of its share of the
        payload, which is divided without gaps.

    Raises
    ------
    ValueError, TypeError
        As `encode_fragments`.

    Examples
    --------
    >>> heads = FragmentHeads("ADC", bytes(3000), max_datagram=1472)
    >>> heads.sizes
    [(24, 1448), (20, 1452), (20, 100)]
    >>> heads.renumber(7)
    >>> bytes(heads.memory[heads.stride :][:20]).hex(" ", 4)
    '4c433033 00000007 00000bb8 000005a8 00010003'
    """

    __slots__ = ("_numbers", "memory", "sizes", "stride")

    def __init__(self, channel: str, payload: Buffer, max_datagram: int = MAX_DATAGRAM) -> None:
        datagrams = encode_fragments(0, channel, payload, max_datagram)
        self.sizes = [(len(head), len(share)) for head, share in datagrams]
        # The first one has the name besides, and numbers are looked at as words.
        self.stride = -(-len(datagrams[0][0]) // _WORD_SIZE) * _WORD_SIZE
        self.memory = bytearray().join([bytes(head).ljust(self.stride, b"\0") for head, _ in datagrams])
        words = memoryview(self.memory).cast(_WORD)
        self._numbers = words[len(FRAGMENT_MAGIC) // _WORD_SIZE :: self.stride // _WORD_SIZE]

    def renumber(self, sequence: int) -> None:
        """Let the headers be those of another message.

        Parameters
        ----------
        sequence : int
            Its number, 0 to 2^32 - 1.

        Raises
        ------
        OverflowError
            It is not.
        """
        word = int.from_bytes(sequence.to_bytes(_WORD_SIZE, "big"), sys.byteorder)
        self._numbers[:] = array(_WORD, [word]) * len(self.sizes)
