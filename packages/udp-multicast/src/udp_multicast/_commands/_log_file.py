"""Event logs on disk: written so that they are whole at any moment, read in pieces."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final, Self

from udp_multicast._commands._stopping import Stop
from wireframe import NEED_DATA
from wireframe.errors import TruncatedFrame
from wireframe.eventlog import Decoder, encode_event

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Buffer

    from wireframe.eventlog import LogEvent

#: Bytes that are kept back before they are written.
_CHUNK: Final = 1 << 20
#: How a file system says that it has nothing to do for `fsync`.
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.ENOTSUP})


class LogWriter:
    """Writes an event log; a context manager.

    The file consists of whole events whenever `flush` has returned. If a write
    fails half way, as on a full disk, the file is cut back to that.

    Parameters
    ----------
    path : Path
        Where to write.
    overwrite : bool
        Whether a file that exists may be replaced.

    Attributes
    ----------
    events : int
        What was given to `write`.
    written, written_bytes : int
        Events and bytes that are in the file, as far as the system says.

    Raises
    ------
    FileExistsError
        The file exists, and `overwrite` is not set.
    OSError
        The file cannot be written, or is not a regular one: a pipe, a device or
        a folder.
    """

    def __init__(self, path: Path, *, overwrite: bool = False) -> None:
        if overwrite and path.exists() and not path.is_file():
            # A pipe without a reader would be waited for, without end.
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        # Without a buffer of its own: what is in the file is known exactly.
        self._file = path.open("wb" if overwrite else "xb", buffering=0)
        self._waiting: list[Buffer] = []
        self._waiting_bytes = 0
        self._waiting_events = 0
        self.events = 0
        self.written = 0
        self.written_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write(self, timestamp_us: int, channel: str, data: bytes) -> None:
        """Add an event; it is in the file after the next `flush` at the latest.

        Raises
        ------
        OSError
            It could not be written.
        """
        parts = encode_event(self.events, timestamp_us, channel, data)
        self._waiting += parts
        size = sum(map(len, parts))
        self._waiting_bytes += size
        self._waiting_events += 1
        self.events += 1
        if self._waiting_bytes >= _CHUNK:
            self.flush()

    def flush(self) -> None:
        """Hand all events to the system.

        Raises
        ------
        OSError
            They could not be written; the file holds those before them.
        """
        if not self._waiting:
            return
        data = memoryview(b"".join(self._waiting))
        events = self._waiting_events
        # Whatever happens, no event is written twice.
        self._waiting.clear()
        self._waiting_bytes = self._waiting_events = 0
        try:
            left = data
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(self.written_bytes)
            raise
        self.written_bytes += len(data)
        self.written += events

    def close(self) -> None:
        """Write what is waiting, see it safely to the disk and close the file.

        Raises
        ------
        OSError
            It could not be written, or not to the disk; the file is closed.
        """
        if self._file.closed:
            return
        try:
            self.flush()
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                if error.errno not in _NO_SYNC:
                    raise
        finally:
            self._file.close()


class LogReader:
    """Reads an event log; an iterator and a context manager.

    Parameters
    ----------
    path : Path
        What to read.
    stop : Stop, optional
        Ends it.

    Attributes
    ----------
    size : int
        Bytes of the file; 0 for what is no ordinary file.
    position : int
        Bytes that were read.
    truncated : bool
        Whether the log ended inside an event.

    Raises
    ------
    OSError
        It cannot be read.
    Interrupted
        A signal came, also while it waits for whoever writes to a pipe. Iteration
        raises it too.
    """

    def __init__(self, path: Path, stop: Stop | None = None) -> None:
        self._stop = Stop() if stop is None else stop
        with self._stop.interruptible():
            self._file = path.open("rb", buffering=0)
        self._decoder = Decoder()
        self.size = os.fstat(self._file.fileno()).st_size
        self.position = 0
        self.truncated = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def skipped(self) -> int:
        """Bytes so far that belong to no event."""
        return self._decoder.skipped

    def __iter__(self) -> Iterator[LogEvent]:
        decoder = self._decoder
        ended = False
        while not ended:
            with self._stop.interruptible():
                piece = self._file.read(_CHUNK)
            self.position += len(piece)
            if piece:
                decoder.feed(piece)
            else:
                ended = True
                decoder.feed_eof()
            try:
                while (event := decoder.next_event()) is not NEED_DATA:
                    yield event
            except TruncatedFrame:
                self.truncated = True
