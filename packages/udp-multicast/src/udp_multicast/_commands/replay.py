"""``udp-multicast replay FILE``: an event log, sent again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from udp_multicast._commands._log_file import LogReader
from udp_multicast._commands._place import UsageError, add_place, read_place
from udp_multicast._commands._sinks import open_sink
from udp_multicast._commands._stopping import Interrupted
from udp_multicast._commands._timeline import Timeline
from udp_multicast._display import ProgressBar, quantity

if TYPE_CHECKING:
    import argparse

    from udp_multicast._commands._sinks import Sink
    from udp_multicast._commands._stopping import Stop

EXIT_SIGNAL: Final = 128


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe ``replay``."""
    parser = commands.add_parser(
        "replay",
        help="send an event log again",
        description="Send the events of a log again, with the pauses they were recorded with. Logs of "
        "lcm-logger work too. On channels every event keeps its own; otherwise each is one plain readout.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("file", metavar="FILE", type=Path, help="event log to read")
    speed = parser.add_mutually_exclusive_group()
    speed.add_argument(
        "--speed", metavar="F", type=float, default=1.0, help="F times faster (default 1, as it was recorded)"
    )
    speed.add_argument("--fast", action="store_true", help="without any pause")
    parser.add_argument(
        "--max-pause", metavar="S", type=float, default=float("inf"), help="shorten pauses to S seconds"
    )
    add_place(parser, sends=True, channel_help="send this channel only; may be repeated")


def run(options: argparse.Namespace, stop: Stop) -> int:
    """Run ``replay``; return the exit code."""
    place = read_place(options)
    try:
        timeline = Timeline(None if options.fast else options.speed, options.max_pause)
    except ValueError as error:
        raise UsageError(str(error)) from error
    log: LogReader | None = None
    with open_sink(place) as sink:
        try:
            with LogReader(options.file, stop) as log:
                replay(log, sink, timeline, stop, place.channels)
        except Interrupted:
            pass  # a signal, while waiting for the file; `stop` knows
        finally:
            if log is not None or stop:
                sys.stderr.write(_summary(log, sink) + "\n")
    return EXIT_SIGNAL + stop.signal if stop else 0


def replay(
    log: LogReader, sink: Sink, timeline: Timeline, stop: Stop, channels: tuple[str, ...] = ()
) -> None:
    """Send all events, or those of some channels, each when it is due."""
    with ProgressBar(log.size, sys.stderr, stop.clock) as bar:
        start = stop.clock()
        for event in log:
            due = start + timeline.due(event.timestamp_us)
            bar.update(log.position, f"{sink.messages} events, {quantity(sink.size, 'B')}")
            # In slices, so that the bar moves and a signal is noticed.
            while not stop and (left := due - stop.clock()) > 0:
                stop.sleep(min(left, 1.0))
                bar.update(
                    log.position, f"{sink.messages} events, next in {max(0.0, due - stop.clock()):.0f} s"
                )
            if stop:
                return
            if not channels or event.channel in channels:
                sink.send(event.channel, event.data)


def _summary(log: LogReader | None, sink: Sink) -> str:
    """Say what was sent; there is no log if a signal came before it could be opened."""
    damage = f"; {log.skipped} bytes of the log belong to no event" if log and log.skipped else ""
    cut = "; the log ends inside an event" if log and log.truncated else ""
    return f"sent {sink.messages} events, {quantity(sink.size, 'B')}{damage}{cut}"
