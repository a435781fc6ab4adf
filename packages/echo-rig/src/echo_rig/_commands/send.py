"""``echo-rig send``: one message, its echo, and its response if it is wanted."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
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
from echo_rig._commands._display import event_text, milliseconds
from echo_rig.events import Event
from echo_rig.protocol import EchoProtocol
from wireframe.echo import ExpMessage, ExpStatus, decode_event, encode
from wireframe.errors import BadPayload

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_REMOTE_ERROR: Final = 4

#: Event and number of arguments, least and most; DATA is the last one and may be left away.
_EVENTS: Final = {
    "init": (ExpMessage.EXPINIT, 0, 1),
    "start": (ExpMessage.EXPSTART, 1, 2),
    "stop": (ExpMessage.EXPEND, 0, 1),
    "interrupt": (ExpMessage.EXPINTERRUPT, 0, 1),
    "cleanup": (ExpMessage.EXPCLEANUP, 0, 1),
    "status": (ExpMessage.EXPSTATUS, 1, 1),
    "info": (ExpMessage.EXPINFO, 1, 2),
    "ping": (ExpMessage.EXPSTATUS, 0, 0),
}
_WITH_STATUS: Final = ExpMessage.EXPSTATUS | ExpMessage.EXPINFO
_USAGE: Final = """\
messages:
  init | stop | interrupt | cleanup [DATA]
  start REFERENCE [DATA]
  status STATUS
  info STATUS [DATA]
  ping
  raw TEXT

DATA is JSON, STATUS is a name (RUNNING) or its number (20).
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe ``send``."""
    parser = commands.add_parser(
        "send",
        help="send one message and wait for its echo",
        description="Send one message and print how long its echo took.",
        epilog=_USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run, ends_by_signal=False, log_level=logging.CRITICAL)
    parser.add_argument("uri", metavar="URI", help="the rig, such as udp://192.168.0.7:11001 or tcp://rig")
    parser.add_argument("what", metavar="MESSAGE", choices=[*_EVENTS, "raw"], help="see below")
    parser.add_argument("arguments", metavar="ARGUMENT", nargs="*", help="see below")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=1.0, help="seconds to wait for the echo (default 1)"
    )
    parser.add_argument(
        "--wait", metavar="S", type=float, help="wait so many seconds for the rig's response, and print it"
    )
    add_numbering(parser)


async def run(options: argparse.Namespace) -> int:
    """Run ``send``; return the exit code."""
    require_positive(options, "timeout", "wait")
    message = read_message(options.what, options.arguments)
    event = _answered_by(message)
    if options.wait is not None and event is None:
        raise UsageError("--wait: nothing is answered to this message")
    uri = await find(options.uri)
    answers: BoundedStream[Event] = BoundedStream(1)
    try:
        async with asyncio.timeout(options.timeout):
            end = await EchoProtocol.client(uri, numbering=read_numbering(options))
    except TimeoutError:
        return _too_late("no connection", options.timeout)
    async with end:
        if event is not None:
            _listen(end, event, answers)
        began = time.monotonic()
        try:
            seconds = await end.timed_send(message, timeout=options.timeout)
        except TimeoutError:
            return _too_late("no echo", options.timeout)
        print(f"echo after {milliseconds(seconds)}", flush=True)
        if options.wait is None:
            return 0
        try:
            async with asyncio.timeout(options.wait):
                answer = await anext(answers)
        except TimeoutError:
            return _too_late("no response", options.wait)
        shown = f"response after {milliseconds(time.monotonic() - began)}: {event_text(answer)}"
        print(shown, flush=True)
        return 0 if answer.event else EXIT_REMOTE_ERROR


def read_message(what: str, arguments: Sequence[str]) -> Any:
    """Return the message that was typed.

    Parameters
    ----------
    what : str
        Name of an event, ``"ping"`` or ``"raw"``.
    arguments : sequence of str

    Raises
    ------
    UsageError
        It is none, or could not be echoed.

    Examples
    --------
    >>> read_message("info", ["RUNNING", '{"trial": 7}'])
    [<ExpMessage.EXPINFO: 64>, <ExpStatus.RUNNING: 20>, {'trial': 7}]
    """
    if what == "raw":
        if len(arguments) != 1:
            raise UsageError("raw takes one TEXT")
        if arguments[0][1:2] == "0":
            raise UsageError("a message whose second character is 0 is never echoed")
        return arguments[0]
    event, least, most = _EVENTS[what]
    if not least <= len(arguments) <= most:
        raise UsageError(f"{what} takes {least} to {most} arguments, not {len(arguments)}")
    if what == "ping":
        return [event]
    first: list[Any] = []
    if least:
        first = [_status(arguments[0]) if event & _WITH_STATUS else arguments[0] or None]
    if most > least:
        first.append(read_json(arguments[-1]) if len(arguments) == most else None)
    return [event, *first]


def _status(text: str) -> ExpStatus:
    try:
        return ExpStatus(int(text)) if text.isdecimal() else ExpStatus[text.strip().upper()]
    except (ValueError, KeyError) as error:
        raise UsageError(f"no status {text!r}, only {', '.join(ExpStatus.__members__)}") from error


def _answered_by(message: Any) -> ExpMessage | None:
    try:
        return decode_event(encode(message)).event
    except BadPayload:
        return None


def _listen(end: EchoProtocol, event: ExpMessage, answers: BoundedStream[Event]) -> None:
    """Keep the first answer: the same event, or the error that the rig has with it."""

    def on_response(data: list[Any], address: Any) -> None:
        answers.put(Event(event, data, address))
        answers.close()

    def on_error(data: list[Any], address: Any) -> None:
        if data[1] == event:
            answers.put(Event(ExpMessage(0), data, address))
            answers.close()

    end.assign_callback(event, on_response)
    end.assign_callback(0, on_error)


def _too_late(what: str, seconds: float) -> int:
    sys.stderr.write(f"{what} within {seconds:g} s\n")
    return EXIT_TIMEOUT
