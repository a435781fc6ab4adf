"""C25: ours on one end, the original on the other one, and faults of the catalogue between them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal

import numpy as np
import pytest
from drivers import Recorder, running
from namespaces import Namespace, Program, python
from peer_programs import PEERS_MAY_WARN, Place, Programs, mxl_driver, mxl_hub, our_hub
from proxy import Faults, TcpProxy
from rig_player import place_of
from test_peers_iblutil import free_uri, real_peer

from echo_rig import EchoProtocol
from mxl_sockets import Driver

pytestmark = [pytest.mark.peer, PEERS_MAY_WARN]

LIMIT_S = 45.0
STEPS = 20
INIT = {"dt_au": 1.0}
# A model that the original has too.
TWO_LEVEL = {"omega": 0.242, "mu12": 187, "orientation": 2, "pe_initial": 0.0}


def field(step):
    """As of a weak pulse, with all kinds of bits."""
    return np.random.default_rng(step).normal(size=3) * 1e-4


@pytest.mark.fault("C1", "mxl-sockets", "LW")
@pytest.mark.fault("C25", "mxl-sockets", "LW")
def test_c01_a_real_driver_byte_by_byte_under_our_hub_is_one_that_is_not(tmp_path, figure):
    """L W: of two real drivers one is behind a proxy that passes on single bytes; answers are the same."""
    single = Faults(piece=1)
    with (
        our_hub("tcp") as (hub, place),
        TcpProxy(("127.0.0.1", place.port), single, single) as between,
        Programs(tmp_path) as programs,
    ):
        for port in (between.port, place.port):
            programs.start(mxl_driver(Place(port=port), "tls", **TWO_LEVEL))
        assert hub.wait_until_bound({0: INIT, 1: INIT}, timeout=LIMIT_S)
        for step in range(STEPS):
            answers = hub.step_barrier({one: {"efield_au": field(step)} for one in range(2)}, timeout=LIMIT_S)
            assert answers[0]["amp"].tobytes() == answers[1]["amp"].tobytes()
            assert answers[0]["amp"].any()
        count = between.counts["to server"] + between.counts["to client"]
    figure(f"real driver, our hub: {STEPS} steps in {count} single bytes: all bits the same")


@pytest.mark.fault("C4", "mxl-sockets", "L")
@pytest.mark.fault("C25", "mxl-sockets", "LW")
def test_c04_real_drivers_that_are_cut_off_in_their_replies_are_replaced(tmp_path, figure):
    """L W: one after the other dies at a byte of its reply; the step is answered by the next."""
    cuts = [1, 12, 60]
    with contextlib.ExitStack() as stack:
        hub, place = stack.enter_context(our_hub("tcp"))
        programs = stack.enter_context(Programs(tmp_path))
        ways = []
        for _ in range(len(cuts) + 1):
            ways.append(stack.enter_context(TcpProxy(("127.0.0.1", place.port), Faults(piece=1))))
            programs.start(mxl_driver(Place(port=ways[-1].port), "tls", **TWO_LEVEL))
        for step, cut in enumerate(cuts):
            assert hub.wait_until_bound({0: INIT}, timeout=LIMIT_S)
            request = {0: {"efield_au": field(step)}}
            assert hub.step_barrier(request, timeout=LIMIT_S)[0]["amp"].any()
            # Who waits for a molecule has said nothing yet.
            (used,) = [one for one in ways if one.counts["to server"] and not one.counts["cuts"]]
            used.to_server.cut_after = used.counts["to server"] + cut
            assert hub.step_barrier(request, timeout=LIMIT_S) == {}
            assert hub.paused
        assert hub.wait_until_bound({0: INIT}, timeout=LIMIT_S)
        assert hub.step_barrier(request, timeout=LIMIT_S)[0]["amp"].any()
        assert sum(one.counts["cuts"] for one in ways) == len(cuts)
    figure(f"real drivers, our hub: cut off behind bytes {cuts} of a reply, each replaced by the next")


@pytest.mark.fault("C1", "mxl-sockets", "LW")
@pytest.mark.fault("C25", "mxl-sockets", "LW")
def test_c01_our_driver_byte_by_byte_under_the_real_hub_makes_the_same_steps(figure):
    """L W: single bytes in both directions; each field and each answer arrives bit by bit, and once."""
    single, model = Faults(piece=1), Recorder()
    with mxl_hub("tcp") as (hub, place), TcpProxy(("127.0.0.1", place.port), single, single) as between:
        driver = Driver(model, between.address)
        with running(driver):
            assert hub.wait_until_bound({0: INIT}, timeout=LIMIT_S)
            for step in range(STEPS):
                answers = hub.step_barrier({0: {"efield_au": field(step)}}, timeout=LIMIT_S)
                assert answers[0]["amp"].tobytes() == np.ascontiguousarray(field(step)[::-1]).tobytes()
        count = between.counts["to server"] + between.counts["to client"]
    assert np.array(model.asked).tobytes() == np.array([field(step) for step in range(STEPS)]).tobytes()
    figure(f"our driver, real hub: {STEPS} steps in {count} single bytes: all bits the same")


@pytest.mark.fault("C4", "mxl-sockets", "LT")
@pytest.mark.fault("C25", "mxl-sockets", "LW")
@pytest.mark.parametrize("direction", ["to_client", "to_server"])
def test_c04_our_driver_comes_back_to_the_real_hub_wherever_it_was_cut_off(direction, figure):
    """L W: in a header, at its end, and at random bytes of a step; it binds again, the step is answered."""
    # A step is 184 bytes to the driver and some 120 back.
    cuts = [1, 6, 11, 12, 13, *random.Random(4).sample(range(14, 110), 3)]
    model, base = Recorder(), 0
    with mxl_hub("tcp") as (hub, place), TcpProxy(("127.0.0.1", place.port)) as between:
        live = Faults(piece=1)
        setattr(between, direction, live)
        name = direction.replace("_", " ")
        driver = Driver(model, between.address)
        with running(driver):
            for step, cut in enumerate(cuts):
                request = {0: {"efield_au": field(step)}}
                assert hub.wait_until_bound({0: INIT}, timeout=LIMIT_S)
                dying, live = live, Faults(piece=1)
                setattr(between, direction, live)
                passed, before = between.counts[name], between.counts["cuts"]
                # Counted from the beginning of the connection, which is where the one before it ended.
                dying.cut_after = passed - base + cut
                base = passed + cut
                answers = hub.step_barrier(request, timeout=LIMIT_S)
                while not answers:
                    assert hub.wait_until_bound({0: INIT}, timeout=LIMIT_S)
                    answers = hub.step_barrier(request, timeout=LIMIT_S)
                assert answers[0]["amp"].tobytes() == np.ascontiguousarray(field(step)[::-1]).tobytes()
                assert between.counts["cuts"] == before + 1
    figure(f"our driver, real hub: cut off {len(cuts)} times {name}, each step answered")


# -- experiment messages


def run(coroutine):
    async def limited():
        async with asyncio.timeout(100):
            return await coroutine

    return asyncio.run(limited())


# -- C1 and C4: the original takes each read for a message, so what it reads comes in one piece


@pytest.mark.fault("C1", "echo-tcp", "LW")
@pytest.mark.fault("C25", "echo-rig", "LW")
@pytest.mark.parametrize("role", ["server", "client"])
def test_c01_ours_reads_a_real_rig_byte_by_byte(role, tmp_path, figure):
    """L W: its messages, or its echoes of ours, come as single bytes; all are heard once, as they were."""
    wanted = [f"souris {number} \u00e9" for number in range(STEPS)]

    async def main():
        uri, heard = free_uri("tcp"), []
        if role == "server":
            async with real_peer("server", uri, tmp_path) as rig:
                with TcpProxy(place_of(uri), to_client=Faults(piece=1)) as between:
                    async with await EchoProtocol.client(f"tcp://127.0.0.1:{between.port}") as ours:
                        for text in wanted:
                            await ours.confirmed_send([1, text], timeout=LIMIT_S)
                            heard.append((await rig.hears("event"))[2][0])
            return heard, between.counts["to client"]
        async with await EchoProtocol.server(uri) as ours:
            ours.assign_callback("EXPINIT", lambda data, _: heard.append(data[0]))
            with TcpProxy(place_of(uri), to_server=Faults(piece=1)) as between:
                async with real_peer("client", f"tcp://127.0.0.1:{between.port}", tmp_path) as rig:
                    for text in wanted:
                        assert await rig.call("init", text) == ["returned", None]
            return heard, between.counts["to server"]

    heard, count = run(main())
    assert heard == wanted
    figure(f"real {role}: {STEPS} messages, {count} single bytes")


@pytest.mark.fault("C4", "echo-tcp", "LTE")
@pytest.mark.fault("C25", "echo-rig", "L")
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_c04_a_connection_to_a_real_rig_that_ends_at_any_byte_is_told_as_lost(direction, tmp_path, figure):
    """L T E: at each byte of a message or of its echo; the next connection works, and hears of no other."""
    # At byte 0 of an echo nobody knows whether the message was on its way already.
    cuts = range(direction == "to_client", len(b'[1, "cut", 10]'))

    async def main():
        uri, told = free_uri("tcp"), []
        async with real_peer("server", uri, tmp_path) as rig:
            for cut in cuts:
                with TcpProxy(place_of(uri), **{direction: Faults(cut_after=cut)}) as between:
                    try:
                        async with await EchoProtocol.client(f"tcp://127.0.0.1:{between.port}") as ours:
                            await ours.confirmed_send([1, "cut", 10 + cut], timeout=LIMIT_S)
                    # The original echoes the part that it got, which is no echo.
                    except (ConnectionError, RuntimeError) as error:
                        told.append(error)
            async with await EchoProtocol.client(uri) as ours:
                await ours.confirmed_send([1, "whole"], timeout=LIMIT_S)
                events = []
                while not events or events[-1][2] != ["whole"]:
                    events.append(await rig.hears("event"))
        return told, [data for _, event, data in events if event == 1]

    told, heard = run(main())
    assert len(told) == len(cuts)
    # What was cut short was not heard; what was heard was heard once, and its echo cut short.
    wanted = [] if direction == "to_server" else [["cut", 10 + cut] for cut in cuts]
    assert sorted(heard[:-1]) == wanted
    figure(f"real server, {direction.replace('_', ' ')}: {len(cuts)} cuts, all told; {len(wanted)} heard")


# -- C8: killed, and started again on the same port


HUB = """
import sys
from maxwelllink.sockets import SocketHub
step = int(sys.argv[2])
hub = SocketHub(host="127.0.0.1", port=int(sys.argv[1]), timeout=45.0)
assert hub.wait_until_bound({0: {"dt_au": 1.0}}, timeout=45.0)
while True:
    answer = hub.step_barrier({0: {"efield_au": [step, 0.5, 0.25]}}, timeout=45.0)
    assert answer[0]["amp"].tolist() == [0.25, 0.5, step]
    print("@", step, flush=True)
    step += 1
