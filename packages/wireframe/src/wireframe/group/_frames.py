"""The frames of a message: tag, payload, stamp, extension."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Final

from wireframe.errors import BadHeader, BadPayload, FrameError, FrameTooLarge
from wireframe.group._extension import Extension, decode_extension, encode_extension

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

#: Bytes of payload. What is accepted unless told otherwise: far above any
#: message of a control group, far below a machine's memory.
MAX_SIZE: Final = 64 << 20

_STAMP: Final = struct.Struct("<d")
_TAG_LENGTH: Final = 3
_UNTIMED: Final = 2
_TIMED: Final = 3
_EXTENDED: Final = 4


@dataclass(slots=True)
class GroupMessage:
    """One message.

    Attributes
    ----------
    tag : bytes
        Three ASCII characters: what kind of message it is. Any, known or not.
    payload : bytes
        May be empty. `decode_body` reads those of known tags.
    stamp : float or None
        When it was sent: seconds since 1970 of the sender's wall clock, finite.
    extension : Extension or None
        Only behind a stamp, and only from senders that know it.
    """

    tag: bytes
    payload: bytes
    stamp: float | None = None
    extension: Extension | None = None


def decode_frames(frames: Sequence[bytes], /, *, max_size: int = MAX_SIZE) -> GroupMessage:
    r"""Read the frames of one message.

    Parameters
    ----------
    frames : sequence of bytes
        As they were received, without the routing identity that a ROUTER socket
        puts in front. They are kept, not copied.
    max_size : int
        Bytes of the longest payload to accept.

    Returns
    -------
    GroupMessage
        What the payload says, and whether its tag is known, is for `decode_body`.

    Raises
    ------
    BadHeader
        There are fewer than two or more than four frames, the tag is not three
        ASCII characters, or the fourth frame is not an extension.
    BadPayload
        The third frame is not a finite stamp of 8 bytes, or the extension means
        nothing.
    FrameTooLarge
        The payload is longer than `max_size`.
    TruncatedFrame
        The extension is too short.

    Examples
    --------
    >>> decode_frames([b"msg", b"hello"])
    GroupMessage(tag=b'msg', payload=b'hello', stamp=None, extension=None)
    >>> decode_frames([b"msg", b"hello", b"\x00\x00\x10\x40\xfc\x54\xd9\x41"]).stamp
    1700000000.25
    """
    stamp = extension = None
    count = len(frames)
    if count == _UNTIMED:
        tag, payload = frames
    elif count == _TIMED:
        tag, payload, last = frames
        stamp = _stamp_of(last, len(tag) + len(payload))
    elif count == _EXTENDED:
        tag, payload, last, extra = frames
        stamp = _stamp_of(last, len(tag) + len(payload))
        try:
            extension = decode_extension(extra)
        except FrameError as error:
            error.at += len(tag) + len(payload) + len(last)
            raise
    else:
        raise BadHeader(f"a message has 2 to 4 frames, not {count}", frames[0] if frames else b"")
    if len(tag) != _TAG_LENGTH or not tag.isascii():
        raise BadHeader(f"a tag is three ASCII characters, not {tag[:32]!r}", tag)
    if len(payload) > max_size:
        raise FrameTooLarge("payload", len(payload), max_size, payload, at=_TAG_LENGTH)
    return GroupMessage(tag, payload, stamp, extension)


def _stamp_of(frame: bytes, at: int) -> float:
    """Read the stamp that begins `at` bytes from the first of the message."""
    if len(frame) != _STAMP.size:
        raise BadPayload(f"a stamp has 8 bytes, not {len(frame)}", frame, at=at)
    stamp: float = _STAMP.unpack(frame)[0]
    if not isfinite(stamp):
        raise BadPayload(f"a stamp is finite, not {stamp}", frame, at=at)
    return stamp


def encode_frames(
    tag: bytes, payload: Buffer, *, stamp: float | None = None, extension: Extension | None = None
) -> list[bytes]:
    r"""Return the frames of a message.

    Parameters
    ----------
    tag : bytes
        Three ASCII characters.
    payload : bytes-like
        May be empty. `bytes` are taken as they are, others copied; an array is
        sent as its memory.
    stamp : float, optional
        Seconds since 1970 of the wall clock. Members of the original with
        ``timed`` groups stamp all messages, others none.
    extension : Extension, optional
        Needs a stamp, because a third frame is always read as one.

    Returns
    -------
    list of bytes
        Two to four frames.

    Raises
    ------
    TypeError
        `tag` is not bytes, or `payload` not bytes-like.
    ValueError
        The tag is not three ASCII characters, the stamp is not finite, there is
        an extension without a stamp, or it does not fit.

    Examples
    --------
    >>> encode_frames(b"msg", b"hello")
    [b'msg', b'hello']
    """
    if not isinstance(tag, bytes):
        raise TypeError(f"a tag is bytes, not {type(tag).__name__}")
    if len(tag) != _TAG_LENGTH or not tag.isascii():
        raise ValueError(f"a tag is three ASCII characters, not {tag[:32]!r}")
    if type(payload) is not bytes:
        payload = memoryview(payload).tobytes()
    frames = [tag, payload]
    if stamp is not None:
        if not isfinite(stamp):
            raise ValueError(f"a stamp is finite, not {stamp}")
        frames.append(_STAMP.pack(stamp))
    if extension is not None:
        if stamp is None:
            raise ValueError("an extension goes behind a stamp")
        frames.append(encode_extension(extension))
    return frames
