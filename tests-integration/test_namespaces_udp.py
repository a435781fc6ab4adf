"""One DAQ computer and one for the monitors, joined by a cable: what is lost on the way, and who counts it.

Each is a network namespace. The packet filters of both count what leaves, what arrives, what they drop and
what they let pass; in every test these counts and those of the programs have to agree, to the last datagram::

    sent = left >= reached = dropped + passed      passed = received + kernel_drops
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from namespaces import DEVICE, Namespace, Program, connect, python, two_hosts, until

SCRIPT = str(Path(__file__).with_name("udp_program.py"))
GROUP, OTHER_GROUP, PORT = "239.77.0.1", "239.77.0.2", 5007
MONITOR_ADDRESS = "10.77.0.2"
# A second cable between the hosts, which is another network.
OTHER_DEVICE = "cable2"
# Groups of one link and of a site, and the routers that datagrams to them may pass.
IPV6_GROUPS, HOPS = ("ff02::4242", "ff05::4242"), 7

# Datagrams that the smallest usual receive buffer, 212992 bytes, holds in any case.
FEW = 200
BURST = 100_000
# Bytes to ask for; Linux grants twice that.
SMALL_BUFFER = 8192

# `left` and `reached` see what programs sent and the cable brought, joined or not; `passed` what goes to
# sockets, `far` what is IPv6 and may pass that many routers. Anything else that is UDP, on either side, would
# be a leak.
FILTER = f"""
table inet lab {{
    counter left {{}}
    counter reached {{}}
    counter dropped {{}}
    counter passed {{}}
    counter other {{}}
    counter far {{}}
    chain loss {{}}
    chain output {{
        type filter hook output priority 0
        meta l4proto != udp accept
        udp dport {PORT} ip daddr {{ {GROUP}, {OTHER_GROUP} }} counter name left accept
        udp dport {PORT} ip6 daddr {{ {", ".join(IPV6_GROUPS)} }} counter name left accept
        counter name other
    }}
    chain prerouting {{
        type filter hook prerouting priority 0
        meta l4proto != udp accept
        udp dport {PORT} ip daddr {{ {GROUP}, {OTHER_GROUP} }} counter name reached accept
        ip6 hoplimit {HOPS} counter name far
        udp dport {PORT} ip6 daddr {{ {", ".join(IPV6_GROUPS)} }} counter name reached accept
        counter name other
    }}
    chain input {{
        type filter hook input priority 0
        meta l4proto != udp accept
        jump loss
        counter name passed
    }}
}}
"""


class End:
    """A monitor or a DAQ that was started in a namespace."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def ask(self, *words: object) -> Any:
        """Give an order, and return the answer."""
        self.order(*words)
        return self.answer()

    def order(self, *words: object) -> None:
        self.program.tell(" ".join(map(str, words)))

    def answer(self) -> Any:
        return json.loads(self.program.line())


