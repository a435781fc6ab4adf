"""The command line: its commands in an event loop of the test, and as processes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import re
import signal
import subprocess
import sys
from contextlib import AsyncExitStack

import pytest

from echo_rig import EchoProtocol, ExpMessage
from echo_rig.__main__ import build_parser, main
from echo_rig._commands import watch
from echo_rig._commands._stopping import cancelled_by_signals

from .blocking_lab import free_uri
from .loopback import LIMIT_S, bare_peer, until

#: For `watch`: quick pings, and nothing is late however slow the machine is.
PATIENT = ["--interval", "0.02", "--late", "60", "--gone", "120"]


@pytest.fixture(autouse=True)
def untouched_process(monkeypatch):
    """The command sets up logging for its process; this process is not its own."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def in_loop(scenario):
    async def run():
        async with asyncio.timeout(LIMIT_S), AsyncExitStack() as stack:
            return await scenario(stack)

    return asyncio.run(run())


async def command(*arguments):
    options = build_parser().parse_args([str(argument) for argument in arguments])
    return await options.command(options)


class Printed:
    """What a command prints, in the order in which a test asks for it, and what it says beside that."""

    def __init__(self, capsys):
        self._capsys = capsys
        self.out = self.err = ""

    async def _read(self):
        await asyncio.sleep(0.005)
        shown = self._capsys.readouterr()
        self.out += shown.out
        self.err += shown.err

    async def shows(self, pattern):
        while (found := re.search(pattern, self.out)) is None:
            await self._read()
        self.out = self.out[: found.start()] + self.out[found.end() :]

    async def says(self, text):
        while text not in self.err:
            await self._read()


async def rig_at(stack, uri, **options):
    return await stack.enter_async_context(await EchoProtocol.server(uri, **options))


# send


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("typed", "event", "data"),
    [
        (["init", '{"a": 1}'], ExpMessage.EXPINIT, [{"a": 1}]),
        (["start", "2022-01-01_1_m"], ExpMessage.EXPSTART, ["2022-01-01_1_m", None]),
        (["start", "", "[]"], ExpMessage.EXPSTART, [None, []]),
        (["stop"], ExpMessage.EXPEND, [None]),
        (["interrupt", '"now"'], ExpMessage.EXPINTERRUPT, ["now"]),
        (["cleanup"], ExpMessage.EXPCLEANUP, [None]),
        (["status", "running"], ExpMessage.EXPSTATUS, [20]),
        (["info", "30", "7"], ExpMessage.EXPINFO, [30, 7]),
        (["raw", '["EXPINFO", 0, 1]'], ExpMessage.EXPINFO, [0, 1]),
    ],
)
def test_send_sends_what_was_typed_and_prints_how_long_the_echo_took(scheme, typed, event, data, capsys):
    async def scenario(stack):
        uri = free_uri(scheme)
        rig = await rig_at(stack, uri)
        got = []
        rig.assign_callback(ExpMessage.any(), lambda *arguments: got.append(arguments))
        assert await command("send", uri, *typed) == 0
        await until(lambda: got)
        ((got_data, _, got_event),) = got
        assert (got_event, got_data) == (event, data)

    in_loop(scenario)
    assert re.fullmatch(r"echo after [\d.]+ ms\n", capsys.readouterr().out)


def test_send_waits_for_the_response_and_prints_it(capsys):
    async def scenario(stack):
        uri = free_uri("udp")
        rig = await rig_at(stack, uri)
        rig.assign_callback("EXPINIT", lambda _, address: rig.init({"ready": True}, addr=address))
        assert await command("send", uri, "init", "--wait", LIMIT_S, "--numbering", "on") == 0

    in_loop(scenario)
    shown = capsys.readouterr().out
    assert re.fullmatch(r'echo after .* ms\nresponse after .* ms: EXPINIT \[\{"ready": true\}\]\n', shown)


def test_send_tells_of_the_error_that_the_rig_reports(capsys):
    async def scenario(stack):
        uri = free_uri("udp")
        rig = await rig_at(stack, uri)
        rig.assign_callback("EXPINIT", lambda *_: 1 / 0)
        return await command("send", uri, "init", "--wait", LIMIT_S)

    assert in_loop(scenario) == 4
    assert "ERROR in EXPINIT: ZeroDivisionError: division by zero" in capsys.readouterr().out


