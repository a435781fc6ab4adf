"""C11: our counters beside those of an independent witness, Wireshark's tools on both hosts."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path

import pytest
import witness
from namespaces import Program, python, until

PROGRAM = str(Path(__file__).parents[1] / "udp_program.py")
RIG = str(Path(__file__).with_name("rig_witnessed.py"))
GROUP = "239.78.0.1"
# Few at a time: what is held back is never further back than some rounds, and no more messages are in pieces
# than a receiver keeps.
ROUNDS, EACH = 100, 10
# Bytes of every other message on a channel, and the datagrams that they take.
LARGE, PIECES = 2000, 2

NETWORKS = pytest.mark.parametrize("network", witness.KINDS)


class End:
    """A program of ours on one of the hosts."""

    def __init__(self, stack, host, directory, *arguments):
        self.program = stack.enter_context(Program(host, python(*arguments), directory))
        assert self.program.line() == "ready", self.program.describe()

    def ask(self, *words):
        self.program.tell(" ".join(map(str, words)))
        return json.loads(self.program.line())


def daq_and_monitor(stack, between, directory, is_channel):
    settings = {"group": GROUP, "port": witness.PORT, "interface": witness.DEVICE, "channel": is_channel}
    daq = {"label": "daq", **({"max_datagram": 1472} if is_channel else {})}
    monitor = {"max_age_s": 100.0} if is_channel else {}
    sides = zip(between.hosts, ("daq", "monitor"), (daq, monitor), strict=True)
    return [
        End(stack, host, directory, PROGRAM, what, json.dumps({**settings, **more}))
        for host, what, more in sides
    ]


@NETWORKS
@pytest.mark.fault("C11", "udp-multicast", "LW")
@pytest.mark.parametrize("is_channel", [False, True], ids=["readouts", "channel"])
def test_c11_counts_of_a_monitor_are_those_of_an_independent_witness(tmp_path, figure, network, is_channel):
    """L W: sent, received, lost, doubled and late; by our counters, by captures, by what the network did.

    Of a datagram of which a bit was changed nothing is returned: the system refuses it, and its message
    counts as lost.
    """
    sizes = [0, LARGE] if is_channel else [0]
    with contextlib.ExitStack() as stack:
        between = stack.enter_context(witness.made(network, tmp_path))
        daq, monitor = daq_and_monitor(stack, between, tmp_path, is_channel)
        with between.watched() as (at_daq, at_monitor):
            started = between.counts()
            daq.ask("send", 1)
            heard = monitor.ask("until", 0)
            between.set_faults(True)
            messages = datagrams = 1
            for size in itertools.islice(itertools.cycle(sizes), ROUNDS):
                messages += EACH
                datagrams += EACH * (PIECES if size else 1)
                assert daq.ask("send", EACH, size) == {"next": messages}
                heard += monitor.ask("rest")
                if "taken" in started:
                    until(
                        lambda: between.counts()["taken"] - started["taken"] >= datagrams,  # noqa: B023
                        "the relay has not taken all",
                    )
            between.set_faults(False)
            daq.ask("send", 1)
            heard += monitor.ask("until", messages)
        counts = {name: between.counts()[name] - started[name] for name in ("lost", "doubled", "corrupted")}
        statistics = monitor.ask("statistics")
        refused = between.refused()[1]
    port = f"udp.dstport == {witness.PORT}"
    sent, arrived = at_daq.payloads(port), at_monitor.payloads(port + between.intact)
    found = witness.account(list(split(sent, sizes)), arrived)
    assert len(sent) == datagrams + 1
    assert len(arrived) == len(sent) - counts["lost"] + counts["doubled"] - counts["corrupted"]
    # Of two copies one may have been changed.
    assert counts["doubled"] - counts["corrupted"] <= found.repeated <= counts["doubled"]
    # Ours: what arrived, what of it came again, what did not come, and what came late.
    received = statistics["datagrams" if is_channel else "received"]
    repeated = statistics["duplicates"]
    if is_channel:
        repeated += statistics["repeated_fragments"] + statistics["late_fragments"]
    assert (received, repeated) == (len(arrived), found.repeated), statistics
    assert (statistics["lost"], statistics["late"]) == (found.lost, found.late)
    assert (refused["no room"], statistics["restarts"], statistics["broken"]) == (0, 0, 0)
    # Those that were changed in their port are for nobody; of some others the system tells the receiver.
    assert statistics["kernel_drops"] <= refused["changed"] <= counts["corrupted"]
    # And what it returned, each message as often as it should.
    numbers = [value[1] for value in heard]
    assert (numbers if is_channel else list(dict.fromkeys(numbers))) == found.whole
    assert counts["lost"] > 50
    if network != "switch":
        assert min(found.repeated, found.late) > 10
    if network == "relay that changes bits":
        assert refused["changed"] > 50
    kind = "channel" if is_channel else "readouts"
    figure(
        f"{network}, {kind}: {len(sent)} datagrams sent, {received} received, {repeated} of them doubled; "
        f"{refused['changed']} changed and refused; {statistics['lost']} messages lost, "
        f"{statistics['late']} late; captures agree to the last one"
    )


def split(datagrams, sizes):
    """The datagrams of each message in turn: those of the first, of each round, and of the last."""
    rest = iter(datagrams)
    yield [next(rest)]
    for size in itertools.islice(itertools.cycle(sizes), ROUNDS):
        for _ in range(EACH):
            yield list(itertools.islice(rest, PIECES if size else 1))
    yield [next(rest)]
    assert next(rest, None) is None, "more datagrams than were sent"


@NETWORKS
@pytest.mark.fault("C11", "echo-udp", "L")
def test_c11_counts_of_a_rig_are_those_of_an_independent_witness(tmp_path, figure, network):
    """L: messages and echoes sent, received, lost and doubled; by both ends, by captures, by the network.

    A message or an echo of which a bit was changed is as one that was lost: it is never heard as another.
    That is the checksum of UDP; of its own the format has one for numbers, and none for the text.
    """
    count = 200
    with contextlib.ExitStack() as stack:
        between = stack.enter_context(witness.made(network, tmp_path))
        uri = f"udp://{between.addresses[1]}:{witness.PORT}"
        server = End(stack, between.hosts[1], tmp_path, RIG, "server", uri)
        client = End(stack, between.hosts[0], tmp_path, RIG, "client", uri)
        # They get acquainted, after which nothing is on the network but messages and their echoes.
        assert client.ask(1) == 1
        with between.watched() as captures:
            began = counted(between, client, server.ask("counters"))
            between.set_faults(True)
            assert client.ask(count) == count
            between.set_faults(False)
            assert client.ask(1) == 1
            # It has nothing more to say, and the server hears the rest of it; then it hears the rest of that.
            between.settle(captures)
            theirs = server.ask("counters")
            between.settle(captures)
            ended = counted(between, client, theirs)
    counts, ours, theirs, *refused = (
        {name: after[name] - before.get(name, 0) for name in after}
        for before, after in zip(began, ended, strict=True)
    )
    ways = [f"udp.dstport == {witness.PORT}", f"udp.srcport == {witness.PORT}"]
    asked, echoed = (one.payloads(way) for one, way in zip(captures, ways, strict=True))
    echoes, came = (
        one.payloads(way + between.intact) for one, way in zip(captures, reversed(ways), strict=True)
    )
    passed = len(asked) + len(echoed) - counts["lost"] + counts["doubled"]
    assert len(came) + len(echoes) == passed - counts["corrupted"]
    assert sum(one["changed"] for one in refused) <= counts["corrupted"]
    # Sent, each message as often as it was repeated, each echo as often as one was wanted.
    assert len(set(asked)) == ours["sent"] == count + 1
    assert len(asked) == ours["sent"] + ours["retransmissions"]
    assert len(echoed) == theirs["heard"] + theirs["duplicates"] - theirs["bounces"]
    # Received, once and again, and what found no room because a busy machine did not read it in time.
    assert len(set(came)) == theirs["heard"] == theirs["distinct"] == count + 1
    assert len(came) == theirs["news"] + theirs["held"] + theirs["duplicates"] + refused[1]["no room"]
    assert len(set(echoes)) == ours["confirmed"] == count + 1
    assert len(echoes) == ours["confirmed"] + ours["surplus_echoes"] + refused[0]["no room"]
    nothing = ("refused", "unexpected", "error_messages", "fillers", "truncated_echoes")
    assert not any(one[name] for one in (ours, theirs) for name in nothing)
    assert counts["lost"] > 20
    if network == "relay that changes bits":
        assert min(one["changed"] for one in refused) > 10
    figure(
        f"{network}: {count + 1} messages in {len(asked)} datagrams, {len(came)} received; "
        f"{len(echoed)} echoes, {len(echoes)} received, {ours['surplus_echoes']} of them doubled; "
        f"{sum(one['changed'] for one in refused)} changed and refused; "
        "captures agree to the last one"
    )


def counted(between, client, theirs):
    """What the network, both ends, and the systems of their hosts have counted so far."""
    return [between.counts(), client.ask("counters"), theirs, *between.refused()]
