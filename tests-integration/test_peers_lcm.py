"""LCM on the other end: its Python module, ``lcm-logger`` and ``lcm-logplayer`` against channels and logs.

LCM needs a multicast route even on the loopback interface, so all programs run in a network namespace.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from peer_channels import SELF_TEST, expected, payload_of
from peer_namespace import LIMIT_S, Namespace, Program, network_namespace, python

from wireframe import NEED_DATA
from wireframe.eventlog import Decoder, LogEvent, encode_event

pytestmark = pytest.mark.peer

SCRIPT = str(Path(__file__).with_name("peer_channels.py"))
URL = "udpm://239.255.76.67:7667?ttl=0"
# Of a subscriber of LCM, which otherwise has room for three full fragments.
LCM_URL = f"{URL}&recv_buf_size=4194304"

MESSAGES = [("SMALL", 64), ("DATA", 60 * 1024), ("IMAGE", 5_000_000), ("EMPTY", 0), ("SMALL", 64)]
# Only the programs of our package write it, and only until the other side listens.
PROBE = "PROBE"


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    with network_namespace() as made:
        yield made


@pytest.fixture
def start(namespace, tmp_path):
    """Start programs in the namespace; they are ended with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *command: stack.enter_context(Program(namespace, command, tmp_path))


@pytest.fixture
def publisher(start):
    """Start a publisher, of LCM or ours, that waits for orders."""

    def make(whose: str) -> Program:
        program = start(*python(SCRIPT, whose, "publish", URL))
        assert program.line() == "ready"
        return program

    return make


@pytest.fixture
def subscriber(start):
    """Start a subscriber, of LCM or ours, and return when it listens."""

    def make(whose: str) -> Program:
        program = start(*python(SCRIPT, whose, "subscribe", LCM_URL if whose == "lcm" else URL))
        assert program.line() == "ready"
        return program

    return make


def tool(name: str) -> str:
    """A program of LCM itself: the script of that name would not pass signals on."""
    import lcm

    return str(Path(lcm.LCM_BIN_DIR) / name)


def publish(program: Program, channel: str, size: int) -> None:
    program.tell(f"{channel} {size}")
    assert program.line() == "sent", program.describe()


def heard(program: Program) -> dict[str, object]:
    """The next message a subscriber has heard, but for probes."""
    while True:
        message = json.loads(program.line())
        if message["channel"] != PROBE:
            return message


def events_of(log: Path) -> list[LogEvent]:
    """What a log holds so far, but for probes and what LCM says to itself; its last event may be cut."""
    decoder = Decoder()
    decoder.feed(log.read_bytes() if log.exists() else b"")
    events = iter(decoder.next_event, NEED_DATA)
    return [event for event in events if event.channel not in (PROBE, SELF_TEST)]


def until(condition, what: str, between=lambda: None) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        between()
        time.sleep(0.01)


def checked(events) -> list[tuple[str, int]]:
    """Channels and sizes of events, whose payloads are what they should be."""
    found = [(event.channel, event.data) for event in events]
    assert all(data == payload_of(len(data)) for _, data in found)
    return [(channel, len(data)) for channel, data in found]


@pytest.mark.fault("C25", "udp-multicast", "LW")
@pytest.mark.parametrize(("theirs", "ours"), [("lcm", "ours"), ("ours", "lcm"), ("lcm", "lcm")])
def test_messages_of_all_sizes_arrive_between_lcm_and_us(publisher, subscriber, theirs, ours):
    """64 B, 60 KiB and 5 MB, each on a channel of its own; LCM among itself shows that the place is right."""
    listening, sending = subscriber(ours), publisher(theirs)
    for channel, size in MESSAGES:
        publish(sending, channel, size)
        assert heard(listening) == expected(channel, size)


