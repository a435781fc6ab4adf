"""``udp-multicast send``: lines, files or made-up readouts, onto the wire."""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from udp_multicast._commands._place import UsageError, add_place, read_place
from udp_multicast._commands._sinks import open_sink
from udp_multicast._commands._stopping import Interrupted
from udp_multicast._display import ProgressBar, quantity
from udp_multicast._pacing import Pacer
from wireframe.datagram import MAX_SIZE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from udp_multicast._commands._sinks import Sink
    from udp_multicast._commands._stopping import Stop

EXIT_SIGNAL: Final = 128
#: Number of a made-up readout, nanoseconds since 1970: big-endian u64 each.
_STAMP: Final = struct.Struct(">QQ")
#: What a made-up readout repeats after that.
_FILLER: Final = bytes(range(256))
#: Seconds worth of readouts that may go at once after a pause.
_BURST_S: Final = 0.01


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe ``send``."""
    parser = commands.add_parser(
        "send",
        help="send lines, files or made-up readouts",
        description="Send readouts: each line of standard input or of FILE, without its end; FILE as a "
        "whole; or made-up ones, which begin with their number and the time (big-endian, 64 bits each).",
    )
    parser.set_defaults(command=run)
    parser.add_argument(
        "file", metavar="FILE", nargs="?", default="-", help="what to send (default -, stdin)"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--whole", action="store_true", help="send FILE as one readout, not its lines")
    what.add_argument("--generate", metavar="N", type=int, help="make up N readouts; 0 for no end")
    parser.add_argument(
        "--size", metavar="BYTES", type=int, default=64, help="of a made-up readout (default 64)"
    )
    parser.add_argument("--rate", metavar="R", type=float, help="readouts per second (default: no limit)")
    parser.add_argument("--repeat", metavar="N", type=int, default=1, help="send everything N times")
    add_place(parser, sends=True, channel_help="channel to send on")


def run(options: argparse.Namespace, stop: Stop) -> int:
    """Run ``send``; return the exit code."""
    place = read_place(options)
    if place.on_channels and len(place.channels) != 1:
        raise UsageError("name the channel to send on, with one --channel")
    if options.generate is not None and (options.generate < 0 or options.size < 0):
        raise UsageError("--generate and --size are at least 0")
    if options.generate is not None and options.size > MAX_SIZE:
        raise UsageError(f"--size is at most {MAX_SIZE}, not {options.size}")
    if options.generate is not None and options.file != "-":
        raise UsageError("give FILE or --generate, not both")
    if options.repeat < 1 or (options.repeat > 1 and options.generate is None and options.file == "-"):
        raise UsageError("--repeat is at least 1, and cannot repeat standard input")
    rate = options.rate
    try:
        pacer = Pacer(rate, max(1.0, rate * _BURST_S) if rate else 0.0, clock=stop.clock, sleep=stop.sleep)
    except ValueError as error:
        raise UsageError(f"--rate: {error}") from error
    channel = place.channels[0] if place.channels else ""
    begin = stop.clock()
    with open_sink(place) as sink:
        try:
            with ProgressBar(_total(options), sys.stderr, stop.clock) as bar:
                for data in _readouts(options, stop):
                    pacer.wait(1.0)
                    if stop:
                        break
                    sink.send(channel, data)
                    bar.update(sink.messages, f"{sink.messages} readouts")
        except Interrupted:
            pass  # a signal, while waiting for input; `stop` knows
        finally:
            sys.stderr.write(_summary(sink, stop.clock() - begin) + "\n")
    return EXIT_SIGNAL + stop.signal if stop else 0


def _total(options: argparse.Namespace) -> int:
    """Return how many readouts there will be, 0 if nobody knows."""
    count: int = (options.generate or 0) * options.repeat
    return count


def _readouts(options: argparse.Namespace, stop: Stop) -> Iterator[bytes]:
    for _ in range(options.repeat):
        if options.generate is not None:
            yield from _made_up(options.generate, options.size)
        elif options.file == "-":
            yield from _contents(sys.stdin.buffer, stop, whole=options.whole)
        else:
            with stop.interruptible():  # a pipe that nobody writes to
                opened = Path(options.file).open("rb")  # noqa: SIM115 - closed below
            with opened as file:
                yield from _contents(file, stop, whole=options.whole)


def _made_up(count: int, size: int) -> Iterator[bytes]:
    length = max(0, size - _STAMP.size)
    filler = (_FILLER * (length // len(_FILLER) + 1))[:length]
    number = 0
    while not count or number < count:
        # The time of the calendar: it is compared with another host's.
        yield (_STAMP.pack(number, time.time_ns()) + filler)[:size]
        number += 1


def _contents(file: BinaryIO, stop: Stop, *, whole: bool) -> Iterator[bytes]:
    """Yield the lines of a file without their ends, or all of it."""
    while True:
        with stop.interruptible():
            # One byte more than a message may have: what is longer is refused, not cut.
            data = file.read(MAX_SIZE + 1) if whole else file.readline(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise UsageError(f"more than {MAX_SIZE} bytes in one readout")
        if whole:
            yield data
            return
        if not data:
            return
        yield data.removesuffix(b"\n").removesuffix(b"\r")


def _summary(sink: Sink, seconds: float) -> str:
    return f"sent {sink.messages} readouts, {quantity(sink.size, 'B')} in {seconds:.2f} s"
