"""What the controller that leads does: it directs the day.

Each setting is released by the demo, when what it does to the one before is done.
Before it is measured all rigs are looked after: those that were not started are
initialised and started, and all are asked how they are. Who does not answer is
reported by name and left out until there is a new process for it. Then the
optimiser chooses, the station measures, and the group is told.

It takes everything that it has to know from the book, which every controller
keeps. So it can begin in the middle of a day that another one has begun.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from reporting import timed_report as report

from echo_rig import EchoProtocol, ExpStatus, RoundError, Services
from wireframe import Socket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from labday.book import Book

#: Name of the experiment.
REFERENCE: Final = "2026-11-21_1_resonance"
#: Seconds that the station may take for a measurement.
STATION_S: Final = 120.0
#: Seconds that a rig may take for an answer.
RIG_S: Final = 10.0
#: Seconds between two looks whether a setting is released.
LOOK_INTERVAL_S: Final = 0.005


class Refused(RuntimeError):
    """The station does not do what it is told; says why."""


class Director:
    """Directs the day from where it is.

    Parameters
    ----------
    book : Book
        What is known of the day; noted down here too.
    announce : callable
        Tells the group.
    term : int
        Of the leader: the station refuses older ones.
    station : int
        Port of the station.
    settings : int
        How many there are to be.
    """

    def __init__(
        self, book: Book, announce: Callable[[dict[str, Any]], None], term: int, station: int, settings: int
    ) -> None:
        self._book = book
        self._announce = announce
        self._term = term
        self._port = station
        self._settings = settings
        self._rigs: dict[str, tuple[str, EchoProtocol]] = {}

    async def direct(self) -> None:
        """Do what is left of the day.

        Raises
        ------
        Refused
            The station obeys another leader, or cannot measure.
        OSError
            The station is not reached.
        """
        try:
            with Socket("client", port=self._port, timeout=STATION_S) as station:
                while self._book.next_setting < self._settings:
                    await self._until_released()
                    await self._look_after_rigs()
                    setting, frequency = self._book.next_setting, self._book.choose(self._settings)
                    if frequency is None:
                        break  # what the leader before has told last came only now
                    result = await self._command(
                        station, "measure", setting=setting, cavity_frequency=frequency
                    )
                    self._announce({"news": "measured", **result})
                await self._look_after_rigs()
                running = sorted(self._book.running)
                await self._round("stop", running, lambda rigs: rigs.stop())
                await self._round("cleanup", running, lambda rigs: rigs.cleanup("temporary files"))
                await self._command(station, "close")
            self._announce({"news": "over"})
        finally:
            for _, rig in self._rigs.values():
                rig.close()

    async def _until_released(self) -> None:
        while self._book.next_setting >= self._book.released:
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def _command(self, station: Socket, name: str, **arguments: Any) -> dict[str, Any]:
        report("command", name=name, setting=arguments.get("setting"), term=self._term)
        command = {"command": name, "term": self._term, **arguments}
        answer = await asyncio.to_thread(station.tcpcmd, command)
        if "error" in answer:
            raise Refused(f"{name}: {answer['error']['message']}")
        report("answer", name=name, setting=arguments.get("setting"), term=self._term)
        return dict(answer)

    async def _look_after_rigs(self) -> None:
        new = [name for name in self._book.uris if name not in self._book.running | self._book.silent]
        if new:
            ready = await self._round("init", new, lambda rigs: rigs.init({"term": self._term}))
            started = await self._round("start", ready, lambda rigs: rigs.start(REFERENCE))
            self._announce({"news": "running", "rigs": started})
        running = sorted(self._book.running)
        await self._round(
            "info", running, lambda rigs: rigs.info(ExpStatus.RUNNING, {"next": self._book.next_setting})
        )

    async def _round(
        self,
        name: str,
        asked: Sequence[str],
        operation: Callable[[Services], Awaitable[dict[str, list[Any]]]],
    ) -> list[str]:
        """Ask rigs for something; return who answered, and announce who did not."""
        failures: dict[str, str] = {}
        results: dict[str, list[Any]] = {}
        begin = time.monotonic()
        clients = []
        for rig in asked:
            try:
                clients.append(await self._client(rig))
            except OSError as error:
                failures[rig] = str(error)
        try:
            results = await operation(Services(clients, timeout=RIG_S))
        except RoundError as error:
            results = error.results
            failures |= {rig: str(why) or type(why).__name__ for rig, why in error.failures.items()}
        report(
            "round",
            name=name,
            begin=begin,
            asked=list(asked),
            results=results,
            failures=failures,
            term=self._term,
        )
        if failures:
            self._announce({"news": "silent", "rigs": sorted(failures)})
        return [rig for rig in asked if rig in results]

    async def _client(self, name: str) -> EchoProtocol:
        """Return the connection to a rig, a new one if there is a new process."""
        uri = self._book.uris[name]
        known = self._rigs.get(name)
        if known is not None:
            if known[0] == uri:
                return known[1]
            known[1].close()
            del self._rigs[name]
        log = logging.getLogger(f"echo_rig.{name}")
        client = await EchoProtocol.client(uri, name=name, log=log, numbering=True)
        client.default_echo_timeout = RIG_S
        self._rigs[name] = uri, client
        return client
