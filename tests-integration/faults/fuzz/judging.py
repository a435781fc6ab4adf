"""What the targets have in common: how bytes are cut, how outcomes are compared, what a broken promise is."""

from __future__ import annotations

import dataclasses
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from wireframe import NEED_DATA, BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame

#: Every leaf of the tree of errors; `FrameError` itself is raised by no decoder.
FRAME_ERRORS = (BadHeader, BadPayload, FrameTooLarge, TruncatedFrame)

_LENGTH = struct.Struct(">H")
#: Bytes of an input that is fed slowly that come one by one, heads and all; and pieces of the rest.
_SINGLE = 160
_PIECES = 40


class Broken(Exception):
    """A promise did not hold. Never among the errors that a target allows."""


def hold(promise: bool, what: str) -> None:
    """Raise `Broken` unless a promise holds."""
    if not promise:
        raise Broken(what)


def parts_of(data: bytes) -> list[bytes]:
    """Read an input of several parts, each behind its length (u16, big-endian); any bytes are some."""
    parts, at = [], 0
    while at + _LENGTH.size <= len(data):
        size = _LENGTH.unpack_from(data, at)[0]
        at += _LENGTH.size
        parts.append(data[at : at + size])
        at += size
    return parts


def joined(parts: list[bytes]) -> bytes:
    """Return the input that `parts_of` reads as these."""
    return b"".join(_LENGTH.pack(len(one)) + one for one in parts)


def flat(value: Any) -> list[str]:
    """Return a value as a row of texts: equal if it is, NaN and all, and without recursion, however deep."""
    row: list[str] = []
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, (list, tuple)):
            row.append(f"{type(one).__name__} of {len(one)}")
            stack.extend(one)
        elif isinstance(one, dict):
            row.append(f"dict of {list(one)!r}")
            stack.extend(one.values())
        elif dataclasses.is_dataclass(one):
            row.append(type(one).__name__)
            stack.extend(getattr(one, field.name) for field in dataclasses.fields(one))
        else:
            row.append(repr(one))
    return row


def depth_of(value: Any) -> int:
    """Return how many lists and objects are inside each other, without recursion."""
    deepest, stack = 0, [(value, 1)]
    while stack:
        one, depth = stack.pop()
        if isinstance(one, (list, dict)):
            deepest = max(deepest, depth)
            stack.extend((part, depth + 1) for part in (one.values() if isinstance(one, dict) else one))
    return deepest


@dataclass
class Outcome:
    """What a stream decoder made of its bytes."""

    decoder: Any
    events: list[Any]
    error: FrameError | None


#: Given the decoder and all bytes, yields the next piece to feed.
Cut = Callable[[Any, bytes], Iterator[bytes]]


def whole(decoder: Any, data: bytes) -> Iterator[bytes]:
    """All at once."""
    yield data


def slowly(decoder: Any, data: bytes) -> Iterator[bytes]:
    """One byte at a time, and only what is far from the beginning in pieces."""
    for at in range(min(_SINGLE, len(data))):
        yield data[at : at + 1]
    step = -(-len(data[_SINGLE:]) // _PIECES) or 1
    for at in range(_SINGLE, len(data), step):
        yield data[at : at + step]


def anyhow(decoder: Any, data: bytes) -> Iterator[bytes]:
    """In a few pieces, which depend on the bytes alone."""
    chance = random.Random(zlib.crc32(data))
    at = 0
    while at < len(data):
        size = chance.choice((1, 3, 12, 64, len(data)))
        yield data[at : at + size]
        at += size


def as_needed(decoder: Any, data: bytes) -> Iterator[bytes]:
    """As many as the decoder asks for, like a blocking reader."""
    at = 0
    while at < len(data):
        size = decoder.needed
        yield data[at : at + size]
        at += size


def outcome(
    make: Callable[[], Any], data: bytes, cut: Cut, refusals: tuple[type[FrameError], ...]
) -> Outcome:
    """Return what a decoder makes of a stream that ends behind these bytes.

    Only `refusals` are caught; then the decoder has to be dead. Every event has to
    cost the sender bytes, and nothing is held but what was fed.
    """
    decoder = make()
    result = Outcome(decoder, [], None)
    fed = 0
    try:
        for piece in cut(decoder, data):
            decoder.feed(piece)
            fed += len(piece)
            _drain(result, fed)
            hold(decoder.needed >= 1, "an open stream needs nothing")
            hold(decoder.buffered <= fed, "more is held than was fed")
        decoder.feed_eof()
        _drain(result, fed)
    except refusals as error:
        result.error = error
        _check_dead(decoder, error)
    else:
        hold(decoder.buffered == 0, "the stream ended well, and bytes are left")
    hold(decoder.needed == 0, "a stream that is over needs more")
    return result


def _drain(result: Outcome, fed: int) -> None:
    while (event := result.decoder.next_event()) is not NEED_DATA:
        result.events.append(event)
        hold(len(result.events) <= fed, "more events than bytes")


def _check_dead(decoder: Any, error: FrameError) -> None:
    decoder.feed(b"more")
    try:
        decoder.next_event()
    except type(error) as again:
        hold((str(again), again.at) == (str(error), error.at), "a dead decoder says something else")
    else:
        raise Broken("a decoder lives on after an error")


def outcomes_agree(
    make: Callable[[], Any],
    data: bytes,
    refusals: tuple[type[FrameError], ...],
    state: Callable[[Any], object] = lambda decoder: None,
) -> Outcome:
    """Feed the bytes in four ways; what comes out must be the same, and is returned."""
    first, *others = [outcome(make, data, cut, refusals) for cut in (whole, slowly, anyhow, as_needed)]
    known = flat(first.events)
    for other in others:
        hold(flat(other.events) == known, "events depend on how the bytes are cut")
        hold(
            _same(first.error, other.error),
            f"cut bytes end in {other.error!r}, whole ones in {first.error!r}",
        )
        hold(state(other.decoder) == state(first.decoder), "counters depend on how the bytes are cut")
    return first


def _same(one: FrameError | None, other: FrameError | None) -> bool:
    if one is None or other is None:
        return one is other
    # The excerpt holds what has come so far, up to its limit.
    begin, more = sorted((one.excerpt, other.excerpt), key=len)
    return (type(one), str(one), one.at) == (type(other), str(other), other.at) and more.startswith(begin)
