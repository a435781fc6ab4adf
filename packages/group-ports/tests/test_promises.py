"""What the README promises: its figures are those of the code, its symptoms are what the code says."""

from __future__ import annotations

import errno
import inspect
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from group_ports import (
    Group,
    GroupAnsPort,
    GroupPubPort,
    GroupQryPort,
    GroupSubPort,
    OperationError,
    PortError,
    PortSettings,
    PortTimeout,
    _group_votes,
    _inbox,
    _losses,
    _membership,
    _pickle_costs,
    _polls,
    _port_settings,
    _publish,
    _socket_options,
    _traffic,
    _zeroconf_services,
    etcd,
    zeroconf_discovery,
)
from group_ports.__main__ import build_parser, main
from group_ports._settings import Timing

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
README = " ".join(TEXT.split())
#: What the README shows to be typed.
COMMANDS = re.findall(r"^(?:\$ )?group-ports ([a-z].*)", TEXT, re.MULTILINE)
SETTINGS = PortSettings()
LIFETIME_S = inspect.signature(zeroconf_discovery.ZeroconfDiscovery).parameters["lifetime_s"].default


@pytest.mark.parametrize(
    ("sentence", "code", "figure"),
    [
        (
            "waits for ever where no timeout is set | 10 s, then `PortTimeout`",
            _port_settings.LONGEST_WAIT_S,
            10,
        ),
        ("1000 messages each way, 64 MiB a frame", (SETTINGS.send_hwm, SETTINGS.recv_hwm), (1000, 1000)),
        ("1000 messages each way, 64 MiB a frame", SETTINGS.max_size, 64 << 20),
        ("at most 67108864 are accepted", SETTINGS.max_size, 67108864),
        ("4 s: `heartbeat_s` + `liveness_s`", SETTINGS.heartbeat_s + SETTINGS.liveness_s, 4),
        ("60 s at the least by a publisher with `back_pressure`", _socket_options.PATIENCE_S, 60),
        (
            "Tried again every 0.1 to 1 s: `reconnect_s`, `reconnect_max_s`",
            (SETTINGS.reconnect_s, SETTINGS.reconnect_max_s),
            (0.1, 1),
        ),
        ("an unfinished handshake ends after 2 s: `handshake_timeout`", SETTINGS.handshake_timeout, 2),
        ("1 s: `linger_s`", SETTINGS.linger_s, 1),
        ("256 publishers one by one, all in the sum", _losses.MAX_PUBLISHERS, 256),
        ("1000 of its frames in one look", _traffic._SKIPPED_AT_ONCE, 1000),
        ("1000 changes in one look", _publish._LOOK_AT_MOST, 1000),
        ("`peerTimeout`, 3 s", Timing.from_params(None).peer_timeout, 3),
        ("1024 members,", _membership.MAX_MEMBERS, 1024),
        ("1024 announced services,", _zeroconf_services.MAX_SERVICES, 1024),
        ("256 open polls,", _polls.MAX_POLLS, 256),
        ("1000 news for a user who does not take them", _inbox.MAX_NEWS, 1000),
        ("| 0 to 1e9 ms; a topic that is too long", _group_votes._LONGEST_MS, 1e9),
        ("twice `lifetime_s`, four minutes", 2 * LIFETIME_S, 240),
        ("ends after nine tenths of that by its own clock", etcd._SAFE_PART, 0.9),
        ("tuples have at most 500 levels", _pickle_costs._DEEPEST, 500),
        ("bytes are copied at most four times", _pickle_costs._COPIES, 4),
    ],
)
def test_figures_of_the_readme_are_those_of_the_code(sentence, code, figure):
    assert sentence in README
    assert code == figure


def too_few(make_port):
    make_port(GroupPubPort).wait_ready(1, timeout=0.01)


def not_connected(make_port):
    make_port(GroupSubPort).wait_connected(1, timeout=0.01)


def nothing_heard(make_port):
    make_port(GroupSubPort, settings=PortSettings(recv_timeout=0.01)).recv()


def dead_leader(make_port):
    query = make_port(GroupQryPort, settings=PortSettings(send_timeout=0.01))
    answer = make_port(GroupAnsPort)
    place = answer.address
    answer.close()
    query.update(*place)
    query.send(b"are you there?")


def gone(make_port):
    answer = make_port(GroupAnsPort)
    answer.set_identity(b"somebody else")
    answer.send(b"are you there?")


