"""The codecs of wireframe: calls for each small frame, and the memory that a long one takes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from cost_meters import COPIES, KEPT, PYTHON_CALLS, Counted, Run, Scenario

from wireframe import NEED_DATA, datagram, ipi, lenjson

#: A frame of 48 bytes, of which 1365 come at a time, as in the bench.
SMALL = lenjson.encode("".join(chr(ord("a") + place % 26) for place in range(36)))
CHUNK = 64 << 10
SMALL_FRAMES = CHUNK // len(SMALL)
LARGE = 16 << 20
ATOMS = LARGE // 24
#: Bytes of what is encoded once and for all.
PAYLOAD = bytes(LARGE)
TEXT = "a" * LARGE


def decoding(
    stream: Callable[[], bytes], make: Callable[[], Any], frames: int
) -> Callable[[Counted], contextlib.AbstractContextManager[Run]]:
    """A scenario of a decoder, which gets a stream with so many frames in pieces."""

    @contextlib.contextmanager
    def scenario(counted: Counted) -> Iterator[Run]:
        data = stream()
        chunks = [data[begin : begin + CHUNK] for begin in range(0, len(data), CHUNK)]

        def run(messages: int) -> None:
            for _ in range(messages):
                found = 0
                decoder = make()
                with counted("decode"):
                    for chunk in chunks:
                        decoder.feed(chunk)
                        while decoder.next_event() is not NEED_DATA:
                            found += 1
                assert found == frames

        yield run

    return scenario


def encoding(encode: Callable[..., object], *values: object) -> Callable[..., Any]:
    """A scenario of an encoder."""

    @contextlib.contextmanager
    def scenario(counted: Counted) -> Iterator[Run]:
        def run(messages: int) -> None:
            for _ in range(messages):
                with counted("encode"):
                    encode(*values)

        yield run

    return scenario


@contextlib.contextmanager
def reassembly(counted: Counted) -> Iterator[Run]:
    """A message of LCM in fragments, put together again."""
    encoded = [b"".join(parts) for parts in datagram.encode_fragments(1, "READOUTS", PAYLOAD)]

    def run(messages: int) -> None:
        for _ in range(messages):
            reassembler, found = datagram.Reassembler(), []
            with counted("decode"):
                for data in encoded:
                    message = reassembler.add(("127.0.0.1", 40_000), datagram.decode(data), now=0.0)
                    if message is not None:
                        found.append(message)
            assert len(found) == 1

    yield run


def large_text() -> bytes:
    """A frame with a long text."""
    return lenjson.encode(TEXT)


def large_reply() -> bytes:
    """The reply of a driver with many atoms."""
    return ipi.encode_forceready(bytes(24 * ATOMS))


SCENARIOS = [
    Scenario(
        "JSON frames of 48 bytes in 64 KiB",
        decoding(lambda: SMALL * SMALL_FRAMES, lambda: lenjson.Decoder(loads=str), SMALL_FRAMES),
        2,
        (PYTHON_CALLS, KEPT),
        per=SMALL_FRAMES,
    ),
    Scenario(
        "replies of drivers with one atom in 64 KiB",
        decoding(lambda: ipi.encode_forceready([0.0] * 3) * 500, ipi.Decoder, 500),
        2,
        (PYTHON_CALLS, KEPT),
        per=500,
    ),
    Scenario("JSON text of 16 MiB, read", decoding(large_text, lenjson.Decoder, 1), 1, (COPIES,), size=LARGE),
    Scenario("JSON text of 16 MiB, written", encoding(lenjson.encode, TEXT), 1, (COPIES,), size=LARGE),
    Scenario("reply of 700 000 atoms", decoding(large_reply, ipi.Decoder, 1), 1, (COPIES,), size=LARGE),
    Scenario("LCM message of 16 MiB", reassembly, 1, (COPIES,), size=LARGE),
]