def test_an_error_about_another_event_is_no_response():
    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        sending = asyncio.create_task(command("send", peer.uri, "init", "--wait", "0.2"))
        await until(lambda: peer.got)
        peer.say(b'[0, "ValueError: boom", 2]')
        return await sending

    assert in_loop(scenario) == 3


@pytest.mark.parametrize("echoes", [True, False])
def test_send_without_echo_or_response_in_time_ends_with_3(echoes, capsys):
    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        peer.echoes = echoes
        return await command(
            "send", peer.uri, "init", "--timeout", LIMIT_S if echoes else 0.05, "--wait", "0.05"
        )

    assert in_loop(scenario) == 3
    assert capsys.readouterr().err == ("no response" if echoes else "no echo") + " within 0.05 s\n"


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_send_where_nobody_listens_ends_with_1(scheme, capsys):
    assert main(["send", free_uri(scheme), "ping"]) == 1
    assert re.fullmatch(r"echo-rig: \S.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (["start"], "1 to 2 arguments"),
        (["ping", "1"], "0 to 0 arguments"),
        (["init", "mouse"], "not JSON"),
        (["init", "[" * 100_000], "not JSON"),
        (["status", "ASLEEP"], "CONNECTED, INITIALIZED"),
        (["status", "7"], "no status"),
        (["raw"], "one TEXT"),
        (["raw", '[0, "e", 1]'], "never echoed"),
        (["raw", "hello", "--wait", "1"], "--wait"),
        (["ping", "--wait", "1"], "--wait"),
        (["ping", "--timeout", "0"], "--timeout"),
        (["ping", "--timeout", "nan"], "--timeout"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_2_before_anything_is_sent(typed, reason, capsys):
    assert main(["send", "udp://127.0.0.1:9", *typed]) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("uri", ["ftp://127.0.0.1", "udp://127.0.0.1:99999", "udp://no such host"])
def test_a_uri_that_is_none_ends_with_2(uri, capsys):
    for arguments in (["send", uri, "ping"], ["serve", "--uri", uri], ["watch", f"rig1={uri}"]):
        assert main(arguments) == 2
        assert uri in capsys.readouterr().err


# serve


def test_serve_prints_each_event_in_a_line_and_never_a_token(capsys):
    printed = Printed(capsys)

    async def scenario(stack):
        uri = free_uri("udp")
        serving = asyncio.create_task(command("serve", "--uri", uri, "--count", "4"))
        await printed.says("listening")
        client = await stack.enter_async_context(await EchoProtocol.client(uri))
        await client.init("two\nlines \u001b[31m")
        await client.confirmed_send([ExpMessage.ALYX, "https://alyx", {"me": {"token": "SECRET"}}])
        await client.info(20, "x" * 10_000)
        client.send([0, "ValueError: boom", 1])
        assert await serving == 0
        await printed.says("4 events")

    in_loop(scenario)
    lines = printed.out.splitlines()
    where = r"\d\d:\d\d:\d\d\.\d{3}  127\.0\.0\.1:\d+ +"
    assert re.fullmatch(where + re.escape(r'EXPINIT ["two\nlines \u001b[31m"]'), lines[0])
    assert re.fullmatch(where + re.escape("ALYX (not shown, it may hold a token)"), lines[1])
    assert lines[2].endswith("...")
    assert len(lines[2]) < 600
    assert re.fullmatch(where + "ERROR in EXPINIT: ValueError: boom", lines[3])
    assert len(lines) == 4
    assert "SECRET" not in printed.out + printed.err
    assert printed.err.startswith("listening at udp://127.0.0.1:")
    assert printed.err.endswith("4 events\n")


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ([], None),
        (["--reply"], ["ref", None]),
        (["--reply", '{"ok": 1}'], ["ref", {"ok": 1}]),
        (["--reply", "null"], ["ref", None]),
    ],
)
def test_serve_replies_as_it_is_told(reply, answer):
    async def scenario(stack):
        uri = free_uri("tcp")
        serving = asyncio.create_task(command("serve", "--uri", uri, "--count", "2", *reply))
        client = None
        while client is None:
            with contextlib.suppress(OSError):
                client = await stack.enter_async_context(await EchoProtocol.client(uri))
            await asyncio.sleep(0)
        got = []
        client.assign_callback(ExpMessage.any(), lambda data, *_: got.append(data))
        await client.confirmed_send([ExpMessage.EXPSTART, "ref", None])
        await client.confirmed_send([ExpMessage.ALYX, None, {}])
        assert await serving == 0
        await asyncio.sleep(0)
        assert got == ([] if answer is None else [answer])

    in_loop(scenario)


