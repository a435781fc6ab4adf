"""``udp-multicast record FILE``: what arrives, into an event log."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from udp_multicast._commands._log_file import LogWriter
from udp_multicast._commands._place import UsageError, add_place, read_place
from udp_multicast._commands._sources import open_source
from udp_multicast._commands._stopping import GLANCE_S
from udp_multicast._display import Screen, is_terminal, quantity

if TYPE_CHECKING:
    import argparse

    from udp_multicast._commands._sources import Source
    from udp_multicast._commands._stopping import Stop

#: Seconds between two drawings of the progress.
_DRAW_INTERVAL_S: Final = 0.5
#: Exit code when there was less to record than was asked for.
EXIT_TOO_FEW: Final = 3


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe ``record``."""
    parser = commands.add_parser(
        "record",
        help="write what arrives to an event log",
        description="Write what arrives to an event log, as lcm-logger does; lcm-logplayer can read it. "
        "Ends at SIGINT or SIGTERM, or as told by --count and --duration.",
    )
    parser.set_defaults(command=run)
    parser.add_argument("file", metavar="FILE", type=Path, help="event log to write")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it exists")
    add_limits(parser)
    add_place(parser, sends=False, channel_help="record this channel only; may be repeated")


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Describe when to end."""
    parser.add_argument("--count", metavar="N", type=int, help="end after N readouts")
    parser.add_argument("--duration", metavar="S", type=float, help="end after S seconds")


def check_limits(options: argparse.Namespace) -> None:
    """Refuse what makes no sense.

    Raises
    ------
    UsageError
        A number is not more than 0.
    """
    for name in ("count", "duration"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise UsageError(f"--{name} is more than 0, not {value}")


def run(options: argparse.Namespace, stop: Stop) -> int:
    """Run ``record``; return the exit code."""
    check_limits(options)
    place = read_place(options)
    with open_source(place) as source, LogWriter(options.file, overwrite=options.overwrite) as log:
        sys.stderr.write(f"recording {place} to {options.file}\n")
        sys.stderr.flush()
        failure = ""
        try:
            # Closed in here: the rest is written then, and what failed to be has to be told.
            with log:
                record(source, log, stop, options.count, options.duration)
        except OSError as error:
            failure = f": {error}"
            raise
        finally:
            sys.stderr.write(_summary(options.file, log, source, failure) + "\n")
    return EXIT_TOO_FEW if _fell_short(options, log, stop) else 0


def record(source: Source, log: LogWriter, stop: Stop, count: int | None, duration: float | None) -> None:
    """Record until told to stop."""
    screen = Screen(sys.stderr) if is_terminal(sys.stderr) else None
    end = None if duration is None else stop.clock() + duration
    next_draw = next_flush = stop.clock()
    while not stop and (count is None or log.events < count):
        now = stop.clock()
        if end is not None and now >= end:
            break
        if now >= next_flush:
            next_flush = now + GLANCE_S
            log.flush()
        if screen is not None and now >= next_draw:
            next_draw = now + _DRAW_INTERVAL_S
            screen.show([_progress(log, source)])
        try:
            arrival = source.receive(GLANCE_S if end is None else min(GLANCE_S, max(0.0, end - now)))
        except TimeoutError:
            continue
        # A log wants the time of the calendar, not of a stopwatch.
        log.write(time.time_ns() // 1000, arrival.channel, arrival.data)


def _progress(log: LogWriter, source: Source) -> str:
    totals = source.totals()
    lost = "" if totals.lost is None else f", {totals.lost} lost"
    drops = f", {totals.kernel_drops} dropped by the system" if totals.kernel_drops else ""
    return f"{log.written} events, {quantity(log.written_bytes, 'B')}{lost}{drops}"


def _summary(path: Path, log: LogWriter, source: Source, failure: str) -> str:
    more = log.events - log.written
    missing = f"; {more} more are lost{failure}" if more else ""
    return f"recorded {_progress(log, source)} to {path}{missing}"


def _fell_short(options: argparse.Namespace, log: LogWriter, stop: Stop) -> bool:
    return options.count is not None and log.events < options.count and not stop
