"""Numbered messages between two of ours through a network that loses, doubles and reorders."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial

import pytest

from echo_rig import EchoProtocol, _conversation
from echo_rig._limits import Limits

from .fault_proxy import FaultProxy
from .raw_peers import free_uri, in_loop_within, place_of, until

#: Several times the window of all ends; ten thousand with ECHO_RIG_SENDS.
SENDS = int(os.environ.get("ECHO_RIG_SENDS", "2000"))
#: Sends that wait at the same time; more than the window of 128, so that some wait for their turn.
AT_ONCE = 400
LIMIT_S = 280.0


async def send_all(end, sender, count, **where):
    """Send messages in order, many at once; each has a time limit of its own."""
    slots = asyncio.Semaphore(AT_ONCE)
    failures = []

    async def send(number):
        try:
            await end.init([sender, number], **where)
        except TimeoutError as error:
            failures.append((number, error))
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await slots.acquire()
            group.create_task(send(number))
    return failures


@pytest.mark.fault("C11", "echo-udp", "LW")
@pytest.mark.timeout(LIMIT_S + 20)
@in_loop_within(LIMIT_S)
async def test_through_loss_doubling_and_reordering_every_message_arrives_once_and_in_order(
    caplog, monkeypatch
):
    caplog.set_level(logging.CRITICAL)
    # What is missing for too long is given up. That is judged elsewhere, with clocks that do not run on while
    # a busy machine lets everybody wait.
    monkeypatch.setattr(_conversation, "Limits", partial(Limits, held_s=LIMIT_S))
    async with (
        await EchoProtocol.server(free_uri("udp"), numbering=True) as server,
        FaultProxy(place_of(server.server_uri), loss=0.2, duplication=0.1, delay_s=0.005, seed=1) as network,
        await EchoProtocol.client(network.uri, numbering=True) as first,
        await EchoProtocol.client(network.uri, numbering=True) as second,
    ):
        for end in (server, first, second):
            end.default_echo_timeout = LIMIT_S
        at_server, at_first = [], []
        most = 0

        def take(data, addr):
            nonlocal most
            at_server.append(data[0])
            most = max(most, *(link.conversation.held for link in server._links.values()))

        server.assign_callback("EXPINIT", take)
        first.assign_callback("EXPINIT", lambda data, addr: at_first.append(data[0]))
        # The server has to know the first client before it can send.
        await first.cleanup()
        client = server.addresses[0]
        share = SENDS // 4
        failures = await asyncio.gather(
            send_all(first, "first", 2 * share),
            send_all(second, "second", share),
            send_all(server, "server", share, addr=client),
        )
        # None lost, and each exactly once, in the order of its sender.
        assert failures == [[], [], []]
        assert [data for data in at_server if data[0] == "first"] == in_order("first", 2 * share)
        assert [data for data in at_server if data[0] == "second"] == in_order("second", share)
        assert len(at_server) == 3 * share
        assert at_first == in_order("server", share)
        # The network did what it should.
        assert network.counts["lost"] > SENDS / 4
        assert network.counts["doubled"] > SENDS / 10
        # No storm: a transmission that is not lost is echoed once, and 10 % come twice. How many there are
        # depends on how quick the machine is.
        links = [link for end in (server, first, second) for link in end._links.values()]
        repeated = sum(link.conversation.retransmissions for link in links)
        assert network.counts["to server"] + network.counts["to client"] < 2 * (SENDS + repeated)
        # Bounded memory: no more was kept than may be, and nothing is kept now.
        assert most <= 1024
        for link in links:
            await until(lambda link=link: not link.conversation.outstanding)
            assert (link.conversation.queued, link.conversation.held) == (0, 0)


def in_order(sender, count):
    return [[sender, number] for number in range(count)]
