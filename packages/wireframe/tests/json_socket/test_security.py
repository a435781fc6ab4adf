"""What somebody on the network can not do to a server with defaults, as the README promises.

For each promise a test that names it: the header, the longest message, both deadlines, the guards of JSON,
buffers in linear time and bounded memory, the list of hosts, the log, loopback, and data without code. Many
long messages at once, floods of connections and all other misbehaviour are in `test_hostile`.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import sys
import time
import tracemalloc
from types import SimpleNamespace

import pytest

from wireframe import Socket
from wireframe.json_socket._poll import new_poll
from wireframe.lenjson import encode

GOOD = encode({"command": "ready"})
MIB = 1 << 20


def poll(server):
    """Let the server look at everything that has arrived."""
    with pytest.raises(TimeoutError):
        server.receive(timeout=0)


def default_of(name):
    return inspect.signature(Socket).parameters[name].default


# The frame.


@pytest.mark.parametrize(
    "header",
    [
        b"+000000001",
        b"-000000001",
        b"         1",
        b"1         ",
        b"00000_0001",
        b"000000001.",
        "00000000\N{ARABIC-INDIC DIGIT ONE}".encode(),
        b"000000000\xb9",
    ],
    ids=repr,
)
def test_a_header_is_ten_ascii_digits_and_nothing_that_the_interpreter_takes_for_a_number(
    new_server, knock, header
):
    """Promise: a header of ten ASCII digits only. What else comes ends its connection, and no other one."""
    server = new_server()
    stranger = knock(server, header + b"1")
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    assert stranger.at_end()
    assert [one.cause for one in server.drops] == ["BadHeader"]


def test_more_than_256_mib_are_refused_on_the_ten_digits_and_nothing_is_reserved_for_less(new_server, knock):
    """Promise: messages of 256 MiB at most, judged by the header; memory follows what arrives."""
    assert default_of("max_size") == 256 * MIB
    server = new_server()
    patient, refused = knock(server), knock(server)
    tracemalloc.start()
    try:
        patient.send(b"%010d" % (256 * MIB))
        refused.send(b"%010d" % (256 * MIB + 1))
        knock(server, GOOD)
        assert server.receive() == {"command": "ready"}
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert refused.at_end()
    assert [one.cause for one in server.drops] == ["FrameTooLarge"]
    assert f"the limit is {256 * MIB}" in server.drops[0].reason


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000,
        b"1" * (sys.get_int_max_str_digits() + 1),
        b'"\xed\xa0\x80"',
        b"1 2",
    ],
    ids=["lists", "objects", "digits", "half a character", "two values"],
)
def test_json_that_is_too_deep_too_long_a_number_or_none_costs_its_sender_only(new_server, knock, run, body):
    """Promise: guards of depth and of digits. The server does not end, and serves the next."""
    server = new_server()
    stranger = knock(server)
    run(stranger.send, b"%010d" % len(body) + body)
    while not server.dropped:
        with pytest.raises(TimeoutError):
            server.receive(timeout=0.01)
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    assert stranger.at_end()
    assert [one.cause for one in server.drops] == ["BadPayload"]
    assert len(server.drops[0].reason) < 300


@pytest.mark.parametrize(
    "value",
    [
        {"__class__": "os.system", "__reduce__": ["os.system", ["true"]]},
        {"py/object": "os.system", "py/reduce": ["true"]},
        {"$type": "System.Diagnostics.Process", "command": ["ready"]},
    ],
    ids=str,
)
def test_a_message_is_plain_data_whatever_it_says_to_be(new_server, knock, value):
    """Promise: no code is run. Names that other libraries build objects from are names of members."""
    server = new_server()
    knock(server, encode(value))
    assert server.receive() == value


# Time.


@pytest.fixture
def clock(monkeypatch):
    """The time of a server, which stands still unless it waits, and then jumps to the end of its waiting."""
    clock = SimpleNamespace(now=1000.0)
    clock.monotonic = lambda: clock.now
    for module in ("_clock", "_door", "_intake", "_reception", "_socket"):
        monkeypatch.setattr(f"wireframe.json_socket.{module}.time", clock)

    class Poll:
        def __init__(self):
            self._real = new_poll()
            self.register, self.modify = self._real.register, self._real.modify
            self.unregister, self.close = self._real.unregister, self._real.close

        def poll(self, seconds, most):
            ready = self._real.poll(0, most)
            if not ready:
                clock.now += seconds
            return ready

    monkeypatch.setattr("wireframe.json_socket._watch.new_poll", Poll)
    return clock


def test_who_does_not_finish_a_header_in_5_s_or_a_message_in_60_s_is_dropped(new_server, knock, clock):
    """Promise: a deadline of 5 s for a header and of 60 s for a message."""
    server = new_server()
    for data in (b"", b"00000", b"0000000100["):
        knock(server, data)
    told = []
    for seconds in (4.9, 0.2, 54.8, 0.2):
        with pytest.raises(TimeoutError):
            server.receive(timeout=seconds)
        told.append((clock.now - 1000, server.dropped))
    assert told == [pytest.approx(one) for one in [(4.9, 0), (5.1, 2), (59.9, 2), (60.1, 3)]]
    assert {one.cause for one in server.drops} == {"TimeoutError"}


@pytest.mark.parametrize(("data", "deadline"), [(b"0", 5), (b"0000001000", 60)], ids=["header", "message"])
def test_a_byte_now_and_then_does_not_move_a_deadline(new_server, knock, clock, data, deadline):
    """Promise: the deadlines are those of whole headers and messages, not of single reads."""
    server = new_server()
    stranger = knock(server, data)
    while not server.dropped:
        with pytest.raises(TimeoutError):
            server.receive(timeout=0.9)
        assert clock.now - 1000 <= deadline + 1
        if not server.dropped:
            stranger.send(b"0")
    assert clock.now - 1000 >= deadline


# Memory and work.


@pytest.mark.fault("C1", "json-socket", "LW")
@pytest.mark.fault("D10", "json-socket")
def test_a_hundred_megabytes_arrive_in_linear_time(new_server, new_client, run):
    """Promise: linear buffers. Sixteen times the bytes take sixteen times the processor time, and not 256."""
    server = new_server(loads=len)
    client = new_client(server, dumps=lambda value: value)

    def seconds(size):
        body = b" " * size
        best = math.inf
        for _ in range(2):
            begin = time.process_time()
            sending = run(client.send, body)
            assert server.receive() == size
            best = min(best, time.process_time() - begin)
            sending.result()
        return best

    assert seconds(100 << 20) < 128 * max(seconds(100 << 16), 0.01)


def test_pieces_are_held_once_however_small_they_are(new_server, knock):
    """Promise: linear buffers. A message in ten thousand pieces takes no more memory than in one."""
    size = 2 * MIB
    server = new_server(loads=len)
    stranger = knock(server, b"%010d" % size)
    poll(server)
    tracemalloc.start()
    try:
        for begin in range(0, size, 200):
            stranger.send(b" " * min(200, size - begin))
            if begin % 20_000 == 0 and begin:
                poll(server)
        assert server.receive() == size
        # As bytes and as text, and a quarter for growing.
        assert tracemalloc.get_traced_memory()[1] < 2.5 * size
    finally:
        tracemalloc.stop()


# Who gets in, and what is told about it.


def test_a_server_listens_on_loopback_unless_it_is_told_otherwise(new_server):
    """Promise: who is on the network cannot even connect, by default."""
    assert new_server().address[0] == "127.0.0.1"


def test_only_allowed_networks_get_in(new_server, knock):
    """Promise: with `allow`, a host in none of its networks is not heard; its connection ends at once."""
    server = new_server(allow=["10.0.0.0/8", "::1/128"])
    stranger = knock(server, GOOD)
    poll(server)
    assert stranger.at_end()
    assert [one.cause for one in server.drops] == ["PermissionError"]
    friendly = new_server(allow=["127.0.0.0/8"])
    knock(friendly, GOOD)
    assert friendly.receive() == {"command": "ready"}


def test_a_bad_network_is_refused_at_once(new_server):
    """Promise: a mistake in `allow` opens no door."""
    with pytest.raises(ValueError, match=r"10\.0\.0\.300"):
        new_server(allow=["10.0.0.300/8"])
    with pytest.raises(TypeError, match="not a single text"):
        new_server(allow="127.0.0.1")


def test_nobody_is_in_an_empty_list_of_networks(new_server, knock):
    """Promise: an empty `allow` is a list, too; it does not stand for everybody."""
    server = new_server(allow=[])
    stranger = knock(server, GOOD)
    poll(server)
    assert stranger.at_end()
    assert [one.cause for one in server.drops] == ["PermissionError"]


def test_the_log_warns_once_per_host_and_cause(new_server, knock, caplog):
    """Promise: nobody fills the log. A host and a cause are a warning once, and then for those who debug."""
    caplog.set_level(logging.DEBUG, "wireframe.json_socket")
    server = new_server()
    for data in (b"GET / HTTP/1.1", b"GET / HTTP/1.1", b"0000000004nope"):
        knock(server, data).half_close()
        poll(server)
    levels = [record.levelname for record in caplog.records if "dropped" in record.getMessage()]
    assert levels == ["WARNING", "DEBUG", "WARNING"]
    assert "dropped 127.0.0.1:" in caplog.text
    assert "BadHeader: ten digits expected, got b'GET / HTTP'" in caplog.text


def test_the_log_holds_nothing_of_what_messages_say(new_server, knock, caplog):
    """Promise: no secret gets into the log, be the message good, broken or refused by a handler."""
    caplog.set_level(logging.DEBUG, "wireframe.json_socket")
    secret = "hunter2-9f1c"
    texts = [
        json.dumps({"command": "ready", "token": secret}).encode(),
        json.dumps({"command": secret}).encode(),
        json.dumps([secret]).encode(),
        json.dumps({"token": secret})[:-1].encode(),
        b'"' + secret.encode() + b'\xff"',
        secret.encode(),
    ]
    server = new_server()
    for text in texts:
        knock(server, b"%010d" % len(text) + text)
    knock(server, b"0000009999" + secret.encode()).half_close()
    knock(server, encode({"command": "done"}))
    server.serve({"ready": lambda token: {}[token[:3]]}, stop="done")
    assert server.dropped == 4
    assert "KeyError" in caplog.text
    assert secret not in caplog.text
    assert all(secret not in one.reason for one in server.drops)
