"""The command line, in this process and as a process."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import threading
import time

import pytest

from udp_multicast import MulticastReceiver, MulticastSender, RawBytes
from udp_multicast.__main__ import build_parser, main
from udp_multicast._commands import _history, _plot, _sources, listen, replay, send
from udp_multicast._commands._history import ALL, History
from udp_multicast._commands._log_file import LogReader, LogWriter
from udp_multicast._commands._place import Place, UsageError, read_place
from udp_multicast._commands._sources import SenderTotals, Totals, open_source
from udp_multicast._commands._stopping import Interrupted, Stop
from udp_multicast._commands._timeline import Timeline
from udp_multicast._display import quantity
from udp_multicast.channels import ChannelReceiver, ChannelSender
from wireframe.datagram import encode_small

GROUP, LOOPBACK = "239.255.76.69", "127.0.0.1"
LIMIT_S = 20.0


class Clock:
    """Time that passes by sleeping."""

    def __init__(self):
        self.now = 500.0
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class TickingClock:
    """A second passes whenever somebody looks at it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def untouched_process(monkeypatch):
    """The command sets up logging for its process; this process is not its own."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.delenv("LCM_DEFAULT_URL", raising=False)


@pytest.fixture
def cleanup():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def plain(cleanup):
    """Somebody who hears plain readouts; the port is his, and others may share it."""
    return cleanup.enter_context(MulticastReceiver(RawBytes, GROUP, 0, interface=LOOPBACK, timeout=LIMIT_S))


@pytest.fixture
def channels(cleanup):
    """Somebody who hears all channels."""
    return cleanup.enter_context(ChannelReceiver(None, None, GROUP, 0, interface=LOOPBACK, timeout=LIMIT_S))


def at(receiver):
    return ["--group", GROUP, "--port", str(receiver.port), "--interface", LOOPBACK]


def place(port=0, *, on_channels=False, channels=()):
    return Place(GROUP, port, None, LOOPBACK, on_channels, channels, None)


@contextlib.contextmanager
def repeated(send):
    """Call something over and over in another thread, for programs that begin to listen some time."""
    over = threading.Event()

    def run():
        while not over.wait(0.001):
            send()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(LIMIT_S)


@contextlib.contextmanager
def as_process(*arguments, ready=None, **settings):
    """The command as a process of its own; killed in the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "udp_multicast", *arguments], stderr=subprocess.PIPE, text=True, **settings
    )
    try:
        if ready is not None:
            assert ready in process.stderr.readline()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def interrupt_when_running(process):
    """Send SIGTERM when the program handles it, which the system tells."""
    deadline = time.monotonic() + LIMIT_S
    mask = 1 << (signal.SIGTERM - 1)
    while True:
        with open(f"/proc/{process.pid}/status") as status:  # noqa: PTH123
            caught = next(line for line in status if line.startswith("SigCgt:"))
        if int(caught.split()[1], 16) & mask:
            break
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)


# send