def test_our_losses_are_none_when_lcm_sends(publisher, start):
    """Numbers that LCM gives, small and fragmented, leave no gap; its self test is a sender like others."""
    watcher = start(*python("-m", "udp_multicast", "listen", "--url", URL, "--interval", "0.1"))
    until(lambda: "listening to" in watcher.errors, watcher.describe())
    sending = publisher("lcm")
    for channel, size in itertools.chain(MESSAGES, MESSAGES):
        publish(sending, channel, size)
    # One more may be what LCM says to itself when it starts.
    want = re.compile(rf"received ({2 * len(MESSAGES)}|{2 * len(MESSAGES) + 1}),")
    until(lambda: want.search(watcher.line()) is not None, watcher.describe())
    assert watcher.interrupt() == 0
    assert " 0 lost, 0 dropped by the system" in watcher.errors


def test_lcm_logger_records_us_and_we_read_and_replay_its_log(publisher, subscriber, start, tmp_path):
    log = tmp_path / "theirs.lcm"
    logger = start(tool("lcm-logger"), "--lcm-url", LCM_URL, str(log))
    sending = publisher("ours")
    until(
        lambda: log.exists() and log.stat().st_size > 0,
        f"no event was logged by {logger.describe()}",
        lambda: publish(sending, PROBE, 1),
    )
    for channel, size in MESSAGES:
        publish(sending, channel, size)
    # What it logged it keeps to itself until more comes.
    until(
        lambda: len(events_of(log)) >= len(MESSAGES),
        f"not all was logged by {logger.describe()}",
        lambda: publish(sending, PROBE, 1),
    )
    assert logger.interrupt() == 0, logger.describe()
    assert checked(events_of(log)) == MESSAGES

    theirs, ours = subscriber("lcm"), subscriber("ours")
    player = start(*python("-m", "udp_multicast", "replay", str(log), "--fast", "--url", URL))
    assert player.ended() == 0, player.describe()
    for listening in (theirs, ours):
        assert [heard(listening) for _ in MESSAGES] == [expected(*one) for one in MESSAGES]


def test_we_record_lcm_and_lcm_logplayer_plays_our_log(publisher, subscriber, start, tmp_path):
    log = tmp_path / "ours.lcm"
    channels = [part for channel in ("SMALL", "DATA", "IMAGE", "EMPTY") for part in ("--channel", channel)]
    recorder = start(*python("-m", "udp_multicast", "record", str(log), "--url", URL, *channels))
    until(lambda: "recording" in recorder.errors, recorder.describe())
    sending = publisher("lcm")
    for channel, size in MESSAGES:
        publish(sending, channel, size)
    until(lambda: len(events_of(log)) == len(MESSAGES), f"not all was recorded by {recorder.describe()}")
    assert recorder.interrupt() == 0, recorder.describe()
    assert checked(events_of(log)) == MESSAGES

    listening = subscriber("ours")
    player = start(tool("lcm-logplayer"), "--speed", "10", "--lcm-url", URL, str(log))
    assert player.ended() == 0, player.describe()
    assert [heard(listening) for _ in MESSAGES] == [expected(*one) for one in MESSAGES]


def test_event_logs_are_the_same_file_for_lcm_and_for_us(tmp_path):
    """Written by either for the same events, the bytes are the same; each reads the other's."""
    import lcm

    events = [
        (1_700_000_000_000_000 + 1000 * n, channel, payload_of(size))
        for n, (channel, size) in enumerate(MESSAGES)
    ]
    theirs, ours = tmp_path / "theirs.lcm", tmp_path / "ours.lcm"
    writer = lcm.EventLog(str(theirs), "w")
    for event in events:
        writer.write_event(*event)
    writer.close()
    ours.write_bytes(b"".join(part for n, event in enumerate(events) for part in encode_event(n, *event)))
    assert theirs.read_bytes() == ours.read_bytes()
    assert [(one.timestamp_us, one.channel, one.data) for one in events_of(theirs)] == events
    assert [(one.timestamp, one.channel, one.data) for one in lcm.EventLog(str(ours), "r")] == events
