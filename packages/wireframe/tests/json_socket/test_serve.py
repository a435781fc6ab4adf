"""The loop that answers commands, and that nothing ends it but its own end."""

from __future__ import annotations

import logging
import time

import numpy as np
import pytest

from wireframe.json_socket import SocketClosed
from wireframe.json_socket._answer import answer, command_of
from wireframe.lenjson import encode


def fail(**_):
    raise LookupError("no such setting")


HANDLERS = {
    "add": lambda x, y: x + y,
    "mean": lambda x: np.mean(x),
    "array": lambda: np.arange(3),
    "nothing": lambda: None,
    "fail": fail,
    "unsendable": lambda: {1, 2},
}


@pytest.fixture
def serving(new_server, new_client, run):
    """A server at work and a client of it."""
    server = new_server()
    running = run(server.serve, HANDLERS, stop="done")
    return server, new_client(server), running


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ({"command": "add", "x": 1, "y": 2}, 3),
        ({"command": "mean", "x": [1, 2]}, 1.5),
        ({"command": "array"}, [0, 1, 2]),
        ({"command": "nothing"}, None),
    ],
)
def test_a_command_calls_its_handler_with_the_other_members(serving, command, reply):
    assert serving[1].tcpcmd(command) == reply


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        ({"command": "fail"}, "LookupError", "no such setting"),
        ({"command": "add", "x": 1}, "TypeError", "missing 1 required positional argument: 'y'"),
        ({"command": "add", "x": 1, "y": 2, "z": 3}, "TypeError", "unexpected keyword argument 'z'"),
        ({"command": "add", "x": 1, "y": "2"}, "TypeError", "unsupported operand"),
        ({"command": "unsendable"}, "TypeError", "type set has no JSON form"),
        ({"command": "notready"}, "UnknownCommand", "'notready' is not a command here; known: done, add"),
        ({"command": 5}, "BadMessage", 'a string "command"'),
        ({"x": 5}, "BadMessage", 'a string "command"'),
        (["command"], "BadMessage", 'a string "command"'),
        (None, "BadMessage", 'a string "command"'),
    ],
    ids=str,
)
def test_errors_are_answered_as_data_and_the_loop_goes_on(serving, message, kind, text):
    _, client, _ = serving
    reply = client.tcpcmd(message)
    assert reply["error"]["type"] == kind
    assert text in reply["error"]["message"]
    assert client.tcpcmd({"command": "add", "x": 1, "y": 1}) == 2


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")

    __repr__ = __str__


def test_a_handler_whose_error_cannot_be_told_does_not_end_the_loop(new_server, new_client, run):
    def fail():
        raise Unspeakable

    server = new_server()
    run(server.serve, {"fail": fail, "add": lambda: 1})
    client = new_client(server)
    for _ in range(2):
        error = client.tcpcmd({"command": "fail"})["error"]
        assert error == {"type": "Unspeakable", "message": "(its text cannot be had: ValueError)"}
    assert client.tcpcmd({"command": "add"}) == 1


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_a_handler_may_end_the_program_and_leaves_the_server_usable(new_server, new_client, end):
    def leave():
        raise end

    server = new_server()
    new_client(server).send({"command": "leave"})
    with pytest.raises(end):
        server.serve({"leave": leave})
    new_client(server).send("next")
    assert server.receive(timeout=20) == "next"


def test_a_stop_word_without_a_handler_is_answered_ok_and_ends_the_loop(serving):
    server, client, running = serving
    assert client.tcpcmd({"command": "done"}) == "OK"
    running.result()
    client.send("still there")
    assert server.receive() == "still there"


def test_stop_words_may_be_many_and_have_handlers(new_server, new_client, run):
    server = new_server()
    client = new_client(server)
    for word, reply in (("quit", "bye"), ("done", "OK")):
        running = run(server.serve, {"quit": lambda: "bye"}, stop={"done", "quit"})
        assert client.tcpcmd({"command": word}) == reply
        running.result()


def test_a_persistent_client_needs_nothing_special_from_serve(serving, new_client):
    client = new_client(serving[0], persistent=True)
    connections = set()
    for number in range(10):
        assert client.tcpcmd({"command": "add", "x": number, "y": 1}) == number + 1
        connections.add(client.connection)
    assert len(connections) == 1


def test_commands_in_one_piece_are_answered_in_order(serving, knock):
    frames = [encode({"command": "add", "x": number, "y": 0}) for number in range(20)]
    peer = knock(serving[0], b"".join(frames))
    wanted = b"".join(encode(number) for number in range(20))
    assert peer.read(len(wanted)) == wanted


def test_strangers_do_not_end_the_loop(serving, knock, new_client, eventually):
    """Also if the server is strict: that is for receive."""
    server, client, _ = serving
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n", b"9999999999", b"0000000004nope", b"00000"):
        knock(server, data).half_close()
    eventually(lambda: server.dropped == 5)
    assert client.tcpcmd({"command": "add", "x": 1, "y": 1}) == 2


