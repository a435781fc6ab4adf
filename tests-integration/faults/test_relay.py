"""The cable that treats frames badly: its decisions here, and between two namespaces if we are root."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import relay
from namespaces import Program, network_namespaces, python, until

FRAME = bytes(12) + b"\x08\x00" + bytes(9) + bytes([17]) + bytes(40)
ARP = bytes(12) + b"\x08\x06" + bytes(28)

SINK = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
sock.bind(("10.78.0.2", 5007))
print("ready", flush=True)
got = []
while (data := sock.recv(100)) != b"end":
    got.append(int(data))
doubled = len(got) - len(set(got))
print(len(got), doubled, sum(b < a for a, b in zip(got, got[1:])), flush=True)
"""
SOURCE = """
import socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect(("10.78.0.2", 5007))
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        sock.send(b"end")
        continue
    for number in range(int(line)):
        sock.send(b"%d" % number)
        time.sleep(0.0005)
    print("sent", flush=True)
"""


def play(seed, **knobs):
    cable = relay.Cable(seed)
    cable.set(knobs)
    for number in range(1000):
        cable.take(0, FRAME + b"%d" % number, number * 0.001)
    return cable, list(cable.due(10.0))


def test_a_good_cable_passes_all_frames_to_the_other_side():
    cable, out = play(1)
    assert out == [(1, FRAME + b"%d" % number) for number in range(1000)]
    assert (cable.counts["taken"], cable.counts["passed"], cable.next_at) == (1000, 1000, None)


def test_faults_are_played_counted_and_the_same_for_the_same_seed():
    knobs = {"loss": 0.1, "duplication": 0.05, "reordering": 0.1, "corruption": 0.1, "spread_s": 0.002}
    first, second, other = play(7, **knobs), play(7, **knobs), play(8, **knobs)
    assert (first[1], first[0].counts) == (second[1], second[0].counts)
    assert first[1] != other[1]
    counts = first[0].counts
    assert counts["passed"] == len(first[1]) == 1000 - counts["lost"] + counts["doubled"]
    assert min(counts["lost"], counts["doubled"], counts["held"], counts["corrupted"]) > 20
    changed = sum(not (frame.startswith(FRAME) and frame[len(FRAME) :].isdigit()) for _, frame in first[1])
    assert 0 < changed <= counts["corrupted"]


def test_what_finds_addresses_passes_any_faults_but_not_a_pulled_cable():
    cable = relay.Cable(1)
    cable.set({"loss": 1.0})
    cable.take(0, ARP, 0.0)
    cable.take(1, FRAME, 0.0)
    assert list(cable.due(1.0)) == [(1, ARP)]
    cable.set({"is_up": False})
    cable.take(0, ARP, 2.0)
    assert list(cable.due(3.0)) == []
    with pytest.raises(ValueError, match="no such fault: los"):
        cable.set({"los": 1.0})


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or not Path(relay.TUN).exists(),
    reason="TAP devices in other namespaces are for root on Linux",
)
def test_between_two_namespaces_what_arrives_is_what_the_relay_has_passed(tmp_path):
    """2000 datagrams, some lost, doubled and out of order: the counts of both agree to the last one."""
    with network_namespaces(2, "true", "this test needs two network namespaces") as hosts:
        command = python(relay.__file__, *(str(host.holder) for host in hosts), "3")
        with Program(Here(), command, tmp_path) as cable:
            assert cable.line() == "ready"
            with (
                Program(hosts[1], python("-c", SINK), tmp_path) as sink,
                Program(hosts[0], python("-c", SOURCE), tmp_path) as source,
            ):
                assert (sink.line(), source.line()) == ("ready", "ready")
                tell(cable, {"loss": 0.1, "duplication": 0.05, "reordering": 0.1, "held_s": 0.02})
                source.tell("2000")
                assert source.line() == "sent"
                until(lambda: tell(cable, {})["taken"] >= 2000, "the relay has not taken all")
                # Later than all that is still held.
                counts = tell(cable, {"loss": 0.0, "duplication": 0.0, "reordering": 0.0, "delay_s": 0.5})
                source.tell("end")
                received, doubled, disordered = map(int, sink.line().split())
        assert counts["taken"] == 2000
        assert received == counts["passed"] == 2000 - counts["lost"] + counts["doubled"]
        assert doubled == counts["doubled"]
        assert min(counts["lost"], doubled, disordered) > 50


class Here:
    """The namespace we are in."""

    enter = ()


def tell(cable, knobs):
    cable.tell(json.dumps(knobs))
    return json.loads(cable.line())
