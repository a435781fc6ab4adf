"""Random and mutated datagrams, one beside each honest one: nobody raises, loses count, grows or starves."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import astropix4
import numpy as np
import pytest

from udp_multicast import ArrayReadout, BackgroundReceiver, ChannelReceiver, JsonReadout
from udp_multicast._intake import Intake
from udp_multicast._losses import MAX_SENDERS, LossLedger
from udp_multicast._quiet_log import MAX_CAUSES, MAX_HOSTS
from udp_multicast._reception import PATIENCE
from wireframe.datagram import encode_message

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_datagrams as fuzz
from lcm_vectors import recorded_messages

# Some 20 000 hostile datagrams a second, with nothing else to do.
pytestmark = pytest.mark.timeout(60 + fuzz.COUNT // 1000)

LIMIT_S = 10.0
#: Bytes that memory may grow by besides what a limit allows.
SLACK = 8 << 20
#: Bytes of receive buffer that the datagrams of one step may take; each costs more than its length.
STEP = 96 << 10
_OVERHEAD = 1024
#: Hostile datagrams before the first batch; after it the kernel hands over batches.
ONE_BY_ONE = 10_000


@dataclass
class Kind:
    """A class of readouts, honest ones that are numbered, and what is bad in ways of their own."""

    readout_class: Any
    honest: Any
    number: Any
    special: Any = None


def _astropix4(number):
    return astropix4.Readout(number, 1_763_719_555_000_000_000 + number, bytes(range(0xE0, 0xF0))).to_bytes()


def _json(number):
    value = {"id": number, "time_ns": 1_763_719_555_123_456_789, "hv_v": -150.25, "state": "running"}
    value["chips"] = [{"id": chip, "rate_hz": 12.5 + chip} for chip in range(3)]
    return JsonReadout(value).to_bytes()


def _array(number):
    return ArrayReadout(np.arange(number, number + 64, dtype="<u4")).to_bytes()


KINDS = {
    "astropix4": Kind(astropix4.Readout, _astropix4, lambda readout: readout.readout_id),
    "json": Kind(JsonReadout, _json, lambda readout: readout.value["id"], fuzz.special_json),
    "array": Kind(ArrayReadout, _array, lambda readout: readout.array[0], fuzz.special_array),
}


class Kept:
    """A readout class that keeps the bytes, to compare them."""

    def __init__(self, readout_class):
        self._from_bytes = readout_class.from_bytes

    def from_bytes(self, data):
        return self._from_bytes(data), data


def hostile(kind):
    """Hostile datagrams for this kind."""
    return fuzz.Hostile([kind.honest(number * 1000) for number in range(32)], kind.special)


def is_readout(kind, data):
    """What the class itself says, and the counter: ids have 32 bits."""
    try:
        return 0 <= kind.number(kind.readout_class.from_bytes(data)).__index__() < 1 << 32
    except Exception:  # noqa: BLE001 - whatever it raises, the datagram is broken
        return False


@pytest.fixture
def connected(cleanup):
    """Sockets that send to a receiver and take nothing else's time."""

    def make(receiver, address="127.0.0.1"):
        sock = cleanup.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.bind((address, 0))
        group = receiver.address()[0]
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sock.connect((group, receiver.port))
        return sock

    return make


@pytest.fixture
def stranger(connected):
    """A socket with an address that is not among the sources, if this host has two of its own."""

    def make(receiver):
        try:
            return connected(receiver, "127.0.0.2")
        except OSError:  # such as macOS, as it comes
            return None

    return make


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "udp_multicast")


