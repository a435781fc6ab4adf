"""``echo-rig watch``: which rigs are live, late or gone."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from echo_rig._commands._arguments import (
    EXIT_TIMEOUT,
    UsageError,
    add_numbering,
    find,
    read_numbering,
    require_positive,
)
from echo_rig._commands._display import Screen, event_text, is_screen, milliseconds, time_of_day
from echo_rig._commands._rows import Row, summary, table
from echo_rig.events import Event
from echo_rig.heartbeat import Heartbeat, RigState
from echo_rig.protocol import EchoProtocol
from wireframe.echo import ExpMessage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

#: Seconds between two drawings of the table.
DRAW_S: Final = 0.25
#: Seconds to wait for a connection, and before the next attempt.
CONNECT_S: Final = 5.0
RETRY_S: Final = 1.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe ``watch``."""
    parser = commands.add_parser(
        "watch",
        help="show which rigs are live, late or gone",
        description="Show the state of rigs, the round trip to each, and the last event it has sent here: as "
        "a table on a terminal, else one line per change. A rig that is silent is pinged, which no rig "
        "reacts to. Ends at SIGINT or SIGTERM, or after --duration.",
    )
    parser.set_defaults(command=run, ends_by_signal=True, log_level=logging.CRITICAL)
    parser.add_argument(
        "rigs",
        metavar="NAME=URI",
        nargs="+",
        help="such as rig1=udp://192.168.0.7:11001; NAME= may be left away",
    )
    for name, default, text in (
        ("interval", 1.0, "of silence after which a rig is pinged"),
        ("late", 2.5, "of silence after which it is late"),
        ("gone", 10.0, "of silence after which it is gone"),
    ):
        parser.add_argument(
            f"--{name}",
            metavar="S",
            type=float,
            default=default,
            help=f"seconds {text} (default {default:g})",
        )
    parser.add_argument(
        "--duration", metavar="S", type=float, help="end after S seconds; the exit code says if all are live"
    )
    add_numbering(parser)


async def run(options: argparse.Namespace) -> int:
    """Run ``watch``; return the exit code."""
    require_positive(options, "interval", "late", "gone", "duration")
    named = [_named(text) for text in options.rigs]
    if len(dict(named)) < len(named):
        raise UsageError("two rigs have the same name")
    try:
        heartbeat = Heartbeat(interval_s=options.interval, late_s=options.late, gone_s=options.gone)
    except ValueError as error:
        raise UsageError(str(error)) from error
    uris = await asyncio.gather(*(find(uri) for _, uri in named))
    rows = [Row(name, uri) for (name, _), uri in zip(named, uris, strict=True)]
    watch = _Watch(rows, heartbeat, read_numbering(options))
    async with heartbeat:
        tasks = [asyncio.create_task(watch.keep_connected(row)) for row in rows]
        tasks.append(asyncio.create_task(watch.draw() if is_screen(sys.stdout) else watch.tell()))
        try:
            # None of them ever returns; what one raises ends all.
            ended, _ = await asyncio.wait(
                tasks, timeout=options.duration, return_when=asyncio.FIRST_COMPLETED
            )
            for task in ended:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return 0 if all(row.state is RigState.LIVE for row in rows) else EXIT_TIMEOUT


def _named(text: str) -> tuple[str, str]:
    name, separator, uri = text.partition("=")
    if not separator:
        return text, text
    if not (name and name.isprintable()):
        raise UsageError(f"not NAME=URI: {text!r}")
    return name, uri


class _Watch:
    """Rigs, their connections and what is shown of them."""

    def __init__(self, rows: Sequence[Row], heartbeat: Heartbeat, numbering: bool | None) -> None:
        self._rows = rows
        self._heartbeat = heartbeat
        self._numbering = numbering
        self._news = asyncio.Event()
        heartbeat.on_change(lambda _: self._news.set())

    async def keep_connected(self, row: Row) -> None:
        """Connect to one rig, again and again."""
        while True:
            try:
                async with asyncio.timeout(CONNECT_S):
                    end = await EchoProtocol.client(row.uri, name=row.name, numbering=self._numbering)
            except OSError as error:  # TimeoutError is one
                row.problem = str(error) or f"no connection within {CONNECT_S:g} s"
            else:
                async with end:
                    row.problem = ""
                    row.pulse = self._heartbeat.watch(row.name, end)
                    self._listen(row, end)
                    self._news.set()
                    await asyncio.wait({end.on_connection_lost})
                    row.problem = "connection lost"
            self._news.set()
            await asyncio.sleep(RETRY_S)

    def _listen(self, row: Row, end: EchoProtocol) -> None:
        def on_event(data: list[Any], address: Any, event: ExpMessage = ExpMessage(0)) -> None:  # noqa: B008
            row.event = Event(event, data, address)
            row.event_at = time.monotonic()
            self._news.set()

        end.assign_callback(ExpMessage.any(), on_event)
        end.assign_callback(0, on_event)

    async def draw(self) -> None:
        """Keep a table on the screen up to date."""
        with Screen(sys.stdout) as screen:
            try:
                while True:
                    screen.show(table(self._rows, time.monotonic(), shutil.get_terminal_size().lines))
                    await asyncio.sleep(DRAW_S)
            finally:
                screen.show(table(self._rows, time.monotonic(), shutil.get_terminal_size().lines))

    async def tell(self) -> None:
        """Print a line for each change and each event."""
        states: dict[str, RigState] = {}
        told: dict[str, float | None] = {}
        while True:
            self._news.clear()
            for row in self._rows:
                if row.event is not None and row.event_at != told.get(row.name):
                    told[row.name] = row.event_at
                    _print(row.name, event_text(row.event))
                if states.get(row.name, RigState.LATE) is not row.state:
                    states[row.name] = row.state
                    trip = None if row.pulse is None else row.pulse.round_trip_s
                    more = row.problem or (milliseconds(trip) if row.state is RigState.LIVE else "")
                    _print(row.name, f"{row.state.name} {more}".rstrip(), f"({summary(self._rows)})")
            await self._news.wait()


def _print(*parts: str) -> None:
    print("  ".join((time_of_day(), *parts)), flush=True)