"""


@pytest.mark.fault("C8", "mxl-sockets", "L")
@pytest.mark.fault("C25", "mxl-sockets", "LW")
def test_c08_our_driver_finds_a_real_hub_again_that_was_killed_and_restarted(tmp_path, figure):
    """L W: both lives of the hub make their steps, none of them twice, and none is left out."""
    port, model = Place.new("tcp").port, Recorder()
    lives = []
    with running(Driver(model, ("127.0.0.1", port), connect_timeout=LIMIT_S)):
        for first in (1, 1_000_001):
            with Program(
                Namespace([], 0), python("-W", "ignore", "-c", HUB, str(port), str(first)), tmp_path
            ) as hub:
                lives.append(steps_of(hub))
                hub.signal(signal.SIGKILL)
                hub.ended()
    asked = [int(one[0]) for one in model.asked]
    at = asked.index(1_000_001)
    for first, steps, own in zip((1, 1_000_001), lives, (asked[:at], asked[at:]), strict=True):
        assert own == list(range(first, first + len(own)))
        assert steps == own[: len(steps)]
    figure(f"our driver, real hub: {len(asked)} steps of two lives, each once")


def steps_of(hub):
    """The first steps that the real hub says it has made, among what it says besides."""
    steps = []
    while len(steps) < STEPS:
        word, *rest = hub.line().split()
        if word == "@":
            steps.append(int(rest[0]))
    return steps


@pytest.mark.fault("C8", "echo-rig", "L")
@pytest.mark.fault("C25", "echo-rig", "L")
@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_c08_ours_finds_a_real_rig_again_that_was_killed_and_restarted(scheme, tmp_path, figure):
    """L: what was confirmed was heard by the life that was there; in between each failure is told."""

    async def main():
        uri, heard, failed = free_uri(scheme), [], 0
        client = None
        for life in range(2):
            async with real_peer("server", uri, tmp_path) as rig:
                # A stream ends with the other end; datagrams go on.
                if client is None or scheme == "tcp":
                    client = await EchoProtocol.client(uri)
                for number in range(STEPS):
                    await client.confirmed_send([1, life, number], timeout=LIMIT_S)
                    heard.append((await rig.hears("event"))[2])
                rig._process.kill()
                await rig._process.wait()
                try:
                    await client.confirmed_send([1, "nobody hears this"], timeout=0.3)
                except OSError:
                    failed += 1
                if scheme == "tcp":
                    client.close()
        client.close()
        return heard, failed

    heard, failed = run(main())
    assert heard == [[life, number] for life in range(2) for number in range(STEPS)]
    assert failed == 2
    figure(f"real server, {scheme}: {len(heard)} messages of two lives heard, {failed} told as failed")