class Run:
    """Honest and hostile datagrams, one to one, step by step, as many as there is room for in the buffer.

    Each step ends with an honest one, so when that is here all the others were judged.
    """

    def __init__(self, kind, honest, strangers, count=fuzz.COUNT):
        self.kind, self.count = kind, count
        self.honest, self.strange = honest, strangers
        self.datagrams = hostile(kind)
        self.hostile = 0
        self.sent = self.bytes = self.broken = self.strangers = self.readouts = 0
        self.numbers = 0

    def step(self, foes):
        """Send; return what a receiver has to return."""
        expected, room = [], STEP
        while room > 0 and self.hostile < self.count:
            data = self.datagrams.next()
            foe = foes[self.hostile % len(foes)]
            self.hostile += 1
            foe.send(data)
            if foe is self.strange:
                self.strangers += 1
            elif is_readout(self.kind, data):
                expected.append(data)
            else:
                self.broken += 1
            good = self.kind.honest(self.numbers)
            self.honest.send(good)
            self.numbers += 1
            expected.append(good)
            self.sent += 2
            self.bytes += len(data) + len(good)
            room -= 2 * (len(data) + len(good) + _OVERHEAD)
        self.readouts += len(expected)
        return expected

    def check(self, seen):
        """Every datagram is in one number, and the honest sender lost nothing."""
        assert seen.kernel_drops in (0, None)
        assert (seen.received, seen.bytes) == (self.sent, self.bytes)
        assert (seen.broken, seen.strangers) == (self.broken, self.strangers)
        counted = sum(one.received for one in seen.senders.values())
        assert counted + seen.broken + seen.strangers == seen.received
        mine = seen.senders[self.honest.getsockname()]
        assert (mine.received, mine.lost, mine.duplicates, mine.restarts) == (self.numbers, 0, 0, 0)


@pytest.mark.fault("C2", "udp-multicast", "EM")
@pytest.mark.parametrize("name", KINDS)
def test_readouts_among_hostile_datagrams(name, make_receiver, connected, stranger):
    """All readouts come out and nothing else, all datagrams are counted, and memory does not grow."""
    kind = KINDS[name]
    receiver = make_receiver(
        Kept(kind.readout_class),
        group="127.0.0.1",
        interface=None,
        sources=["127.0.0.1"],
        readout_id=lambda kept: kind.number(kept[0]),
    )
    strange = stranger(receiver)
    foes = [connected(receiver) for _ in range(7)] + ([strange] if strange else [])
    run = Run(kind, connected(receiver), strange)
    grown, before = 0, fuzz.resident_bytes()
    with fuzz.replayable(f"{name} and readouts_among", lambda: run.hostile):
        while run.hostile < fuzz.COUNT:
            expected = run.step(foes)
            found = []
            # Later in batches, which the kernel may join, and one by one out of those.
            in_batches = run.hostile > ONE_BY_ONE and run.hostile & 1
            while len(found) < len(expected):
                found += receiver.receive_many() if in_batches else [receiver.receive()]
            assert [data for _, data in found] == expected
            grown = max(grown, fuzz.resident_bytes() - before)
            run.check(receiver.statistics)
        assert grown < SLACK
        assert run.broken > run.hostile / 4


