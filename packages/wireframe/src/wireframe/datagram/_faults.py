"""What is wrong with a datagram: known at once, put into words only when asked.

Making and raising an error takes five times as long as finding out that there
is one. A receiver that only counts what somebody else floods it with does not
need the words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from wireframe.datagram._channel import MAX_CHANNEL
from wireframe.datagram._messages import FRAGMENT_HEAD, FRAGMENT_MAGIC, SMALL_HEAD, SMALL_MAGIC
from wireframe.errors import MAX_EXCERPT, BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Takes the beginning of the datagram, its length, and the limit of messages.
    Words = Callable[[bytes, int, int], FrameError]

#: Bytes in which everything stands that a datagram can be refused for.
HEAD_LENGTH: Final = FRAGMENT_HEAD.size + MAX_CHANNEL + 1
#: Where these fields of a fragment are.
_SIZE_AT: Final = 8
_OFFSET_AT: Final = 12
_NUMBER_AT: Final = 16


@final
class Fault:
    """Why `decode` would raise; what `examine` returns instead.

    Attributes
    ----------
    kind : type of FrameError
        The class of the error.
    is_foreign : bool
        The datagram does not begin like LCM's.
    """

    __slots__ = ("_words", "is_foreign", "kind")

    def __init__(self, kind: type[FrameError], words: Words, *, is_foreign: bool = False) -> None:
        self.kind = kind
        self.is_foreign = is_foreign
        self._words = words

    def error(self, data: bytes | memoryview, max_size: int) -> FrameError:
        """Return the error that `decode` would raise.

        Parameters
        ----------
        data, max_size : bytes or memoryview, int
            What `examine` was given.

        Returns
        -------
        FrameError
            An instance of `kind`.
        """
        return self._words(bytes(data[:HEAD_LENGTH]), len(data), max_size)


def _begin_of(head: bytes) -> int:
    """Return where the channel name begins."""
    return SMALL_HEAD.size if head.startswith(SMALL_MAGIC) else FRAGMENT_HEAD.size


def _cut_head(head: bytes, length: int, _: int) -> FrameError:
    whole = FRAGMENT_HEAD.size if head.startswith(FRAGMENT_MAGIC) else SMALL_HEAD.size + 1
    return TruncatedFrame(length, whole, head)


def _cut_channel(head: bytes, length: int, _: int) -> FrameError:
    return TruncatedFrame(length, max(length, _begin_of(head)) + 1, head)


def _foreign(head: bytes, _: int, __: int) -> FrameError:
    return BadHeader(f"LC02 or LC03 expected, got {head[:4]!r}", head[:MAX_EXCERPT])


def _long_channel(head: bytes, _: int, __: int) -> FrameError:
    return BadHeader(f"the channel name is longer than {MAX_CHANNEL} bytes", head, at=_begin_of(head))


def _no_text(head: bytes, _: int, __: int) -> FrameError:
    begin = _begin_of(head)
    try:
        head[begin : head.find(0, begin)].decode()
    except UnicodeDecodeError as error:
        found = BadHeader(f"the channel name is not UTF-8: {error}", head, at=begin + error.start)
        found.__cause__ = error
        return found
    raise ValueError("the channel name is UTF-8")


def _bad_number(head: bytes, _: int, __: int) -> FrameError:
    number, count = FRAGMENT_HEAD.unpack_from(head)[4:]
    return BadHeader(f"peer sent fragment {number} of {count}", head, at=_NUMBER_AT)


def _large_fragment(head: bytes, _: int, max_size: int) -> FrameError:
    return FrameTooLarge("message size", FRAGMENT_HEAD.unpack_from(head)[2], max_size, head, at=_SIZE_AT)


def _large_small(head: bytes, length: int, max_size: int) -> FrameError:
    return FrameTooLarge("message size", length - head.find(0, SMALL_HEAD.size) - 1, max_size, head)


def _beyond(head: bytes, length: int, _: int) -> FrameError:
    size, offset, number = FRAGMENT_HEAD.unpack_from(head)[2:5]
    begin = FRAGMENT_HEAD.size
    rest = length - (head.find(0, begin) + 1 if number == 0 else begin)
    return BadPayload(
        f"peer sent {rest} bytes at offset {offset} of a message of {size}", head, at=_OFFSET_AT
    )


CUT_BEGINNING: Final = Fault(TruncatedFrame, _cut_head, is_foreign=True)
CUT_HEAD: Final = Fault(TruncatedFrame, _cut_head)
CUT_CHANNEL: Final = Fault(TruncatedFrame, _cut_channel)
FOREIGN: Final = Fault(BadHeader, _foreign, is_foreign=True)
LONG_CHANNEL: Final = Fault(BadHeader, _long_channel)
NO_TEXT: Final = Fault(BadHeader, _no_text)
BAD_NUMBER: Final = Fault(BadHeader, _bad_number)
LARGE_FRAGMENT: Final = Fault(FrameTooLarge, _large_fragment)
LARGE_SMALL: Final = Fault(FrameTooLarge, _large_small)
BEYOND: Final = Fault(BadPayload, _beyond)
