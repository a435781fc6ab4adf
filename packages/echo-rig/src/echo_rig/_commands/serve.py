"""``echo-rig serve``: be a rig that prints what it is told."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from echo_rig._bounded_stream import BoundedStream
from echo_rig._commands._arguments import (
    EXIT_TIMEOUT,
    UsageError,
    add_numbering,
    find,
    read_json,
    read_numbering,
    require_positive,
)
from echo_rig._commands._display import event_text, time_of_day
from echo_rig.events import Event
from echo_rig.protocol import EchoProtocol
from wireframe.echo import LISTEN_PORT, ExpMessage

if TYPE_CHECKING:
    import argparse

DEFAULT_URI: Final = f"udp://127.0.0.1:{LISTEN_PORT}"
#: Events that may wait to be printed, where a terminal is slower than the network.
MAX_WAITING: Final = 4096
#: Answers under way at the same time; more are not sent.
MAX_REPLIES: Final = 256
#: The same data as in the event.
_SAME: Final = object()

_log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe ``serve``."""
    parser = commands.add_parser(
        "serve",
        help="print the events that come in",
        description="Listen like a rig and print each event in a line. Ends at SIGINT or SIGTERM, or as told "
        "by --count and --duration.",
    )
    parser.set_defaults(command=run, ends_by_signal=True, log_level=logging.WARNING)
    parser.add_argument(
        "--uri", default=DEFAULT_URI, help=f"where to listen, udp:// or tcp:// (default {DEFAULT_URI})"
    )
    parser.add_argument(
        "--reply",
        metavar="JSON",
        nargs="?",
        const=_SAME,
        help="answer each event with the same data, or with JSON in place of its last item",
    )
    parser.add_argument(
        "--allow",
        metavar="NETWORK",
        action="append",
        help="listen to this address or network only, such as 10.0.0.0/24; may be repeated",
    )
    parser.add_argument("--count", metavar="N", type=int, help="end after N events")
    parser.add_argument("--duration", metavar="S", type=float, help="end after S seconds")
    add_numbering(parser)


async def run(options: argparse.Namespace) -> int:
    """Run ``serve``; return the exit code."""
    require_positive(options, "duration", "count")
    if isinstance(options.reply, str):
        options.reply = read_json(options.reply)
        has_reply = True
    else:
        has_reply = options.reply is _SAME
    uri = await find(options.uri)
    try:
        rig = await EchoProtocol.server(uri, numbering=read_numbering(options), allow=options.allow)
    except ValueError as error:
        raise UsageError(f"--allow: {error}") from error
    waiting: BoundedStream[Event] = BoundedStream(MAX_WAITING)
    printed = 0
    async with rig:
        rig.assign_callback(ExpMessage.any(), lambda data, addr, event: waiting.put(Event(event, data, addr)))
        rig.assign_callback(0, lambda data, addr: waiting.put(Event(ExpMessage(0), data, addr)))
        sys.stderr.write(f"listening at {rig.server_uri}\n")
        sys.stderr.flush()
        replies: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.timeout(options.duration):
                async for event in waiting:
                    print(_line(event), flush=True)
                    printed += 1
                    if has_reply and event.event & ~ExpMessage.ALYX and len(replies) < MAX_REPLIES:
                        task = asyncio.create_task(_reply(rig, event, options.reply))
                        replies.add(task)
                        task.add_done_callback(replies.discard)
                    if printed == options.count:
                        break
        except TimeoutError:
            pass
        finally:
            if replies:
                await asyncio.wait(replies)
            lost = f", {waiting.dropped} more not shown" if waiting.dropped else ""
            refused = f", {rig.strangers} from others refused" if rig.strangers else ""
            sys.stderr.write(f"{printed} events{lost}{refused}\n")
    return EXIT_TIMEOUT if options.count is not None and printed < options.count else 0


def _line(event: Event) -> str:
    where = f"{event.address[0]}:{event.address[1]}"
    return f"{time_of_day()}  {where:<21}  {event_text(event)}"


async def _reply(rig: EchoProtocol, event: Event, reply: Any) -> None:
    data = event.data if reply is _SAME else [*event.data[:-1], reply]
    try:
        await rig.confirmed_send([event.event, *data], event.address)
    except (OSError, RuntimeError, ValueError) as error:
        _log.warning("no reply: %s", error)