def test_a_background_queue_among_hostile_datagrams(make_receiver, connected, eventually):
    """What the queue drops is counted too, and it holds no more than it may."""
    kind = KINDS["array"]
    receiver = make_receiver(Kept(kind.readout_class), readout_id=lambda kept: kind.number(kept[0]))
    # A tenth: threads that wait for each other are slow.
    run = Run(kind, connected(receiver), None, fuzz.COUNT // 10)
    foes = [connected(receiver)]
    grown, before = 0, fuzz.resident_bytes()
    fetched = []
    with fuzz.replayable("background", lambda: run.hostile * 10), BackgroundReceiver(receiver, 16) as queue:
        while run.hostile < run.count:
            expected = run.step(foes)
            eventually(
                lambda: sum(fetched) + queue.dropped + queue.queued == run.readouts,
                "all readouts in the queue",
            )
            newest = queue.drain()
            fetched.append(len(newest))
            assert [data for _, data in newest] == expected[-16:]
            grown = max(grown, fuzz.resident_bytes() - before)
            run.check(receiver.statistics)
        assert grown < 16 * fuzz.LARGEST + SLACK


def test_an_event_loop_runs_on_beside_a_flood_without_one_readout(make_receiver, connected):
    """Other tasks have their turn after some datagrams, also when the task that receives waits for ever."""
    judged = 0

    class Good:
        @staticmethod
        def from_bytes(data):
            nonlocal judged
            judged += 1
            return {b"good": data}[data]

    receiver = make_receiver(Good, timeout=None)
    friend = connected(receiver)
    for _ in range(10 * PATIENCE):
        friend.send(b"bad")
    friend.send(b"good")

    async def watch():
        task = asyncio.create_task(anext(receiver))
        turns = [0]
        while not task.done():
            await asyncio.sleep(0)
            turns.append(judged)
        return await task, max(after - before for before, after in itertools.pairwise(turns))

    assert asyncio.run(asyncio.wait_for(watch(), LIMIT_S)) == (b"good", PATIENCE)


def test_senders_that_are_made_up_are_bounded_and_counted():
    """Addresses cost nothing: each datagram has another one, and ids that leave out every second number."""
    kind = KINDS["astropix4"]
    datagrams = hostile(kind)
    logger = logging.getLogger("udp_multicast.receiver")
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    now = 0.0
    ledger = LossLedger()
    intake = Intake(
        kind.readout_class.from_bytes,
        sources=(),
        strict=False,
        on_broken=None,
        readout_id=kind.number,
        ledger=ledger,
        clock=lambda: now,
    )
    before, made = fuzz.resident_bytes(), 0
    readouts = 0
    try:
        with fuzz.replayable("made_up", lambda: made):
            for made in range(1, fuzz.COUNT + 1):
                now += 0.0001
                host = f"10.{made >> 16 & 255}.{made >> 8 & 255}.{made & 255}"
                intake.take(datagrams.next(), (host, 5), fuzz.LARGEST)
                # As many senders as are remembered, each in turn.
                number = 2 * (made // MAX_SENDERS)
                intake.take(kind.honest(number), (f"192.0.2.{made % MAX_SENDERS}", 5), fuzz.LARGEST)
                readouts += 1
            assert len(ledger.senders()) <= MAX_SENDERS
            assert len(intake.told) <= MAX_CAUSES
            assert ledger.total().received + intake.broken == 2 * made
            assert len(records) <= (MAX_HOSTS + 1) * 4
            assert fuzz.resident_bytes() - before < SLACK
    finally:
        logger.removeHandler(handler)
    assert readouts == made


# -- channels ----------------------------------------------------------------

#: What a receiver of channels is told to hold at the most.
MAX_BYTES = 1 << 20
MAX_SIZE = 1 << 18
PIECE = 1472
_LCM_HEAD = struct.Struct(">4sIIIHH")


def verdict(data):
    """Say what a datagram is, by the layout alone: ``foreign``, ``broken``, ``small`` or ``fragment``."""
    if data[:4] not in (b"LC02", b"LC03"):
        return "foreign"
    if data[:4] == b"LC02":
        name, begin, kind = True, 8, "small"
        size, offset = MAX_SIZE, 0
    else:
        if len(data) < _LCM_HEAD.size:
            return "broken"
        _, _, size, offset, number, count = _LCM_HEAD.unpack_from(data)
        name, begin, kind = number == 0, 20, "fragment"
        if number >= count or size > MAX_SIZE:
            return "broken"
    if name:
        text, nul, _ = data[begin : begin + 64].partition(b"\0")
        try:
            text.decode()
        except UnicodeDecodeError:
            return "broken"
        if not nul:
            return "broken"
        begin += len(text) + 1
    return kind if offset + len(data) - begin <= size else "broken"


def honest_message(number):
    """A message of one to twelve datagrams: channel, payload and datagrams."""
    payload = number.to_bytes(4, "big") * (1 + number * 977 % 4000)
    channel = f"ADC{number % 3}"
    parts = encode_message(number, channel, payload, PIECE)
    return channel, payload, [b"".join(buffers) for buffers in parts]


def channel_hostile():
    """Hostile datagrams for channels, also made from what a real sender sent."""
    good = [data for number in range(8) for data in honest_message(number)[2]]
    good += [data[:PIECE] for message in recorded_messages() for data in message.datagrams]
    return fuzz.Hostile(good, fuzz.special_channel)


@pytest.fixture
def make_channels(cleanup):
    """A receiver of all channels, with limits that can be reached."""

    def make():
        place = {"group": "239.1.1.1", "port": 0, "interface": "127.0.0.1"}
        limits = {"max_size": MAX_SIZE, "max_bytes": MAX_BYTES}
        return cleanup.enter_context(ChannelReceiver(**place, **limits, timeout=LIMIT_S))

    return make


@pytest.mark.fault("C2", "udp-multicast", "EM")
def test_channels_among_hostile_datagrams(make_channels, connected, figure):
    """Messages come out whole, whatever comes between their fragments; all is counted, memory limited."""
    receiver = make_channels()
    friend = connected(receiver)
    foes = [connected(receiver) for _ in range(24)]
    datagrams = channel_hostile()
    counts = dict.fromkeys(("foreign", "broken", "small", "fragment"), 0)
    hostile = number = returned = sent = 0
    address = friend.getsockname()
    held = grown = 0
    before = fuzz.resident_bytes()
    with fuzz.replayable("channels_among", lambda: hostile):
        while hostile < fuzz.COUNT:
            expected, room = [], STEP
            while room > 0 and hostile < fuzz.COUNT:
                channel, payload, parts = honest_message(number)
                expected.append((channel, payload, number))
                number += 1
                for part in parts:
                    data = datagrams.next()
                    foes[hostile % len(foes)].send(data)
                    hostile += 1
                    counts[verdict(data)] += 1
                    friend.send(part)
                    sent += 2
                    room -= 2 * (len(data) + len(part) + _OVERHEAD)
            found = []
            while len(found) < len(expected):
                message = receiver.receive()
                returned += 1
                if message.sender == address:
                    found.append((message.channel, message.readout, message.sequence))
            assert found == expected
            held = max(held, receiver._reception._ledger.held_bytes)
            grown = max(grown, fuzz.resident_bytes() - before)
            seen = receiver.statistics
            assert seen.kernel_drops in (0, None)
            assert (seen.datagrams, seen.strangers) == (sent, 0)
            assert (seen.foreign, seen.broken) == (counts["foreign"], counts["broken"])
            assert (seen.messages, seen.ignored, seen.unreadable) == (returned, 0, 0)
            assert seen.messages == sum(one.messages for one in seen.senders.values())
            mine = seen.senders[address]
            assert (mine.messages, mine.lost, mine.duplicates, mine.restarts) == (number, 0, 0, 0)
            # One of two that make a restart was taken for a repetition first, and is in neither.
            most = counts["small"] + number
            assert most <= seen.messages + seen.duplicates + seen.restarts + counts["fragment"]
        assert held <= MAX_BYTES
        assert grown < MAX_BYTES + SLACK
        assert min(counts.values()) > hostile / 50
    refused = f"{seen.foreign} foreign, {seen.broken} broken"
    figure(f"{hostile} hostile datagrams, {refused}; {mine.messages} honest messages, {mine.lost} lost")


def test_the_line_that_replays_names_seed_count_and_test():
    with pytest.raises(AssertionError) as caught, fuzz.replayable("some_test", lambda: 17):
        raise AssertionError
    (line,) = caught.value.__notes__
    assert f"UDP_MULTICAST_FUZZ_SEED={fuzz.SEED} UDP_MULTICAST_FUZZ_DATAGRAMS=17 python -m pytest" in line
    assert line.endswith("test_fuzz.py -k 'some_test'")
    assert "\n" not in line


def test_the_same_seed_makes_the_same_datagrams():
    one, two = (fuzz.Hostile([json.dumps({"a": 1}).encode()], fuzz.special_json) for _ in range(2))
    assert [one.next() for _ in range(500)] == [two.next() for _ in range(500)]
