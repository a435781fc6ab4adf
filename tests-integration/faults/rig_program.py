"""A rig in a process of its own, that tells how much it holds; Linux only.

    python rig_program.py asyncio|blocking URI

It prints ``ready``, and answers each line of its input with one of its own: ``reset`` begins to measure the
peak of its memory, ``peak`` says by how many bytes it rose since, ``descriptors`` how many are open,
``scarce N`` lets it open no more than N others, ``heard`` how many messages came. It ends with its input.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import threading
from pathlib import Path

from echo_rig import EchoProtocol, sync

HEARD = []


def peak_bytes() -> int:
    """The most memory since the last reset, as the system counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def descriptors() -> list[int]:
    """What is open, and one more that lists it."""
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]


def obey() -> None:
    """Answer line by line; in a thread beside the rig."""
    before = 0
    print("ready", flush=True)
    for line in sys.stdin:
        word, *numbers = line.split()
        answer = 0
        if word == "reset":
            gc.collect()
            Path("/proc/self/clear_refs").write_text("5")
            before = answer = peak_bytes()
        elif word == "peak":
            answer = peak_bytes() - before
        elif word == "descriptors":
            answer = len(descriptors())
        elif word == "scarce":
            answer = max(descriptors()) + int(numbers[0])
            resource.setrlimit(resource.RLIMIT_NOFILE, (answer, answer))
        elif word == "heard":
            answer = len(HEARD)
        print(answer, flush=True)


async def serve(uri: str) -> None:
    """Be a rig of asyncio."""
    async with await EchoProtocol.server(uri) as rig:
        rig.assign_callback("EXPINIT", lambda data, address: HEARD.append(None))
        await asyncio.get_running_loop().run_in_executor(None, obey)


def serve_blocking(uri: str) -> None:
    """Be a rig of blocking calls."""
    with sync.listen(uri) as rig:
        rig.assign_callback("EXPINIT", lambda data, address: HEARD.append(None))
        thread = threading.Thread(target=obey)
        thread.start()
        while thread.is_alive():
            rig.serve(0.05)
        thread.join()


if __name__ == "__main__":
    kind, uri = sys.argv[1:]
    if kind == "asyncio":
        asyncio.run(serve(uri))
    else:
        serve_blocking(uri)
