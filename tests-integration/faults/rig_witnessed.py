"""An end of experiment messages in a network namespace: ``rig_witnessed.py server|client URI``.

It says "ready" when it is. A client answers each number with how many of so many messages were confirmed, and
either role answers ``counters`` with what it has counted, as JSON, when there is nothing more to be read. It
ends with its input.
"""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import itertools
import json
import socket
import struct
import sys
import termios

from echo_rig import EchoProtocol

# Seconds; for a message on a bad network and a busy machine.
PATIENCE_S = 60.0


def socket_of(end: EchoProtocol) -> socket.socket:
    return end._transport.get_extra_info("socket")


async def read_all(end: EchoProtocol) -> None:
    """Wait until the socket is empty."""
    sock = socket_of(end)
    while struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))[0]:
        await asyncio.sleep(0)


def counted(end: EchoProtocol, heard: list[int]) -> dict[str, int]:
    """What it has counted of the one other end."""
    (link,) = end._links.values()
    return {
        **dataclasses.asdict(link.conversation.counters),
        "retransmissions": link.conversation.retransmissions,
        "heard": len(heard),
        "distinct": len(set(heard)),
    }


async def main(role: str, uri: str) -> None:
    heard: list[int] = []
    made = EchoProtocol.server if role == "server" else EchoProtocol.client
    numbers = itertools.count()
    async with await made(uri, numbering=True) as end:
        end.assign_callback("EXPINIT", lambda data, _: heard.append(data[0]))
        loop = asyncio.get_running_loop()
        print("ready", flush=True)
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            if line == "counters":
                await read_all(end)
                print(json.dumps(counted(end, heard)), flush=True)
            else:
                wanted = [next(numbers) for _ in range(int(line))]
                await asyncio.gather(
                    *(end.confirmed_send([1, number], timeout=PATIENCE_S) for number in wanted)
                )
                print(len(wanted), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
