"""``udp-multicast listen``: rates and losses, live."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from udp_multicast._commands._history import ALL, History
from udp_multicast._commands._place import UsageError, add_place, read_place
from udp_multicast._commands._plot import draw, require_matplotlib
from udp_multicast._commands._sources import open_source
from udp_multicast._commands._stopping import GLANCE_S
from udp_multicast._commands.record import EXIT_TOO_FEW, add_limits, check_limits
from udp_multicast._display import Screen, can_show, is_terminal, quantity, sparkline

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from udp_multicast._commands._sources import Source, Totals
    from udp_multicast._commands._stopping import Stop

#: Senders that are shown.
_MAX_ROWS: Final = 20


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe ``listen``."""
    parser = commands.add_parser(
        "listen",
        help="show rates and losses",
        description="Show what arrives: rates and losses of every sender, in place on a terminal, else one "
        "line per interval. Ends at SIGINT or SIGTERM, or as told by --count and --duration.",
    )
    parser.set_defaults(command=run)
    add_limits(parser)
    parser.add_argument(
        "--interval", metavar="S", type=float, default=1.0, help="seconds between two reports (default 1)"
    )
    parser.add_argument("--plot", metavar="FILE", type=Path, help="draw rates and losses in the end")
    add_place(parser, sends=False, channel_help="listen to this channel only; may be repeated")


def run(options: argparse.Namespace, stop: Stop) -> int:
    """Run ``listen``; return the exit code."""
    check_limits(options)
    if not options.interval > 0:
        raise UsageError(f"--interval is more than 0, not {options.interval}")
    if options.plot is not None:
        require_matplotlib()
    place = read_place(options)
    with open_source(place) as source:
        sys.stderr.write(f"listening to {place}\n")
        sys.stderr.flush()
        history = History(source.totals(), keep=options.plot is not None)
        begin = stop.clock()
        try:
            received = listen(source, history, stop, options)
        finally:
            totals = source.totals()
            seconds = stop.clock() - begin
            if seconds > history.seconds:
                history.add(seconds, totals)
            sys.stderr.write(f"{_summary(totals)} in {seconds:.2f} s\n")
    if options.plot is not None:
        try:
            draw(options.plot, history.samples, str(place))
        except ValueError as error:
            raise UsageError(f"--plot: {error}") from error
    return EXIT_TOO_FEW if options.count is not None and received < options.count and not stop else 0


def listen(source: Source, history: History, stop: Stop, options: argparse.Namespace) -> int:
    """Listen and report until told to stop; return how many readouts came."""
    screen = Screen(sys.stdout) if is_terminal(sys.stdout) else None
    plain = not can_show(sys.stdout)
    begin = stop.clock()
    end = None if options.duration is None else begin + options.duration
    next_report = begin + options.interval
    received = 0
    while not stop and (options.count is None or received < options.count):
        now = stop.clock()
        if end is not None and now >= end:
            break
        if now >= next_report:
            next_report = max(next_report + options.interval, now)
            totals = source.totals()
            history.add(now - begin, totals)
            if screen is None:
                sys.stdout.write(_line(now - begin, totals, history) + "\n")
                sys.stdout.flush()
            else:
                screen.show(_table(now - begin, totals, history, plain=plain))
        until = next_report if end is None else min(next_report, end)
        try:
            source.receive(min(GLANCE_S, max(0.0, until - now)))
        except TimeoutError:
            continue
        received += 1
    return received


def _line(seconds: float, totals: Totals, history: History) -> str:
    """Return one interval as a line: first all, then those senders that lost something."""
    messages, size = history.rates(ALL)
    lost = [f"{name} {one.lost}" for name, one in totals.senders.items() if one.lost]
    who = f" ({', '.join(lost[:_MAX_ROWS])})" if lost else ""
    return f"{seconds:.1f} s  {quantity(messages, '/s')}  {quantity(size, 'B/s')}  {_summary(totals)}{who}"


def _table(seconds: float, totals: Totals, history: History, *, plain: bool) -> Iterator[str]:
    """Yield all senders, the loudest first."""
    yield f"{seconds:.0f} s  {_summary(totals)}"
    yield f"{'sender':<22} {'rate':>10} {'bytes':>11} {'received':>12} {'lost':>10}"
    rows = sorted(totals.senders.items(), key=lambda item: -item[1].messages)[:_MAX_ROWS]
    shown = [(ALL, totals.messages, totals.lost), *((name, one.messages, one.lost) for name, one in rows)]
    for name, messages, lost in shown:
        rate, size = history.rates(name)
        yield (
            f"{name:<22} {quantity(rate, '/s'):>10} {quantity(size, 'B/s'):>11} {messages:>12}"
            f" {'?' if lost is None else lost:>10} {sparkline(history.line(name), plain=plain)}"
        )
    if len(totals.senders) > len(rows):
        yield f"and {len(totals.senders) - len(rows)} more senders"


def _summary(totals: Totals) -> str:
    parts = [f"received {totals.messages}", quantity(totals.bytes, "B")]
    if totals.lost is not None:
        parts.append(f"{totals.lost} lost")
    if totals.kernel_drops is not None:
        parts.append(f"{totals.kernel_drops} dropped by the system")
    if totals.refused:
        parts.append(f"{totals.refused} refused")
    return ", ".join(parts)
