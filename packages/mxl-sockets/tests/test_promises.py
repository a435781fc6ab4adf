"""What the README promises: its figures are those of the code, its symptoms are what the code says."""

from __future__ import annotations

import inspect
import re
import shlex
import socket
from pathlib import Path

import numpy as np
import pytest

from mxl_sockets import (
    AggregatedSocketHub,
    Bridge,
    Driver,
    SocketHub,
    _aggregate_roster,
    _status_socket,
    _watch_command,
)
from mxl_sockets.__main__ import build_parser, main
from mxl_sockets._connect import Backoff
from mxl_sockets._running import Running
from wireframe import aggregate, ipi

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
README = " ".join(TEXT.split())
#: What the README shows to be typed.
COMMANDS = re.findall(r"^(?:\$ )?mxl-sockets ([a-z].*)", TEXT, re.MULTILINE)
#: Bytes of a step of one molecule, and of two with different fields.
STEPS = [len(aggregate.encode_step({one: (one, 0.0, 0.0) for one in range(count)})) for count in (1, 2)]


def default(function, name):
    """What a parameter is when nothing is said."""
    return inspect.signature(function).parameters[name].default


@pytest.mark.parametrize(
    ("sentence", "code", "figure"),
    [
        (
            "`handshake_timeout` (10 s) to say its group",
            default(AggregatedSocketHub, "handshake_timeout"),
            10,
        ),
        ("drivers and bridges ask again within a second", Backoff.LARGEST_S, 1),
        ("then it looks for it for `reconnect_timeout`, 60 s", default(Driver, "reconnect_timeout"), 60),
        ("then it looks for it for `reconnect_timeout`, 60 s", default(Bridge, "reconnect_timeout"), 60),
        ("gave up after 600.0 s", default(Driver, "connect_timeout"), 600),
        ("gave up after 600.0 s", default(Bridge, "connect_timeout"), 600),
        ("bytes, a bridge takes 268435456", _aggregate_roster.MAX_INIT, 268435456),
        ("number of atoms up to 2^20", default(ipi.Decoder, "max_nat"), 2**20),
        ("it waits at most 50 ms for the hub's lock", _status_socket.LOCK_PATIENCE, 0.05),
        ("takes at most a fiftieth of the hub's time", _status_socket.THRIFT, 50),
        ("A hub that does not answer within 5 s", _watch_command.LOOK_TIMEOUT, 5),
        ("| 2 N | 196 and 124 + extra |", (ipi.REQUEST_LENGTH, ipi.REPLY_LENGTH), (196, 124)),
        (
            "| 2 P | 32 and 32 + extra |",
            (STEPS[1] - STEPS[0], aggregate.RESULT_RECORD.size),
            (32, 32),
        ),
    ],
)
def test_figures_of_the_readme_are_those_of_the_code(sentence, code, figure):
    assert sentence in README
    assert code == figure


def unfinished(hub):
    with pytest.raises(TimeoutError):
        hub.step([[0.0, 0.0, 1.0]], timeout=0.01)
    hub.step([[0.0, 0.0, 2.0]], timeout=0.01)


@pytest.mark.parametrize(
    ("act", "kind", "quoted"),
    [
        (
            lambda hub: hub.step([[0.0, 0.0, 1.0]], timeout=0.01),
            "StepTimeout",
            "step not complete: 1 have not answered (molecule 0 for ",
        ),
        (unfinished, "FrozenStepError", "an unfinished step has other fields or molecules; repeat it first"),
        (
            lambda hub: hub.step(np.zeros((2, 3))),
            "ValueError",
            "fields have shape (2, 3), the molecules need (1, 3)",
        ),
        (
            lambda hub: hub.forces(np.zeros((2, 3))),
            "ValueError",
            'the driver of molecule 0 takes, as one with "dt_au" in its parameters, 1 atoms, not 2',
        ),
    ],
    ids=["late", "frozen", "shape", "atoms"],
)
def test_what_a_hub_refuses_is_told_in_the_words_of_the_readme(bound, act, kind, quoted):
    """With one driver for a molecule in a field, that does not answer."""
    hub, _ = bound()
    assert f"`{kind}: {quoted}" in README
    with pytest.raises(Exception, match=re.escape(quoted)) as raised:
        act(hub)
    assert type(raised.value).__name__ == kind


