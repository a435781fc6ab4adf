"""Heartbeats over loopback."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack

import pytest

from echo_rig import EchoProtocol, ExpMessage, Services, _link
from echo_rig import heartbeat as heartbeat_module
from echo_rig.heartbeat import Heartbeat, RigState

from .blocking_lab import free_uri
from .held_clock import HeldClock
from .loopback import LIMIT_S, bare_peer, until

#: For tests in which silence plays no part: however slow the machine is, nothing is late.
PATIENT = {"interval_s": 0.02, "late_s": 60.0, "gone_s": 120.0}
LIVE, LATE, GONE = RigState.LIVE, RigState.LATE, RigState.GONE


def in_loop(scenario):
    """Run a scenario with a stack for what it opens; nothing but it may be left in the end."""

    async def run():
        async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
            await scenario(stack)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())


async def pair(stack, scheme="udp", name=None, **options):
    uri = free_uri(scheme)
    server = await stack.enter_async_context(await EchoProtocol.server(uri))
    client = await stack.enter_async_context(await EchoProtocol.client(uri, name=name, **options))
    return server, client


async def state(pulse, wanted):
    await until(lambda: pulse.state is wanted)


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
@pytest.mark.parametrize("numbering", [None, True])
def test_a_rig_that_echoes_is_live_with_a_round_trip_and_no_callback_runs(scheme, numbering):
    async def scenario(stack):
        server, client = await pair(stack, scheme, name="rig1", numbering=numbering)
        called = []
        server.assign_callback(ExpMessage.any(), lambda *arguments: called.append(arguments))
        server.assign_callback(0, lambda *arguments: called.append(arguments))
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        pulse = heartbeat["rig1"]
        await until(lambda: pulse.round_trip_s is not None)
        first = pulse.heard_at
        await until(lambda: pulse.heard_at > first)
        assert list(heartbeat) == ["rig1"]
        assert (pulse.state, called) == (LIVE, [])
        assert 0 < pulse.round_trip_s < LIMIT_S

    in_loop(scenario)


def test_a_silent_rig_becomes_late_and_gone_and_live_when_it_is_back(monkeypatch):
    """Callbacks and iterators are told of each change, in order."""
    clock = HeldClock(monkeypatch, _link, heartbeat_module)

    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        client = await stack.enter_async_context(await EchoProtocol.client(peer.uri, name="rig1"))
        heartbeat = await stack.enter_async_context(Heartbeat([client], **PATIENT))
        told = []
        heartbeat.on_change(told.append)
        changes = heartbeat.changes()
        await state(heartbeat["rig1"], LIVE)
        peer.echoes = False
        clock.now += PATIENT["late_s"] + 1.0
        await state(heartbeat["rig1"], LATE)
        clock.now += PATIENT["gone_s"] - PATIENT["late_s"]
        await state(heartbeat["rig1"], GONE)
        peer.echoes = True
        clock.now += 1.0
        await state(heartbeat["rig1"], LIVE)
        heartbeat.close()
        assert [change async for change in changes] == told
        steps = [(change.before, change.state) for change in told]
        assert steps == [(LATE, LIVE), (LIVE, LATE), (LATE, GONE), (GONE, LIVE)]
        assert {change.name for change in told} == {"rig1"}
        assert [change.at for change in told] == [1000.0, 1061.0, 1121.0, 1122.0]

    in_loop(scenario)


def test_one_lost_ping_is_made_good_by_the_next():
    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        peer.echoes = False
        client = await stack.enter_async_context(await EchoProtocol.client(peer.uri, name="rig1"))
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        await until(lambda: len(peer.got) == 2)
        peer.echoes = True
        await state(heartbeat["rig1"], LIVE)
        assert set(peer.got) == {b"[32]"}

    in_loop(scenario)


def test_whatever_a_rig_says_is_a_sign_of_life():
    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        peer.echoes = False
        client = await stack.enter_async_context(await EchoProtocol.client(peer.uri, name="rig1"))
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        await until(lambda: peer.got)
        peer.say(b"[32, 20]")
        await state(heartbeat["rig1"], LIVE)
        assert heartbeat["rig1"].round_trip_s is None

    in_loop(scenario)


def test_no_ping_while_an_echo_is_on_its_way():
    """A rig that is live and has a command of ours is left in peace: its answer may be under way already."""

    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        client = await stack.enter_async_context(await EchoProtocol.client(peer.uri, name="rig1"))
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        await state(heartbeat["rig1"], LIVE)
        await until(lambda: not client.awaiting_response())
        peer.echoes = False
        command = asyncio.create_task(client.init(7))
        await until(lambda: b"[1, 7]" in peer.got)
        pings = peer.got.count(b"[32]")
        await asyncio.sleep(10 * PATIENT["interval_s"])
        assert peer.got.count(b"[32]") == pings
        peer.echoes = True
        peer.say(b"[1, 7]")
        await command
        await until(lambda: peer.got.count(b"[32]") > pings)

    in_loop(scenario)


@pytest.mark.fault("C8", "echo-rig")
def test_a_rig_whose_port_is_closed_is_gone_at_once_and_live_when_it_is_started():
    async def scenario(stack):
        uri = free_uri("udp")
        client = await stack.enter_async_context(await EchoProtocol.client(uri, name="rig1"))
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        await state(heartbeat["rig1"], GONE)
        await stack.enter_async_context(await EchoProtocol.server(uri))
        await state(heartbeat["rig1"], LIVE)

    in_loop(scenario)


def test_a_lost_connection_is_gone_and_a_new_one_continues_its_history():
    async def scenario(stack):
        server, client = await pair(stack, "tcp", name="rig1")
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        pulse = heartbeat["rig1"]
        await state(pulse, LIVE)
        server.close()
        await state(pulse, GONE)
        uri = free_uri("tcp")
        await stack.enter_async_context(await EchoProtocol.server(uri))
        again = await stack.enter_async_context(await EchoProtocol.client(uri, name="rig1"))
        assert heartbeat.watch("rig1", again) is pulse
        await state(pulse, LIVE)
        assert len(heartbeat) == 1

    in_loop(scenario)


def test_closing_a_rig_while_it_is_pinged_makes_it_gone():
    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        peer.echoes = False
        client = await stack.enter_async_context(await EchoProtocol.client(peer.uri, name="rig1"))
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT | {"interval_s": 30.0}))
        await until(lambda: peer.got)
        client.close()
        await state(heartbeat["rig1"], GONE)

    in_loop(scenario)


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_a_server_watches_its_clients_by_address(scheme):
    async def scenario(stack):
        server, client = await pair(stack, scheme)
        await client.init()
        (address,) = server.addresses
        heartbeat = await stack.enter_async_context(Heartbeat(**PATIENT))
        pulse = heartbeat.watch("pc", server, address)
        await until(lambda: pulse.state is LIVE and pulse.round_trip_s is not None)
        client.close()
        if scheme == "tcp":
            await state(pulse, GONE)

    in_loop(scenario)


def test_services_are_watched_by_their_names():
    async def scenario(stack):
        pairs = [await pair(stack, scheme, name=f"{scheme} rig") for scheme in ("udp", "tcp")]
        services = Services([client for _, client in pairs])
        heartbeat = await stack.enter_async_context(Heartbeat(services, **PATIENT))
        assert list(heartbeat) == ["udp rig", "tcp rig"]
        for pulse in heartbeat.values():
            await state(pulse, LIVE)

    in_loop(scenario)


def test_two_ends_may_watch_each_other():
    """Pings that cross are equal bytes, so each passes for the echo of the other; both ends stay live."""

    async def scenario(stack):
        server, client = await pair(stack, name="rig1")
        await client.init()
        (address,) = server.addresses
        there = await stack.enter_async_context(Heartbeat(**PATIENT))
        here = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        pulses = [there.watch("pc", server, address), here["rig1"]]
        for _ in range(5):
            heard = [pulse.heard_at for pulse in pulses]
            await until(
                lambda heard=heard: all(p.heard_at != at for p, at in zip(pulses, heard, strict=True))
            )
        assert [pulse.state for pulse in pulses] == [LIVE, LIVE]

    in_loop(scenario)


def test_a_callback_that_raises_keeps_the_news_from_nobody(caplog):
    async def scenario(stack):
        _, client = await pair(stack, name="rig1")
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        told = []
        heartbeat.on_change(lambda _: 1 / 0)
        heartbeat.on_change(told.append)
        await until(lambda: told)

    with caplog.at_level(logging.INFO, logger="echo_rig.heartbeat"):
        in_loop(scenario)
    assert "rig1 is live" in caplog.messages
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_what_is_forgotten_is_pinged_no_more():
    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        client = await stack.enter_async_context(await EchoProtocol.client(peer.uri, name="rig1"))
        heartbeat = await stack.enter_async_context(Heartbeat(client, **PATIENT))
        await until(lambda: len(peer.got) > 2)
        heartbeat.forget("rig1")
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert (len(heartbeat), client.awaiting_response()) == (0, False)
        with pytest.raises(KeyError):
            heartbeat.forget("rig1")

    in_loop(scenario)


def test_closing_ends_iterators_leaves_rigs_open_and_takes_no_more():
    async def scenario(stack):
        server, client = await pair(stack, name="rig1")
        heartbeat = Heartbeat(client, **PATIENT)
        changes = heartbeat.changes()
        await heartbeat.aclose()
        heartbeat.close()
        assert [change async for change in changes] == []
        assert [change async for change in heartbeat.changes()] == []
        with pytest.raises(ConnectionError):
            heartbeat.watch("rig2", client)
        assert server.is_connected
        assert client.is_connected

    in_loop(scenario)


def test_arguments_that_make_no_sense_are_refused_and_leave_no_task():
    async def scenario(stack):
        server, client = await pair(stack, name="rig1")
        for rigs, error in (
            ([client, client], ValueError),
            (["udp://127.0.0.1"], TypeError),
            ({"rig1": client, "rig2": object()}, TypeError),
            ({"rig1": client, "rig2": server}, TypeError),
        ):
            with pytest.raises(error):
                Heartbeat(rigs, **PATIENT)
        with pytest.raises(ValueError, match="interval"):
            Heartbeat(client, interval_s=5.0)
        heartbeat = await stack.enter_async_context(Heartbeat())
        with pytest.raises(ValueError, match="only send to its server"):
            heartbeat.watch("rig1", client, ("127.0.0.1", 1))
        await until(lambda: len(asyncio.all_tasks()) == 1)

    in_loop(scenario)
