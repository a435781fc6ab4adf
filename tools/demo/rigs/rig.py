"""A rig process: does what it is told, and answers each message when it has done it.

It takes samples while an experiment runs, and tells how many in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from reporting import end_of_input, report

from echo_rig import EchoProtocol, ExpStatus
from rigs.account import ECHO_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

#: Samples per second.
RATE: Final = 1000.0
#: Where to listen: outside of what systems give to others unasked. The first free one is taken.
PORTS: Final = range(20_000, 30_000)
PORTS_TRIED: Final = 100
#: Seconds between two looks whether the demo wants the process to end.
LOOK_INTERVAL_S: Final = 0.02


class Acquisition:
    """What the rig does, in plain words of its own.

    Parameters
    ----------
    work_s : float
        Seconds that it takes for whatever it is told.
    """

    def __init__(self, work_s: float) -> None:
        self._work_s = work_s
        self._started_at: float | None = None
        self.samples = 0

    async def prepare(self, settings: Any) -> Any:
        """Open the cameras, so to speak."""
        await asyncio.sleep(self._work_s)
        return {"ready": settings}

    async def run(self) -> None:
        """Begin to take samples."""
        await asyncio.sleep(self._work_s)
        self._started_at = time.monotonic()

    def is_running(self) -> bool:
        """Whether samples are being taken."""
        return self._started_at is not None

    async def halt(self) -> int:
        """Take no more samples; return how many there are."""
        if self._started_at is not None:
            self.samples = round((time.monotonic() - self._started_at) * RATE)
            self._started_at = None
        await asyncio.sleep(self._work_s)
        return self.samples

    async def tidy(self, what: Any) -> Any:
        """Remove what is not needed any more."""
        await asyncio.sleep(self._work_s)
        return {"removed": what}


async def listen(scheme: str, name: str) -> EchoProtocol:
    """Return the rig's end, at the first free port.

    Raises
    ------
    OSError
        None of them is free.
    """
    ports = random.SystemRandom().sample(PORTS, PORTS_TRIED)
    for port in ports[:-1]:
        try:
            return await EchoProtocol.server(f"{scheme}://127.0.0.1:{port}", name=name)
        except OSError:
            continue
    return await EchoProtocol.server(f"{scheme}://127.0.0.1:{ports[-1]}", name=name)


def answer_to(rig: EchoProtocol, acquisition: Acquisition) -> None:
    """Have a rig answer what it is told, as users write it: coroutines that do and then respond."""

    async def on_init(data: list[Any], address: Any) -> None:
        await rig.init(await acquisition.prepare(data[0]), addr=address)

    async def on_start(data: list[Any], address: Any) -> None:
        reference, _ = data
        await acquisition.run()
        await rig.start(reference, {"status": ExpStatus.RUNNING}, addr=address)

    async def on_info(data: list[Any], address: Any) -> None:
        state = ExpStatus.RUNNING if acquisition.is_running() else ExpStatus.STOPPED
        await rig.info(state, {"asked": data[1]}, addr=address)

    async def on_stop(data: list[Any], address: Any) -> None:
        await rig.stop({"samples": await acquisition.halt()}, addr=address)

    async def on_cleanup(data: list[Any], address: Any) -> None:
        await rig.cleanup(await acquisition.tidy(data[0]), addr=address)

    for event, callback in (
        ("INIT", on_init),
        ("START", on_start),
        ("INFO", on_info),
        ("END", on_stop),
        ("CLEANUP", on_cleanup),
    ):
        rig.assign_callback(event, partial(_told, callback, event))


async def _told(
    callback: Callable[[list[Any], Any], Awaitable[None]], name: str, data: list[Any], address: Any
) -> None:
    report("event", name=name, data=data, seconds=time.monotonic())
    await callback(data, address)
    report("answer", name=name, seconds=time.monotonic())


async def serve(scheme: str, name: str, work_s: float) -> None:
    """Be a rig until standard input is closed."""
    over = end_of_input()
    acquisition = Acquisition(work_s)
    async with await listen(scheme, name) as rig:
        rig.default_echo_timeout = ECHO_S
        answer_to(rig, acquisition)
        report("listening", uri=rig.server_uri)
        while not over.is_set():
            await asyncio.sleep(LOOK_INTERVAL_S)
    report("end", samples=acquisition.samples)


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("scheme")
    parser.add_argument("name")
    parser.add_argument("work_s", type=float)
    options = parser.parse_args()
    asyncio.run(serve(options.scheme, options.name, options.work_s))


if __name__ == "__main__":
    main()
