"""The offset of another clock: with invented times, then over loopback with a clock that is wrong."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_rig import EchoProtocol, ExpMessage, _link, _timed_link
from echo_rig import clock as clock_module
from echo_rig._clock_desk import MAX_ON_THE_WAY, ClockDesk, ClockSample
from echo_rig.clock import ClockOffset, best_of, clock_offset
from echo_rig.errors import OldPeer
from wireframe.echo import ClockAnswer, ClockRequest

from .blocking_lab import free_uri
from .held_clock import HeldClock
from .loopback import LIMIT_S, bare_peer, until

HOUR_NS = 3_600_000_000_000
DELAYS = st.integers(0, 10**10)


@given(st.integers(0, 2**62), st.integers(-(2**61), 2**61), DELAYS, DELAYS, DELAYS)
def test_the_true_offset_is_never_farther_away_than_the_uncertainty(asked, offset, there, held, back):
    """However unequal the two ways are; half a nanosecond is lost to whole numbers."""
    received = asked + there + offset
    sample = ClockSample.of(ClockAnswer(asked, received, received + held), there + held + back)
    assert sample is not None
    assert sample.round_trip_ns == there + back
    assert abs(sample.offset_ns - offset) <= sample.round_trip_ns / 2 + 0.5
    if there == back:
        assert sample.offset_ns == offset


@pytest.mark.parametrize(("received", "sent"), [(500, 499), (500, 551)])
def test_an_answer_that_cannot_be_true_is_no_sample(received, sent):
    """Sent before it was received, or held for longer than all of it took."""
    assert ClockSample.of(ClockAnswer(0, received, sent), 50) is None


def test_the_shortest_round_trip_counts():
    samples = [ClockSample(5_000_000, 900_000), ClockSample(4_000_000, 200_000), ClockSample(0, 400_000)]
    assert best_of(samples, 0.001) == ClockOffset(0.004, 0.0001 + 0.001, 3)


def in_loop(scenario):
    async def run():
        async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
            await scenario(stack)

    asyncio.run(run())


async def pair(stack, scheme="udp", numbering=None, server_numbering=None):
    uri = free_uri(scheme)
    server = await EchoProtocol.server(uri, numbering=server_numbering)
    stack.enter_context(closing(server))
    client = await EchoProtocol.client(uri, numbering=numbering)
    stack.enter_context(closing(client))
    return server, client


def ahead(nanoseconds):
    """A desk whose calendar is wrong."""
    return ClockDesk(calendar_ns=lambda: time.time_ns() + nanoseconds)


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
@pytest.mark.parametrize("numbering", [None, True])
def test_the_offset_of_a_clock_that_is_wrong_is_found(scheme, numbering):
    """By default nobody numbers; asking is what makes both begin. No callback hears of it."""

    async def scenario(stack):
        server, client = await pair(stack, scheme, numbering)
        server._clock = ahead(HOUR_NS)
        called = []
        for end in (server, client):
            end.assign_callback(ExpMessage.any(), lambda *arguments: called.append(arguments))
        found = await clock_offset(client, samples=5, timeout=LIMIT_S)
        assert found.samples == 5
        assert 0 < found.uncertainty_s < LIMIT_S / 2
        assert abs(found.offset_s - 3600) <= found.uncertainty_s
        assert called == []
        await until(lambda: not (client.awaiting_response() or server.awaiting_response()))

    in_loop(scenario)


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_a_server_asks_its_client(scheme):
    async def scenario(stack):
        server, client = await pair(stack, scheme)
        client._clock = ahead(-HOUR_NS)
        await client.init()
        (address,) = server.addresses
        found = await clock_offset(server, address, timeout=LIMIT_S)
        assert abs(found.offset_s + 3600) <= found.uncertainty_s

    in_loop(scenario)


@pytest.mark.fault("C15", "echo-rig", "W")
def test_a_calendar_that_is_set_meanwhile_does_not_spoil_the_round_trip():
    """Our own calendar is read once per question; what passed is measured with another clock."""

    async def scenario(stack):
        _, client = await pair(stack)
        days = iter(range(1, 100))
        client._clock = ClockDesk(calendar_ns=lambda: time.time_ns() + next(days) * HOUR_NS)
        found = await clock_offset(client, samples=3, timeout=LIMIT_S)
        hours = round(found.offset_s / -3600)
        assert hours in (1, 2, 3)
        assert abs(found.offset_s + 3600 * hours) <= found.uncertainty_s < 1800

    in_loop(scenario)


def test_two_questions_at_the_same_time_of_the_calendar_are_kept_apart():
    async def scenario(stack):
        _, client = await pair(stack)
        await clock_offset(client, samples=1, timeout=LIMIT_S)
        client._clock = ClockDesk(calendar_ns=lambda: HOUR_NS)
        (link,) = client._links.values()
        first, second = await asyncio.gather(client._clock.ask(link), client._clock.ask(link))
        assert first.offset_ns != second.offset_ns
        assert client._clock._asked == {}

    in_loop(scenario)


class Deaf(ClockDesk):
    """Does not take the first notes."""

    def __init__(self, notes):
        super().__init__()
        self.left = notes

    def take(self, note, address, link):
        if self.left:
            self.left -= 1
        else:
            super().take(note, address, link)


def test_a_question_without_an_answer_costs_only_itself():
    async def scenario(stack):
        server, client = await pair(stack)
        server._clock = Deaf(1)
        found = await clock_offset(client, samples=2, timeout=2.0)
        assert found.samples == 2
        assert client._clock._asked == {}

    in_loop(scenario)


def test_nobody_who_answers_is_a_timeout():
    async def scenario(stack):
        server, client = await pair(stack)
        server._clock = Deaf(1000)
        with pytest.raises(TimeoutError, match="no answer about the clock"):
            await clock_offset(client, timeout=0.3)
        assert (client._clock._asked, client.awaiting_response()) == ({}, False)

    in_loop(scenario)


async def asked_of_an_old_peer(clock, client):
    """Ask for the clock of who does not number; time passes when it has been heard."""
    asking = asyncio.create_task(clock_offset(client))
    await until(client.heard_at)
    clock.now += 60.0
    return await asking


def test_an_old_peer_is_named_as_such_and_gets_nothing_but_pings(monkeypatch):
    clock = HeldClock(monkeypatch, _link, _timed_link, clock_module)

    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        client = await EchoProtocol.client(peer.uri)
        stack.callback(client.close)
        with pytest.raises(OldPeer, match="does not number"):
            await asked_of_an_old_peer(clock, client)
        assert peer.got
        assert {data.strip() for data in peer.got} == {b"[32]"}
        await client.init()
        assert peer.got[-1] == b"[1, null]"  # and no number from then on

    in_loop(scenario)


def test_one_of_ours_that_never_numbers_is_an_old_peer(monkeypatch):
    clock = HeldClock(monkeypatch, _link, _timed_link, clock_module)

    async def scenario(stack):
        _, client = await pair(stack, server_numbering=False)
        with pytest.raises(OldPeer):
            await asked_of_an_old_peer(clock, client)

    in_loop(scenario)


def test_a_silent_peer_is_a_timeout():
    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        peer.echoes = False
        client = await EchoProtocol.client(peer.uri)
        stack.callback(client.close)
        with pytest.raises(TimeoutError, match="silent"):
            await clock_offset(client, timeout=0.2)

    in_loop(scenario)


def test_a_connection_that_is_lost_before_or_while_asking_is_reported():
    async def scenario(stack):
        server, client = await pair(stack, "tcp")
        await clock_offset(client, samples=1, timeout=LIMIT_S)
        server._clock = Deaf(1000)
        asking = asyncio.create_task(clock_offset(client, timeout=LIMIT_S))
        await until(lambda: server._clock.left < 1000)  # echoed, but not answered
        server.close()
        with pytest.raises(ConnectionError):
            await asking

        server, client = await pair(stack, "tcp", server_numbering=False)
        asking = asyncio.create_task(clock_offset(client, timeout=LIMIT_S))
        await asyncio.sleep(0)
        server.close()
        with pytest.raises(ConnectionError):
            await asking

    in_loop(scenario)


def test_cancelling_leaves_nothing_behind():
    async def scenario(stack):
        server, client = await pair(stack)
        server._clock = Deaf(1000)
        asking = asyncio.create_task(clock_offset(client, timeout=LIMIT_S))
        await until(lambda: client._clock._asked)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert (client._clock._asked, client.awaiting_response()) == ({}, False)

    in_loop(scenario)


def test_answers_that_nobody_asked_for_or_that_cannot_be_true_are_dropped():
    async def scenario(stack):
        _, client = await pair(stack)
        await clock_offset(client, samples=1, timeout=LIMIT_S)
        (address,) = client._links
        desk, link = client._clock, client._links[address]
        desk.take(ClockAnswer(1, 2, 3), address, link)
        asking = asyncio.create_task(desk.ask(link))
        await asyncio.sleep(0)
        ((_, asked_ns),) = desk._asked
        desk.take(ClockAnswer(asked_ns, 5, 4), address, link)  # sent before it was received
        desk.take(ClockAnswer(asked_ns, 7, 7), ("127.0.0.9", 1), link)  # from somebody else
        assert abs((await asking).offset_ns) < HOUR_NS
        desk.take(ClockAnswer(asked_ns, 7, 7), address, link)  # once more

    in_loop(scenario)


def test_questions_are_answered_only_by_ends_that_number_and_are_not_busy():
    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        peer.echoes = False
        client = await EchoProtocol.client(peer.uri)
        stack.callback(client.close)
        ((address, link),) = [
            (link.address, link) for link in [client._link_to((client.hostname, client.port))]
        ]
        client._clock.take(ClockRequest(5), address, link)
        client._clock.take(ClockRequest(5), address, None)
        assert not client.awaiting_response()
        link.conversation._outbox.numbers = True
        for _ in range(3 * MAX_ON_THE_WAY):
            client._clock.take(ClockRequest(5), address, link)
        assert link.conversation.outstanding + link.conversation.queued == MAX_ON_THE_WAY
        await until(lambda: not client.awaiting_response())

    in_loop(scenario)


def test_arguments_that_make_no_sense_are_refused():
    async def scenario(stack):
        server, client = await pair(stack, numbering=False)
        with pytest.raises(ValueError, match="numbering=False"):
            await clock_offset(client)
        with pytest.raises(TypeError):
            await clock_offset(server)
        for options in ({"samples": 0}, {"timeout": 0.0}):
            with pytest.raises(ValueError, match="above 0"):
                await clock_offset(server, **options)
        tcp = await EchoProtocol.server(free_uri("tcp"))
        stack.callback(tcp.close)
        with pytest.raises(ConnectionError, match="no connection"):
            await clock_offset(tcp, ("127.0.0.1", 1))

    in_loop(scenario)
