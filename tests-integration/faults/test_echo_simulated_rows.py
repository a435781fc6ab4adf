"""Faults of the catalogue, played on real ends of echo-rig over a network in memory."""

from __future__ import annotations

import asyncio
import logging

import history
import pytest
import simulated_loop
from rig_player import tell
from seeds import replayable, seeds
from simulator import Faults, Network

from echo_rig import EchoProtocol, Heartbeat, RigState

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


def judge(book, heard, network):
    """Who was told of a success was heard once, nobody twice, in order, and there was no storm."""
    assert history.unended(book) == []
    assert history.not_exactly_once(book, heard) == []
    for name in range(SENDERS):
        assert history.not_rising(number for one, number in heard if one == name) == []
    assert network.counts["sent"] < 60 * SENDERS * MESSAGES


@pytest.mark.timeout(600)
@pytest.mark.fault("C11", "echo-udp", "LW")
def test_c11_callbacks_are_as_many_as_messages_whatever_the_network_does(caplog, figure):
    """L W: two clients that number; each message is confirmed and heard once, in order, in every run."""
    caplog.set_level(logging.CRITICAL)
    datagrams = lost = 0
    for seed in seeds():
        with replayable(seed, "test_echo_simulated_rows.py", "test_c11_callbacks_are_as_many"):
            book, heard, network = lossy_run(seed, True, are_acquainted=True)
            judge(book, heard, network)
            assert len(book.requests(history.DONE)) == SENDERS * MESSAGES == len(heard)
            datagrams += network.counts["sent"]
            lost += network.counts["lost"]
    sends = len(seeds()) * SENDERS * MESSAGES
    figure(f"{len(seeds())} seeds: {sends} messages, {sends} callbacks; {lost} of {datagrams} datagrams lost")


@pytest.mark.timeout(600)
@pytest.mark.fault("C11", "echo-udp", "LW")
def test_c11_ends_that_do_not_know_each_other_yet_tell_the_truth(caplog, figure):
    """L W: the network is bad from the first datagram on; what is confirmed was heard once, nothing twice."""
    caplog.set_level(logging.CRITICAL)
    confirmed = failed = 0
    for seed in seeds():
        with replayable(seed, "test_echo_simulated_rows.py", "test_c11_ends_that_do_not_know"):
            book, heard, network = lossy_run(seed, True)
            judge(book, heard, network)
            confirmed += len(book.requests(history.DONE))
            failed += len(book.requests(history.UNKNOWN))
    # What cannot come within the five seconds that others wait for it is refused.
    assert 1000 * failed <= confirmed
    figure(f"{len(seeds())} seeds: {confirmed} messages confirmed, {failed} told as timeouts")


@pytest.mark.timeout(600)
@pytest.mark.fault("C11", "echo-udp", "L")
def test_c11_without_numbers_what_is_confirmed_was_heard_and_there_is_no_storm(caplog, figure):
    """L: doubled datagrams come to an end too; who was told of a success was heard, and nobody else."""
    caplog.set_level(logging.CRITICAL)
    datagrams = confirmed = 0
    for seed in seeds():
        with replayable(seed, "test_echo_simulated_rows.py", "test_c11_without_numbers"):
            book, heard, network = lossy_run(seed, False)
            assert history.unended(book) == []
            done = book.requests(history.DONE)
            assert set(done) <= set(heard) <= set(book.requests())
            # A message and its echo, each doubled, and what those are answered with.
            assert network.counts["sent"] < 60 * SENDERS * MESSAGES
            confirmed += len(done)
            datagrams += network.counts["sent"]
    assert confirmed > 0
    figure(f"{len(seeds())} seeds: {confirmed} confirmed, {datagrams} datagrams, no storm")


# -- C5: an end that vanishes


@pytest.mark.fault("C5", "echo-udp", "T")
def test_c05_a_rig_that_vanishes_is_late_and_gone_in_time_and_sends_end_by_their_own(caplog, figure):
    """T: noticed between its time and twice that; it is live again when it is back."""
    caplog.set_level(logging.CRITICAL)
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
def test_c08_a_restarted_server_hears_what_it_confirms_and_nothing_twice(caplog, figure):
    """L: over a bad network the server dies at any moment and comes back at its address a second later."""
    caplog.set_level(logging.CRITICAL)
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
