"""What holds when nothing is said: the keywords of `Socket`, its options, and what is not imported."""

from __future__ import annotations

import inspect
import logging
import os
import re
import socket
import subprocess
import sys
import types
from pathlib import Path

import pytest

from wireframe import Socket
from wireframe.json_socket import _door
from wireframe.json_socket._door import Door
from wireframe.json_socket._drops import Drops

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
REQUIRED = inspect.Parameter.empty
DEFAULTS = {
    "timeout": None,
    "header_timeout": 5.0,
    "frame_timeout": 60.0,
    "max_size": 256 * 1024 * 1024,
    "max_connections": 128,
    "persistent": False,
    "strict": False,
    "allow": None,
    "loads": None,
    "dumps": None,
}

linux = pytest.mark.skipif(sys.platform != "linux", reason="the options of Linux")


@pytest.fixture
def pair():
    """A server and a client that have met."""
    with Socket("server", port=0, timeout=10) as server, Socket("client", port=server.port) as client:
        client.send("hello")
        assert server.receive() == "hello"
        yield server, client


def parameters():
    return inspect.signature(Socket).parameters.values()


# The signature, and what the README says of it.


def test_role_address_and_port_are_those_of_the_original():
    """By place, in this order; everything else is a keyword."""
    places = [(one.name, one.default) for one in parameters() if one.kind is not one.KEYWORD_ONLY]
    assert places == [("role", REQUIRED), ("ip_address", "127.0.0.1"), ("port", 61981)]


def test_keywords_have_their_defaults():
    assert {one.name: one.default for one in parameters() if one.kind is one.KEYWORD_ONLY} == DEFAULTS


def test_the_table_of_the_readme_has_the_keywords_of_the_signature():
    """The same names in the same order, with the same defaults."""
    table = README.partition("### Keywords\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| (`.*?`) \| (.*?) \|", table, re.MULTILINE)
    meaning = {"`None`": None, "`False`": False, "standard": None, "256 MiB": 256 << 20}
    written = {
        name: meaning[default] if default in meaning else float(default)
        for names, default in rows
        for name in re.findall(r"`(\w+)`", names)
    }
    keywords = {one.name: one.default for one in parameters() if one.kind is one.KEYWORD_ONLY}
    assert list(written.items()) == list(keywords.items())


# Without numpy.


def run(program):
    """Run a program in a fresh interpreter."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=50
    )


def test_plain_values_never_import_numpy():
    """Nor does a value that JSON cannot carry."""
    done = run("""
import sys
import wireframe, wireframe.datagram, wireframe.eventlog, wireframe.ipi
from wireframe import lenjson
frame = lenjson.encode({"a": [1, 2.5, None, True, "x"]})
decoder = lenjson.Decoder()
decoder.feed(frame)
assert decoder.next_event() == {"a": [1, 2.5, None, True, "x"]}
try:
    lenjson.encode(object())
except TypeError:
    pass
print([name for name in sys.modules if name.partition(".")[0] == "numpy"])
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


# What a server keeps, and how its sockets are made.


def test_what_is_kept_of_dropped_peers_is_bounded(caplog):
    """The count is exact, 64 cases are kept, and 512 warnings are written; hosts may be forged."""
    drops = Drops()
    with caplog.at_level(logging.DEBUG, logger="wireframe.json_socket"):
        for number in range(1000):
            drops.add(f"10.0.{number // 256}.{number % 256}:1", ValueError(str(number)))
    assert drops.count == 1000
    assert [one.reason for one in drops.recent] == [str(number) for number in range(936, 1000)]
    levels = [one.levelno for one in caplog.records]
    assert levels == [logging.WARNING] * 512 + [logging.DEBUG] * 488
    assert len(drops._warned) == 512


@pytest.mark.fault("C5", "json-socket")
@linux
def test_a_vanished_host_is_noticed_within_a_minute(pair):
    """On both ends: 30 s of silence and 3 probes every 10 s, or 60 s without acknowledgement."""
    names = ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    for end in pair:
        sock = end.connection
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        figures = [sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names]
        assert figures == [1, 30, 10, 3, 60_000]


def test_accepting_pauses_for_a_tenth_of_a_second(monkeypatch):
    """Long enough not to spin, and short beside the five seconds a peer has for its header."""

    class Full:
        def accept(self):
            raise OSError(24, "Too many open files")

    class Watched(set):
        def register(self, one, events):
            self.add(one)

        unregister = set.remove

    now = [1000.0]
    monkeypatch.setattr(_door, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    listener, selector = Full(), Watched()
    door = Door(listener, Drops(), None)
    door.watch(selector, room=True)
    assert selector == {listener}
    assert door.accept() is None
    assert door.closed_until == pytest.approx(1000.1)
    now[0] = 1000.09
    door.watch(selector, room=True)
    assert selector == set()
    now[0] = 1000.11
    door.watch(selector, room=True)
    assert selector == {listener}
