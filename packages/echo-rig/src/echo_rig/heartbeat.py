"""Which rigs are live, late or gone: one object that watches any number of them.

A ping is ``[32]``, a status without a status. Every peer echoes it, and no peer
has a callback for it. It is sent only when a rig has been silent for a while
and nothing of ours waits for its echo, because an old peer that is just waiting
for an echo itself takes a ping for a wrong one, and closes (iblutil 1.20.0).

So one risk is left with old peers: a ping that crosses a message which they begin
to send at the same moment, after a silence. It needs both within the time of one way
on the wire, which is below a millisecond in a laboratory. Whoever cannot accept it takes a
longer `interval_s`, or does not watch that rig while it may speak without being
asked. Ends of this package take crossings for what they are, with and without numbers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final, Self

from echo_rig._pulse import Pace, Pulse, RigState
from echo_rig._rig_changes import ChangeTeller, OnChange, RigChange
from echo_rig.protocol import EchoProtocol
from wireframe.echo import ExpMessage

if TYPE_CHECKING:
    from echo_rig._bounded_stream import BoundedStream
    from echo_rig._link import Address

__all__ = ["Heartbeat", "RigChange", "RigState"]

_log = logging.getLogger(__name__)

PING: Final = (ExpMessage.EXPSTATUS,)


class Heartbeat(Mapping[str, Pulse]):
    """Watches rigs: ``heartbeat["rig1"].state`` is live, late or gone.

    To be used as a context manager in a running event loop, or to be closed.

    Parameters
    ----------
    rigs : EchoProtocol, iterable of them, or mapping of str to EchoProtocol
        Clients, each watching its server; `Services` for instance. More can be
        added with `watch`, also the clients of a server.
    interval_s : float
        Seconds of silence after which a rig is pinged, and between two pings.
    late_s, gone_s : float
        Seconds of silence after which a rig is late, and gone.

    Raises
    ------
    ValueError
        The times are not in this order, or two rigs have the same name.
    TypeError
        Something else than an `EchoProtocol` is among the rigs.
    RuntimeError
        No event loop is running.

    Notes
    -----
    The values of this mapping have the attributes `state`, `since` and
    `heard_at` (seconds of `time.monotonic`), and `round_trip_s`, the seconds of
    the last ping and its echo.

    A rig that is gone is pinged on, and is live when it answers. What has been
    closed, such as the connection of a TCP client, stays gone; give the new one
    to `watch` under the same name. If both ends ping each other without
    numbers, pings that cross look like echoes, and that round trip is too short.

    Examples
    --------
    >>> import asyncio
    >>> async def main():
    ...     rig = await EchoProtocol.server("udp://127.0.0.1:14473")
    ...     pc = await EchoProtocol.client("udp://127.0.0.1:14473", name="rig1")
    ...     async with Heartbeat(pc) as heartbeat:
    ...         async for change in heartbeat.changes():
    ...             print(change.name, "is", change.state.value)
    ...             break
    ...     pc.close()
    ...     rig.close()
    >>> asyncio.run(main())
    rig1 is live
    """

    def __init__(
        self,
        rigs: EchoProtocol | Iterable[EchoProtocol] | Mapping[str, Any] = (),
        *,
        interval_s: float = 1.0,
        late_s: float = 2.5,
        gone_s: float = 10.0,
    ) -> None:
        self._pace = Pace(interval_s, late_s, gone_s)
        self._pulses: dict[str, Pulse] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        #: These, and those that are about to end.
        self._under_way: set[asyncio.Task[None]] = set()
        self._teller = ChangeTeller()
        self._is_closed = False
        try:
            for name, rig in _named(rigs).items():
                self.watch(name, rig)
        except BaseException:
            self.close()
            raise

    def __getitem__(self, name: str) -> Pulse:
        return self._pulses[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pulses)

    def __len__(self) -> int:
        return len(self._pulses)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.aclose()

    def watch(self, name: str, rig: EchoProtocol, addr: Address | None = None) -> Pulse:
        """Watch one more rig, or another end of one that is watched.

        Parameters
        ----------
        name : str
            If it is watched already, its history is kept.
        rig : EchoProtocol
        addr : tuple of (str, int), optional
            Which end of a server; needed in the server role.

        Raises
        ------
        TypeError
            `rig` is no `EchoProtocol`, or a server and there is no `addr`.
        ValueError
            `rig` is a client, and `addr` another address than its server's.
        ConnectionError
            The heartbeat was closed.
        """
        if not isinstance(rig, EchoProtocol):
            raise TypeError(f"a heartbeat watches an EchoProtocol, not {type(rig).__name__}")
        if self._is_closed:
            raise ConnectionError("the heartbeat was closed")
        address = rig._checked_address(addr)
        if name in self._tasks:
            self._tasks[name].cancel()
        pulse = self._pulses.setdefault(name, Pulse(self._pace, time.monotonic()))
        task = asyncio.get_running_loop().create_task(self._follow(name, pulse, rig, address))
        self._tasks[name] = task
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return pulse

    def forget(self, name: str) -> None:
        """Watch a rig no longer.

        Raises
        ------
        KeyError
            It is not watched.
        """
        del self._pulses[name]
        self._tasks.pop(name).cancel()

    def on_change(self, callback: OnChange) -> None:
        """Call ``callback(change)`` whenever a rig comes into another state, in the thread of the loop."""
        self._teller.callbacks.append(callback)

    def changes(self, *, max_queued: int = 1024) -> BoundedStream[RigChange]:
        """Return the changes that come from now on, as an asynchronous iterator.

        Parameters
        ----------
        max_queued : int
            How many to keep for a slow reader; the oldest are dropped, and
            counted in its `dropped`.

        Raises
        ------
        ValueError
            `max_queued` is below 1.
        """
        return self._teller.stream(max_queued)

    def close(self) -> None:
        """Watch nothing any more, and end the iterators; the rigs stay open. Safe to call twice."""
        self._is_closed = True
        for task in self._tasks.values():
            task.cancel()
        self._teller.close()

    async def aclose(self) -> None:
        """Close, and wait until nothing is under way."""
        self.close()
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _follow(self, name: str, pulse: Pulse, rig: EchoProtocol, address: Address) -> None:
        """Ping one rig and look after its state, for ever."""
        ping: asyncio.Task[None] | None = None
        try:
            while True:
                heard_at = rig.heard_at(address)
                if heard_at is not None:
                    pulse.heard(heard_at)
                if ping is not None and ping.done():
                    if ping.cancelled():
                        pulse.lost()  # The rig was closed.
                    else:
                        ping.result()
                    ping = None
                now = time.monotonic()
                self._look(name, pulse, now)
                if ping is None and pulse.is_ping_due(now):
                    pulse.pinged(now)
                    # An echo that is on its way is as good, unless it seems to be lost.
                    if pulse.state is not RigState.LIVE or not rig.awaiting_response(address):
                        ping = asyncio.create_task(self._ping(pulse, rig, address))
                if ping is None:
                    await asyncio.sleep(max(0.0, pulse.next_deadline() - now))
                else:
                    turn = pulse.next_turn()
                    await asyncio.wait({ping}, timeout=None if turn == inf else max(0.0, turn - now))
        finally:
            if ping is not None:
                ping.cancel()
                await asyncio.wait({ping})

    async def _ping(self, pulse: Pulse, rig: EchoProtocol, address: Address) -> None:
        try:
            seconds = await rig.timed_send(PING, address, timeout=self._pace.interval_s)
        except (TimeoutError, RuntimeError):
            return  # Silent, or it said something else; that has been heard.
        except OSError as error:
            _log.debug("Ping to %s:%s failed: %s", *address, error)
            pulse.lost()
            return
        pulse.heard(time.monotonic(), seconds)

    def _look(self, name: str, pulse: Pulse, now: float) -> None:
        before = pulse.state
        if not pulse.look(now):
            return
        _log.info("%s is %s", name, pulse.state.value)
        self._teller.tell(RigChange(name, pulse.state, before, now))


def _named(rigs: EchoProtocol | Iterable[EchoProtocol] | Mapping[str, Any]) -> dict[str, EchoProtocol]:
    if isinstance(rigs, Mapping):
        return dict(rigs)
    named: dict[str, EchoProtocol] = {}
    for rig in (rigs,) if isinstance(rigs, EchoProtocol) else rigs:
        if not isinstance(rig, EchoProtocol):
            raise TypeError(f"a heartbeat watches an EchoProtocol, not {type(rig).__name__}")
        if rig.name in named:
            raise ValueError(f"two rigs have the name {rig.name!r}")
        named[rig.name] = rig
    return named
