"""One end of experiment messages with the real iblutil package: ``peer_rig.py ROLE URI``.

It reads one order in JSON per line from standard input, and writes one line of JSON for each thing that
happens, behind ``@`` to tell it from the log that iblutil writes to the same place:

==================================== =========================================================================
order                                what it does
==================================== =========================================================================
``["call", METHOD, [ARGUMENTS]]``    call it; says ``["returned", VALUE]`` or ``["raised", TYPE, TEXT]``
``["answer", EVENT, DATA]``          answer the next event of this kind with this data
``["fail", EVENT, TEXT]``            raise ValueError from a callback for the next event of this kind
``["alyx", BASE_URL, USER, TOKEN]``  answer the next request for a token
``["is_connected"]``                 says ``["is_connected", TRUTH]``
``["stop"]``                         close and end
==================================== =========================================================================

``["event", EVENT, DATA]`` is said of all that its callbacks hear, 0 being errors. In the server role methods
get the address of who was heard last. What iblutil does is not changed in any way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from types import SimpleNamespace


def say(*words: object) -> None:
    print("@", json.dumps(words), flush=True)


class Rig:
    """The orders and what they do."""

    def __init__(self, end: object) -> None:
        self.end = end
        self.address = None
        self.tasks = set()

    def start(self, coroutine) -> None:
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def where(self, address=None) -> dict:
        return {} if self.end.role == "client" else {"addr": address or self.address}

    def hear(self, event: int):
        def heard(data, address) -> None:
            self.address = address
            say("event", event, data)

        return heard

    async def call(self, method, arguments) -> None:
        try:
            value = await getattr(self.end, method)(*arguments, **self.where())
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
            say("raised", type(error).__name__, str(error))
        else:
            say("returned", value)

    def obey(self, order: str, *arguments) -> None:
        if order == "call":
            method, given = arguments
            if method == "alyx" and given:
                given = [logged_in(*given)]
            self.start(self.call(method, given))
        elif order == "answer":
            event, data = arguments
            self.once(event, lambda address: self.start(self.confirm([event, *data], address)))
        elif order == "alyx":
            client = logged_in(*arguments)
            self.once(128, lambda address: self.start(self.end.alyx(client, **self.where(address))))
        elif order == "fail":
            event, text = arguments
            self.once(event, lambda address: fail(text))
        elif order == "is_connected":
            say("is_connected", bool(self.end.is_connected))
        else:
            raise ValueError(order)

    def once(self, event, react) -> None:
        armed = [True]

        def callback(_data, address) -> None:
            if armed:
                armed.clear()
                react(address)

        self.end.assign_callback(event, callback)

    async def confirm(self, message, address) -> None:
        await self.end.confirmed_send(message, **self.where(address))


def fail(text: str) -> None:
    raise ValueError(text)


def logged_in(base_url: str, user: str, token: str) -> SimpleNamespace:
    return SimpleNamespace(is_logged_in=True, base_url=base_url, user=user, _token={"token": token})


async def main(role: str, uri: str) -> None:
    from iblutil.io.net import app

    make = app.EchoProtocol.server if role == "server" else app.EchoProtocol.client
    end = await make(uri, name="peer", log=logging.getLogger("peer"))
    rig = Rig(end)
    for event in (0, 1, 2, 4, 8, 16, 32, 64, 128):
        end.assign_callback(event, rig.hear(event))
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    say("ready")
    while line := await orders.readline():
        order = json.loads(line)
        if order[0] == "stop":
            break
        rig.obey(*order)
    end.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