@pytest.fixture
def stdin(monkeypatch):
    def give(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def test_send_sends_each_line_of_its_input_as_a_readout(plain, stdin, capsys):
    stdin(b"one\r\n\ntwo")
    assert main(["send", *at(plain)]) == 0
    assert [plain.receive() for _ in range(3)] == [b"one", b"", b"two"]
    assert re.search(r"^sent 3 readouts, 6 B in \d", capsys.readouterr().err, re.MULTILINE)


def test_send_sends_files_by_line_or_whole_and_repeated(plain, tmp_path):
    file = tmp_path / "readouts"
    file.write_bytes(b"one\ntwo\n")
    assert main(["send", str(file), "--repeat", "2", *at(plain)]) == 0
    assert main(["send", str(file), "--whole", *at(plain)]) == 0
    assert [plain.receive() for _ in range(5)] == [b"one", b"two", b"one", b"two", b"one\ntwo\n"]


def test_send_whole_takes_standard_input_too(plain, stdin):
    stdin(b"one\ntwo\n")
    assert main(["send", "--whole", *at(plain)]) == 0
    assert plain.receive() == b"one\ntwo\n"


def test_send_makes_up_readouts_with_number_and_time(plain):
    before = time.time_ns()
    assert main(["send", "--generate", "3", "--size", "20", *at(plain)]) == 0
    for number in range(3):
        data = plain.receive()
        sent_number, sent_ns = struct.unpack(">QQ", data[:16])
        assert (len(data), sent_number) == (20, number)
        assert before <= sent_ns <= time.time_ns()


def test_send_on_a_channel(channels, stdin):
    stdin(b"hello\n")
    assert main(["send", "--channel", "ADC", *at(channels)]) == 0
    message = channels.receive()
    assert (message.channel, message.readout) == ("ADC", b"hello")


def test_send_on_a_channel_takes_large_readouts(channels):
    """The receiver reads meanwhile, so a usual buffer is enough."""
    arguments = ["send", "--generate", "1", "--size", "300000", "--channel", "ADC", *at(channels)]
    thread = threading.Thread(target=main, args=(arguments,))
    thread.start()
    assert len(channels.receive().readout) == 300_000
    thread.join(LIMIT_S)


def test_send_at_a_rate(plain):
    """11 readouts at 100 a second: the first two at once, nine more within 90 ms."""
    begin = time.monotonic()
    assert main(["send", "--generate", "11", "--rate", "100", *at(plain)]) == 0
    assert time.monotonic() - begin >= 0.085


def test_send_without_end_ends_at_a_signal_with_a_summary(plain):
    with as_process("send", "--generate", "0", "--rate", "1000", *at(plain)) as process:
        plain.receive()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert re.fullmatch(r"sent \d+ readouts, .* s\n", errors)


def test_send_that_waits_for_input_ends_at_a_signal(plain):
    with as_process("send", *at(plain), stdin=subprocess.PIPE) as process:
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert plain.receive() == b"hello"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 128 + signal.SIGINT
        assert process.stderr.read().startswith("sent 1 readouts, 5 B in ")


def test_send_that_waits_for_a_fifo_to_be_opened_ends_at_a_signal(plain, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with as_process("send", str(tmp_path / "fifo"), *at(plain)) as process:
        interrupt_when_running(process)
        assert process.wait(LIMIT_S) == 128 + signal.SIGTERM
        assert process.stderr.read().startswith("sent 0 readouts")


@pytest.mark.parametrize("size", [0, 15, 16, 17, 300, 700])
def test_made_up_readouts_count_their_bytes_after_the_stamp(size):
    (data,) = send._made_up(1, size)
    assert (len(data), data[16:]) == (size, bytes(i & 0xFF for i in range(max(0, size - 16))))


def test_send_refuses_a_size_above_every_limit_before_it_makes_the_bytes_up(plain, capsys):
    """Bytes of that number fit into no memory."""
    assert main(["send", "--generate", "1", "--size", str(1 << 60), "--channel", "A", *at(plain)]) == 2
    assert f"--size is at most {1 << 28}" in capsys.readouterr().err


def test_send_shows_its_progress_on_a_terminal(plain, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["send", "--generate", "2", *at(plain)]) == 0
    assert "50% 1 readouts" in terminal.getvalue()


# listen


def listen_to(source, count, sent, capsys, **options):
    """What is printed about readouts that are in the buffer already, one each second."""
    sent()
    stop = Stop(TickingClock())
    given = argparse.Namespace(count=count, duration=None, interval=1.0, **options)
    received = listen.listen(source, History(source.totals()), stop, given)
    assert received == count
    return capsys.readouterr().out


def test_listen_prints_rates_and_losses_of_senders_line_by_line(capsys):
    """Number 1 is missing, and the line says whose it is."""
    with open_source(place(on_channels=True)) as source:

        def send():
            with MulticastSender(GROUP, source.port, interface=LOOPBACK) as sender:
                for number in (0, 2, 3):
                    sender.send_parts(encode_small(number, "ADC", b"hello"))

        lines = listen_to(source, 3, send, capsys).splitlines()
    assert len(lines) == 3
    assert re.fullmatch(
        r"3\.0 s  1 /s  5 B/s  received 2, 10 B, 1 lost(, 0 dropped by the system)? \(127\.0\.0\.1:\d+ 1\)",
        lines[2],
    )


def test_listen_knows_no_losses_of_plain_readouts(capsys):
    with open_source(place()) as source:

        def send():
            with MulticastSender(GROUP, source.port, interface=LOOPBACK) as sender:
                for _ in range(2):
                    sender.send_data(b"hello")

        lines = listen_to(source, 2, send, capsys).splitlines()
    assert re.search(r"received 1, 5 B(, 0 dropped by the system)?$", lines[1])


def test_listen_shows_a_table_in_place_on_a_terminal(monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with open_source(place(on_channels=True)) as source:

        def send():
            with ChannelSender("ADC", GROUP, source.port, interface=LOOPBACK) as sender:
                for _ in range(3):
                    sender.send(b"hello")

        listen_to(source, 3, send, capsys)
    frames = terminal.getvalue().split("\x1b[J")
    assert frames[1].startswith("\x1b["), "the second is drawn over the first"
    rows = frames[2].split("\n")
    assert "received 2, 10 B, 0 lost" in rows[0]
    assert rows[2].lstrip("\r").startswith("all ")
    assert re.search(r"127\.0\.0\.1:\d+ +1 /s +5 B/s +2 +0 ██\x1b", rows[3])


def test_listen_shows_the_loudest_senders_and_how_many_more(monkeypatch):
    senders = {f"host:{n}": SenderTotals(messages=n) for n in range(30)}
    totals = Totals(messages=435, senders=senders, refused=3)
    history = History(Totals())
    history.add(1.0, totals)
    rows = list(listen._table(1.0, totals, history, plain=True))
    assert rows[0] == "1 s  received 435, 0 B, 3 refused"
    assert [row.split()[0] for row in rows[3:6]] == ["host:29", "host:28", "host:27"]
    assert " ? " in rows[3], "losses of plain readouts are not known"
    assert rows[-1] == "and 10 more senders"


def test_listen_ends_after_its_time_and_says_so_if_too_few_came(plain, capsys):
    assert main(["listen", "--duration", "0.05", "--count", "1", *at(plain)]) == 3
    errors = capsys.readouterr().err
    assert errors.startswith(f"listening to {GROUP}:{plain.port}\n")
    assert "received 0, 0 B" in errors


def test_listen_ends_after_its_time(plain):
    assert main(["listen", "--duration", "0.05", "--interval", "0.02", *at(plain)]) == 0


def test_listen_draws_a_picture(channels, tmp_path, cleanup):
    sender = cleanup.enter_context(ChannelSender("ADC", GROUP, channels.port, interface=LOOPBACK))
    picture = tmp_path / "rates.png"
    with repeated(lambda: sender.send(b"hello")):
        what = ["--count", "5", "--interval", "0.01", "--plot", str(picture), "--channel", "ADC"]
        code = main(["listen", *what, *at(channels)])
    assert code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_listen_says_early_that_matplotlib_is_missing(plain, monkeypatch, capsys, tmp_path):
    """Importing nothing: the program works without it until a picture is wanted."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["listen", "--plot", str(tmp_path / "rates.png"), *at(plain)]) == 2
    assert "pip install 'udp-multicast[plot]'" in capsys.readouterr().err


def test_listen_refuses_a_picture_of_a_kind_nobody_draws(plain, capsys, tmp_path):
    path = str(tmp_path / "rates.nonsense")
    assert main(["listen", "--duration", "0.01", "--plot", path, *at(plain)]) == 2
    assert "--plot: Format 'nonsense' is not supported" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_listen_ends_at_a_signal_with_a_summary(plain, number):
    with as_process("listen", *at(plain), ready="listening to") as process:
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 0
        assert process.stderr.read().startswith("received 0, 0 B")


def test_listen_ends_quietly_when_nobody_reads_it(plain):
    with as_process(
        "listen", "--interval", "0.01", *at(plain), ready="listening to", stdout=subprocess.PIPE
    ) as one:
        one.stdout.close()
        one.stdout = None
        assert one.wait(LIMIT_S) == 0
        assert "Traceback" not in one.stderr.read()


def test_a_history_is_bounded_and_keeps_its_ends(monkeypatch):
    history = History(Totals(), keep=True)
    for second in range(1, 20_000):
        history.add(float(second), Totals(messages=10 * second, senders={}, kernel_drops=second))
    assert len(history.samples) < 8192
    assert (history.samples[0].seconds, history.samples[-1].seconds) == (0.0, 19_999.0)
    assert history.rates(ALL)[0] == 10.0
    assert history.samples[-1].lost == 19_999
    assert history.rates("nobody") == (0.0, 0.0)
    assert history.line("nobody") == []


def test_a_history_for_a_display_keeps_no_samples():
    history = History(Totals())
    for second in range(1, 100):
        history.add(float(second), Totals(messages=second))
    assert list(history.samples) == []
    assert (history.seconds, history.rates(ALL)[0]) == (99.0, 1.0)


def test_a_history_keeps_the_loudest_senders_only_and_each_name_once():
    """However many senders there are; the loudest changes all the time."""
    history = History(Totals(), keep=True)
    for second in range(1, 200):
        senders = {
            f"host:{n}": SenderTotals(messages=second * (7 * n % 101 + second * n)) for n in range(300)
        }
        history.add(float(second), Totals(messages=1, senders=senders))
    kept = [name for sample in history.samples for name in sample.messages]
    assert max(len(sample.messages) for sample in history.samples) <= 2 * _history.LOUDEST + 1
    assert len({id(name) for name in kept}) == len(set(kept))


def test_a_sender_that_becomes_loud_later_has_its_own_rate_in_the_picture():
    """Its messages of before are not taken for messages of that moment."""
    history = History(Totals(), keep=True)
    for second in range(1, 30):
        crowd = {f"host:{n}": SenderTotals(messages=100 + second) for n in range(_history.LOUDEST)}
        history.add(float(second), Totals(senders={"late": SenderTotals(messages=9 * second), **crowd}))
    seconds, rates = _plot.rates(history.samples, "late")
    assert set(rates) == {9.0}
    assert seconds[-1] == 29.0
    assert _plot.rates(history.samples, "host:1")[1][:2] == [101.0, 1.0], "a new one begins at once"


# record and replay


def test_record_and_replay_give_back_what_was_sent(channels, cleanup, tmp_path, capsys):
    """Large messages too, with their channels; the pauses are skipped here."""
    log = tmp_path / "run.lcm"
    sender = cleanup.enter_context(ChannelSender("ADC", GROUP, channels.port, interface=LOOPBACK))

    def send():
        sender.send(b"small")
        sender.send(bytes(70_000), channel="IMAGE")

    with repeated(send):
        assert (
            main(
                ["record", str(log), "--count", "6", "--channel", "ADC", "--channel", "IMAGE", *at(channels)]
            )
            == 0
        )
    assert re.search(r"recorded 6 events, .*, \d+ lost", capsys.readouterr().err)
    with LogReader(log) as reader:
        events = list(reader)
    assert [event.number for event in events] == list(range(6))
    assert {(event.channel, len(event.data)) for event in events} == {("ADC", 5), ("IMAGE", 70_000)}
    assert abs(events[0].timestamp_us - time.time_ns() // 1000) < 60e6

    with contextlib.suppress(TimeoutError):
        while True:
            channels.receive(0)
    with ThreadedMain(
        "replay", str(log), "--fast", "--channel", "ADC", "--channel", "IMAGE", *at(channels)
    ) as thread:
        messages = [channels.receive() for _ in range(6)]
    assert thread.code == 0
    assert [(one.channel, one.readout) for one in messages] == [(one.channel, one.data) for one in events]
    assert capsys.readouterr().err.startswith("sent 6 events, ")


class ThreadedMain:
    """The command in another thread of this process."""

    def __init__(self, *arguments):
        self.code = None
        self._thread = threading.Thread(target=self._run, args=(arguments,))

    def _run(self, arguments):
        self.code = main(list(arguments))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._thread.join(LIMIT_S)


def test_record_and_replay_plain_readouts(plain, cleanup, tmp_path):
    log = tmp_path / "run.lcm"
    sender = cleanup.enter_context(MulticastSender(GROUP, plain.port, interface=LOOPBACK))
    with repeated(lambda: sender.send_data(b"readout")):
        assert main(["record", str(log), "--count", "3", *at(plain)]) == 0
    with LogReader(log) as reader:
        assert {(one.channel, one.data) for one in reader} == {(f"{GROUP}:{plain.port}", b"readout")}
    with MulticastReceiver(RawBytes, GROUP, 0, interface=LOOPBACK, timeout=LIMIT_S) as other:
        assert main(["replay", str(log), "--fast", *at(other)]) == 0
        assert [other.receive() for _ in range(3)] == [b"readout"] * 3


def test_record_ends_at_a_signal_with_a_whole_file(channels, cleanup, tmp_path):
    log = tmp_path / "run.lcm"
    sender = cleanup.enter_context(ChannelSender("ADC", GROUP, channels.port, interface=LOOPBACK))
    with as_process("record", str(log), "--channel", "ADC", *at(channels), ready="recording") as process:
        with repeated(lambda: sender.send(b"x" * 100)):
            deadline = time.monotonic() + LIMIT_S
            while not log.stat().st_size:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            process.send_signal(signal.SIGINT)
            assert process.wait(LIMIT_S) == 0
        assert re.match(r"recorded \d+ events, .* to ", process.stderr.read())
    with LogReader(log) as reader:
        assert all(event.data == b"x" * 100 for event in reader)
        assert (reader.truncated, reader.skipped) == (False, 0)


@pytest.fixture
def small_disk():
    """Files of this process cannot grow beyond some readouts."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [100, 15_000])
def test_record_on_a_full_disk_reports_what_is_in_the_file(
    plain, cleanup, tmp_path, small_disk, size, capsys
):
    log = tmp_path / "run.lcm"
    sender = cleanup.enter_context(MulticastSender(GROUP, plain.port, interface=LOOPBACK))
    with repeated(lambda: sender.send_data(bytes(size))):
        assert main(["record", str(log), *at(plain)]) == 1
    errors = capsys.readouterr().err
    found = re.search(r"recorded (\d+) events, (.+) to .*; (\d+) more are lost: .*File too large", errors)
    with LogReader(log) as reader:
        events = sum(1 for _ in reader)
        assert (reader.truncated, reader.skipped) == (False, 0)
    assert int(found[1]) == events
    assert found[2].startswith(quantity(log.stat().st_size, "B"))
    assert int(found[3]) >= 1


def test_record_does_not_overwrite_a_file_unless_told(plain, tmp_path, capsys):
    log = tmp_path / "run.lcm"
    log.write_bytes(b"precious")
    assert main(["record", str(log), "--duration", "0.01", *at(plain)]) == 1
    assert log.read_bytes() == b"precious"
    assert "File exists" in capsys.readouterr().err
    assert main(["record", str(log), "--duration", "0.01", "--overwrite", *at(plain)]) == 0
    assert log.read_bytes() == b""


def test_record_says_so_if_too_few_came(plain, tmp_path):
    assert main(["record", str(tmp_path / "log"), "--duration", "0.01", "--count", "1", *at(plain)]) == 3


def test_record_shows_its_progress_on_a_terminal(plain, tmp_path, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["record", str(tmp_path / "log"), "--duration", "0.01", *at(plain)]) == 0
    assert "0 events, 0 B" in terminal.getvalue()
    assert terminal.getvalue().count("\x1b[J") >= 1


class Sink:
    """Takes note of what is sent, and when."""

    def __init__(self, clock):
        self._clock = clock
        self.messages = 0
        self.size = 0
        self.sent = []

    def send(self, channel, data):
        self.messages += 1
        self.sent.append((self._clock.now - 500.0, channel, data))


@pytest.fixture
def log(tmp_path):
    """Events at 0, 1 and 4.5 s."""
    path = tmp_path / "log"
    with LogWriter(path) as writer:
        for seconds, channel in ((100.0, "A"), (101.0, "B"), (104.5, "A")):
            writer.write(int(seconds * 1e6), channel, channel.encode())
    return path


@pytest.mark.parametrize("factor", [1.0, 2.0, 0.25])
def test_replay_keeps_the_original_timing_or_a_factor_of_it(log, factor):
    clock = Clock()
    sink = Sink(clock)
    with LogReader(log) as reader:
        replay.replay(reader, sink, Timeline(factor), Stop(clock, clock.sleep))
    assert [one[0] for one in sink.sent] == pytest.approx([0.0, 1.0 / factor, 4.5 / factor])
    assert [one[1:] for one in sink.sent] == [("A", b"A"), ("B", b"B"), ("A", b"A")]
    assert max(clock.slept) <= 0.1, "a signal is noticed soon"


def test_replay_sends_the_channels_asked_for(log):
    clock = Clock()
    sink = Sink(clock)
    with LogReader(log) as reader:
        replay.replay(reader, sink, Timeline(1.0), Stop(clock, clock.sleep), ("A",))
    assert [one[:2] for one in sink.sent] == [(0.0, "A"), (pytest.approx(4.5), "A")]


def test_replay_shows_how_far_it_is_on_a_terminal(log, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    clock = Clock()
    with LogReader(log) as reader:
        replay.replay(reader, Sink(clock), Timeline(1.0), Stop(clock, clock.sleep))
    assert "2 events, next in 2 s" in terminal.getvalue()


def test_replay_ends_at_a_signal_in_a_pause(plain, tmp_path):
    path = tmp_path / "log"
    with LogWriter(path) as writer:
        writer.write(0, "A", b"first")
        writer.write(3_600_000_000, "A", b"an hour later")
    with as_process("replay", str(path), *at(plain)) as process:
        assert plain.receive() == b"first"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 128 + signal.SIGTERM
        assert process.stderr.read() == "sent 1 events, 5 B\n"


def test_replay_of_endless_noise_ends_at_a_signal(plain):
    with as_process("replay", "/dev/zero", *at(plain)) as process:
        interrupt_when_running(process)
        assert process.wait(LIMIT_S) == 128 + signal.SIGTERM
        assert process.stderr.read().startswith("sent 0 events, 0 B")


def test_replay_of_a_fifo_ends_at_a_signal(plain, log, tmp_path):
    """While nobody has opened it for writing, and while the writer is idle."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with as_process("replay", str(fifo), *at(plain)) as process:
        interrupt_when_running(process)
        assert process.wait(LIMIT_S) == 128 + signal.SIGTERM
        assert process.stderr.read() == "sent 0 events, 0 B\n"
    with as_process("replay", str(fifo), "--fast", *at(plain)) as process, fifo.open("wb") as writer:
        writer.write(log.read_bytes())
        writer.flush()
        assert [plain.receive() for _ in range(3)] == [b"A", b"B", b"A"]
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 128 + signal.SIGINT
        assert process.stderr.read() == "sent 3 events, 3 B\n"


def test_replay_of_a_damaged_log_sends_the_rest_and_says_so(plain, log, capsys):
    log.write_bytes(b"noise" + log.read_bytes()[:-1])
    assert main(["replay", str(log), "--fast", *at(plain)]) == 0
    errors = capsys.readouterr().err
    assert "sent 2 events" in errors
    assert "5 bytes of the log belong to no event; the log ends inside an event" in errors


def test_replay_with_shorter_pauses(plain, log):
    assert main(["replay", str(log), "--max-pause", "0.01", *at(plain)]) == 0


# What cannot be.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["send", "--url", "udpm://", "--group", GROUP, "--channel", "A"], "--url or --group and --port"),
        (["send", "--url", "udpm://"], "name the channel to send on"),
        (["send", "--channel", "A", "--channel", "B"], "name the channel to send on"),
        (["send", "--generate", "-1"], "at least 0"),
        (["send", "FILE", "--generate", "1"], "not both"),
        (["send", "--repeat", "2"], "cannot repeat standard input"),
        (["send", "FILE", "--repeat", "0"], "--repeat is at least 1"),
        (["send", "--rate", "0"], "--rate: a rate is more than 0"),
        (["send", "--rate", "inf"], "--rate: a rate is more than 0 per second and finite"),
        (["send", "--ttl", "99999999999"], "--ttl is 0 to 255"),
        (["listen", "--buffer", "99999999999"], "--buffer is 1 to 2147483647"),
        (["listen", "--buffer", "0"], "--buffer is 1 to 2147483647"),
        (["listen", "--url", "udp://"], "is not udpm://"),
        (["listen", "--count", "0"], "--count is more than 0"),
        (["listen", "--interval", "0"], "--interval is more than 0"),
        (["record", "FILE", "--duration", "-1"], "--duration is more than 0"),
        (["replay", "FILE", "--speed", "0"], "a speed is more than 0"),
        (["replay", "FILE", "--max-pause", "0"], "a pause is more than 0"),
    ],
)
def test_wrong_arguments_are_exit_code_2_and_explained(arguments, message, capsys):
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["shout"], ["record"], ["replay", "FILE", "--fast", "--speed", "2"]]
)
def test_what_argparse_refuses_is_exit_code_2_too(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "no/such/log"], "No such file"),
        (["send", "no/such/file"], "No such file"),
        (["listen", "--group", "not a group"], "is neither a group nor a known host"),
        (["listen", "--group", GROUP, "--interface", "no-such-interface"], "no-such-interface"),
        (["send", "--generate", "1", "--size", "65508", "--interface", LOOPBACK, "--group", GROUP], "65507"),
        (["send", "--generate", "1", "--channel", "C" * 64, "--interface", LOOPBACK], "the limit is 63"),
    ],
)
def test_what_the_system_refuses_is_exit_code_1_and_one_line(arguments, message, capsys):
    assert main(arguments) == 1
    errors = capsys.readouterr().err
    assert message in errors
    assert "Traceback" not in errors


def test_a_readout_above_every_limit_is_refused_not_cut(plain, stdin, monkeypatch, capsys):
    monkeypatch.setattr("udp_multicast._commands.send.MAX_SIZE", 10)
    stdin(b"x" * 11 + b"\n")
    assert main(["send", *at(plain)]) == 2
    assert "more than 10 bytes in one readout" in capsys.readouterr().err


# Where.


def options(**given):
    settings = {"group": None, "port": None, "url": None, "channel": [], "interface": None, **given}
    return argparse.Namespace(**settings)


@pytest.mark.parametrize(
    ("given", "expected", "text"),
    [
        ({}, ("127.0.0.1", 5007, None, False, ()), "127.0.0.1:5007"),
        ({"group": GROUP, "port": 1}, (GROUP, 1, None, False, ()), f"{GROUP}:1"),
        ({"group": "ff02::1"}, ("ff02::1", 5007, None, False, ()), "[ff02::1]:5007"),
        ({"url": "udpm://"}, ("239.255.76.67", 7667, 0, True, ()), "udpm://239.255.76.67:7667"),
        ({"channel": ["A"]}, ("239.255.76.67", 7667, 0, True, ("A",)), "udpm://239.255.76.67:7667"),
        ({"channel": ["A"], "group": GROUP}, (GROUP, 7667, 1, True, ("A",)), f"udpm://{GROUP}:7667"),
        ({"channel": ["A"], "ttl": 3}, ("239.255.76.67", 7667, 3, True, ("A",)), "udpm://239.255.76.67:7667"),
        ({"url": "udpm://?ttl=2"}, ("239.255.76.67", 7667, 2, True, ()), "udpm://239.255.76.67:7667"),
    ],
)
def test_a_url_or_a_channel_means_channels(given, expected, text):
    found = read_place(options(**given))
    assert (found.group, found.port, found.ttl, found.on_channels, found.channels) == expected
    assert str(found) == text


def test_the_default_url_is_that_of_lcm_programs(monkeypatch):
    monkeypatch.setenv("LCM_DEFAULT_URL", "udpm://239.1.1.1:1234?ttl=1&recv_buf_size=1000")
    found = read_place(options(channel=["A"]))
    assert (found.group, found.port, found.ttl, found.buffer_size) == ("239.1.1.1", 1234, 1, 1000)
    monkeypatch.setenv("LCM_DEFAULT_URL", "nonsense")
    with pytest.raises(UsageError, match="'nonsense' is not udpm://"):
        read_place(options(channel=["A"]))


def test_plain_senders_are_told_apart_and_bounded(monkeypatch):
    monkeypatch.setattr(_sources, "MAX_SENDERS", 2)
    with open_source(place()) as source:
        ports = []
        for _ in range(3):
            with MulticastSender(GROUP, source.port, interface=LOOPBACK) as sender:
                for _ in range(2):
                    sender.send_data(b"hello")
                    source.receive(LIMIT_S)
                ports.append(sender.getsockname()[1])
        totals = source.totals()
    assert totals.senders == {f"127.0.0.1:{port}": SenderTotals(2, 10) for port in ports[1:]}
    assert (totals.messages, totals.bytes) == (6, 30)


def test_addresses_are_written_as_people_do():
    assert _sources.name_of(("192.0.2.1", 5)) == "192.0.2.1:5"
    assert _sources.name_of(("fe80::1", 5, 0, 2)) == "[fe80::1]:5"


# Ending.


@pytest.fixture
def usual_interrupt():
    """Let SIGINT mean what it means in a terminal: a job in the background of a shell ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("command", ["send", "replay"])
def test_a_signal_before_the_file_is_open_ends_with_a_summary_too(command, plain, log, capsys):
    stop = Stop()
    stop.signal = signal.SIGTERM
    given = build_parser().parse_args([command, str(log), *at(plain)])
    assert given.command(given, stop) == 128 + signal.SIGTERM
    assert re.fullmatch(r"sent 0 (readouts|events), 0 B.*\n", capsys.readouterr().err)


@pytest.mark.usefixtures("usual_interrupt")
def test_a_signal_ends_a_pause_and_a_second_one_has_its_usual_effect():
    stop = Stop()
    with stop.at_signals():
        assert not stop
        os.kill(os.getpid(), signal.SIGINT)
        stop.sleep(3600.0)
        assert stop.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_interrupts_only_what_says_it_may_be():
    stop = Stop()
    with stop.at_signals():
        with pytest.raises(Interrupted), stop.interruptible():
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), stop.interruptible():
            pytest.fail("the signal came before")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("command", [[], ["send"], ["listen"], ["record"], ["replay"]])
def test_help_lists_the_exit_codes(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    assert "exit codes: 0 done; 1 " in capsys.readouterr().out
