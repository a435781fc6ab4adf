"""The command ``watch``: what a hub on this machine is doing, over and over."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

from mxl_sockets._command import EXIT_NO_HUB, EXIT_PROTOCOL, EXIT_USAGE, fail, stopped_by_signals
from mxl_sockets._connect import parse_target
from mxl_sockets._status_document import LARGEST, StatusDocument, decode_document
from mxl_sockets._status_folder import check_system, find
from mxl_sockets._stop import StopSignal
from mxl_sockets._watch_screen import Screen, is_screen, plain_line, screen_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Seconds for one look. A hub answers within a tenth, unless many look.
LOOK_TIMEOUT: Final = 5.0
#: Seconds between two attempts to connect while the hub's queue is full.
RETRY: Final = 0.02
#: Seconds between looks at the stop flag while an answer is awaited.
TICK: Final = 0.2


class NoStatusError(ConnectionError):
    """The hub has gone away, or somebody else has its socket's path."""


def read_status(
    path: Path, timeout: float = LOOK_TIMEOUT, stop: StopSignal | None = None
) -> StatusDocument | None:
    """Ask a status socket once; None if `stop` came before the answer.

    Parameters
    ----------
    path : Path
    timeout : float
        Seconds for everything.
    stop : StopSignal, optional

    Raises
    ------
    TimeoutError
        Somebody listens there, but has not answered in time.
    OSError
        Nobody answers there.
    ValueError
        What answers is not a status.
    """
    deadline = time.monotonic() + timeout
    data = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        _connect(sock, path, deadline)
        while stop is None or not stop.is_set:
            sock.settimeout(min(TICK, max(1e-3, deadline - time.monotonic())))
            with contextlib.suppress(TimeoutError):
                piece = sock.recv(1 << 16)
                if not piece:
                    return decode_document(bytes(data))
                data += piece
            if len(data) > LARGEST:
                raise ValueError(f"this is no status: longer than {LARGEST} bytes")
            if time.monotonic() >= deadline:
                raise TimeoutError(f"the status did not end within {timeout:g} s")
    return None


def _connect(sock: socket.socket, path: Path, deadline: float) -> None:
    """Connect, again and again while the hub has more readers than it can queue."""
    while True:
        try:
            sock.connect(str(path))
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise TimeoutError("its queue of readers is full") from error
            time.sleep(RETRY)
        else:
            return


class Watch:
    """Looks at a hub until it is stopped or the hub is gone.

    Parameters
    ----------
    path : Path
        The status socket.
    interval : float
        Seconds between two looks.
    """

    def __init__(self, path: Path, interval: float) -> None:
        self._path = path
        self._interval = interval
        self._stop = StopSignal()

    def stop(self) -> None:
        """End `run`; may be called by signal handlers."""
        self._stop.set()

    def close(self) -> None:
        """Release what it holds."""
        self._stop.close()

    def run(self, show: Callable[[StatusDocument], object], *, once: bool = False) -> None:
        """Look and show, over and over.

        Raises
        ------
        NoStatusError
            The hub is gone.
        OSError
            It was never there, or cannot be shown.
        ValueError
            What answers is not a status.
        """
        seen = False
        while not self._stop.is_set:
            try:
                status = read_status(self._path, stop=self._stop)
            except TimeoutError:
                if once or not seen:
                    raise NoStatusError(f"no answer at {self._path} within {LOOK_TIMEOUT:g} s") from None
                continue  # it is there, and too busy (or paused) to answer: look again
            except OSError as error:
                if seen:
                    raise NoStatusError(f"the hub has gone: {error.strerror or error}") from error
                raise NoStatusError(f"no hub answers at {self._path}: {error.strerror or error}") from error
            if status is None:
                return
            seen = True
            show(status)
            if once or self._stop.wait(self._interval):
                return


def interval(text: str) -> float:
    """Read the time between two looks.

    Raises
    ------
    argparse.ArgumentTypeError
        It is not a number of at least 0.1.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0.1 to a million")
    return seconds


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command line."""
    watch = commands.add_parser(
        "watch",
        help="show what a hub on this machine is doing",
        description="Show what a hub on this machine is doing, in place on a terminal, else line by line. "
        "The hub must have been made with status_socket=True; watching cannot change it.",
        epilog="exit codes: 0 ended by SIGINT or SIGTERM, or shown once; 2 wrong arguments; "
        "3 no such hub, or it is gone; 4 what answers is not a hub's status",
    )
    watch.set_defaults(command=run_watch)
    where = watch.add_mutually_exclusive_group()
    where.add_argument(
        "address", metavar="HOST:PORT", nargs="?", help="TCP address of the hub (default 127.0.0.1:31415)"
    )
    where.add_argument("--unix", metavar="NAME", help="path of the hub's UNIX socket, or its name")
    where.add_argument(
        "--status", metavar="PATH", help="path of the status socket, or the name the hub was given for it"
    )
    watch.add_argument(
        "--interval", metavar="S", type=interval, default=1.0, help="seconds between looks (default 1)"
    )
    watch.add_argument("--once", action="store_true", help="look once and end")
    watch.set_defaults(quiet=True)


def run_watch(options: argparse.Namespace) -> int:
    """Run ``watch``; return the exit code."""
    try:
        target = None if options.status is not None else parse_target(options.address, options.unix)
        check_system()
    except (ValueError, OSError) as error:
        return fail(EXIT_USAGE, error)
    try:
        path = find(target, options.status)
    except ValueError as error:
        return fail(EXIT_USAGE, error)
    except OSError as error:
        return fail(EXIT_NO_HUB, error)
    watch = Watch(path, options.interval)
    try:
        with stopped_by_signals(watch):
            _show_all(watch, sys.stdout, once=options.once)
    except BrokenPipeError:
        # Whoever read our lines has had enough. What is still in the buffer must not fail at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return fail(EXIT_NO_HUB, error)
    except ValueError as error:
        return fail(EXIT_PROTOCOL, error)
    finally:
        watch.close()
    return 0


def _show_all(watch: Watch, stream: TextIO, *, once: bool) -> None:
    """Show in place if that is possible, else write a line for each look."""
    if is_screen(stream) and not once:
        with Screen(stream) as screen:
            watch.run(lambda status: screen.show(screen_lines(status)))
        return

    def write(status: StatusDocument) -> None:
        lines = screen_lines(status) if once else [plain_line(status)]
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()

    watch.run(write, once=once)
