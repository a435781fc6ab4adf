"""The thread that speaks mDNS, by the library zeroconf, and knows which members are there.

::

    browser ──▶ service, one task each: resolve ──▶ key and place ─┐
                  again when it changes, and after each lifetime   ├─▶ wanted places of each key
    own members ───────────────────────────────────────────────────┘       │
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
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from group_ports._port_settings import LONGEST_WAIT_S
from group_ports._quiet_log import QuietLogger
from group_ports._zeroconf_records import (
    SERVICE_TYPE,
    RecordRefused,
    name_of,
    properties_of,
    read_key,
    read_place,
)
from group_ports.errors import PortError, PortTimeout

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Coroutine

    from zeroconf import ServiceInfo, ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncZeroconf

Place: TypeAlias = tuple[str, int]
_Result = TypeVar("_Result")

#: Services known at the most: members, and whatever strangers announce under their type.
MAX_SERVICES: Final = 1024
#: Milliseconds that a service has to answer.
_ANSWER_MS: Final = 3000
#: Seconds between two looks at one service at least, and before a member that had no time is told again.
_GAP_S: Final = 0.05

_quiet = QuietLogger(logging.getLogger(__name__))


@dataclass(slots=True)
class _Service:
    """A service that was announced."""

    changed: asyncio.Event
    key: str | None = None
    place: Place | None = None
    task: asyncio.Task[None] | None = None


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
        self._services: dict[str, _Service] = {}
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
        from zeroconf import DNSQuestionType, IPVersion
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        for interface in self._interfaces:
            # The library would leave a socket open when it fails.
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((interface, 0))
        network = AsyncZeroconf(interfaces=self._interfaces, ip_version=IPVersion.V4Only)
        try:
            await network.zeroconf.async_wait_for_start()
            ending = asyncio.Event()
            # Answers to all: of several programs on one computer only one would get an answer to itself.
            browser = AsyncServiceBrowser(
                network.zeroconf, SERVICE_TYPE, handlers=[self._on_change], question_type=DNSQuestionType.QM
            )
            if self._ready.set_running_or_notify_cancel():
                self._ready.set_result((asyncio.get_running_loop(), ending, network))
                await ending.wait()
            await browser.async_cancel()
            for name in list(self._services):
                self._forget(name)
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

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        from zeroconf import ServiceStateChange

        if state_change is ServiceStateChange.Removed:
            self._forget(name)
        elif name in self._services:
            self._services[name].changed.set()
        elif self._has_room():
            service = self._services[name] = _Service(asyncio.Event())
            service.task = asyncio.create_task(self._follow(name, service))

    def _has_room(self) -> bool:
        """Make room at the cost of a service that is no member's; tell whether there is room."""
        if len(self._services) < MAX_SERVICES:
            return True
        self._drop("too many", "more than %d services", MAX_SERVICES)
        for name, service in self._services.items():
            if service.place is None:
                self._forget(name)
                return True
        return False

    def _forget(self, name: str) -> None:
        service = self._services.pop(name, None)
        if service is not None:
            if service.task is not None:
                service.task.cancel()
            self._update(service.key)

    async def _follow(self, name: str, service: _Service) -> None:
        """Find out what a service is, again and again."""
        while True:
            service.changed.clear()
            before = service.key
            service.key, service.place = await self._resolve(name)
            for key in {before, service.key}:
                self._update(key)
            await asyncio.sleep(_GAP_S)
            try:
                await asyncio.wait_for(service.changed.wait(), self._lifetime_s)
            except TimeoutError:
                continue

    async def _resolve(self, name: str) -> tuple[str | None, Place | None]:
        from zeroconf import DNSQuestionType, Error, IPVersion
        from zeroconf.asyncio import AsyncServiceInfo

        network = self._network.zeroconf
        try:
            # An Error if the name is not of the type, or not one at all.
            info = AsyncServiceInfo(SERVICE_TYPE, name)
            if await info.async_request(network, _ANSWER_MS, question_type=DNSQuestionType.QM):
                place = read_place(info.parsed_addresses(IPVersion.V4Only), info.port)
                return read_key(name, info.properties), place
            self._drop("no answer", "no answer from %.80r", name)
        except Error as error:
            self._drop("a name that is none", "%.80r: %s", name, type(error).__name__)
        except RecordRefused as error:
            self._drop(str(error).partition(",")[0], "%.80r: %s", name, error)
        return None, None

    def _update(self, key: str | None) -> None:
        """See what the members of a group are to be told."""
        places = {
            service.place
            for service in self._services.values()
            if service.key == key and service.place is not None
        }
        for member in self._members.values():
            if member.key == key:
                # A member follows itself, whatever is heard of it.
                member.wanted = places | {member.place}
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

    def _drop(self, cause: str, message: str, *arguments: object) -> None:
        self._dropped[cause] += 1
        _quiet.warn("mDNS", cause, message, *arguments)
