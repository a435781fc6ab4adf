"""An experiment with three rigs, each a process, one of which is killed while it runs.

::

    init  ->  start  ->  one is killed, the heartbeat notices  ->  info  ->  stop  ->  cleanup of the rest

`info` and `stop` go to all three: they reach the living, and tell the name of the dead one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from players import Players
from processes import LEAVE_TIMEOUT_S, ProcessError

from echo_rig import EchoProtocol, ExpStatus, RoundError, Services
from echo_rig.heartbeat import Heartbeat, RigState
from rigs.account import ECHO_S, MORTAL, RIGS, Change, Rig, Round, Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from players import Player
    from progress import Progress

REFERENCE: Final = "2026-11-21_1_mouse"
SETTINGS: Final = {"protocol": "demo"}
#: Rounds; the steps of the progress.
ROUNDS: Final = 5
#: Seconds that the experiment runs before the rig dies, and goes on without it.
RUNNING_S: Final = 0.5
#: Seconds of silence: then a rig is pinged, late, gone. A busy computer makes a rig wait for a second or two.
PING_S: Final = 0.1
LATE_S: Final = 5.0
GONE_S: Final = 10.0
#: Seconds for the heartbeat to notice a death.
PATIENCE_S: Final = 30.0


def run(progress: Progress) -> Session:
    """Hold an experiment.

    Parameters
    ----------
    progress : Progress
        Shown meanwhile; its steps are rounds.

    Raises
    ------
    processes.ProcessError
        A process ended early or was silent for too long.
    OSError
        A rig could not be reached at all.
    """
    with contextlib.ExitStack() as cleanup:
        folder = cleanup.enter_context(
            tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True)
        )
        players = cleanup.enter_context(Players(Path(folder)))
        rigs = {
            name: players.start(name, "rigs.rig", (scheme, name, work_s))
            for name, (scheme, work_s) in RIGS.items()
        }
        uris = {name: str(rig.wait_for("listening")["uri"]) for name, rig in rigs.items()}
        rounds, changes, killed_at = asyncio.run(_conduct(uris, rigs[MORTAL], progress))
        ends = {name: rig.finish() for name, rig in rigs.items() if name != MORTAL}
        return Session(
            reference=REFERENCE,
            rounds=rounds,
            changes=changes,
            rigs={name: _told(rig, ends.get(name)) for name, rig in rigs.items()},
            killed_at=killed_at,
        )


def _told(rig: Player, end: Mapping[str, Any] | None) -> Rig:
    samples = None if end is None else int(end["samples"])
    status = rig.process.wait(LEAVE_TIMEOUT_S)
    return Rig(rig.name, rig.all("event"), rig.all("answer"), samples, status)


async def _conduct(
    uris: Mapping[str, str], mortal: Player, progress: Progress
) -> tuple[list[Round], list[Change], float]:
    """Be the acquisition PC."""
    rounds: list[Round] = []
    changes: list[Change] = []

    async def make(
        name: str, services: Services, operation: Callable[[], Awaitable[dict[str, list[Any]]]]
    ) -> None:
        progress.begin_run(name, 1)
        begin = time.monotonic()
        failures: dict[str, str] = {}
        try:
            results = await operation()
        except RoundError as error:
            results = error.results
            failures = {rig: str(why) or type(why).__name__ for rig, why in error.failures.items()}
        rounds.append(
            Round(name, begin, time.monotonic(), tuple(services), results, failures, dict(services.timings))
        )
        without = f"; without {', '.join(failures)}" if failures else ""
        progress.end_run(f"{', '.join(results)}{without}")

    async with contextlib.AsyncExitStack() as stack:
        clients: dict[str, EchoProtocol] = {}
        for name, uri in uris.items():
            client = await EchoProtocol.client(
                uri, name=name, log=logging.getLogger(f"echo_rig.{name}"), numbering=True
            )
            client.default_echo_timeout = ECHO_S
            clients[name] = await stack.enter_async_context(client)
        heartbeat = await stack.enter_async_context(
            Heartbeat(clients, interval_s=PING_S, late_s=LATE_S, gone_s=GONE_S)
        )
        gone = asyncio.Event()

        def note(change: Any) -> None:
            changes.append(Change(change.name, change.state.value, change.at))
            if change.name == MORTAL and change.state is RigState.GONE:
                gone.set()

        heartbeat.on_change(note)
        rigs = Services(clients.values())
        await make("init", rigs, lambda: rigs.init(SETTINGS))
        await make("start", rigs, lambda: rigs.start(REFERENCE))
        await asyncio.sleep(RUNNING_S)
        mortal.process.kill()
        killed_at = time.monotonic()
        progress.note(f"{MORTAL} is killed")
        try:
            async with asyncio.timeout(PATIENCE_S):
                await gone.wait()
        except TimeoutError as error:
            raise ProcessError(f"the heartbeat did not notice that {MORTAL} is gone") from error
        progress.note(f"{MORTAL} is gone, says the heartbeat")
        await make("info", rigs, lambda: rigs.info(ExpStatus.RUNNING, "who is there?"))
        await asyncio.sleep(RUNNING_S)
        await make("stop", rigs, rigs.stop)
        living = Services(client for name, client in clients.items() if name != MORTAL)
        await make("cleanup", living, lambda: living.cleanup("temporary files"))
    return rounds, changes, killed_at