def test_a_client_that_dies_before_its_reply_does_not_end_the_loop(
    new_server, new_client, knock, run, eventually
):
    server = new_server()
    doomed = []

    def slow():
        doomed.pop().reset()
        return "x" * 1_000_000

    run(server.serve, {"slow": slow, "ping": lambda: "pong"})
    doomed.append(knock(server))
    doomed[0].send(encode({"command": "slow"}) * 3)
    assert new_client(server).tcpcmd({"command": "ping"}) == "pong"
    eventually(lambda: server.dropped == 1)


def test_a_client_that_does_not_read_delays_nobody_and_is_dropped_in_time(
    new_server, new_client, knock, run, eventually
):
    server = new_server(frame_timeout=0.3)
    running = run(server.serve, {"big": lambda: "x" * 20_000_000, "ping": lambda: "pong"}, stop="done")
    lazy = knock(server, encode({"command": "big"}))
    client = new_client(server)
    begin = time.monotonic()
    for _ in range(20):
        assert client.tcpcmd({"command": "ping"}) == "pong"
    assert time.monotonic() - begin < 5
    eventually(lambda: server.dropped == 1)
    assert "unread for too long" in server.drops[0].reason
    lazy.close()
    assert client.tcpcmd({"command": "done"}) == "OK"
    running.result()


def test_a_long_reply_reaches_a_slow_reader_before_the_loop_ends(new_server, knock, run):
    """Also with a second command waiting behind it."""
    server = new_server()
    running = run(server.serve, {"big": lambda: "x" * 20_000_000}, stop="done")
    slow = knock(server, encode({"command": "big"}) + encode({"command": "done"}))
    wanted = encode("x" * 20_000_000) + encode("OK")
    time.sleep(0.01)
    assert slow.read(len(wanted)) == wanted
    running.result()


def test_a_long_last_reply_leaves_before_the_loop_ends(new_server, knock, run):
    server = new_server()
    running = run(server.serve, {"ping": lambda: 1, "done": lambda: "x" * 20_000_000}, stop="done")
    slow = knock(server, encode({"command": "ping"}))
    assert slow.read(11) == encode(1)
    slow.send(encode({"command": "done"}))
    wanted = encode("x" * 20_000_000)
    time.sleep(0.01)
    assert slow.read(len(wanted)) == wanted
    running.result()


def test_a_handler_may_shut_the_server_down_and_its_reply_still_leaves(new_server, new_client, run):
    server = new_server()
    running = run(server.serve, {"end": lambda: server.shutdown() or "ended"})
    client = new_client(server)
    assert client.tcpcmd({"command": "end"}) == "ended"
    running.result()
    assert server.server.fileno() == -1


def test_a_handler_may_close_its_client(new_server, new_client, run):
    server = new_server()
    run(server.serve, {"go away": server.close, "ping": lambda: "pong"})
    client = new_client(server)
    with pytest.raises(ConnectionError):
        client.tcpcmd({"command": "go away"})
    assert client.tcpcmd({"command": "ping"}) == "pong"
    assert server.dropped == 0


def test_a_handler_may_send_more_than_one_reply(new_server, new_client, run):
    server = new_server()
    run(server.serve, {"twice": lambda: server.send("first") or "second"})
    client = new_client(server)
    client.send({"command": "twice"})
    assert [client.receive(), client.receive()] == ["first", "second"]


def test_shutdown_from_outside_just_ends_the_loop(serving):
    server, client, running = serving
    assert client.tcpcmd({"command": "nothing"}) is None
    server.shutdown()
    assert running.result() is None
    with pytest.raises(SocketClosed):
        server.serve(HANDLERS)


def test_only_a_server_serves(new_client):
    with pytest.raises(RuntimeError, match="only a server can serve"):
        new_client(1).serve({})


def test_what_a_handler_raised_is_logged_with_its_traceback(serving, caplog):
    caplog.set_level(logging.DEBUG, "wireframe.json_socket")
    for _ in range(2):
        serving[1].tcpcmd({"command": "fail"})
    records = [record for record in caplog.records if "command 'fail'" in record.getMessage()]
    assert [record.levelname for record in records] == ["WARNING", "DEBUG"]
    assert records[0].exc_info[0] is LookupError


def test_errors_are_cut_to_a_size_and_standard_json_whatever_the_codec():
    def long():
        raise ValueError("x" * 10_000)

    reply = answer({"command": "long"}, {"long": long}, lambda _: b"never", lambda *_: None)
    assert reply == encode({"error": {"type": "ValueError", "message": "x" * 1000}})


def test_what_a_command_is():
    assert command_of({"command": "a"}) == "a"
    assert [command_of(one) for one in ({}, {"command": 1}, [], None, "a")] == [None] * 5