def test_serve_goes_on_when_a_reply_is_not_confirmed(caplog):
    async def scenario(stack):
        uri = free_uri("udp")
        serving = asyncio.create_task(command("serve", "--uri", uri, "--count", "1", "--reply", "[]"))
        peer = await stack.enter_async_context(bare_peer())
        peer.echoes = False
        host, port = uri.removeprefix("udp://").split(":")
        while not serving.done():
            peer.transport.sendto(b"[1, null]", (host, int(port)))
            await asyncio.sleep(0.02)
        return serving.result()

    assert in_loop(scenario) == 0
    assert any("no reply" in message for message in caplog.messages)


def test_serve_ends_after_its_duration_and_says_if_events_are_missing(capsys):
    uri = free_uri("udp")
    assert main(["serve", "--uri", uri, "--duration", "0.01"]) == 0
    assert main(["serve", "--uri", uri, "--duration", "0.01", "--count", "1"]) == 3
    assert capsys.readouterr().err.splitlines() == [f"listening at {uri}", "0 events"] * 2


def test_serve_listens_to_those_who_are_allowed_only(capsys):
    printed = Printed(capsys)

    async def scenario(stack):
        uri = free_uri("udp")
        serving = asyncio.create_task(command("serve", "--uri", uri, "--allow", "10.0.0.0/8"))
        await printed.says("listening")
        client = await stack.enter_async_context(await EchoProtocol.client(uri))
        with pytest.raises(TimeoutError):
            await client.confirmed_send([1, None], timeout=0.1)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        await printed.says("0 events, 1 from others refused\n")

    in_loop(scenario)
    assert printed.out == ""
    assert main(["serve", "--uri", free_uri("udp"), "--allow", "nonsense"]) == 2


def test_serve_on_a_port_in_use_ends_with_1(capsys):
    uri = free_uri("tcp")

    async def scenario(stack):
        await rig_at(stack, uri)
        return await asyncio.to_thread(main, ["serve", "--uri", uri])

    assert in_loop(scenario) == 1
    assert "use" in capsys.readouterr().err


# watch


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def test_watch_tells_of_changes_and_events_in_lines_where_there_is_no_terminal(capsys):
    async def scenario(stack):
        udp, tcp, nobody = free_uri("udp"), free_uri("tcp"), free_uri("tcp")
        first, second = await rig_at(stack, udp), await rig_at(stack, tcp)
        watching = asyncio.create_task(
            command("watch", f"rig1={udp}", f"rig2={tcp}", f"rig3={nobody}", *PATIENT)
        )
        printed = Printed(capsys)
        await printed.shows(r"rig1  LIVE [\d.]+ ms  \(\d of 3 live")
        await printed.shows(r"rig2  LIVE [\d.]+ ms")
        await printed.shows(r"rig3  GONE \S.*  \(.*rig3 GONE\)\n")
        await first.info("RUNNING", {"trial": 7}, addr=first.addresses[0])
        await printed.shows(r'rig1  EXPINFO \[20, \{"trial": 7\}\]\n')
        second.send([0, "ValueError: boom", 2], second.addresses[0])
        await printed.shows("rig2  ERROR in EXPSTART: ValueError: boom\n")
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    in_loop(scenario)


def test_watch_says_after_its_duration_whether_all_are_live():
    assert main(["watch", free_uri("udp"), "--duration", "0.05"]) == 3


