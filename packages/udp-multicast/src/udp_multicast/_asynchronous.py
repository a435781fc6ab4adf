"""Receiving inside an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from udp_multicast._inlet import LEAVE_S
from udp_multicast._waiting import wait_readable
from udp_multicast.errors import ReceiverBusy

if TYPE_CHECKING:
    from collections.abc import Callable

    from udp_multicast._inlet import Inlet

R = TypeVar("R")

#: Readouts in a row, without a wait, after which other tasks get their turn.
FAIRNESS: Final = 64


async def receive(inlet: Inlet, take: Callable[[float], R]) -> R:
    """Wait for a readout without keeping the event loop waiting.

    Parameters
    ----------
    inlet : Inlet
        Where it comes from.
    take : callable
        Given a deadline, returns a readout that is there, or raises
        TimeoutError or BlockingIOError. Nothing is lost when the task is
        cancelled: readouts are taken only to be returned.

    Raises
    ------
    ReceiverBusy
        A thread or another task is receiving.
    TimeoutError, ReceiverClosed
        As `MulticastReceiver.receive`.
    """
    deadline = inlet.deadline()
    inlet.in_a_row += 1
    if inlet.in_a_row >= FAIRNESS:
        inlet.in_a_row = 0
        await asyncio.sleep(0)
    while True:
        if inlet.wakers or not inlet.turn.acquire(blocking=False):
            if inlet.is_closing:  # it is close() that has the turn
                inlet.raise_closed()
            raise ReceiverBusy("somebody else is waiting for this receiver")
        try:
            with contextlib.suppress(TimeoutError, BlockingIOError):
                return take(deadline)
        finally:
            inlet.turn.release()
        inlet.check(deadline)
        inlet.in_a_row = 0
        await _readable(inlet, deadline)


async def _readable(inlet: Inlet, deadline: float) -> None:
    """Wait until there may be a datagram, the deadline passed or the inlet is closed."""
    loop = asyncio.get_running_loop()
    descriptor = inlet.fileno()
    done = loop.create_future()

    def wake() -> None:
        if not done.done():
            done.set_result(None)

    has_left = threading.Event()

    def is_closing() -> bool:
        return inlet.is_closing

    def forget() -> None:
        # Where the descriptor is none or another one meanwhile, the loop knows it no more.
        if inlet.fileno() == descriptor:
            with contextlib.suppress(NotImplementedError):  # the usual loop of Windows
                loop.remove_reader(descriptor)

    def leave() -> None:
        forget()
        wake()
        has_left.set()

    def closed() -> None:
        # The descriptor may be another file's as soon as this returns, and the loop must not know it then.
        try:
            is_here = asyncio.get_running_loop() is loop
        except RuntimeError:
            is_here = False
        if is_here:
            leave()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            # Also here: a handler of a signal may have interrupted the wait of the loop.
            loop.call_soon_threadsafe(wake if is_here else leave)
            has_left.wait(LEAVE_S)

    # First of all: a handler of a signal, or another thread, may close at any moment.
    inlet.wakers.add(closed)
    try:
        if is_closing():
            return
        try:
            loop.add_reader(descriptor, wake)
        except NotImplementedError:  # the usual loop of Windows
            await loop.run_in_executor(None, wait_readable, descriptor, deadline, is_closing)
            return
        except OSError:
            if not is_closing():
                raise
            return
        left = None if deadline == math.inf else max(deadline - loop.time(), 0.0)
        await asyncio.wait([done], timeout=left)
    finally:
        inlet.wakers.discard(closed)
        forget()