def nobody_asked(make_port):
    make_port(GroupAnsPort).send(b"are you there?")


def closed(make_port):
    port = make_port(GroupSubPort)
    port.close()
    port.recv()


def taken(make_port):
    make_port(GroupPubPort, settings=PortSettings(port=make_port(GroupPubPort).address[1]))


def wrong_way(make_port):
    make_port(GroupSubPort).send(b"hello")


def too_long(make_port):
    make_port(GroupPubPort).send(bytes(SETTINGS.max_size + 1))


def misspelt(_):
    Group.standalone("lab", "rack", params={"heartBeat": 300})


def ipv6(_):
    Group.standalone("lab", "rack", host="::1")


@pytest.mark.parametrize(
    ("act", "kind", "number", "quoted"),
    [
        (too_few, PortTimeout, errno.EAGAIN, "0 of 1 subscribers in time"),
        (not_connected, PortTimeout, errno.EAGAIN, "connected to 0 of 1 in time"),
        (nothing_heard, PortTimeout, errno.EAGAIN, "recv error (11): Resource temporarily unavailable"),
        (dead_leader, PortTimeout, errno.EAGAIN, "send error (11): Resource temporarily unavailable"),
        (gone, PortError, PortError.EROUTE, "send error (113): Host unreachable"),
        (nobody_asked, PortError, PortError.EROUTE, "send error: port ... has not heard from any member"),
        (closed, PortError, PortError.ECLOSED, "port ... is closed"),
        (taken, PortError, errno.EADDRINUSE, "set-up error (98): Address already in use (addr='tcp://...')"),
        (wrong_way, OperationError, None, "a GroupSubPort does not do send"),
        (too_long, ValueError, None, "... bytes, and at most 67108864 are accepted"),
        (misspelt, ValueError, None, "unknown group parameter '...'; known are heartbeat, ..."),
        (ipv6, ValueError, None, "not an IPv4 address: '::1'"),
    ],
)
def test_symptoms_are_told_in_the_words_of_the_readme(make_port, act, kind, number, quoted):
    """The text of each error, and the reason where it has one."""
    assert quoted in README
    words = re.escape(quoted).replace(re.escape("..."), ".*")
    # The numbers and reasons of the system are those of Linux, and only newer pyzmq adds the address.
    words = re.sub(r"\\\(\d+\\\):.*", ".*", words) if number is not None else words
    with pytest.raises(kind, match=words) as raised:
        act(make_port)
    if number is not None:
        assert raised.value.errno == number


def test_a_subscriber_knows_whether_it_is_connected_to_one_publisher(make_port):
    """The number of all of them is `reached`."""
    assert "`reached`, `is_reached`, `forget`" in README
    one, other, sub = make_port(GroupPubPort), make_port(GroupPubPort), make_port(GroupSubPort)
    sub.update(*one.address)
    sub.wait_connected(1)
    assert (sub.is_reached(*one.address), sub.is_reached(*other.address)) == (True, False)
    sub.forget(*one.address)
    assert not sub.is_reached(*one.address)


# -- the command line


@pytest.fixture
def interrupts_reach_programs():
    """A shell starts what runs in the background so that it ignores SIGINT, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts_reach_programs")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_member_with_its_number(number):
    """A shell shows 128 and the number; Ctrl-C is no error to be traced."""
    assert "128 and the number of the signal that ended it" in README
    config = json.dumps({"group": ["lab", "rack"], "min_size": 1})
    command = [sys.executable, "-m", "group_ports", "member", config]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as member:
        assert json.loads(member.stdout.readline())["event"] == "register"
        member.send_signal(number)
        _, said = member.communicate(timeout=60)
    assert member.returncode == -number
    assert b"Traceback" not in said


def test_a_group_that_cannot_be_joined_is_exit_code_1(capsys):
    """Such as at an address that is not of this computer."""
    assert "or the group not be joined; 2 wrong" in README
    assert main(["member", json.dumps({"group": ["lab", "rack"], "host": "192.0.2.1"})]) == 1
    assert capsys.readouterr().err.startswith("group-ports: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_of_the_readme_are_understood(command):
    """All commands and options that it shows there are."""
    assert len(COMMANDS) >= 3
    build_parser().parse_args(shlex.split(command, comments=True))  # ends the program otherwise
