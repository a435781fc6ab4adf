"""Faults of the catalogue, played on the lives of ends of echo-rig: restarts, forks, cancelled tasks."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import json
import logging
import os
import pickle
import signal
import sys
import threading
import time
from multiprocessing.reduction import ForkingPickler

import history
import measure
import pytest
from rig_player import free_uri, tell, tell_blocking

from echo_rig import EchoProtocol, ForeignProcessError, Heartbeat, Services, clock_offset, sync

#: Seconds for a step on a busy machine.
LIMIT_S = 20.0

EITHER = pytest.mark.parametrize("scheme", ["udp", "tcp"])


@contextlib.contextmanager
def serving_in_a_thread(end):
    """Let a blocking end serve meanwhile."""
    stop = threading.Event()

    def serve():
        while not stop.is_set():
            end.serve(0.005)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(LIMIT_S)
    assert not thread.is_alive()


# -- C8: a restart on the same port


@EITHER
@pytest.mark.fault("C8", "echo-rig", "L")
def test_c08_a_server_is_back_on_its_port_at_once_and_hears_what_it_confirms(caplog, figure, scheme):
    """L: over TCP with connections of the life before in the system; clients connect anew, or go on."""
    caplog.set_level(logging.CRITICAL)
    book = history.History()
    uri = free_uri(scheme)
    lives = []

    async def main(stack):
        for life in range(10):
            heard = []
            lives.append(heard)
            async with await EchoProtocol.server(uri) as server:
                server.assign_callback(
                    "EXPINIT", lambda data, addr, heard=heard: heard.append(tuple(data[0]))
                )
                if not life or scheme == "tcp":
                    client = await stack.enter_async_context(await EchoProtocol.client(uri))
                for number in range(5):
                    await tell(client, book, ["asyncio", life, number], LIMIT_S)
            # It closed before its client, so its ends of the connections are what the system remembers.

    async def with_clients():
        async with contextlib.AsyncExitStack() as stack:
            await main(stack)

    asyncio.run(with_clients())
    with contextlib.ExitStack() as stack:
        for life in range(10):
            heard = []
            lives.append(heard)
            with sync.listen(uri) as server:
                server.assign_callback(
                    "EXPINIT", lambda data, addr, heard=heard: heard.append(tuple(data[0]))
                )
                with serving_in_a_thread(server):
                    if not life or scheme == "tcp":
                        client = stack.enter_context(sync.connect(uri))
                    for number in range(5):
                        tell_blocking(client, book, ["blocking", life, number], LIMIT_S)
    assert [one.outcome for one in book.operations] == [history.DONE] * 100
    for life, heard in enumerate(lives):
        kind = "asyncio" if life < 10 else "blocking"
        assert heard == [(kind, life % 10, number) for number in range(5)]
    figure(f"{scheme}: {len(lives)} lives on one port, {len(book.operations)} messages confirmed and heard")


# -- C20: children

FOREIGN = ForeignProcessError.__name__
with_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def raised_in_a_child(*calls):
    """What each call raises in a forked child: names of errors, None where there is none."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        names = []
        try:
            # A call that waits for ever ends the child, and so the test.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(int(LIMIT_S))
            for call in calls:
                try:
                    call()
                except BaseException as error:  # noqa: BLE001 - told to the parent
                    names.append(type(error).__name__)
                else:
                    names.append(None)
            os.write(writing, json.dumps(names).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with status {status}"
    return json.loads(said)


def awaited(function, *arguments):
    """A call that runs a coroutine function in a loop of the child's own."""

    async def run():
        return await function(*arguments)

    return lambda: asyncio.run(run())


def refused_copies(*ends):
    """How often a copy for another process is refused, by type; all ways must be."""
    ways = [pickle.dumps, ForkingPickler.dumps, copy.copy, copy.deepcopy]
    for end, way in itertools.product(ends, ways):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            way(end)
    return len(ends) * len(ways)


@with_fork
@EITHER
@pytest.mark.fault("C20", "echo-rig", "E")
def test_c20_a_child_gets_a_typed_error_from_each_call_and_the_parent_goes_on(caplog, figure, scheme):
    """E: forked 10 times amid traffic, also when there are threads; handing ends on is refused by type."""
    caplog.set_level(logging.CRITICAL)
    book = history.History()
    heard = []
    refusals = copies = 0

    async def main():
        nonlocal refusals, copies
        uri = free_uri(scheme)
        async with await EchoProtocol.server(uri) as rig, await EchoProtocol.client(uri, name="pc") as pc:
            rig.assign_callback("EXPINIT", lambda data, addr: heard.append(tuple(data[0])))
            services = Services([pc])
            await tell(pc, book, ["before", 0], LIMIT_S)
            (address,) = rig.addresses
            copies += refused_copies(rig, pc, services)
            for turn in range(10):
                if turn == 5:  # from here on there is a thread beside the loop
                    await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0)
                sending = [
                    asyncio.ensure_future(tell(pc, book, [turn, number], LIMIT_S)) for number in range(5)
                ]
                await asyncio.sleep(0)
                raised = raised_in_a_child(
                    awaited(pc.confirmed_send, [1, ["child", turn]]),
                    awaited(rig.confirmed_send, [1, ["child", turn]], address),
                    lambda: pc.send([1, ["child", 0]]),
                    lambda: rig.assign_callback("EXPEND", print),
                    awaited(pc.on_event, "EXPINIT"),
                    awaited(services.init),
                    awaited(pc.alyx),
                    pc.close,
                    rig.close,
                    services.close,
                )
                assert raised == [FOREIGN] * 7 + [None] * 3
                refusals += 7
                await asyncio.gather(*sending)
            await rig.confirmed_send([2, "the parent's", None], address, timeout=LIMIT_S)
            assert rig.is_connected
            assert pc.is_connected

    asyncio.run(main())
    assert [one.outcome for one in book.operations] == [history.DONE] * 51
    assert history.not_exactly_once(book, heard) == []
    figure(f"{scheme}: {refusals} calls refused in 10 children, {copies} copies; 51 messages of the parent")


