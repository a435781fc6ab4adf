"""One way to find frames in a stream, in a process of its own.

Started by the bench, never imported::

    python codec_subject.py (ours | reader | values | reader-values | large | into)

Frames are ten digits and a body, as JSON sockets send them.

================= ======================================================================
``ours``          `wireframe.lenjson.Decoder`, bodies as text
``reader``        ``asyncio.StreamReader.readexactly``, head and body of each, as text
``values``        as ``ours``, with the values of the bodies
``reader-values`` as ``reader``, with the values of the bodies
``large``         a frame of 100 MB from a socket, `Decoder` fed with 64 KiB at a time
``into``          the same, ``recv_into`` to memory that was made for it
================= ======================================================================

Small frames have 48 bytes and come in chunks of 64 KiB, which cut them
anywhere; a step is 4096 of them. A step of the large ones is a frame. The CPU
time of these is that of the thread that receives; another one sends.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import orders

from wireframe import NEED_DATA
from wireframe.lenjson import HEADER_LENGTH, Decoder, encode

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK: Final = 64 << 10
FRAMES: Final = 4096
FRAME: Final = encode("".join(chr(ord("a") + place % 26) for place in range(36)))
LARGE: Final = 100_000_000


def chunks() -> list[bytes]:
    """Return the small frames as they come."""
    stream = FRAME * FRAMES
    return [stream[start : start + CHUNK] for start in range(0, len(stream), CHUNK)]


def decode(loads: Callable[[str], Any]) -> Callable[[], object]:
    """Return what finds all small frames with the decoder."""
    arriving = chunks()

    def run() -> None:
        decoder, found = Decoder(loads=loads), 0
        for chunk in arriving:
            decoder.feed(chunk)
            while decoder.next_event() is not NEED_DATA:
                found += 1
        if found != FRAMES:
            raise RuntimeError(f"{found} frames of {FRAMES} were found")

    return run


def read(runner: asyncio.Runner, loads: Callable[[str], Any]) -> Callable[[], object]:
    """Return what finds all small frames with the reader of asyncio."""
    arriving = chunks()

    async def find() -> None:
        reader, found, arrived = asyncio.StreamReader(), 0, 0
        for chunk in arriving:
            reader.feed_data(chunk)
            arrived += len(chunk)
            # Never beyond what is here: nothing is waited for.
            for _ in range(arrived // len(FRAME) - found):
                header = await reader.readexactly(HEADER_LENGTH)
                body = await reader.readexactly(int(header))
                loads(str(body, "utf-8"))
                found += 1

    return lambda: runner.run(find())


def receive_decoded(here: socket.socket) -> int:
    """Return the characters of a large frame."""
    decoder = Decoder(loads=str)
    while (event := decoder.next_event()) is NEED_DATA:
        decoder.feed(here.recv(CHUNK))
    return len(event)


def receive_into(here: socket.socket) -> int:
    """Return the bytes of the body of a large frame."""
    body = memoryview(bytearray(int(here.recv(HEADER_LENGTH, socket.MSG_WAITALL))))
    arrived = 0
    while arrived < len(body):
        arrived += here.recv_into(body[arrived:])
    return arrived


def follow_large(receive: Callable[[socket.socket], int]) -> orders.Steps:
    """Return what receives large frames."""
    frame = b"%010d" % LARGE + b'"' + b"a" * (LARGE - 2) + b'"'

    def run(steps: int) -> tuple[int, float, float]:
        cpu = wall = 0.0
        for _ in range(steps):
            here, there = socket.socketpair()
            with here, there:
                sender = threading.Thread(target=there.sendall, args=(frame,))
                sender.start()
                begin, busy = time.perf_counter(), time.thread_time()
                if receive(here) != LARGE:
                    raise RuntimeError("the frame did not arrive whole")
                cpu += time.thread_time() - busy
                wall += time.perf_counter() - begin
                sender.join()
        return steps, wall, cpu

    return run


def follow_small(pass_all: Callable[[], object]) -> orders.Steps:
    """Return what finds small frames."""

    def run(steps: int) -> tuple[int, float, float]:
        begin, busy = time.perf_counter(), time.process_time()
        for _ in range(steps):
            pass_all()
        return steps, time.perf_counter() - begin, time.process_time() - busy

    return run


def main() -> None:
    """Say that it is there, follow the orders of the bench."""
    kind = sys.argv[1]
    with asyncio.Runner() as runner:
        loads: Callable[[str], Any] = json.loads if kind.endswith("values") else str
        if kind in ("large", "into"):
            run = follow_large(receive_decoded if kind == "large" else receive_into)
        else:
            run = follow_small(read(runner, loads) if kind.startswith("reader") else decode(loads))
        orders.say(ready=True)
        orders.follow(run)


if __name__ == "__main__":
    main()
