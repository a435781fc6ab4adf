"""Calls of sockets that fail when they are told to: the k-th one, for every k.

All sockets of Python's `socket` module are meant, also those that a library or asyncio holds. A call that
fails does nothing, as in the system.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

#: What a call may fail with at any time; Python itself repeats those that a signal interrupts.
CODES = ("EAGAIN", "ECONNRESET", "ENOBUFS", "EMFILE", "EPIPE")

#: So often in one go no machine is too busy.
MOST_SHORT_RUNS = 20


class FailingCall:
    """Lets one call fail, and counts all; `methods` are those that are counted together."""

    def __init__(self, methods: Sequence[str], which: int, code: int) -> None:
        self.methods = tuple(methods)
        self.which = which
        self.code = code
        self.calls = 0
        self._lock = threading.Lock()

    @property
    def has_failed(self) -> bool:
        """Whether the call that is to fail has come."""
        return self.calls > self.which

    @contextlib.contextmanager
    def installed(self) -> Iterator[FailingCall]:
        """Watch all sockets of this process."""
        with contextlib.ExitStack() as stack:
            for method in self.methods:
                stack.enter_context(mock.patch.object(socket.socket, method, self._watched(method)))
            yield self

    def _watched(self, method: str) -> Callable[..., Any]:
        real = getattr(socket.socket, method)

        def call(sock: socket.socket, *arguments: Any, **named: Any) -> Any:
            with self._lock:
                fails = self.calls == self.which
                self.calls += 1
            if fails:
                raise OSError(self.code, os.strerror(self.code))
            return real(sock, *arguments, **named)

        return call


def fail_each_call(
    run: Callable[[FailingCall], object],
    methods: Sequence[str],
    code: int,
    *,
    least: int = 0,
    most: int = 500,
) -> int:
    """Run once for each k, until a run has fewer calls; return how many have failed.

    `run` installs what it is given around the calls that may fail, and judges afterwards. What it raises
    is the failure of the test, with a note that says which call it was. A run with fewer calls than `least`
    is played again, a few times: deadlines may have cut it short on a busy machine.
    """
    which, short = 0, 0
    while True:
        assert which <= most, f"more than {most} calls of {methods}"
        failing = FailingCall(methods, which, code)
        try:
            run(failing)
        except BaseException as error:
            error.add_note(f"call {which} of {'/'.join(methods)} failed with {os.strerror(code)}")
            raise
        if failing.has_failed:
            which += 1
        elif which >= least:
            return which
        else:
            short += 1
            assert short < MOST_SHORT_RUNS, f"{failing.calls} calls of {methods}, and not {least}"