def test_a_hub_without_molecules_and_one_that_is_stopped_say_so_in_the_words_of_the_readme(make_hub):
    hub = make_hub()
    for kind, quoted in (
        ("ValueError", "no molecules: wait_until_bound has to succeed before the first step"),
        ("HubStopped", "the hub is stopped, or this process has none"),
    ):
        assert f"`{kind}: {quoted}`" in README
        with pytest.raises(Exception, match=re.escape(quoted)) as raised:
            hub.step([[0.0, 0.0, 1.0]])
        assert type(raised.value).__name__ == kind
        hub.stop()


@pytest.mark.parametrize(
    ("wanted", "quoted"),
    [
        ({0: {"dt_au": 1.0}}, "broke the protocol: it spoke before INIT"),
        ({}, "peer sent b'GET / HTTP/1', which is not a header it may send"),
    ],
    ids=["wanted", "not wanted"],
)
def test_a_browser_is_dropped_in_the_words_of_the_readme(
    make_hub, scripted, caplog, eventually, wanted, quoted
):
    """Whether it would become a molecule or not: it has spoken before the hub looks."""
    assert f"`{quoted}`" in README or f"`dropped ...: {quoted}`" in README
    hub = make_hub()
    browser = scripted(hub)
    browser.sock.sendall(b"GET / HTTP/1.1\r\n")

    def dropped():
        hub.wait_until_bound(wanted, timeout=0.01)
        return [one.getMessage() for one in caplog.records if one.getMessage().startswith("dropped ")]

    eventually(dropped, "the end of the browser's connection")
    assert [quoted in one for one in dropped()] == [True]


def test_a_molecule_does_not_change_its_group_and_the_readme_says_how_that_is_told(cleanup):
    hub = AggregatedSocketHub(port=0, timeout=0.01)
    cleanup.callback(hub.stop)
    assert not hub.wait_until_bound({0: {"dt_au": 1.0}})
    quoted = "molecule 0 belongs to group 'molecule-0', it cannot move to 'a'"
    assert f"`ValueError: {quoted}`" in README
    with pytest.raises(ValueError, match=re.escape(quoted)):
        hub.wait_until_bound({0: {"dt_au": 1.0, "aggregate_group": "a"}})


def test_no_hub_is_told_in_the_words_of_the_readme():
    """With the time and the last error."""
    with SocketHub(port=0) as hub:
        host, port = hub.address
    driver = Driver(lambda field: field, (host, port), connect_timeout=0.05)
    with pytest.raises(TimeoutError) as raised:
        driver.run()
    assert re.search(
        rf"cannot connect to hub {host}:{port}: gave up after \d+\.\d+ s, last error: ", str(raised.value)
    )
    assert "TimeoutError: cannot connect to hub 10.1.0.7:31415: gave up after 600.0 s, last error: " in README


@pytest.mark.parametrize(("kind", "latency", "wait"), [(SocketHub, 0.01, 2), (AggregatedSocketHub, 0.5, 5)])
def test_a_stop_takes_as_long_as_the_readme_says_at_the_most(monkeypatch, kind, latency, wait):
    """What it asks for; `shut_down` keeps to it."""
    assert "`stop()` takes at most `max(2, 10 latency)` seconds" in README
    asked = []
    real = Running.shut_down
    monkeypatch.setattr(Running, "shut_down", lambda self, wait: asked.append(wait) or real(self, wait))
    kind(port=0, latency=latency).stop()
    assert asked == [wait]


def test_a_bridge_whose_address_is_taken_ends_with_status_2(capsys):
    assert "or the drivers' address of a bridge is taken" in README
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = ["bridge", "--quiet", "--hub", "127.0.0.1:1", "--group", "g", "--port", port]
        assert main(command) == 2
    assert "Address already in use" in capsys.readouterr().err


def test_the_status_has_what_the_readme_names(make_hub):
    named = README.partition("`hub.status()` is data: ")[2].partition(" From outside")[0]
    names = [*re.findall(r"`(\w+)`", named), "missing", "waiting", "last_error"]
    assert {"bound", "late", "steps_per_s"} <= set(names)
    status = make_hub().status()
    assert [name for name in names if not hasattr(status, name)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_of_the_readme_are_understood(command):
    """All commands and options that it shows there are."""
    assert len(COMMANDS) >= 6
    build_parser().parse_args(shlex.split(command, comments=True))  # ends the program otherwise