@with_fork
@EITHER
@pytest.mark.fault("C20", "echo-rig", "E")
def test_c20_the_same_for_blocking_ends(caplog, figure, scheme):
    """E: forked 10 times between messages; handing ends on is refused by type."""
    caplog.set_level(logging.CRITICAL)
    book = history.History()
    heard = []
    refusals = 0
    uri = free_uri(scheme)
    with sync.listen(uri) as rig, sync.Rigs.connect({"pc": uri}) as rigs:
        rig.assign_callback("EXPINIT", lambda data, addr: heard.append(tuple(data[0])))
        pc = rigs["pc"]
        copies = refused_copies(rig, pc, rigs)
        for turn in range(10):
            with serving_in_a_thread(rig):
                tell_blocking(pc, book, [turn, 0], LIMIT_S)
            raised = raised_in_a_child(
                lambda turn=turn: pc.confirmed_send([1, ["child", turn]]),
                lambda: pc.send([1, ["child", 0]]),
                lambda: pc.wait_for("EXPINIT"),
                lambda: rig.poll(),
                lambda: rig.serve(0.01),
                lambda: rig.assign_callback("EXPEND", print),
                lambda: rigs.init(),
                pc.close,
                rig.close,
                rigs.close,
            )
            assert raised == [FOREIGN] * 7 + [None] * 3
            refusals += 7
        assert rig.is_connected
        assert rigs.is_connected
    assert [one.outcome for one in book.operations] == [history.DONE] * 10
    assert history.not_exactly_once(book, heard) == []
    figure(
        f"blocking, {scheme}: {refusals} calls refused in 10 children, {copies} copies; the parent went on"
    )


# -- C19, C22: the end of a program, and cancelling


async def confirmed(pc):
    try:
        await pc.confirmed_send([1, "cancelled"], timeout=LIMIT_S)
    finally:
        # At once: the echo comes soon, and would hide it.
        assert not pc.awaiting_response(), "an echo is waited for that nobody wants any more"


async def asked_for_a_token(pc):
    await pc.alyx(timeout=LIMIT_S)


async def waited_for_an_event(pc):
    waiting = asyncio.ensure_future(pc.on_event("EXPSTART"))
    try:
        await pc.start("reference")
        await waiting
    finally:
        waiting.cancel()


async def read_a_stream(pc):
    events = pc.events("EXPSTART")
    await pc.start("reference")
    await anext(events)


async def went_around(pc):
    await Services([pc], timeout=LIMIT_S).start("reference")


async def went_around_one_by_one(pc):
    await Services([pc], timeout=LIMIT_S).start("reference", concurrent=False)


async def compared_clocks(pc):
    await clock_offset(pc, samples=3, timeout=LIMIT_S)


