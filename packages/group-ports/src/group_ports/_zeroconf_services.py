"""Which members others have announced, as the library zeroconf finds them.

::

    browser ──▶ service, one task each: resolve ──▶ key and place
                  again when it changes, and after each lifetime

All state belongs to the event loop. What is known is bounded, and so is how often
one service is asked: whoever is on the link can announce as many as it likes.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from group_ports._quiet_log import QuietLogger
from group_ports._zeroconf_records import SERVICE_TYPE, RecordRefused, read_key, read_place

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from zeroconf import ServiceStateChange, Zeroconf

Place: TypeAlias = tuple[str, int]

#: Services known at the most: members, and whatever strangers announce under their type.
MAX_SERVICES: Final = 1024
#: Milliseconds that a service has to answer.
_ANSWER_MS: Final = 3000
#: Seconds between two looks at one service at least.
_GAP_S: Final = 0.05

_quiet = QuietLogger(logging.getLogger(__name__))


@dataclass(slots=True)
class _Service:
    """A service that was announced."""

    changed: asyncio.Event
    key: str | None = None
    place: Place | None = None
    task: asyncio.Task[None] | None = None


class Services:
    """The services of the network that are members of groups.

    Parameters
    ----------
    network : Zeroconf
        Of the running event loop, in which all of this is to be used.
    lifetime_s : int
        Seconds after which a service is asked again.
    dropped : Counter
        Counts what was refused, by cause.
    changed : callable
        Gets the key of a group of which members may have come, gone or moved.
    """

    def __init__(
        self,
        network: Zeroconf,
        lifetime_s: int,
        dropped: Counter[str],
        changed: Callable[[str], None],
    ) -> None:
        from zeroconf import DNSQuestionType
        from zeroconf.asyncio import AsyncServiceBrowser

        self._network = network
        self._lifetime_s = lifetime_s
        self._dropped = dropped
        self._changed = changed
        self._known: dict[str, _Service] = {}
        # Answers to all: of several programs on one computer only one would get an answer to itself.
        self._browser = AsyncServiceBrowser(
            network, SERVICE_TYPE, handlers=[self._on_change], question_type=DNSQuestionType.QM
        )

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def places(self, key: str) -> list[Place]:
        """Return where the members of a group are; several may say the same."""
        return [one.place for one in self._known.values() if one.key == key and one.place is not None]

    async def close(self) -> None:
        """Look for no more, and forget all."""
        await self._browser.async_cancel()
        for name in list(self._known):
            self._forget(name)

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        from zeroconf import ServiceStateChange

        if state_change is ServiceStateChange.Removed:
            self._forget(name)
        elif name in self._known:
            self._known[name].changed.set()
        elif self._has_room():
            service = self._known[name] = _Service(asyncio.Event())
            service.task = asyncio.create_task(self._follow(name, service))

    def _has_room(self) -> bool:
        """Make room at the cost of a service that is no member's; tell whether there is room."""
        if len(self._known) < MAX_SERVICES:
            return True
        self._drop("too many", "more than %d services", MAX_SERVICES)
        for name, service in self._known.items():
            if service.place is None:
                self._forget(name)
                return True
        return False

    def _forget(self, name: str) -> None:
        service = self._known.pop(name, None)
        if service is not None:
            if service.task is not None:
                service.task.cancel()
            self._say_changed(service.key)

    async def _follow(self, name: str, service: _Service) -> None:
        """Find out what a service is, again and again."""
        while True:
            service.changed.clear()
            before = service.key
            service.key, service.place = await self._resolve(name)
            for key in {before, service.key}:
                self._say_changed(key)
            await asyncio.sleep(_GAP_S)
            try:
                await asyncio.wait_for(service.changed.wait(), self._lifetime_s)
            except TimeoutError:
                continue

    async def _resolve(self, name: str) -> tuple[str | None, Place | None]:
        from zeroconf import DNSQuestionType, Error, IPVersion
        from zeroconf.asyncio import AsyncServiceInfo

        try:
            # An Error if the name is not of the type, or not one at all.
            info = AsyncServiceInfo(SERVICE_TYPE, name)
            if await info.async_request(self._network, _ANSWER_MS, question_type=DNSQuestionType.QM):
                place = read_place(info.parsed_addresses(IPVersion.V4Only), info.port)
                return read_key(name, info.properties), place
            self._drop("no answer", "no answer from %.80r", name)
        except Error as error:
            self._drop("a name that is none", "%.80r: %s", name, type(error).__name__)
        except RecordRefused as error:
            self._drop(str(error).partition(",")[0], "%.80r: %s", name, error)
        return None, None

    def _say_changed(self, key: str | None) -> None:
        if key is not None:
            self._changed(key)

    def _drop(self, cause: str, message: str, *arguments: object) -> None:
        self._dropped[cause] += 1
        _quiet.warn("mDNS", cause, message, *arguments)
