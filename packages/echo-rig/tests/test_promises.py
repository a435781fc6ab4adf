"""What the README promises: its figures are those of the code, and what a changed text does."""

from __future__ import annotations

import asyncio
import inspect
import re
import shlex
import sys
from pathlib import Path

import pytest

from echo_rig import (
    Communicator,
    EchoProtocol,
    _connection,
    _connections,
    _coroutine_tasks,
    _exchange,
    _liveness,
    _message_cutter,
    _wire_end,
    sync,
)
from echo_rig.__main__ import build_parser
from echo_rig._conversation import Conversation, Verdict
from echo_rig._limits import Limits
from echo_rig.sync import _mailbox, _streams
from wireframe import echo

from .blocking_lab import LIMIT_S, free_uri

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
README = " ".join(TEXT.split())
#: What the README shows to be typed.
COMMANDS = re.findall(r"^(?:\$ )?echo-rig ([a-z].*)", TEXT, re.MULTILINE)
LIMITS = Limits()
PROBED_S = _liveness.KEEPALIVE_IDLE_S + _liveness.KEEPALIVE_PROBES * _liveness.KEEPALIVE_INTERVAL_S


@pytest.mark.parametrize(
    ("sentence", "code", "figure"),
    [
        ("`default_echo_timeout`, 1 s", EchoProtocol.default_echo_timeout, 1),
        ("`default_echo_timeout`, 1 s", sync.Endpoint.default_echo_timeout, 1),
        ("delays the echoes of those behind it, by 5 s at the latest", LIMITS.held_s, 5),
        ("without numbers 1024 of the same at the pace of the network", LIMITS.identical, 1024),
        ("1 MiB in a stream", _message_cutter.MAX_STREAM_MESSAGE, 1 << 20),
        ("65507 bytes in a datagram", _wire_end.MAX_DATAGRAM, 65507),
        ("after 30 s of silence, by the system's probes", PROBED_S, 30),
        ("after 30 s of silence, by the system's probes", _liveness.UNANSWERED_MS, 30_000),
        ("512 TCP connections", _connections.MAX_CONNECTIONS, 512),
        ("1024 coroutine callbacks under way", _coroutine_tasks.MAX_COROUTINES, 1024),
        (
            "1024 events in a stream of `events` (`max_queued`)",
            inspect.signature(Communicator.events).parameters["max_queued"].default,
            1024,
        ),
        ("256 in a blocking end", _mailbox.MAX_EVENTS, 256),
        ("per address 1024 held messages", LIMITS.held_messages, 1024),
        ("held messages or 4 MiB", LIMITS.held_bytes, 4 << 20),
        ("16 MiB for a connection that does not read", _exchange.MAX_UNSENT, 16 << 20),
        ("256 KiB in a blocking end", _streams.MAX_UNSENT, 256 << 10),
        ("may still leave over TCP, for 2 s", _connection.LINGER_S, 2),
        ("it tries ten times a second", _streams.ACCEPT_AGAIN_S, 0.1),
        ("may put 96 spaces and tabs", echo.TAG_LENGTH, 96),
        ("have up to 128 messages on their way to one address", LIMITS.window, 128),
        ("waited for its echo for more than 1.5 s", LIMITS.greet_again_s, 1.5),
    ],
)
def test_figures_of_the_readme_are_those_of_the_code(sentence, code, figure):
    assert sentence in README
    assert code == figure


def test_a_changed_text_with_a_right_number_is_delivered_and_its_repetition_is_a_copy():
    """The number has a check, the text has none: the README says so."""
    assert "the message counts as confirmed although its changed text was delivered" in README
    here, there = (Conversation(datagrams=True, session=one, numbering=True) for one in (1, 2))
    sending, (greeting, message) = here.send(b'[1, "mouse"]', 0.0)
    for answer in there.receive(greeting, 0.001).write:
        for back in here.receive(answer, 0.002).write:
            there.receive(back, 0.003)
    arrived = there.receive(message.replace(b"mouse", b"house"), 0.004)
    assert arrived.verdict is Verdict.NEWS
    assert [echo.decode(text) for text in arrived.deliver] == [[1, "house"]]
    assert here.receive(arrived.write[0], 0.005).sending is None
    (again,) = here.on_time(1.0).write
    assert again == message
    repeated = there.receive(again, 1.001)
    assert (repeated.deliver, repeated.write) == ((), (message,))
    assert here.receive(repeated.write[0], 1.002).sending is sending


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the computer")
@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_a_server_listens_at_the_address_of_its_uri_and_at_no_other(scheme):
    """One at 127.0.0.1 is not reached by another address of the same computer."""
    assert "a server listens at the address that its URI names and at no other" in README
    uri = free_uri(scheme)

    async def send(to):
        async with await EchoProtocol.server(uri), await EchoProtocol.client(to) as pc:
            await pc.confirmed_send([1, None], timeout=LIMIT_S)

    asyncio.run(send(uri))
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(send(uri.replace("127.0.0.1", "127.0.0.2")))


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_of_the_readme_are_understood(command):
    """All commands and options that it shows there are."""
    assert len(COMMANDS) >= 3
    build_parser().parse_args(shlex.split(command, comments=True))  # ends the program otherwise
