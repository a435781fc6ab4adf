"""Recordings of the acts: event logs, read to their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wireframe import NEED_DATA
from wireframe.eventlog import Decoder

if TYPE_CHECKING:
    from pathlib import Path

    from wireframe.eventlog import LogEvent


def read_log(file: Path) -> list[LogEvent]:
    """Return the events of a log.

    Raises
    ------
    wireframe.errors.TruncatedFrame
        It ends in the middle of one.
    OSError
        It cannot be read.
    """
    decoder = Decoder()
    decoder.feed(file.read_bytes())
    decoder.feed_eof()
    events = []
    while (event := decoder.next_event()) is not NEED_DATA:
        events.append(event)
    return events
