"""Faults of the catalogue, played on readouts and channels with the tools of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import measure
import pytest
from failing_socket import CODES, FailingCall, fail_each_call
from seeds import replayable, seeds
from simulator import Faults, Network

from udp_multicast import BackgroundReceiver, MulticastReceiver, MulticastSender, RawBytes, ReceiverClosed
from udp_multicast.channels import ChannelReceiver, ChannelSender, SenderStatistics, _mmsg
from wireframe.datagram import encode_fragments, encode_small
from wireframe.eventlog import encode_event

#: Seconds for a step on a busy machine.
LIMIT_S = 20.0
GROUP, LOCAL = "239.255.76.71", "127.0.0.1"
MESSAGES = 40
PIECE = 100


def datagrams_of(number, size):
    """A message with its number in front, small or in fragments."""
    payload = number.to_bytes(4, "big") + bytes([number % 256]) * size
    if size < PIECE:
        return payload, [b"".join(encode_small(number, "ADC", payload))]
    return payload, [b"".join(parts) for parts in encode_fragments(number, "ADC", payload, PIECE)]


def arrivals(seed):
    """What a sender sends, and the datagrams that the network in memory lets through, in their order."""
    network = Network(seed)
    dice = network.random
    # What is later than the receiver waits for is another matter.
    network.faults = Faults(
        loss=dice.choice((0.0, 0.05, 0.3, 0.5)),
        duplication=dice.choice((0.0, 0.1, 0.5)),
        reordering=dice.choice((0.0, 0.1, 0.5)),
        spread_s=dice.choice((0.0, 0.004)),
    )
    sent, got = {}, []
    network.attach("receiver", lambda data, source: got.append(data))
    for number in range(MESSAGES):
        payload, datagrams = datagrams_of(number, dice.choice((0, 20, 250, 700)))
        sent[number] = payload, datagrams
        for data in datagrams:
            network.after(0.001 * number, network.send, "sender", "receiver", data)
    network.run()
    return sent, got


def expected(sent, got):
    """Numbers of the messages that must come out, in order; how many of them late, how many again."""
    missing = {number: set(datagrams) for number, (_, datagrams) in sent.items()}
    owner = {data: number for number, (_, datagrams) in sent.items() for data in datagrams}
    order, late, repeated, highest = [], 0, 0, -1
    for data in got:
        number = owner[data]
        if missing[number]:
            missing[number].discard(data)
            if not missing[number]:
                order.append(number)
                late += number < highest
                highest = max(highest, number)
        elif len(sent[number][1]) == 1:
            # A fragment that comes again is counted as such, and not as a message.
            repeated += 1
    return order, late, repeated


@pytest.mark.timeout(1800)
@pytest.mark.fault("C11", "udp-multicast", "LW")
def test_c11_a_receiver_returns_what_came_whole_once_and_counts_the_rest(figure):
    """L W: messages whose datagrams all came are returned, each once; lost, late and repeated are exact."""
    messages = returned = late = lost = 0
    for seed in seeds():
        with replayable(seed, "test_channels_rows.py", "test_c11_a_receiver_returns"):
            sent, got = arrivals(seed)
            found, counts = received(got)
            order, are_late, repeated = expected(sent, got)
            missing = max(order) - min(order) + 1 - len(order) if order else 0
            assert [number for number, _ in found] == order
            assert all(payload == sent[number][0] for number, payload in found)
            assert (counts.lost, counts.late, counts.duplicates) == (missing, are_late, repeated)
            messages += MESSAGES
            returned += len(order)
            lost += missing
            late += are_late
    figure(f"{len(seeds())} seeds: {returned} of {messages} messages, {lost} counted lost, {late} late")


def received(datagrams):
    """What a receiver returns for these datagrams of one sender, and its account."""
    with (
        ChannelReceiver(None, None, "127.0.0.1", 0, timeout=LIMIT_S) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        for sock in (sender, other):
            sock.connect(("127.0.0.1", receiver.port))
        for data in datagrams:
            sender.send(data)
        # Of another sender, and behind all of the first.
        other.send(b"".join(encode_small(0, "END", b"")))
        found = []
        while (message := receiver.receive()).channel != "END":
            found.append((message.sequence, message.readout))
        senders = receiver.statistics.senders
        return found, senders.get(sender.getsockname(), SenderStatistics())


# -- C13: more than anybody can read

BURST = 100_000
#: Bytes of a readout; all of them would be 140 MB.
READOUT = bytes(1400)
#: Bytes of receive buffer to ask for, which Linux doubles.
SMALL_BUFFER = 8192
#: Bytes that memory may grow by besides what a limit allows.
SLACK = 8 << 20


class Growth:
    """How far the memory of this process has grown at most."""

    def __init__(self):
        self._before = measure.resident_bytes()
        self.bytes = 0

    def look(self):
        self.bytes = max(self.bytes, measure.resident_bytes() - self._before)

    def __str__(self):
        return f"{self.bytes >> 10} KiB"


def burst(send, growth):
    """Send a burst, and look at the memory now and then."""
    for number in range(BURST):
        send(READOUT)
        if not number % 2000:
            growth.look()
    growth.look()


@pytest.mark.fault("C13", "udp-multicast", "LM")
@pytest.mark.parametrize("kind", ["readouts", "channels"])
def test_c13_a_burst_into_a_small_buffer_costs_no_memory_and_every_datagram_is_counted(figure, kind):
    """L M: nobody reads 100 000 datagrams; those that the buffer held come out, the others are told."""
    place = {"interface": LOCAL, "timeout": LIMIT_S, "buffer_size": SMALL_BUFFER}
    with contextlib.ExitStack() as stack:
        if kind == "readouts":
            receiver = stack.enter_context(MulticastReceiver(RawBytes, GROUP, 0, **place))
            sender = stack.enter_context(MulticastSender(GROUP, receiver.port, interface=LOCAL))
        else:
            receiver = stack.enter_context(ChannelReceiver(None, None, GROUP, 0, **place))
            sender = stack.enter_context(ChannelSender("ADC", GROUP, receiver.port, 0, interface=LOCAL))
        sender.send_data(READOUT)
        receiver.receive()
        growth = Growth()
        burst(sender.send_data, growth)
        found = receiver.receive_many()
        # The next one tells of the gap.
        sender.send_data(READOUT)
        receiver.receive()
        counts = receiver.statistics
        growth.look()
    received = counts.received if kind == "readouts" else counts.messages
    assert received == len(found) + 2
    assert received + counts.kernel_drops == BURST + 2
    assert kind == "readouts" or counts.lost == counts.kernel_drops
    assert growth.bytes <= SLACK
    figure(f"{kind}: {len(found)} held, {counts.kernel_drops} dropped and counted; memory grew by {growth}")


@pytest.mark.fault("C13", "udp-multicast", "LM")
def test_c13_a_burst_into_a_background_queue_takes_what_the_queue_may_hold(figure):
    """L M: nobody fetches; the queue holds the newest, and each of the others is in one number."""
    most = 256
    with (
        MulticastReceiver(RawBytes, GROUP, 0, interface=LOCAL, timeout=LIMIT_S) as receiver,
        MulticastSender(GROUP, receiver.port, interface=LOCAL) as sender,
        BackgroundReceiver(receiver, most) as queue,
    ):
        sender.send_data(READOUT)
        assert queue.get(LIMIT_S) == READOUT
        growth = Growth()
        burst(sender.send_data, growth)
        deadline = time.monotonic() + LIMIT_S
        while (counts := receiver.statistics).received + counts.kernel_drops < BURST + 1 or (
            queue.queued + queue.dropped + 1 < counts.received
        ):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        growth.look()
        assert counts.received + counts.kernel_drops == BURST + 1
        assert queue.queued == min(most, counts.received - 1)
        assert queue.queued + queue.dropped + 1 == counts.received
        dropped = queue.dropped
        assert queue.drain() == [READOUT] * min(most, counts.received - 1)
    assert growth.bytes <= most * len(READOUT) + SLACK
    figure(
        f"{counts.received} received, {dropped} of them dropped by a queue of {most}; {counts.kernel_drops} "
        f"dropped by the system; memory grew by {growth}"
    )


# -- C19: ended by a signal, or closed by another thread


def readouts(**settings):
    return MulticastReceiver(RawBytes, GROUP, 0, interface=LOCAL, **settings)


def channels(**settings):
    return ChannelReceiver(None, None, GROUP, 0, interface=LOCAL, **settings)


def all_of(receiver):
    return list(receiver)


def all_in_a_loop(receiver):
    async def collect():
        return [one async for one in receiver]

    return asyncio.run(collect())


#: How to wait without end: what is closed, and the call that has to end then.
WAITS = {
    "receive": (readouts, lambda receiver: receiver.receive()),
    "receive_many": (readouts, lambda receiver: receiver.receive_many()),
    "receive_datagram": (readouts, lambda receiver: receiver.receive_datagram()),
    "for": (readouts, all_of),
    "async for": (readouts, all_in_a_loop),
    "background get": (lambda: BackgroundReceiver(readouts()), lambda queue: queue.get()),
    "channels receive": (channels, lambda receiver: receiver.receive()),
    "channels receive_many": (channels, lambda receiver: receiver.receive_many()),
    "channels for": (channels, all_of),
    "channels async for": (channels, all_in_a_loop),
    "channels send": (
        lambda: ChannelSender("ADC", GROUP, 5007, 0, interface=LOCAL, bytes_per_s=1.0),
        lambda sender: sender.send(bytes(1 << 20)),
    ),
}


def await_sleep(thread):
    """Wait until a thread does nothing any more; if that is too early, the test is right all the same."""
    state = Path(f"/proc/self/task/{thread.native_id}/stat")
    deadline, asleep = time.monotonic() + LIMIT_S, 0
    while asleep < 20:
        asleep = asleep + 1 if state.read_text().rpartition(")")[2].split()[0] == "S" else 0
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.fault("C19", "udp-multicast", "MT")
def test_c19_whoever_waits_without_end_returns_when_another_thread_closes(figure):
    """M T: every way to wait, in a thread of its own; measured from `close` to the return of the call."""
    before = measure.running_threads(), measure.open_descriptors()
    taken = {}
    for name, (make, wait) in WAITS.items():
        ended = []

        def run(wait=wait, ended=ended):
            try:
                result: Any = wait(thing)  # noqa: B023 - the thread has ended when it is another one
            except OSError as error:
                result = error
            ended.append((time.monotonic(), result))

        thing = make()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            await_sleep(thread)
            began = time.monotonic()
        finally:
            thing.close()
        thread.join(LIMIT_S)
        assert not thread.is_alive(), name
        (end, result) = ended[0]
        assert result == [] or isinstance(result, ReceiverClosed) or name == "channels send", (name, result)
        taken[name] = end - began
    assert (measure.running_threads(), measure.open_descriptors()) == before
    slowest = max(taken, key=taken.__getitem__)
    assert taken[slowest] < LIMIT_S
    figure(
        f"{len(taken)} ways to wait ended; the slowest ({slowest}) {taken[slowest] * 1e3:.0f} ms after close"
    )


#: A program that waits in its main thread; SIGTERM closes, SIGINT interrupts.
PROGRAM = """
import asyncio, signal, sys
from udp_multicast import BackgroundReceiver, ChannelReceiver, MulticastReceiver, RawBytes, ReceiverClosed

