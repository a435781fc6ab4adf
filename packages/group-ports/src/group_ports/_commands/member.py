"""``member``: one member of a group as a process, driven by JSON lines.

Each line is an object: ``{"event": "msg", "data": "6869"}`` on standard output,
``{"command": "send", "data": "6869"}`` on standard input (``op`` will do for
``command``). Bytes are hexadecimal, times of day are seconds since 1970.
Diagnostics go to standard error. The end of the input, and ``stop``, mean: leave,
and exit with 0.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from group_ports._commands._member_config import read_config
from group_ports._commands._member_driver import MemberDriver
from group_ports._events import Message, MessageFailed, MessageKind
from group_ports.errors import GroupError, PortError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from group_ports._events import GroupEvent
    from group_ports.group import Group

#: Bytes of the longest command; longer ones are dropped.
MAX_LINE: Final = 16 << 20
_STDIN: Final = 0
_READ_SIZE: Final = 65536

_logger = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "member",
        help="run one member of a group, driven by JSON lines",
        description="Run one member of a group: commands on standard input, events on standard output, one "
        "JSON object a line. For programs in other languages, and for tests.",
    )
    parser.add_argument("config", metavar="CONFIG", help="a JSON object, or the file that holds it")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run the member until its input ends; return the exit code."""
    config = read_config(options.config)
    lines = LineWriter()
    driver = MemberDriver(config, lines.write)
    group = driver.group
    try:
        host, port = group.address
        lines.write("register", host=host, port=port, id=group.getGroupId().hex())
        reader = threading.Thread(target=_read, args=(driver,), name="commands", daemon=True)
        reader.start()
        _report(group, driver, lines)
        if group.error is not None:
            lines.write("died", error=f"{type(group.error).__name__}: {group.error}")
            return 1
        # It has left by a command; the next ones have nothing to do any more but to stop.
        reader.join()
    finally:
        driver.leave()
    return 0


class LineWriter:
    """Writes events, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def write(self, event: str, **fields: Any) -> None:
        """Write one line; bytes are hexadecimal already."""
        with self._lock:
            sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
            sys.stdout.flush()


def _report(group: Group, driver: MemberDriver, lines: LineWriter) -> None:
    """Tell of all events until the member has left."""
    while True:
        try:
            event = group.receive(1.0)
        except PortError:
            return
        if event is None:
            continue
        name, fields = driver.line_of(event)
        lines.write(name, **fields)
        try:
            _answer(driver, event)
        except (GroupError, ValueError, TypeError) as error:
            lines.write("handler_error", error=f"{type(error).__name__}: {error}")


def _answer(driver: MemberDriver, event: GroupEvent) -> None:
    if isinstance(event, Message):
        if event.kind is MessageKind.TO_LEADER and driver.config.reply:
            driver.group.sendToMember(event.data[::-1], event.sender)
    elif not isinstance(event, MessageFailed):
        driver.vote(event)


def _read(driver: MemberDriver) -> None:
    """Carry out commands until there are no more."""
    try:
        for line in _lines():
            if not driver.obey(line):
                return
    finally:
        driver.leave()


def _lines() -> Iterator[bytes]:
    """Read standard input without the lock that an ending interpreter would trip over."""
    rest = b""
    is_too_long = False
    while chunk := os.read(_STDIN, _READ_SIZE):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if not is_too_long:
                yield line
            is_too_long = False
        if len(rest) > MAX_LINE:
            _logger.error("a command of more than %d bytes", MAX_LINE)
            rest, is_too_long = b"", True
    if rest and not is_too_long:
        yield rest
