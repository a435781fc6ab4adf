"""Faults of the catalogue, played on real ends of echo-rig over a network in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter

import history
import pytest
import simulated_loop
from rig_player import tell
from seeds import replayable, seeds
from simulator import Faults, Network

from echo_rig import EchoProtocol, Heartbeat, RigState

HOUR_S = 3600.0


@pytest.fixture(autouse=True)
def quiet(caplog):
    """No log: what is lost is told in thousands of lines."""
    caplog.set_level(logging.CRITICAL)


# -- C11: a network that loses, doubles and reorders


SENDERS, MESSAGES = 2, 12


def lossy_run(seed, numbering, *, are_acquainted=False):
    """Two clients and a server over the network in memory; the history, what the server heard, the network.

    Ends are acquainted that have had one message each on a good network: they know whether the other numbers.
    """
    network = Network(f"{numbering} {seed}")
    faults = Faults.roll(network.random)
    book = history.History()
    heard = []

    async def main():
        server = await EchoProtocol.server("udp://192.0.2.9:5000", numbering=numbering)
        server.assign_callback("EXPINIT", lambda data, addr: heard.append(tuple(data[0])))
        clients = [
            await EchoProtocol.client("udp://192.0.2.9:5000", numbering=numbering) for _ in range(SENDERS)
        ]
        if are_acquainted:
            for client in clients:
                await client.cleanup()
        network.faults = faults
        await asyncio.gather(
            *(
                tell(client, book, [name, number], 120.0)
                for name, client in enumerate(clients)
                for number in range(MESSAGES)
            )
        )
        # Nothing comes behind what was confirmed.
        await asyncio.sleep(60)
        for end in (*clients, server):
            end.close()

    simulated_loop.run(network, main())
    return book, heard, network


def each_lossy_run(judge, test, numbering, *, are_acquainted=False):
    """Play all seeds and judge each; what all networks did together, and how all messages ended."""
    totals = Counter()
    for seed in seeds():
        with replayable(seed, "test_echo_simulated_rows.py", test):
            book, heard, network = lossy_run(seed, numbering, are_acquainted=are_acquainted)
            assert history.unended(book) == []
            # A message and its echo, each doubled, and what those are answered with.
            assert network.counts["sent"] < 60 * SENDERS * MESSAGES
            judge(book, heard)
        totals.update(network.counts)
        totals.update(one.outcome for one in book.operations)
    return totals


def judge_numbered(book, heard):
    """Who was told of a success was heard once, nobody twice, and in order."""
    assert history.not_exactly_once(book, heard) == []
    for name in range(SENDERS):
        assert history.not_rising(number for one, number in heard if one == name) == []


@pytest.mark.timeout(600)
@pytest.mark.fault("C11", "echo-udp", "LW")
def test_c11_callbacks_are_as_many_as_messages_whatever_the_network_does(figure):
    """L W: two clients that number; each message is confirmed and heard once, in order, in every run."""

    def judge(book, heard):
        judge_numbered(book, heard)
        assert len(book.requests(history.DONE)) == SENDERS * MESSAGES == len(heard)

    totals = each_lossy_run(judge, "test_c11_callbacks_are_as_many", True, are_acquainted=True)
    sends = len(seeds()) * SENDERS * MESSAGES
    figure(
        f"{len(seeds())} seeds: {sends} messages, {totals[history.DONE]} callbacks; "
        f"{totals['lost']} of {totals['sent']} datagrams lost"
    )


@pytest.mark.timeout(600)
@pytest.mark.fault("C11", "echo-udp", "LW")
def test_c11_ends_that_do_not_know_each_other_yet_tell_the_truth(figure):
    """L W: the network is bad from the first datagram on; what is confirmed was heard once, nothing twice."""
    totals = each_lossy_run(judge_numbered, "test_c11_ends_that_do_not_know", True)
    confirmed, failed = totals[history.DONE], totals[history.UNKNOWN]
    # What cannot come within the five seconds that others wait for it is refused.
    assert 1000 * failed <= confirmed
    figure(f"{len(seeds())} seeds: {confirmed} messages confirmed, {failed} told as timeouts")


@pytest.mark.timeout(600)
@pytest.mark.fault("C11", "echo-udp", "L")
def test_c11_without_numbers_what_is_confirmed_was_heard_and_there_is_no_storm(figure):
    """L: doubled datagrams come to an end too; who was told of a success was heard, and nobody else."""

    def judge(book, heard):
        assert set(book.requests(history.DONE)) <= set(heard) <= set(book.requests())

    totals = each_lossy_run(judge, "test_c11_without_numbers", False)
    assert totals[history.DONE] > 0
    figure(f"{len(seeds())} seeds: {totals[history.DONE]} confirmed, {totals['sent']} datagrams, no storm")


# -- D7, D8: one doubled or forged datagram is echoed for ever


@pytest.mark.fault("D7", "echo-udp", "L")
@pytest.mark.parametrize("numbering", [None, True], ids=["not numbered", "numbered"])
def test_d07_doubled_datagrams_are_not_echoed_for_ever(figure, numbering):
    """L: at a round trip of 60 ms each datagram of two starts is doubled; an hour later all was quiet."""
    network = Network("doubled", Faults(delay_s=0.03))
    place, heard, sent = "udp://192.0.2.9:5000", [], []

    async def main():
        async with (
            await EchoProtocol.server(place, numbering=numbering) as rig,
            await EchoProtocol.client(place, numbering=numbering) as pc,
        ):
            rig.assign_callback("EXPSTART", lambda data, addr: heard.append(data[0]))
            if numbering:
                await pc.cleanup()
            network.faults = Faults(delay_s=0.03, duplication=1.0)
            for reference in ("first", "second"):
                await pc.start(reference)
            network.faults = Faults(delay_s=0.03)
            for _ in range(2):
                await asyncio.sleep(HOUR_S)
                sent.append(network.counts["sent"])

    simulated_loop.run(network, main(), 3 * HOUR_S)
    assert sent[1] == sent[0], "it goes on for ever"
    assert set(heard) == {"first", "second"}
    if numbering:
        assert heard == ["first", "second"]
    kind = "numbered" if numbering else "not numbered"
    figure(f"{kind}: {network.counts['doubled']} doubled, {len(heard)} callbacks, {sent[0]} datagrams")


@pytest.mark.fault("D8", "echo-udp", "M")
@pytest.mark.parametrize("numbering", [None, True], ids=["not numbered", "numbered"])
def test_d08_a_datagram_that_is_forged_between_two_servers_is_not_echoed_for_ever(figure, numbering):
    """M: each server takes it for news of the other; both give it up, and hear their clients as ever."""
    network = Network("forged", Faults(delay_s=0.0001))
    places, heard, sent = [("192.0.2.9", 5000), ("192.0.2.9", 5001)], [], []

    async def main():
        async with contextlib.AsyncExitStack() as stack:
            for host, port in places:
                rig = await EchoProtocol.server(f"udp://{host}:{port}", numbering=numbering)
                (await stack.enter_async_context(rig)).assign_callback(
                    "EXPINIT", lambda data, addr: heard.append(data)
                )
            network.send(*places, b"[8, null]")
            for _ in range(2):
                await asyncio.sleep(HOUR_S)
                sent.append(network.counts["sent"])
            for host, port in places:
                client = await EchoProtocol.client(f"udp://{host}:{port}", numbering=numbering)
                async with client:
                    await client.init("as ever")

    simulated_loop.run(network, main(), 3 * HOUR_S)
    assert sent[1] == sent[0], "it goes on for ever"
    assert heard == [["as ever"]] * 2
    kind = "numbered" if numbering else "not numbered"
    figure(f"{kind}: {sent[0]} datagrams for a forged one, in two hours")


# -- C5: an end that vanishes


@pytest.mark.fault("C5", "echo-udp", "T")
def test_c05_a_rig_that_vanishes_is_late_and_gone_in_time_and_sends_end_by_their_own(figure):
    """T: noticed between its time and twice that; it is live again when it is back."""
    noticed = {state: [] for state in RigState}
    slowest = 0.0
    for seed in seeds(100):
        with replayable(seed, "test_echo_simulated_rows.py", "test_c05_a_rig_that_vanishes"):
            for state, seconds in vanishing_run(seed):
                noticed[state].append(seconds)
                if state is RigState.LIVE:
                    slowest = max(slowest, seconds)
    for state, least in ((RigState.LATE, LATE_S), (RigState.GONE, GONE_S)):
        assert len(noticed[state]) == len(seeds(100))
        # Silence counts from what was heard last, which is up to a ping before the end.
        assert least - 2 * INTERVAL_S <= min(noticed[state])
        assert max(noticed[state]) <= 2 * least
    assert slowest <= 2 * INTERVAL_S
    figure(
        f"late after {max(noticed[RigState.LATE]):.2f} s of {LATE_S:g} s at the latest, "
        f"gone after {max(noticed[RigState.GONE]):.2f} s of {GONE_S:g} s, live again after {slowest:.2f} s"
    )


INTERVAL_S, LATE_S, GONE_S = 0.5, 2.0, 8.0


def vanishing_run(seed):
    """A rig behind a way that is cut, and healed; when its states were noticed, in seconds from then on."""
    network = Network(f"vanishing {seed}", Faults(delay_s=0.001, spread_s=0.01))
    place = ("192.0.2.9", 5000)
    book = history.History()
    noticed = []

    async def main():
        rig = await EchoProtocol.server("udp://192.0.2.9:5000")
        pc = await EchoProtocol.client("udp://192.0.2.9:5000", name="rig")
        async with Heartbeat(pc, interval_s=INTERVAL_S, late_s=LATE_S, gone_s=GONE_S) as heartbeat:
            changes = heartbeat.changes()
            assert (await anext(changes)).state is RigState.LIVE
            await asyncio.sleep(10 * network.random.random())
            ways = [(simulated_loop.CLIENT, 40000), place]
            network.cut(*ways)
            if seed % 2:
                network.cut(*reversed(ways))
            cut_at = network.now
            sending = asyncio.ensure_future(tell(pc, book, ["into", "nothing"], 1.0))
            for _ in range(2):
                change = await anext(changes)
                noticed.append((change.state, change.at - cut_at))
            assert sending.done()
            await asyncio.sleep(10 * network.random.random())
            for way in (ways, ways[::-1]):
                network.heal(*way)
            healed_at = network.now
            change = await anext(changes)
            noticed.append((change.state, change.at - healed_at))
            await tell(pc, book, ["it is", "back"], 1.0)
        for end in (pc, rig):
            end.close()

    simulated_loop.run(network, main())
    first, last = book.operations
    assert first.outcome == history.UNKNOWN
    assert "no echo" in first.reply
    assert last.outcome == history.DONE
    return noticed


# -- C8: a server that is restarted


@pytest.mark.timeout(600)
@pytest.mark.fault("C8", "echo-rig", "L")
def test_c08_a_restarted_server_hears_what_it_confirms_and_nothing_twice(figure):
    """L: over a bad network the server dies at any moment and comes back at its address a second later."""
    confirmed = failed = 0
    for seed in seeds(200):
        with replayable(seed, "test_echo_simulated_rows.py", "test_c08_a_restarted_server"):
            book, lives = restarting_run(seed)
            assert history.unended(book) == []
            for heard in lives:
                assert len(set(heard)) == len(heard), "one life heard it twice"
            everything = set().union(*lives)
            done = set(book.requests(history.DONE))
            assert everything <= set(book.requests())
            assert done <= everything, "confirmed, and not heard"
            confirmed += len(done)
            failed += len(book.requests(history.UNKNOWN))
    assert 1000 * failed <= confirmed
    figure(f"{len(seeds(200))} restarts: {confirmed} messages confirmed and heard, {failed} told as timeouts")


def restarting_run(seed):
    """One client, and a server in two lives; the history, and what each life heard."""
    network = Network(f"restart {seed}")
    faults = Faults.roll(network.random)
    book = history.History()
    lives = [[], []]
    uri = "udp://192.0.2.9:5000"

    async def serve(heard):
        server = await EchoProtocol.server(uri, numbering=True)
        server.assign_callback("EXPINIT", lambda data, addr: heard.append(tuple(data[0])))
        return server

    async def main():
        server = await serve(lives[0])
        client = await EchoProtocol.client(uri, numbering=True)
        await client.cleanup()
        network.faults = faults
        sends = []
        died = False
        at = network.random.random() * 0.5
        for number in range(30):
            sends.append(asyncio.ensure_future(tell(client, book, ["client", number], 120.0)))
            await asyncio.sleep(network.random.random() * 0.05)
            if not died and network.now > at:
                died = True
                server.close()
                await asyncio.sleep(1.0)
                server = await serve(lives[1])
        await asyncio.gather(*sends)
        await asyncio.sleep(60)
        for end in (client, server):
            end.close()

    simulated_loop.run(network, main())
    return book, lives