place = ("{group}", {port})
if "{what}".startswith("channels"):
    thing = ChannelReceiver(None, None, *place, interface="{local}")
else:
    thing = MulticastReceiver(RawBytes, *place, interface="{local}")
if "{what}" == "background":
    thing = BackgroundReceiver(thing)
    def read():
        try:
            while True:
                yield thing.get()
        except ReceiverClosed:
            return
else:
    read = lambda: thing

def handle(number, frame):
    thing.close()

async def read_in_a_loop():
    async for _ in thing:
        print("one", flush=True)

signal.signal(signal.SIGTERM, handle)
print("ready", flush=True)
try:
    if "{what}".endswith("async"):
        asyncio.run(read_in_a_loop())
    else:
        for _ in read():
            print("one", flush=True)
except KeyboardInterrupt:
    thing.close()
    sys.exit(42)
print("done")
"""


@contextlib.contextmanager
def program(*command, **streams):
    """A process that is gone in the end."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", *command], stderr=subprocess.PIPE, text=True, **streams
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def seconds_to_end(process, number, expected):
    """Send a signal, and return how long the process goes on."""
    began = time.monotonic()
    process.send_signal(number)
    code = process.wait(LIMIT_S)
    seconds = time.monotonic() - began
    assert code == expected, process.stderr.read()
    return seconds