async def watched(pc):
    async with Heartbeat(pc, interval_s=0.001, late_s=LIMIT_S, gone_s=2 * LIMIT_S) as heartbeat:
        await anext(heartbeat.changes())


OPERATIONS = [
    confirmed, asked_for_a_token, waited_for_an_event, read_a_stream, went_around, went_around_one_by_one,
    compared_clocks, watched,
]  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
@pytest.mark.fault("C22", "echo-rig", "M")
@pytest.mark.fault("C19", "echo-rig", "M")
@EITHER
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.__name__)
def test_c22_what_is_cancelled_at_any_moment_leaves_nothing(caplog, figure, operation, scheme):
    """M: cancelled after k turns of the loop, for each k until it is done, beside callbacks that raise.

    No task, future, callback, echo that is waited for, descriptor or thread is left, both ends are as good as
    new, and each transport is closed once.
    """
    caplog.set_level(logging.CRITICAL)

    async def once(turns, expires):
        uri = free_uri(scheme)
        numbering = True if operation is compared_clocks else None
        rig = await EchoProtocol.server(uri, numbering=numbering)
        pc = await EchoProtocol.client(uri, numbering=numbering)
        rig.assign_callback("EXPINIT", lambda data, addr: 1 / 0)

        async def answer(data, addr):
            await rig.start(*data, addr=addr)

        async def hand_over(data, addr):
            if not data[1]:
                await rig.confirmed_send([128, "https://alyx", {"me": "token"}], addr)

        rig.assign_callback("EXPSTART", answer)
        rig.assign_callback("ALYX", hand_over)
        if expires:
            doing = asyncio.ensure_future(asyncio.wait_for(operation(pc), 0))
        else:
            doing = asyncio.ensure_future(operation(pc))
        for _ in range(turns):
            await asyncio.sleep(0)
        was_cancelled = doing.cancel()
        (outcome,) = await asyncio.gather(doing, return_exceptions=True)
        assert outcome is None or isinstance(outcome, asyncio.CancelledError | TimeoutError), outcome
        # Both ends are as good as new.
        await pc.confirmed_send([8, None], timeout=LIMIT_S)
        async with asyncio.timeout(LIMIT_S):
            while rig.awaiting_response() or pc.awaiting_response():
                await asyncio.sleep(0)
        assert not any(pc._callbacks.values())
        assert not pc._clock._asked
        closed = [pc._transport, rig._transport if scheme == "udp" else rig.Server]
        losses = []
        for end in (rig, pc):
            end.on_connection_lost.add_done_callback(losses.append)
            end.close()
            end.close()
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(losses) == 2
        assert closed[0].is_closing()
        assert closed[1].is_closing() if scheme == "udp" else not closed[1].is_serving()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        return was_cancelled

    async def main():
        await once(0, expires=False)
        before = measure.open_descriptors(), measure.running_threads()
        cancelled = turns = 0
        # The last few are done before they are cancelled.
        while turns < cancelled + 5 and turns < 60:
            cancelled += await once(turns, expires=False)
            turns += 1
        for _ in range(3):
            await once(1000, expires=True)
        assert (measure.open_descriptors(), measure.running_threads()) == before
        return cancelled, turns, before

    cancelled, turns, (descriptors, threads) = asyncio.run(main())
    assert cancelled > 3
    figure(
        f"{scheme}, {operation.__name__}: {cancelled} of {turns} cancelled; "
        f"{descriptors} descriptors, {threads} threads"
    )


@pytest.mark.fault("C19", "echo-rig", "T")
def test_c19_a_server_that_closes_is_noticed_by_its_clients_at_once(caplog, figure):
    """T: also when a callback has raised just before; the send that waits fails by type."""
    caplog.set_level(logging.CRITICAL)

    async def main():
        uri = free_uri("tcp")
        async with await EchoProtocol.server(uri) as server, await EchoProtocol.client(uri) as client:
            server.assign_callback("EXPINIT", lambda data, addr: 1 / 0)
            server.assign_callback("EXPINIT", lambda data, addr: server.close())
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                await client.confirmed_send([1, "the last one"], timeout=LIMIT_S)
            async with asyncio.timeout(LIMIT_S):
                while client.is_connected:
                    await asyncio.sleep(0.001)
            return time.monotonic() - began

    seconds = asyncio.run(main())
    assert seconds < LIMIT_S
    figure(f"noticed after {1000 * seconds:.1f} ms")
