"""The other ends, as programs that are killed: ``peers.py KIND ...``.

Each says "ready" when it has begun, and ends by itself only if something is wrong, or with who started it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What measures a process is a tool of the faults.
sys.path.insert(0, str(Path(__file__).parents[1]))

LIMIT_S = 60.0
#: Set when something was said on the input.
_told = threading.Event()


def ready() -> None:
    """Say that it has begun."""
    print("ready", flush=True)


def end_with_input() -> None:
    """End this process when the one that started it is gone, whatever it was doing."""

    def wait() -> None:
        while sys.stdin.readline():
            _told.set()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def commands(port: str) -> None:
    """Give commands for ever, each on a connection of its own."""
    from wireframe import Socket

    for number in itertools.count(1):
        with Socket("client", port=int(port), timeout=LIMIT_S) as client:
            reply = client.tcpcmd({"command": "double", "number": number})
        if reply != 2 * number:
            sys.exit(f"{reply} is not twice {number}")
        if number == 1:
            ready()


def monitor(group: str, port: str) -> None:
    """Listen for ever; what is heard of one sender has no gap."""
    from readouts import HERE, Numbered

    from udp_multicast import MulticastReceiver

    with MulticastReceiver(
        Numbered, group, int(port), interface=HERE, strict=True, readout_id=lambda readout: readout.number
    ) as receiver:
        ready()
        while True:
            receiver.receive()
            counted = receiver.statistics
            # This one may be slow, which the kernel counts.
            if (counted.lost, counted.late, counted.duplicates) != (counted.kernel_drops, 0, 0):
                sys.exit(f"{counted}")


async def rig(uri: str) -> None:
    """Confirm what is said."""
    from echo_rig import EchoProtocol

    async with await EchoProtocol.server(uri, numbering=True):
        ready()
        await asyncio.get_running_loop().create_future()


async def client(uri: str) -> None:
    """Send for ever, each message when the one before was confirmed."""
    from echo_rig import EchoProtocol

    async with await EchoProtocol.client(uri, numbering=True) as end:
        for number in itertools.count():
            await end.confirmed_send([1, [os.getpid(), number]], timeout=LIMIT_S)
            if number == 0:
                ready()


def member(*addresses: str) -> None:
    """Follow others; say where to be followed; and speak for ever, as soon as that is done."""
    from groups import GUEST_PARAMS
    from groups import member as new_member

    with new_member(GUEST_PARAMS) as one:
        for host, port in zip(addresses[::2], addresses[1::2], strict=True):
            one.update(host, int(port))
        ready()
        print(*one.address, flush=True)
        if not _told.wait(LIMIT_S):
            sys.exit("not followed")
        for number in itertools.count():
            one.send(b"%d %d" % (os.getpid(), number))
            while one.receive(0.02) is not None:
                pass


def module(name: str, *arguments: str) -> None:
    """Run a command of a package."""
    sys.argv = [name, *arguments]
    ready()
    runpy.run_module(name, run_name="__main__")


def script(path: str, *arguments: str) -> None:
    """Run another program."""
    sys.argv = [path, *arguments]
    ready()
    runpy.run_path(path, run_name="__main__")


KINDS: dict[str, Callable[..., Any]] = {
    "commands": commands,
    "monitor": monitor,
    "rig": rig,
    "client": client,
    "member": member,
    "module": module,
    "script": script,
}

if __name__ == "__main__":
    end_with_input()
    kind, *arguments = sys.argv[1:]
    done = KINDS[kind](*arguments)
    if done is not None:
        asyncio.run(done)
