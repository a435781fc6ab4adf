"""The short ways of the common case do what the long ones do: whole messages on kept connections."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import BadHeader, BadPayload, FrameTooLarge
from wireframe.json_socket import BrokenConnection
from wireframe.json_socket import _poll as polling
from wireframe.json_socket._loads import loads
from wireframe.json_socket._poll import READ, WRITE, SelectorPoll, is_ready
from wireframe.json_socket._watch import Watch
from wireframe.lenjson import Decoder, encode

GOOD = encode({"command": "ready"})
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "json-socket.json").read_text(encoding="utf-8"))


@pytest.fixture
def kept(new_server, new_client):
    """A persistent server and client that had a conversation; the next message takes the short way."""

    def start(**options):
        server = new_server(persistent=True, **options)
        client = new_client(server, persistent=True)
        for number in range(2):
            converse(server, client, number)
        return server, client

    return start


def converse(server, client, value):
    client.send(value)
    assert server.receive(timeout=20) == value
    server.send([value])
    assert client.receive(timeout=20) == [value]


# What a message costs.


def test_a_message_on_a_kept_connection_takes_three_calls_to_the_system(kept, monkeypatch):
    """To wait, to read and, for its reply, to write; no time limits are set and nothing is registered."""
    server, client = kept()
    counts = dict.fromkeys(
        ["recv", "send", "sendall", "settimeout", "setblocking", "setsockopt", "wait", "see"], 0
    )

    def counted(owner, name):
        real = getattr(owner, name)

        def call(*arguments):
            counts[name] += 1
            return real(*arguments)

        monkeypatch.setattr(owner, name, call)

    for name in counts:
        counted(Watch if name in ("wait", "see") else socket.socket, name)
    for number in range(10):
        converse(server, client, number)
    assert {name: count for name, count in counts.items() if count} == {"recv": 20, "send": 20, "wait": 10}


def test_who_waits_at_the_door_of_a_full_server_costs_no_turns(new_server, knock, monkeypatch):
    """A server whose places are all busy sleeps."""
    server = new_server(max_connections=1)
    knock(server, GOOD[:15])
    knock(server, GOOD)
    with pytest.raises(TimeoutError):
        server.receive(timeout=0)
    turns = []
    wait = Watch.wait
    monkeypatch.setattr(Watch, "wait", lambda *arguments: turns.append(1) or wait(*arguments))
    with pytest.raises(TimeoutError):
        server.receive(timeout=0.3)
    assert len(turns) < 10


# The same values and errors.


def told(call, *arguments):
    """What a call returns or raises, as text."""
    try:
        return repr(call(*arguments))
    except (ValueError, RecursionError) as error:
        return f"{type(error)} {error}"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
blanks = st.text(" \t\r\n\f\ufeff", max_size=3)


@given(blanks, json_values, blanks)
def test_a_text_is_read_as_by_the_standard_reader(before, value, after):
    text = before + json.dumps(value) + after
    assert told(loads, text) == told(json.loads, text)


@given(st.text('[]{}",:.+-0123eEatrufslnIiyN\\ \n') | st.text())
def test_what_is_no_json_is_told_as_by_the_standard_reader(text):
    assert told(loads, text) == told(json.loads, text)


def test_a_blank_behind_a_text_does_not_double_its_memory():
    text = json.dumps([[]] * 100_000)
    peaks = []
    for one in (text, text + " "):
        tracemalloc.start()
        loads(one)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def outcome(call):
    """The value, or the kind of error."""
    try:
        return repr(call())
    except (ValueError, ConnectionError) as error:
        return type(error)


@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: case["note"])
def test_recorded_frames_mean_the_same_to_a_kept_client_and_in_pieces(listener, new_client, run, case):
    """As the reply to a command, and a byte at a time to `receive`."""
    data = bytes.fromhex(case["hex"])
    kept = new_client(listener.port, persistent=True)
    asking = run(kept.tcpcmd, "first")
    peer = listener.accept()
    peer.read(17)
    peer.send(encode("reply"))
    assert asking.result() == "reply"
    asking = run(kept.tcpcmd, "again")
    assert peer.read(17) == encode("again")
    peer.send(data)
    peer.half_close()
    slow = new_client(listener.port)
    slow.send("again")
    other = listener.accept()
    receiving = run(slow.receive)
    with contextlib.suppress(OSError):  # who has heard enough may have ended it
        for byte in data:
            other.send(bytes([byte]))
        other.half_close()
    assert outcome(asking.result) == outcome(receiving.result)


@pytest.mark.parametrize("case", VECTORS["decode"], ids=lambda case: case["note"])
def test_recorded_frames_mean_the_same_on_new_and_on_kept_connections(new_server, knock, case):
    data = bytes.fromhex(case["hex"])
    results = []
    for greeting in (b"", GOOD):
        server = new_server(persistent=True, strict=True)
        peer = knock(server, greeting)
        if greeting:
            assert server.receive(timeout=20) == {"command": "ready"}
        peer.send(data)
        peer.half_close()
        if data or not greeting:
            results.append(outcome(lambda: server.receive(timeout=20)))  # noqa: B023 - called at once
        else:  # the end of a conversation, no fault
            with pytest.raises(TimeoutError):
                server.receive(timeout=0.01)
            assert server.dropped == 0
    assert len(set(results)) == 1


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
def test_a_command_in_two_pieces_is_heard_on_a_kept_connection(new_server, knock, run, eventually, cut):
    server = new_server(persistent=True)
    peer = knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    receiving = run(server.receive)
    (guest,) = server._server._intake._room
    peer.send(GOOD[:cut])
    eventually(lambda: guest.rest == cut)
    peer.send(GOOD[cut:])
    assert receiving.result() == {"command": "ready"}


@pytest.mark.parametrize("cut", range(1, len(GOOD)))
@pytest.mark.parametrize("timeout", [None, 20.0])
def test_a_reply_in_two_pieces_is_heard_on_a_kept_connection(
    listener, new_client, run, eventually, cut, timeout
):
    client = new_client(listener.port, persistent=True, timeout=timeout)
    asking = run(client.tcpcmd, 1)
    peer = listener.accept()
    peer.read(11)
    peer.send(GOOD)
    asking.result()
    asking = run(client.tcpcmd, 2)
    assert peer.read(11) == encode(2)
    peer.send(GOOD[:cut])
    (link,) = client._client._links
    eventually(lambda: link.decoder.buffered == cut)
    peer.send(GOOD[cut:])
    assert asking.result() == {"command": "ready"}


def test_long_messages_leave_piece_by_piece(kept, run):
    """In both directions, through buffers that take a small part of them at once."""
    server, client = kept()
    server.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
    client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10_000)
    for size in (1_000_000, 3, 2_000_000):
        asking = run(client.tcpcmd, "x" * size)
        assert server.receive(timeout=20) == "x" * size
        server.send("y" * size)
        assert asking.result() == "y" * size


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"GET / HTTP/1.1", BadHeader), (b"9999999999", FrameTooLarge), (b"0000000004nope", BadPayload)],
    ids=repr,
)
def test_a_kept_connection_that_goes_wrong_is_dropped_with_its_bytes_counted(new_server, knock, data, error):
    server = new_server(persistent=True, strict=True)
    peer = knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    peer.send(data)
    with pytest.raises(error):
        server.receive(timeout=20)
    assert peer.at_end()
    assert [one.received for one in server.drops] == [len(data)]


# Time.


def test_a_deadline_on_a_kept_connection_is_neither_early_nor_forgotten(kept):
    server, client = kept()
    for wait in (lambda: server.receive(timeout=0.1), lambda: client.tcpcmd("?", timeout=0.1)):
        begin = time.monotonic()
        with pytest.raises(TimeoutError):
            wait()
        assert 0.1 <= time.monotonic() - begin < 20


@pytest.mark.skipif("not hasattr(signal, 'setitimer')")
def test_signals_do_not_prolong_a_deadline(kept):
    """Each ends a wait in the system, which goes on for what is left and not for all of it."""
    server, client = kept()
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    try:
        for wait in (lambda: server.receive(timeout=0.2), lambda: client.tcpcmd("?", timeout=0.2)):
            begin = time.monotonic()
            with pytest.raises(TimeoutError):
                wait()
            assert 0.2 <= time.monotonic() - begin < 20
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_conversation_without_pauses_does_not_save_who_is_late(new_server, knock):
    server = new_server(persistent=True, header_timeout=0.05)
    chatty = knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    late = knock(server, b"000")
    end = time.monotonic() + 20
    while not server.dropped:
        chatty.send(GOOD)
        assert server.receive() == {"command": "ready"}
        assert time.monotonic() < end
    assert late.at_end()


def test_a_conversation_without_pauses_leaves_others_their_turn(kept, new_client):
    server, client = kept()
    other = new_client(server, persistent=True)
    converse(server, other, "hello")
    converse(server, client, "hello")
    other.send("other")
    seen = []
    for number in range(3):
        client.send(number)
        seen.append(server.receive(timeout=20))
    assert "other" in seen[:2]


# Sockets that somebody closed, and interrupts.


def test_a_connection_that_the_program_closed_itself_is_given_up(kept, new_client):
    server, client = kept()
    server.connection.close()
    converse(server, new_client(server), "another")
    assert server.dropped == 1
    with pytest.raises(BrokenConnection):
        client.receive(timeout=20)


def test_the_number_of_a_descriptor_that_the_program_closed_is_watched_for_its_next_owner(
    new_server, new_client
):
    server = new_server(persistent=True)
    gone, other = (new_client(server, persistent=True) for _ in range(2))
    converse(server, gone, 1)
    first = server.connection
    converse(server, other, 2)
    number = first.fileno()
    first.close()
    new = new_client(server, persistent=True)
    held = []  # the client's own socket must not get the number
    while (one := os.open(os.devnull, os.O_RDONLY)) != number:
        held.append(one)
    new.send("new")
    os.close(one)
    try:
        assert server.receive(timeout=20) == "new"
        assert server.connection.fileno() == number
        server.send("reply")
        assert new.receive(timeout=20) == "reply"
        converse(server, new, "once more")
        converse(server, other, 3)
    finally:
        for one in held:
            os.close(one)


def test_an_interrupt_before_a_message_is_read_loses_no_message(kept, monkeypatch):
    """What had been fed by then is heard as soon as more comes."""
    server, client = kept()

    def interrupted(_):
        raise KeyboardInterrupt

    client.send("first")
    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "next_event", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.receive(timeout=20)
    client.send("second")
    assert [server.receive(timeout=20) for _ in range(2)] == ["first", "second"]


def test_an_interrupt_before_a_message_is_taken_loses_no_message(new_server, knock, monkeypatch):
    server = new_server()
    knock(server, encode("here"))

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("wireframe.json_socket._room.Room.ready", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.receive(timeout=20)
    assert server.receive(timeout=20) == "here"


def test_closing_in_another_process_changes_nothing_that_is_shared(kept, monkeypatch):
    """The list of what is watched belongs to both processes after a fork."""
    server, _ = kept()
    number = server.connection.fileno()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        server.close()
    assert server.connection is None
    assert number in server._server._intake._reception._watch.guests


def end_by_the_program(client, _):
    client.connection.close()


def end_by_the_peer(_, peer):
    peer.close()


def end_by_reset(_, peer):
    peer.reset()


@pytest.mark.parametrize("end", [end_by_the_program, end_by_the_peer, end_by_reset])
@pytest.mark.parametrize("call", ["send", "tcpcmd"])
def test_a_kept_connection_is_looked_at_before_it_is_used_again(
    listener, new_client, run, end, call, eventually
):
    """However it ended, the next message leaves on another one."""
    client = new_client(listener.port, persistent=True)
    asking = run(client.tcpcmd, 1)
    peer = listener.accept()
    peer.read(11)
    peer.send(encode("OK"))
    assert asking.result() == "OK"
    end(client, peer)
    if end is not end_by_the_program:
        eventually(lambda: is_ready(client.connection, READ, 0))
    asking = run(getattr(client, call), 2)
    another = listener.accept()
    assert another.read(11) == encode(2)
    another.send(encode("OK"))
    assert asking.result() == ("OK" if call == "tcpcmd" else None)


def test_what_came_unasked_does_not_end_a_kept_connection_that_only_sends(listener, new_client, eventually):
    client = new_client(listener.port, persistent=True)
    client.send(1)
    peer = listener.accept()
    peer.send(encode("unasked"))
    eventually(lambda: is_ready(client.connection, READ, 0))
    client.send(2)
    assert peer.read(22) == encode(1) + encode(2)


def test_a_command_in_another_process_leaves_on_a_connection_of_its_own(
    listener, new_client, run, monkeypatch
):
    client = new_client(listener.port, persistent=True)
    for number in range(2):
        asking = run(client.tcpcmd, number)
        peer = listener.accept()
        assert peer.read(11) == encode(number)
        peer.send(encode("OK"))
        assert asking.result() == "OK"
        monkeypatch.setattr("os.getpid", lambda: -1)


# Systems that lack a call.


@pytest.fixture(params=["selectors", "no flag", "neither"])
def lacking(request, monkeypatch):
    """As on a system without epoll, without a flag for single calls (both as on Windows)."""
    if request.param != "no flag":
        monkeypatch.setattr("wireframe.json_socket._watch.new_poll", SelectorPoll)
        monkeypatch.delattr(select, "poll")
    if request.param != "selectors":
        for module in ("_link", "_reception"):
            monkeypatch.setattr(f"wireframe.json_socket.{module}.AT_ONCE", 0)


@pytest.mark.usefixtures("lacking")
def test_conversations_go_on_where_the_system_has_less(kept, new_client, knock, run):
    server, client = kept()
    knock(server, b"GET / HTTP/1.1")
    for number in range(3):
        converse(server, client, number)
        asking = run(new_client(server).tcpcmd, "x" * 1_000_000)
        assert server.receive(timeout=20) == "x" * 1_000_000
        server.send("y" * 3_000_000)
        assert asking.result() == "y" * 3_000_000
    asking = run(client.tcpcmd, "kept")
    assert server.receive(timeout=20) == "kept"
    server.send("reply")
    assert asking.result() == "reply"
    with pytest.raises(TimeoutError):
        client.tcpcmd("?", timeout=0.01)
    assert server.dropped == 1


@pytest.mark.usefixtures("lacking")
def test_a_reply_that_nobody_reads_is_posted_bit_by_bit_where_the_system_has_less(new_server, knock, run):
    server = new_server()
    running = run(server.serve, {"big": lambda: "x" * 5_000_000, "ready": lambda: 1}, stop="done")
    slow = knock(server, encode({"command": "big"}))
    assert knock(server).ask(GOOD, 11) == encode(1)
    wanted = encode("x" * 5_000_000)
    assert slow.read(len(wanted)) == wanted
    slow.send(encode({"command": "done"}))
    assert slow.read(14) == encode("OK")
    running.result()


@pytest.mark.parametrize("kind", [polling.new_poll, SelectorPoll])
def test_both_kinds_of_polls_tell_the_same(kind, closing):
    here, there = map(closing, socket.socketpair())
    poll = closing(kind())
    number = here.fileno()
    poll.register(here, READ)
    assert poll.poll(0, 2) == []
    there.send(b"x")
    assert poll.poll(20, 2) == [(number, READ)]
    poll.modify(number, WRITE)
    assert poll.poll(20, 2) == [(number, WRITE)]
    poll.unregister(number)
    assert poll.poll(0, 2) == []


@pytest.mark.parametrize("has_poll", [True, False])
def test_one_socket_is_waited_for_with_and_without_poll(closing, monkeypatch, has_poll):
    here, there = map(closing, socket.socketpair())
    if not has_poll:
        monkeypatch.delattr(select, "poll")
    assert not is_ready(here, READ, 0.01)
    assert is_ready(here, WRITE, None)
    there.send(b"x")
    assert is_ready(here, READ, None)
    here.close()
    with pytest.raises(OSError, match="file descriptor"):
        is_ready(here, READ, 0)