def test_watch_shows_a_table_on_a_terminal(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(watch, "DRAW_S", 0.01)

    async def scenario(stack):
        uri = free_uri("udp")
        await rig_at(stack, uri)
        for duration_s in (0.5, 5.0, 10.0):  # enough on any machine, and no more than it takes
            if (code := await command("watch", f"rig1={uri}", *PATIENT, "--duration", duration_s)) == 0:
                break
        return code

    assert in_loop(scenario) == 0
    shown = screen.getvalue()
    assert shown.startswith("\x1b[?25l")
    assert shown.endswith("\x1b[?25h")
    assert "1 of 1 live" in shown
    assert re.search(r"\x1b\[30;42m  rig1   LIVE +[\d.]+ ms", shown)


def test_watch_connects_again(capsys, monkeypatch):
    monkeypatch.setattr(watch, "RETRY_S", 0.01)

    async def scenario(stack):
        uri = free_uri("tcp")
        watching = asyncio.create_task(command("watch", uri, *PATIENT))
        printed = Printed(capsys)
        await printed.shows("GONE")
        rig = await rig_at(stack, uri)
        await printed.shows("LIVE")
        rig.close()
        await printed.shows("GONE connection lost")
        await until(lambda: not rig.is_connected)
        for _ in range(100):  # the port may be taken for a moment by a connection that ends
            try:
                await rig_at(stack, uri)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                break
        await printed.shows("LIVE")
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    in_loop(scenario)


def test_watch_ends_when_its_output_is_closed(monkeypatch):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    async def scenario(stack):
        with contextlib.redirect_stdout(Broken()), pytest.raises(BrokenPipeError):
            await command("watch", "rig1=" + free_uri("udp"), *PATIENT)

    in_loop(scenario)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (["a=127.0.0.1", "a=127.0.0.2"], "same name"),
        (["=127.0.0.1"], "not NAME=URI"),
        (["a\tb=127.0.0.1"], "not NAME=URI"),
        (["a=127.0.0.1", "--interval", "5"], "interval < late"),
        (["a=127.0.0.1", "--gone", "inf"], "--gone"),
    ],
)
def test_rigs_and_times_that_make_no_sense_are_refused(typed, reason, capsys):
    assert main(["watch", *typed]) == 2
    assert reason in capsys.readouterr().err


# as a process


@contextlib.contextmanager
def as_process(*arguments, **settings):
    process = subprocess.Popen(
        [sys.executable, "-m", "echo_rig", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT_S)
        process.stdout.close()
        process.stderr.close()


posix = pytest.mark.xfail(os.name == "nt", reason="no signals to send there", run=False)


@pytest.mark.fault("C19", "echo-rig")
@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_serve_and_watch_with_0(number):
    uri = free_uri("udp")
    with as_process("serve", "--uri", uri) as rig:
        assert rig.stderr.readline() == f"listening at {uri}\n"
        with as_process("watch", f"rig1={uri}", "--interval", "0.05") as watcher:
            assert "rig1  LIVE" in watcher.stdout.readline()
            watcher.send_signal(number)
            assert watcher.wait(LIMIT_S) == 0
            assert watcher.stderr.read() == ""
        rig.send_signal(number)
        assert rig.wait(LIMIT_S) == 0
        assert rig.stderr.read() == "0 events\n"


@posix
def test_a_signal_ends_send_with_130():
    """The rig is a socket that never echoes; what arrives there shows that `send` waits."""

    async def scenario(stack):
        peer = await stack.enter_async_context(bare_peer())
        peer.echoes = False
        with as_process("send", peer.uri, "init", "--timeout", "60") as process:
            await until(lambda: peer.got)
            process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(process.wait, LIMIT_S) == 130
            assert process.stderr.read() == ""

    in_loop(scenario)


def test_send_to_serve_as_processes():
    uri = free_uri("tcp")
    with as_process("serve", "--uri", uri, "--count", "1", "--reply", "[]") as rig:
        assert rig.stderr.readline() == f"listening at {uri}\n"
        with as_process("send", uri, "start", "2022-01-01_1_m", "--wait", "10") as sender:
            out, _ = sender.communicate(timeout=LIMIT_S)
            assert sender.returncode == 0
            assert 'EXPSTART ["2022-01-01_1_m", []]' in out
        assert rig.wait(LIMIT_S) == 0
        assert 'EXPSTART ["2022-01-01_1_m", null]' in rig.stdout.read()


def test_help_and_version_need_no_network(capsys):
    for arguments in (
        ["--version"],
        ["--help"],
        ["serve", "--help"],
        ["watch", "--help"],
        ["send", "--help"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert ("exit codes: 0 done; 1 " in said) is ("--help" in arguments)
    assert "start REFERENCE [DATA]" in said


def test_signal_handlers_are_as_before_also_after_a_signal():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    async def scenario():
        task = asyncio.create_task(asyncio.sleep(LIMIT_S))
        inside = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        with cancelled_by_signals(task) as came:
            signal.raise_signal(signal.SIGTERM)
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == inside
            with pytest.raises(asyncio.CancelledError):
                await task
        assert came == [signal.SIGTERM]

    asyncio.run(scenario())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_command_that_is_cancelled_otherwise_is_cancelled():
    async def scenario(stack):
        serving = asyncio.create_task(command("serve", "--uri", free_uri("udp")))
        await asyncio.sleep(0.05)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    in_loop(scenario)