@pytest.mark.fault("C19", "udp-multicast", "T")
@pytest.mark.parametrize("what", ["readouts", "readouts async", "background", "channels", "channels async"])
def test_c19_a_loop_over_readouts_ends_at_a_signal(figure, what):
    """T: a handler of SIGTERM closes the receiver that its thread waits for; SIGINT raises in the wait."""
    taken = {}
    for number, expected in ((signal.SIGTERM, 0), (signal.SIGINT, 42)):
        with readouts() as own:  # holds the port
            text = PROGRAM.format(group=GROUP, local=LOCAL, port=own.port, what=what)
            with (
                program("-c", text, stdout=subprocess.PIPE) as process,
                MulticastSender(GROUP, own.port, interface=LOCAL) as sender,
            ):
                assert process.stdout.readline() == "ready\n"
                sender.send_data(b"".join(encode_small(0, "ADC", b"x")))
                assert process.stdout.readline() == "one\n"
                taken[number.name] = seconds_to_end(process, number, expected)
                assert process.stdout.read() == ("" if expected else "done\n")
                assert process.stderr.read() == ""
    assert max(taken.values()) < LIMIT_S
    figure(f"{what}: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in taken.items()))


@pytest.mark.fault("C19", "udp-multicast", "T")
@pytest.mark.parametrize("kind", ["readouts", "channels"])
@pytest.mark.parametrize("command", ["send", "listen", "record", "replay"])
def test_c19_commands_end_at_a_signal(figure, tmp_path, command, kind):
    """T: measured from the signal to the end of the process, while it waits for what never comes."""
    on_channel = ["--channel", "ADC"] if kind == "channels" else []
    taken = {}
    with readouts(timeout=LIMIT_S) as own:
        place = ["--group", GROUP, "--port", str(own.port), "--interface", LOCAL, *on_channel]
        log = tmp_path / "pause.lcm"
        log.write_bytes(two_events_far_apart())
        for number in (signal.SIGINT, signal.SIGTERM):
            file = {"replay": [str(log)], "record": [str(tmp_path / f"{number.name}.lcm")]}.get(command, [])
            words = ["-m", "udp_multicast", command, *file, *place]
            with program(*words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
                if command in ("send", "replay"):
                    if command == "send":
                        process.stdin.write("hello\n")
                        process.stdin.flush()
                    own.receive()
                    expected = 128 + number
                else:
                    assert process.stderr.readline().startswith(("listening", "recording"))
                    expected = 0
                taken[number.name] = seconds_to_end(process, number, expected)
                assert "Traceback" not in process.stderr.read()
    assert max(taken.values()) < LIMIT_S
    figure(f"{command}, {kind}: " + ", ".join(f"{name} {one:.2f} s" for name, one in taken.items()))


def two_events_far_apart():
    """A log whose second event is due in an hour."""
    events = [(0, 0), (1, 3_600_000_000)]
    return b"".join(
        b"".join(encode_event(number, timestamp_us, "ADC", b"x")) for number, timestamp_us in events
    )


# -- C23: any call that fails

#: Calls of a socket that the system may refuse; a refused `close` would be a leak of the test's own.
METHODS = [
    *("setsockopt", "getsockopt", "bind", "getsockname", "connect", "shutdown"),
    *("recvfrom_into", "recvmsg_into", "sendto", "sendmsg", "send"),
]
#: Seconds that a call may wait.
TIMEOUT_S = 0.02


class Trials:
    """Calls that may fail, and only with an error of the system; how long each took."""

    def __init__(self):
        self.slowest = 0.0
        self.refused = 0

    def __call__(self, call, *arguments, **settings):
        """Return what the call returns; None if it fails."""
        began = time.monotonic()
        try:
            return call(*arguments, **settings)
        except OSError:
            self.refused += 1
            return None
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)


@contextlib.contextmanager
def calls_that_are_no_methods(failing):
    """Let other calls fail too: those that make a socket or copy a descriptor, `poll`, those of ctypes."""

    def fails():
        with failing._lock:
            failing.calls += 1
            return failing.calls - 1 == failing.which

    def watched(real):
        def call(*arguments, **named):
            if fails():
                raise OSError(failing.code, os.strerror(failing.code))
            return real(*arguments, **named)

        return call

    class Poll:
        def __init__(self):
            self._real = real_poll()
            self.register = self._real.register
            self.poll = watched(self._real.poll)

    def find(name):
        found = real_find(name)

        def call(*arguments):
            if fails():
                ctypes.set_errno(failing.code)
                return -1
            return found(*arguments)

        return call if found is not None else None

    def make(sock, *arguments, **named):
        # The system makes none where there is a descriptor already.
        (real_init if named.get("fileno") is not None else watched(real_init))(sock, *arguments, **named)

    real_poll, real_find, real_init = select.poll, _mmsg.find, socket.socket.__init__
    with (
        mock.patch.object(socket.socket, "__init__", make),
        mock.patch.object(socket, "dup", watched(socket.dup)),
        mock.patch.object(select, "poll", Poll),
        mock.patch.object(_mmsg, "find", find),
    ):
        yield


@dataclass
class Play:
    """What is tried, and what was opened for it; closed when it is over."""

    failing: FailingCall
    trials: Trials
    stack: contextlib.ExitStack
    runner: asyncio.Runner

    def open(self, make, *arguments, **settings):
        thing = self.trials(make, *arguments, **settings)
        return None if thing is None else self.stack.enter_context(contextlib.closing(thing))

    def open_pair(self, make=readouts):
        """A receiver and a sender of readouts to it, or of what a receiver of channels takes; or None."""
        receiver = self.open(make, timeout=TIMEOUT_S)
        if receiver is None:
            return None, None
        return receiver, self.open(MulticastSender, GROUP, receiver.port, interface=LOCAL)

    def use_again(self, send, receive):
        """Once the call has failed, both ends have to work as ever; nothing is tried here."""
        if self.failing.has_failed:
            data = b"".join(encode_small(1000, "ADC", b"again"))
            send(data)
            while receive() not in (data, b"again"):
                pass


def one_by_one(play):
    receiver, sender = play.open_pair()
    if sender is None:
        return
    for number in range(3):
        play.trials(sender.send_data, bytes([number]))
    play.trials(sender.send_parts, [b"a", b"b"])
    for call in (receiver.receive, receiver.receive_datagram, receiver.__next__, receiver.receive):
        play.trials(call)
    play.trials(lambda: receiver.statistics)
    play.use_again(sender.send_data, lambda: receiver.receive_datagram(LIMIT_S).data)
    play.trials(receiver.leave, LOCAL)
    play.trials(receiver.join, LOCAL)


def in_batches(play):
    receiver, sender = play.open_pair()
    if sender is None:
        return
    play.trials(sender.send_readouts, [RawBytes(bytes([number])) for number in range(8)])
    for _ in range(2):
        play.trials(receiver.receive_many)
    play.use_again(
        lambda data: sender.send_readouts([RawBytes(data)]), lambda: receiver.receive_datagram(LIMIT_S).data
    )


def in_the_background(play):
    receiver, sender = play.open_pair()
    if sender is None:
        return
    queue = play.open(BackgroundReceiver, receiver)
    for number in range(3):
        play.trials(sender.send_data, bytes([number]))
    for _ in range(3):
        play.trials(queue.get, TIMEOUT_S)


def on_channels(play):
    receiver = play.open(channels, timeout=TIMEOUT_S)
    if receiver is None:
        return
    sender = play.open(ChannelSender, "ADC", GROUP, receiver.port, 0, interface=LOCAL, bytes_per_s=None)
    if sender is None:
        return
    play.trials(sender.send, b"small")
    play.trials(sender.send, bytes(200_000))
    play.trials(sender.send_many, [bytes([number]) for number in range(8)])
    for call in (receiver.receive, receiver.receive, receiver.receive_many, receiver.receive):
        play.trials(call)
    play.trials(lambda: receiver.statistics)
    play.use_again(lambda _: sender.send(b"again"), lambda: receiver.receive(LIMIT_S).readout)


def in_a_loop(play):
    async def read(receiver):
        return await anext(receiver)

    for make in (readouts, channels):
        receiver, sender = play.open_pair(make)
        if sender is None:
            return
        for number in range(2):
            play.trials(sender.send_data, b"".join(encode_small(number, "ADC", b"x")))
        for _ in range(3):
            play.trials(play.runner.run, read(receiver))
        if make is readouts:
            play.use_again(sender.send_data, lambda: receiver.receive_datagram(LIMIT_S).data)  # noqa: B023
        else:
            play.use_again(sender.send_data, lambda: receiver.receive(LIMIT_S).readout)  # noqa: B023


def held():
    """Threads and descriptors; without a collection, on which nothing here may depend."""
    return measure.running_threads(), sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.fault("C23", "udp-multicast", "TE")
@pytest.mark.parametrize("act", [one_by_one, in_batches, in_the_background, on_channels, in_a_loop])
def test_c23_any_call_that_fails_is_told_as_such_in_time_and_leaves_nothing_behind(caplog, figure, act):
    """T E: the k-th call fails, for every k: calls return or raise an OSError, and both ends go on."""
    caplog.set_level(logging.CRITICAL)
    trials = Trials()

    def run(failing):
        before = held()
        with asyncio.Runner() as runner:
            runner.get_loop()
            with contextlib.ExitStack() as stack:
                stack.enter_context(failing.installed())
                stack.enter_context(calls_that_are_no_methods(failing))
                act(Play(failing, trials, stack, runner))
        assert held() == before
        with readouts(timeout=LIMIT_S) as receiver:
            with MulticastSender(GROUP, receiver.port, interface=LOCAL) as sender:
                sender.send_data(b"as ever")
            assert receiver.receive() == b"as ever"

    codes = [*CODES, "ENETUNREACH"]
    failures = [fail_each_call(run, METHODS, getattr(errno, name)) for name in codes]
    assert min(failures) > 10
    assert trials.refused > 10 * len(codes)
    # On an idle machine it is the longest wait, and not much more.
    assert trials.slowest < LIMIT_S
    figure(
        f"{act.__name__}: {sum(failures)} calls failed one by one, with {len(codes)} errors; the slowest "
        f"call with a timeout of {TIMEOUT_S} s returned after {trials.slowest:.2f} s"
    )