class Monitor(End):
    """What it hears it remembers, and who from."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.labels: set[str] = set()
        self.numbers: list[int] = []

    def hear(self, *words: object) -> list[int]:
        """Let it read, ``until NUMBER`` or the ``rest``; return the numbers."""
        self.order(*words)
        return self.heard()

    def heard(self) -> list[int]:
        readouts = self.answer()
        self.labels |= {readout[0] for readout in readouts}
        new = [readout[1] for readout in readouts]
        self.numbers += new
        return new


class Laboratory:
    """The two hosts, and the programs on them."""

    def __init__(
        self, hosts: tuple[Namespace, Namespace], stack: contextlib.ExitStack, directory: Path
    ) -> None:
        self.daq_host, self.monitor_host = hosts
        self._stack = stack
        self._directory = directory
        self._sent = 0
        self._batched = 0
        for host in hosts:
            host.nft(FILTER)

    def _start(self, host: Namespace, what: str, settings: dict[str, Any]) -> Program:
        settings = {"group": GROUP, "port": PORT, "interface": DEVICE, **settings}
        command = python(SCRIPT, what, json.dumps(settings))
        program = self._stack.enter_context(Program(host, command, self._directory))
        assert program.line() == "ready", program.describe()
        return program

    def monitor(self, **settings: Any) -> Monitor:
        """Start a monitor; it is in the group then, and waits for orders."""
        return Monitor(self._start(self.monitor_host, "monitor", settings))

    def daq(self, label: str = "daq", **settings: Any) -> End:
        """Start a DAQ that waits for orders."""
        return End(self._start(self.daq_host, "daq", {"label": label, **settings}))

    def send(self, daq: End, count: int, how: str = "send", size: int = 0, datagrams: int = 1) -> int:
        """Let it send so many readouts, of so many datagrams each; return how many it has sent so far."""
        self._sent += count * datagrams
        self._batched += count if how == "batch" else 0
        return int(daq.ask(how, count, size)["next"])

    def use_card_without_offload(self) -> None:
        """Have batches cut before they go into the cable, as most network cards would."""
        self.daq_host.run("ip", "link", "set", DEVICE, "gso_max_segs", "1")

    def add_network(self) -> None:
        """Join the hosts by another cable, 10.78.0.1 and 10.78.0.2 on its ends."""
        peer = ["peer", "name", OTHER_DEVICE, "netns", str(self.monitor_host.holder)]
        self.daq_host.run("ip", "link", "add", OTHER_DEVICE, "type", "veth", *peer)
        for number, host in enumerate((self.daq_host, self.monitor_host), 1):
            host.run("ip", "addr", "add", f"10.78.0.{number}/24", "dev", OTHER_DEVICE)
            host.run("ip", "link", "set", OTHER_DEVICE, "up")
        for host in (self.daq_host, self.monitor_host):
            until(
                lambda host=host: " state UP " in host.run("ip", "-o", "link", "show", OTHER_DEVICE),
                "the second link did not come up",
            )

    def await_ipv6(self) -> None:
        """Wait until the ends of the other cable have IPv6 addresses that the system has found to be free."""
        for host in (self.daq_host, self.monitor_host):

            def has_address(host: Namespace = host) -> bool:
                listed = host.run("ip", "-o", "-6", "addr", "show", "dev", OTHER_DEVICE)
                return "fe80::" in listed and "tentative" not in listed

            until(has_address, "no IPv6 address")

    def left(self) -> int:
        return self.daq_host.counters("inet lab")["left"]

    def at_monitors(self) -> dict[str, int]:
        return self.monitor_host.counters("inet lab")

    def await_reached(self, count: int) -> None:
        """Wait until so many datagrams have come through the cable."""
        until(lambda: self.at_monitors()["reached"] >= count, f"{self.at_monitors()} instead of {count}")

    def set_loss(self, rule: str = "") -> None:
        """Let the packet filter before the monitors drop what the rule matches; nothing without one."""
        drop = f"add rule inet lab loss {rule} counter name dropped drop\n" if rule else ""
        self.monitor_host.nft(f"flush chain inet lab loss\n{drop}")

    def check_nothing_leaked(self) -> None:
        """All that left was sent, all that passed or was dropped had reached the host; there is no more."""
        here, there = self.daq_host.counters("inet lab"), self.at_monitors()
        # A batch leaves as one, and comes as one unless the card cuts it.
        assert self._sent - self._batched <= here["left"] <= self._sent
        assert here["other"] == here["reached"] == here["passed"] == here["dropped"] == 0
        assert there["left"] == there["other"] == 0
        assert there["reached"] <= (self._sent if self._batched else here["left"])
        assert there["dropped"] + there["passed"] <= there["reached"]


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    with contextlib.ExitStack() as stack:
        hosts = stack.enter_context(two_hosts())
        made = Laboratory(hosts, stack, tmp_path)
        yield made
        made.check_nothing_leaked()


def missing(numbers: list[int]) -> dict[str, int]:
    """What the counts have to be for these numbers: those left out, and how often some were."""
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    assert all(step > 0 for step in steps), "out of order"
    return {"lost": sum(steps) - len(steps), "gaps": sum(step > 1 for step in steps)}


def losses(statistics: dict[str, Any]) -> dict[str, int]:
    """What was counted as lost, when nothing else was wrong."""
    for name in ("broken", "strangers", "duplicates", "late", "restarts"):
        assert statistics[name] == 0, name
    return {"lost": statistics["lost"], "gaps": statistics["gaps"]}


def test_late_joiner_hears_what_is_sent_from_then_on_and_misses_nothing(laboratory):
    """What was sent before is no loss of its own."""
    daq, first = laboratory.daq(), laboratory.monitor()
    laboratory.send(daq, FEW)
    assert first.hear("until", FEW - 1) == list(range(FEW))
    late = laboratory.monitor()
    sent = laboratory.send(daq, FEW)
    for monitor in (first, late):
        assert monitor.hear("until", sent - 1) == list(range(FEW, 2 * FEW))
    for monitor in (first, late):
        statistics = monitor.ask("statistics")
        assert losses(statistics) == {"lost": 0, "gaps": 0}
        assert (statistics["received"], statistics["kernel_drops"]) == (len(monitor.numbers), 0)
    assert laboratory.left() == laboratory.at_monitors()["passed"] == sent


def test_who_left_hears_nothing_though_others_stay_and_hears_all_after_rejoining(laboratory):
    daq, leaver, other = laboratory.daq(), laboratory.monitor(), laboratory.monitor()
    laboratory.send(daq, 50)
    assert leaver.hear("until", 49) == list(range(50))
    leaver.ask("leave", DEVICE)
    laboratory.send(daq, 70)
    # What the other one heard of one group would have reached the one that left, too.
    assert other.hear("until", 119) == list(range(120))
    assert leaver.hear("rest") == []
    leaver.ask("join", DEVICE)
    laboratory.send(daq, 30)
    assert leaver.hear("until", 149) == list(range(120, 150))
    assert other.hear("until", 149) == list(range(120, 150))
    assert losses(leaver.ask("statistics")) == {"lost": 70, "gaps": 1}
    assert losses(other.ask("statistics")) == {"lost": 0, "gaps": 0}


def test_host_without_any_member_gets_no_datagram_to_its_sockets(laboratory):
    """They come through the cable and end there: no program has to look at them."""
    daq, monitor = laboratory.daq(), laboratory.monitor()
    laboratory.send(daq, 50)
    monitor.hear("until", 49)
    monitor.ask("leave", DEVICE)
    laboratory.send(daq, 70)
    laboratory.await_reached(120)
    monitor.ask("join", DEVICE)
    laboratory.send(daq, 30)
    assert monitor.hear("until", 149) == list(range(120, 150))
    assert losses(monitor.ask("statistics")) == {"lost": 70, "gaps": 1}
    assert (laboratory.left(), laboratory.at_monitors()["passed"]) == (150, 80)


@pytest.mark.fault("C14", "udp-multicast", "W")
def test_two_groups_on_one_port_stay_apart(laboratory):
    """Four monitors on one host, one more for either group than has to be, and both groups come at once."""
    groups = {"first": GROUP, "second": OTHER_GROUP}
    daqs = {label: laboratory.daq(label, group=group) for label, group in groups.items()}
    monitors = [(label, laboratory.monitor(group=group)) for label, group in groups.items() for _ in range(2)]
    for _ in range(10):
        for daq in daqs.values():
            laboratory.send(daq, 20)
    for _, monitor in monitors:
        assert monitor.hear("until", 199) == list(range(200))
    laboratory.await_reached(400)
    for label, monitor in monitors:
        assert monitor.hear("rest") == []
        assert monitor.labels == {label}
        statistics = monitor.ask("statistics")
        assert (losses(statistics), statistics["received"]) == ({"lost": 0, "gaps": 0}, 200)
    assert laboratory.at_monitors()["passed"] == 400


def test_monitor_of_two_networks_hears_both_and_leaves_one(laboratory):
    """A DAQ sends into each; what comes through a cable is heard there or not at all."""
    laboratory.add_network()
    devices = (DEVICE, OTHER_DEVICE)
    daqs = {device: laboratory.daq(device, interface=device) for device in devices}
    monitor = laboratory.monitor(interface=None, interfaces=devices)
    for device, daq in daqs.items():
        laboratory.send(daq, 50)
        assert monitor.hear("until", 49) == list(range(50))
        assert device in monitor.labels
    assert monitor.labels == set(devices)
    assert losses(monitor.ask("statistics")) == {"lost": 0, "gaps": 0}
    monitor.ask("leave", DEVICE)
    monitor.labels.clear()
    for daq in daqs.values():
        laboratory.send(daq, 20)
    assert monitor.hear("until", 69) == list(range(50, 70))
    assert monitor.hear("rest") == []
    assert monitor.labels == {OTHER_DEVICE}
    assert (laboratory.left(), laboratory.at_monitors()["passed"]) == (140, 120)


@pytest.mark.parametrize(
    ("group", "interface"), [(f"{IPV6_GROUPS[0]}%{OTHER_DEVICE}", None), (IPV6_GROUPS[1], OTHER_DEVICE)]
)
@pytest.mark.parametrize(("sending", "reading"), [("send", "one"), ("batch", "many")])
def test_ipv6_groups_are_heard_and_may_go_as_far_as_was_said(laboratory, group, interface, sending, reading):
    """The limit for groups is set, and not that for single hosts, which the system keeps apart."""
    laboratory.add_network()
    laboratory.await_ipv6()
    # The other way than the routing table would choose.
    laboratory.daq_host.run(
        "ip", "-6", "route", "add", "multicast", "ff05::/16", "dev", DEVICE, "table", "local"
    )
    settings = {"group": group, "interface": interface}
    daq, monitor = laboratory.daq(ttl=HOPS, **settings), laboratory.monitor(**settings)
    for _ in range(3):
        sent = laboratory.send(daq, FEW, sending)
        monitor.hear("until", sent - 1, reading)
    assert monitor.numbers == list(range(sent))
    statistics = monitor.ask("statistics")
    assert (losses(statistics), statistics["received"]) == ({"lost": 0, "gaps": 0}, sent)
    counters = laboratory.at_monitors()
    assert counters["far"] == counters["reached"] == counters["passed"] > 0
    # A batch is one for the packet filter.
    assert laboratory.left() == sent if sending == "send" else laboratory.left() < sent / 10


@pytest.mark.fault("C14", "udp-multicast", "LW")
@pytest.mark.parametrize("interface", [DEVICE, MONITOR_ADDRESS, None])
def test_interface_of_the_monitors_goes_down_and_up(laboratory, interface, request):
    """The group is heard again without a word to the receiver, losses are counted, no other group gets in."""
    if interface is None:
        laboratory.monitor_host.add_multicast_route()
    daq, other_daq = laboratory.daq("first"), laboratory.daq("second", group=OTHER_GROUP)
    monitor, other = laboratory.monitor(interface=interface), laboratory.monitor(group=OTHER_GROUP)
    for each in (daq, other_daq):
        laboratory.send(each, 50)
    assert monitor.hear("until", 49) == other.hear("until", 49) == list(range(50))

    laboratory.monitor_host.set_link("down")
    for each in (daq, other_daq):
        laboratory.send(each, 60)
    laboratory.monitor_host.set_link("up")
    for host in (laboratory.monitor_host, laboratory.daq_host):
        until(host.has_carrier, "the link did not come up again")

    for each in (daq, other_daq):
        laboratory.send(each, 70)
    for each in (monitor, other):
        assert each.hear("until", 179) == list(range(110, 180))
    assert (laboratory.left(), laboratory.at_monitors()["reached"]) == (360, 240)
    assert monitor.hear("rest") == other.hear("rest") == []
    assert (monitor.labels, other.labels) == ({"first"}, {"second"})
    told = [losses(each.ask("statistics")) for each in (monitor, other)]
    assert told == [{"lost": 60, "gaps": 1}] * 2
    heard = len(monitor.numbers) + len(other.numbers)
    lost = sum(one["lost"] for one in told)
    text = f"two monitors: {laboratory.left()} sent, {heard} heard, {lost} counted as lost"
    request.node.user_properties.append(("figure", text))


def test_interface_of_the_daq_goes_down_and_up(laboratory):
    """Sending is refused meanwhile, in so many words, and the same sender goes on afterwards."""
    daq, monitor = laboratory.daq(), laboratory.monitor()
    laboratory.send(daq, 50)
    laboratory.daq_host.set_link("down")
    assert daq.ask("send", 1) == {"next": 50, "error": "ENETUNREACH"}
    laboratory.daq_host.set_link("up")
    for host in (laboratory.monitor_host, laboratory.daq_host):
        until(host.has_carrier, "the link did not come up again")
    laboratory.send(daq, 50)
    assert monitor.hear("until", 99) == list(range(100))
    assert losses(monitor.ask("statistics")) == {"lost": 0, "gaps": 0}


@pytest.mark.parametrize("interface", [DEVICE, MONITOR_ADDRESS, None])
def test_interface_that_was_unplugged_and_plugged_in_again_is_joined_with_one_call(laboratory, interface):
    """To the system the new one is another interface, which nobody has joined yet."""
    if interface is None:
        laboratory.monitor_host.add_multicast_route()
    daq, monitor = laboratory.daq(), laboratory.monitor(interface=interface)
    laboratory.send(daq, 50)
    assert monitor.hear("until", 49) == list(range(50))
    laboratory.monitor_host.unplug()
    assert daq.ask("send", 1) == {"next": 50, "error": "ENODEV"}
    connect(laboratory.daq_host, laboratory.monitor_host)
    if interface is None:
        laboratory.monitor_host.add_multicast_route()
    monitor.ask("join", *filter(None, [interface]))
    again = laboratory.daq("again")
    laboratory.send(again, 50)
    assert monitor.hear("until", 49) == list(range(50))
    assert monitor.labels == {"daq", "again"}
    assert losses(monitor.ask("statistics")) == {"lost": 0, "gaps": 0}


@pytest.mark.fault("C11", "udp-multicast", "L")
@pytest.mark.parametrize("percent", [10, 50])
@pytest.mark.parametrize("channel", [False, True], ids=["readouts", "channel"])
def test_random_loss_is_counted_exactly(laboratory, percent, channel):
    """Received is what the packet filter let pass, and the gaps are what it dropped."""
    daq, monitor = laboratory.daq(channel=channel), laboratory.monitor(channel=channel)
    sent = lossy(laboratory, daq, monitor, f"numgen random mod 100 < {percent}", rounds=25)
    counters, statistics = laboratory.at_monitors(), monitor.ask("statistics")
    assert laboratory.left() == counters["reached"] == counters["passed"] + counters["dropped"] == sent
    assert percent / 2 < 100 * counters["dropped"] / sent < 2 * percent
    assert statistics["datagrams" if channel else "received"] == counters["passed"] == len(monitor.numbers)
    assert statistics["kernel_drops"] == 0
    assert losses(statistics) == missing(monitor.numbers)
    assert statistics["lost"] == counters["dropped"]


@pytest.mark.parametrize("channel", [False, True], ids=["readouts", "channel"])
def test_regular_loss_is_counted_as_known_beforehand(laboratory, channel):
    """Two of each ten are dropped."""
    daq, monitor = laboratory.daq(channel=channel), laboratory.monitor(channel=channel)
    sent = lossy(laboratory, daq, monitor, "numgen inc mod 10 < 2", rounds=5)
    assert monitor.numbers == [0, *(n for n in range(1, sent - 1) if (n - 1) % 10 >= 2), sent - 1]
    assert losses(monitor.ask("statistics")) == {"lost": FEW, "gaps": FEW // 2}


def lossy(laboratory: Laboratory, daq: End, monitor: Monitor, rule: str, rounds: int) -> int:
    """Send with losses between the first and the last; read what came; return how many were sent."""
    laboratory.send(daq, 1)
    assert monitor.hear("until", 0) == [0]
    laboratory.set_loss(rule)
    for _ in range(rounds):
        sent = laboratory.send(daq, FEW)
        monitor.hear("rest")
    # Not before all of them have met the rule.
    laboratory.await_reached(sent)
    laboratory.set_loss()
    sent = laboratory.send(daq, 1)
    monitor.hear("until", sent - 1)
    return sent


def test_channel_loses_a_message_with_any_of_its_fragments_and_counts_it_once(laboratory):
    daq = laboratory.daq(channel=True, max_datagram=1472, bytes_per_s=None)
    monitor = laboratory.monitor(channel=True)
    laboratory.send(daq, 1)
    assert monitor.hear("until", 0) == [0]
    # The fifth of each nine; messages have four.
    laboratory.set_loss("numgen inc mod 9 == 4")
    for _ in range(10):
        sent = laboratory.send(daq, 18, size=5000, datagrams=4)
        monitor.hear("rest")
    assert laboratory.left() == 1 + 4 * 180
    laboratory.await_reached(1 + 4 * 180)
    laboratory.set_loss()
    laboratory.send(daq, 1)
    monitor.hear("until", sent)
    whole = [all((4 * n + part) % 9 != 4 for part in range(4)) for n in range(180)]
    assert monitor.numbers == [0, *(1 + n for n in range(180) if whole[n]), sent]
    statistics = monitor.ask("statistics")
    assert losses(statistics) == missing(monitor.numbers)
    assert statistics["lost"] == whole.count(False) == laboratory.at_monitors()["dropped"] == 80
    assert statistics["datagrams"] == laboratory.at_monitors()["passed"] == laboratory.left() - 80


@pytest.mark.fault("C13", "udp-multicast", "L")
@pytest.mark.parametrize(
    ("reading", "sending", "channel"),
    [("one", "send", False), ("many", "send", False), ("one", "batch", False), ("one", "send", True)],
    ids=["receive", "receive_many", "send_readouts", "channel"],
)
def test_burst_into_a_small_buffer_is_dropped_and_counted_to_the_last_one(
    laboratory, reading, sending, channel
):
    """A monitor that does not read, and then one that reads and is overrun; each with 100 000."""
    if sending == "batch":
        laboratory.use_card_without_offload()
    daq, monitor = (
        laboratory.daq(channel=channel),
        laboratory.monitor(channel=channel, buffer_size=SMALL_BUFFER),
    )
    laboratory.send(daq, 1)
    assert monitor.hear("until", 0, reading) == [0]
    before = monitor.ask("statistics")
    sent = laboratory.send(daq, BURST, sending)
    laboratory.await_reached(sent)
    assert 0 < len(monitor.hear("rest", reading)) < FEW
    account(laboratory, daq, monitor, channel)
    assert monitor.ask("statistics")["peak_memory"] <= before["peak_memory"] + 8192

    monitor.order("until", sent + 1 + BURST, reading)
    laboratory.send(daq, BURST, sending)
    # The buffer may be full again when the burst ends.
    until(monitor.program.has_line, "the burst did not end", lambda: laboratory.send(daq, 1))
    monitor.heard()
    # What was sent until that was seen fills the buffer too, and the next one has to get in.
    monitor.hear("rest", reading)
    account(laboratory, daq, monitor, channel)


def account(laboratory: Laboratory, daq: End, monitor: Monitor, channel: bool) -> None:
    """Check all counts, when there is nothing on the way any more and the monitor has read what there was."""
    sent = laboratory.send(daq, 1)
    monitor.hear("until", sent - 1)
    counters, statistics = laboratory.at_monitors(), monitor.ask("statistics")
    assert (counters["reached"], counters["passed"], counters["dropped"]) == (sent, sent, 0)
    received = statistics["datagrams" if channel else "received"]
    assert received == len(monitor.numbers)
    assert received + statistics["kernel_drops"] == sent
    assert losses(statistics) == missing(monitor.numbers)
    assert statistics["lost"] == statistics["kernel_drops"] > 0
    assert statistics["granted_buffer"] == 2 * SMALL_BUFFER


def test_batches_that_reach_the_buffer_whole_are_lost_whole_and_every_readout_is_counted(laboratory):
    """The kernel counts such a batch as one drop, so there the numbers of the readouts alone are exact."""
    daq, monitor = laboratory.daq(), laboratory.monitor(buffer_size=SMALL_BUFFER)
    laboratory.send(daq, 1)
    # From here on the kernel is asked for batches.
    assert monitor.hear("until", 0, "many") == [0]
    laboratory.send(daq, BURST, "batch")
    monitor.hear("rest", "many")
    sent = laboratory.send(daq, 1)
    monitor.hear("until", sent - 1, "many")
    statistics = monitor.ask("statistics")
    assert losses(statistics) == missing(monitor.numbers)
    assert statistics["received"] + statistics["lost"] == sent
    assert 0 < statistics["kernel_drops"] <= statistics["lost"]
