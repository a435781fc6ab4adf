"""The thread that speaks mDNS, by the library zeroconf: announces members, and tells them of others.

::

    services of others (`_zeroconf_services`) ─┬─▶ wanted places of each key
    own members ───────────────────────────────┘       │
    one task each: found / gone, until told == wanted ◀┘

All state belongs to the event loop. Nothing queues up: what a member is to be told
is the difference between two sets.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from group_ports._port_settings import LONGEST_WAIT_S
from group_ports._quiet_log import QuietLogger
from group_ports._zeroconf_records import SERVICE_TYPE, name_of, properties_of
from group_ports._zeroconf_services import Place, Services
from group_ports.errors import PortError, PortTimeout

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Coroutine

    from zeroconf import ServiceInfo
    from zeroconf.asyncio import AsyncZeroconf

_Result = TypeVar("_Result")

#: Seconds before a member that had no time is told again.
_GAP_S: Final = 0.05

_quiet = QuietLogger(logging.getLogger(__name__))


@dataclass(slots=True)
class _Member:
    """A member of this process."""

    key: str
    place: Place
    info: ServiceInfo
    announcing: asyncio.Future[None]
    found: Callable[[str, int], None]
    gone: Callable[[str, int], None]
    changed: asyncio.Event
    wanted: set[Place]
    told: set[Place] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class Engine:
    """Announces members and finds others.

    Parameters
    ----------
    interfaces : list of str
        IPv4 addresses.
    lifetime_s : int
        Seconds for which what a member announces is believed.
    dropped : Counter
        Counts what was refused, by cause.

    Raises
    ------
    OSError
        An interface that cannot be used.
    PortTimeout
        It does not start.
    PortError
        There is no room for one more thread.
    """

    def __init__(self, interfaces: list[str], lifetime_s: int, dropped: Counter[str]) -> None:
        self._interfaces = interfaces
        self._lifetime_s = lifetime_s
        self._dropped = dropped
        self._members: dict[tuple[str, Place], _Member] = {}
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, AsyncZeroconf]] = Future()
        self._thread = threading.Thread(target=self._run, name="group-ports zeroconf", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            raise PortError(f"mDNS cannot begin: {error}", errno.EAGAIN) from error
        try:
            self._loop, self._ending, self._network = self._ready.result(LONGEST_WAIT_S)
        except TimeoutError as error:
            # Should it start after all, it ends at once.
            self._ready.cancel()
            raise PortTimeout("mDNS does not start", PortError.EAGAIN) from error

    @property
    def is_idle(self) -> bool:
        """Whether there is no member."""
        return not self._members

    def add(
        self,
        key: str,
        place: Place,
        member_id: bytes,
        found: Callable[[str, int], None],
        gone: Callable[[str, int], None],
    ) -> None:
        """Announce a member, and tell it of others from now on.

        Raises
        ------
        PortTimeout
            It takes too long.
        ValueError
            It is announced already.
        """
        try:
            self._call(self._add(key, place, member_id, found, gone))
        except PortTimeout:
            # It may have come to it in this moment.
            asyncio.run_coroutine_threadsafe(self._remove(key, place), self._loop)
            raise

    def remove(self, key: str, place: Place) -> None:
        """Say goodbye for a member; one that is not known is no harm."""
        self._call(self._remove(key, place))

    def stop(self) -> None:
        """End the thread, 10 s at the most."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(LONGEST_WAIT_S)

    def _call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(LONGEST_WAIT_S)
        except TimeoutError as error:
            future.cancel()
            raise PortTimeout("mDNS takes too long", PortError.EAGAIN) from error

    # -- in the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except Exception as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            elif not self._ready.cancelled():
                raise

    async def _main(self) -> None:
        from zeroconf import IPVersion
        from zeroconf.asyncio import AsyncZeroconf

        for interface in self._interfaces:
            # The library would leave a socket open when it fails.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((interface, 0))
        network = AsyncZeroconf(interfaces=self._interfaces, ip_version=IPVersion.V4Only)
        try:
            await network.zeroconf.async_wait_for_start()
            ending = asyncio.Event()
            services = Services(network.zeroconf, self._lifetime_s, self._dropped, self._update)
            self._services = services
            if self._ready.set_running_or_notify_cancel():
                self._ready.set_result((asyncio.get_running_loop(), ending, network))
                await ending.wait()
            await services.close()
        finally:
            await network.async_close()

    async def _add(
        self,
        key: str,
        place: Place,
        member_id: bytes,
        found: Callable[[str, int], None],
        gone: Callable[[str, int], None],
    ) -> None:
        from zeroconf import ServiceInfo, ServiceNameAlreadyRegistered

        name = name_of(key, member_id)
        info = ServiceInfo(
            SERVICE_TYPE,
            name,
            port=place[1],
            addresses=[socket.inet_aton(place[0])],
            properties=properties_of(key, member_id),
            server=f"{name.partition('.')[0]}.local.",
            host_ttl=self._lifetime_s,
        )
        # There is no other one of that name to ask for: it has the member's random id.
        try:
            # Announced three times, in the background.
            announced = await self._network.async_register_service(info, cooperating_responders=True)
        except ServiceNameAlreadyRegistered as error:
            raise ValueError(f"member {member_id.hex()} of {key!r} is announced already") from error
        announcing = asyncio.ensure_future(announced)
        member = _Member(key, place, info, announcing, found, gone, asyncio.Event(), set())
        self._members[key, place] = member
        member.task = asyncio.create_task(self._tell(member))
        self._update(key)

    async def _remove(self, key: str, place: Place) -> None:
        member = self._members.pop((key, place), None)
        if member is not None:
            # Nothing may be said of it after the goodbye.
            member.announcing.cancel()
            if member.task is not None:
                member.task.cancel()
            await (await self._network.async_unregister_service(member.info))

    def _update(self, key: str) -> None:
        """See what the members of a group are to be told."""
        places = self._services.places(key)
        for member in self._members.values():
            if member.key == key:
                # A member follows itself, whatever is heard of it.
                member.wanted = {*places, member.place}
                member.changed.set()

    async def _tell(self, member: _Member) -> None:
        """Tell a member of others, one after the other, in a thread that it may hold up."""
        while True:
            await member.changed.wait()
            member.changed.clear()
            for place in member.told ^ member.wanted:
                is_new = place in member.wanted
                try:
                    await asyncio.to_thread(member.found if is_new else member.gone, *place)
                except PortError as error:
                    if error.errno == PortError.ECLOSED:
                        return
                    _quiet.warn(member.key, "told", "a member could not be told of %s: %s", place, error)
                    # It is still to be told.
                    member.changed.set()
                    await asyncio.sleep(_GAP_S)
                else:
                    (member.told.add if is_new else member.told.discard)(place)
