"""What a decoder says about bytes it cannot accept.

The whole tree::

    ValueError
    └── FrameError              the peer sent something this protocol does not allow
        ├── BadHeader           the first bytes are not a header of this protocol
        ├── BadPayload          the header is fine, the body is not
        ├── FrameTooLarge       the peer announced more than the limit allows
        └── TruncatedFrame      the stream or datagram ended inside a frame

A `FrameError` always means that *the peer* is at fault. A wrong argument of
your own raises a plain `ValueError` or `TypeError` before one byte is made.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["BadHeader", "BadPayload", "FrameError", "FrameTooLarge", "TruncatedFrame"]

#: How many of the offending bytes an error keeps: enough to recognise an HTTP
#: request or a shifted stream, too few to fill a log.
MAX_EXCERPT: Final = 32


def _without_init(kind: type[FrameError], args: tuple[Any, ...]) -> FrameError:
    return kind.__new__(kind, *args)


class FrameError(ValueError):
    """The peer sent bytes that are not a legal frame.

    Parameters
    ----------
    message : str
        What is wrong, for a person.
    excerpt : bytes, optional
        The offending bytes; the first 32 are kept.
    at : int
        See below.

    Attributes
    ----------
    excerpt : bytes
        At most the first 32 offending bytes.
    at : int
        Where in the frame the first offending byte is, counted from the
        frame's first byte. Of a multipart message, counted through all parts.
    """

    def __init__(self, message: str, excerpt: bytes = b"", *, at: int = 0) -> None:
        super().__init__(message)
        self.excerpt = bytes(excerpt[:MAX_EXCERPT])
        self.at = at

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with the message alone, which the
        # subclasses with numbers do not take; then no such error could be
        # copied or come back from a worker process.
        return _without_init, (type(self), self.args), self.__dict__


class BadHeader(FrameError):
    """The first bytes of a frame are not a header of this protocol."""


class BadPayload(FrameError):
    """The body of a frame does not mean anything in this protocol."""


class FrameTooLarge(FrameError):
    """The peer announced a frame, or a part of one, beyond the limit.

    It is raised as soon as the announcement is read, before the announced
    bytes are stored and before anything of that size is allocated.

    Parameters
    ----------
    what : str
        The announced quantity, such as ``"body"`` or ``"atom count"``.
    size : int
        What the peer announced.
    limit : int
        What the decoder was told to accept.
    excerpt : bytes, optional
        The bytes that carry the announcement.
    at : int
        Where the announcement is.

    Attributes
    ----------
    size, limit : int
        The two numbers.
    """

    def __init__(self, what: str, size: int, limit: int, excerpt: bytes = b"", *, at: int = 0) -> None:
        super().__init__(f"peer announced {what} {size}, the limit is {limit}", excerpt, at=at)
        self.size = size
        self.limit = limit


class TruncatedFrame(FrameError):
    """The stream or datagram ended inside a frame.

    Parameters
    ----------
    got : int
        Bytes of the frame that arrived.
    expected : int
        Bytes the decoder knew it needed when the stream ended. The whole
        frame may have been longer still.
    excerpt : bytes, optional
        The first bytes of the unfinished frame.

    Attributes
    ----------
    got, expected : int
        The two numbers; `at` is `got`.
    """

    def __init__(self, got: int, expected: int, excerpt: bytes = b"") -> None:
        super().__init__(f"stream ended after {got} of at least {expected} bytes", excerpt, at=got)
        self.got = got
        self.expected = expected
