"""What the original lacks: deadlines, limits, addresses, kept connections, large bodies."""

from __future__ import annotations

import copy
import json
import math
import pickle
import select
import socket
import time

import numpy as np
import pytest

from wireframe import BadHeader, FrameTooLarge, Socket
from wireframe.json_socket import BrokenConnection, SocketClosed
from wireframe.lenjson import encode

# Deadlines.


def test_a_server_waits_no_longer_than_told_and_loses_nothing(new_server, knock):
    server = new_server(timeout=0.02)
    half = knock(server, b"000000000")
    for _ in range(2):
        with pytest.raises(TimeoutError, match="no message in time, 1 connections are open"):
            server.receive()
    half.send(b'4"OK"')
    assert server.receive(timeout=None) == "OK"


def test_zero_takes_what_is_there(new_server, new_client):
    server = new_server(timeout=0)
    with pytest.raises(TimeoutError):
        server.receive()
    client = new_client(server)
    client.send("here")
    assert server.receive() == "here"
    server.send("reply")
    assert client.receive(timeout=0) == "reply"


@pytest.mark.parametrize("data", [b"", b"0000", b'0000000010"OK'], ids=repr)
def test_a_clients_deadline_covers_the_whole_reply_and_names_the_server(listener, new_client, data):
    client = new_client(listener.port, timeout=0.02)
    client.send(1)
    peer = listener.accept()
    peer.send(data)
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=f"no whole frame from 127.0.0.1:{listener.port} in time"):
        client.receive()
    assert time.monotonic() - begin < 5


def test_a_client_may_go_on_waiting_after_its_deadline(listener, new_client):
    client = new_client(listener.port)
    client.send(1)
    peer = listener.accept()
    peer.send(b"00000")
    with pytest.raises(TimeoutError):
        client.receive(timeout=0.01)
    peer.send(b'00004"OK"')
    assert client.receive() == "OK"


@pytest.mark.fault("C6", "json-socket", "T")
def test_a_reply_that_trickles_does_not_move_the_frame_deadline(listener, new_client, run):
    client = new_client(listener.port, frame_timeout=0.1)
    client.send(1)
    peer = listener.accept()
    receiving = run(client.receive)
    begin = time.monotonic()
    peer.send(b"0000009999")
    while receiving.thread.is_alive():
        peer.send(b" ")
        time.sleep(0.002)
        assert time.monotonic() - begin < 10
    with pytest.raises(TimeoutError, match="bytes of it arrived"):
        receiving.result()


def unanswered(client, listener, command):
    """A command that gets no reply, however long it takes to be sent; return the peer that has it."""
    for timeout in (0.01, 0.1, 1.0, 10.0):
        with pytest.raises(TimeoutError):
            client.tcpcmd(command, timeout=timeout)
        assert client.connection.fileno() == -1
        if select.select([listener.sock], [], [], 0)[0]:
            peer = listener.accept()
            if peer.sock.recv(100, socket.MSG_PEEK):
                return peer
    pytest.fail("nothing was sent")


def test_a_commands_deadline_covers_everything_and_leaves_nothing_open(listener, new_client):
    assert unanswered(new_client(listener.port), listener, 1).read(100) == encode(1)


def test_a_server_that_does_not_read_costs_a_client_its_frame_deadline(listener, new_client):
    client = new_client(listener.port, frame_timeout=0.05)
    for method in (client.send, client.tcpcmd):
        with pytest.raises(TimeoutError, match="did not take 20000012 bytes in time"):
            method("x" * 20_000_000)
        assert client.connection.fileno() == -1


def test_a_connection_that_does_not_come_about_ends_in_a_timeout(closing):
    """A full queue of connections answers nobody."""
    full = closing(socket.socket())
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    port = full.getsockname()[1]
    for _ in range(20):
        one = closing(socket.socket())
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
    with (
        Socket("client", port=port, frame_timeout=0.05, timeout=0.05) as client,
        pytest.raises(TimeoutError) as caught,
    ):
        client.tcpcmd(1)
    assert caught.value.__notes__ == [f"while connecting to 127.0.0.1:{port}"]


@pytest.mark.parametrize(
    "options", [{"max_connections": 0}, {"max_connections": -1}, {"max_size": -1}], ids=str
)
@pytest.mark.parametrize("role", ["client", "server"])
def test_limits_that_let_nothing_through_are_refused_at_once(role, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Socket(role, port=0, **options)


def test_a_client_that_connects_to_itself_is_told_that_nobody_listens(new_client, monkeypatch):
    """As happens when the system picks the very port that it is to reach."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    monkeypatch.setattr("wireframe.json_socket._address.tune", lambda sock: sock.bind(("127.0.0.1", port)))
    with pytest.raises(ConnectionRefusedError, match="connected to itself"):
        new_client(port).tcpcmd("question")


def test_times_beyond_what_the_system_can_wait_for_are_fine(new_server, new_client, run):
    server = new_server(timeout=1e10, header_timeout=1e10, frame_timeout=1e10)
    for persistent in (False, True):
        client = new_client(server, timeout=1e10, frame_timeout=1e300, persistent=persistent)
        asking = run(client.tcpcmd, "question")
        assert server.receive() == "question"
        server.send("answer")
        assert asking.result() == "answer"


@pytest.mark.parametrize("options", [{"timeout": -1}, {"header_timeout": math.nan}, {"frame_timeout": -0.1}])
@pytest.mark.parametrize("role", ["client", "server"])
def test_a_negative_time_is_refused(role, options):
    with pytest.raises(ValueError, match="a time limit cannot be"):
        Socket(role, port=0, **options)


def test_no_limits_at_all_is_possible(new_server, new_client):
    server = new_server(header_timeout=None, frame_timeout=None)
    client = new_client(server, frame_timeout=None)
    client.send(1)
    assert server.receive() == 1
    server.send(2)
    assert client.receive() == 2


@pytest.mark.fault("C4", "json-socket", "E")
def test_a_server_that_dies_the_hard_way_is_a_broken_connection(listener, new_client, run):
    client = new_client(listener.port)
    reply = run(client.tcpcmd, 1)
    peer = listener.accept()
    peer.read(11)
    peer.reset()
    with pytest.raises(BrokenConnection, match=f"connection to 127.0.0.1:{listener.port} broken"):
        reply.result()
    assert client.connection.fileno() == -1


# Limits and codecs.


@pytest.mark.fault("C3", "json-socket", "E")
def test_the_size_limit_of_a_client_is_checked_on_the_header(listener, new_client):
    client = new_client(listener.port, max_size=10)
    client.send(1)
    peer = listener.accept()
    peer.read(11)
    peer.send(b"0000000011")
    with pytest.raises(FrameTooLarge, match="11, the limit is 10") as caught:
        client.receive()
    assert caught.value.__notes__ == [f"received from 127.0.0.1:{listener.port}"]
    assert peer.at_end()


def test_a_bad_reply_is_a_value_error_and_closes_the_connection(listener, new_client, run):
    client = new_client(listener.port)
    reply = run(client.tcpcmd, 1)
    peer = listener.accept()
    peer.send(b"HTTP/1.1 400 Bad Request\r\n")
    with pytest.raises(BadHeader) as caught:
        reply.result()
    assert isinstance(caught.value, ValueError)
    assert client.connection.fileno() == -1


def test_arrays_are_carried_in_both_directions(new_server, new_client):
    server = new_server()
    client = new_client(server)
    client.send({"x": np.arange(3), "y": np.float32(0.5), "n": np.int64(7)})
    assert server.receive() == {"x": [0, 1, 2], "y": 0.5, "n": 7}
    server.send(np.eye(2))
    assert client.receive() == [[1.0, 0.0], [0.0, 1.0]]


def test_codecs_are_plugged_in_on_either_side(new_server, new_client):
    def compact(value):
        return json.dumps(value, separators=(",", ":"))

    server = new_server(loads=lambda text: json.loads(text, parse_float=str))
    client = new_client(server, dumps=compact)
    client.send([1.50, 2])
    assert server.receive() == ["1.5", 2]


# Addresses.


@pytest.mark.fault("C8", "json-socket")
def test_a_server_can_be_started_again_on_its_port_at_once(new_server, new_client):
    """Its end was closed first, so the kernel keeps the old connection for a minute."""
    port = 0
    for _ in range(3):
        server = new_server(port=port)
        port = server.port
        client = new_client(server)
        client.send(1)
        server.receive()
        server.send("OK")
        server.shutdown()
        assert client.receive() == "OK"
        with pytest.raises(BrokenConnection):
            client.receive()


def test_two_servers_on_one_port_are_refused(new_server):
    with pytest.raises(OSError, match="in use"):
        new_server(port=new_server().port)


@pytest.mark.parametrize("address", ["::1", "[::1]"])
def test_ipv6_is_understood(new_server, address):
    server = new_server(address)
    assert server.address == ("::1", server.port)
    assert repr(server) == f"<Socket server [::1]:{server.port}>"
    with Socket("client", address, server.port) as client:
        client.send("six")
        assert server.receive() == "six"
        server.send("OK")
        assert client.receive() == "OK"


def test_host_names_are_understood_and_prefer_ipv4(new_server):
    server = new_server("localhost")
    assert server.address == ("127.0.0.1", server.port)
    with Socket("client", "localhost", server.port) as client:
        client.send("name")
        assert server.receive() == "name"


def test_an_empty_name_is_every_ipv4_interface(new_server, new_client):
    server = new_server("")
    assert server.address == ("0.0.0.0", server.port)
    new_client(server).send("any")
    assert server.receive() == "any"


def test_a_name_with_several_addresses_is_tried_until_one_answers(new_server, monkeypatch):
    server = new_server("::1")

    def lookup(host, port, **_):
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with Socket("client", "rig", server.port) as client:
        client.send("found")
        assert server.receive() == "found"


def test_an_unknown_name_and_a_foreign_address_are_errors_of_the_system():
    with pytest.raises(OSError, match=r"\w"):
        Socket("server", "192.0.2.1", port=0)
    with Socket("client", "no such host", 1) as client, pytest.raises(OSError, match=r"\w"):
        client.send(1)


def test_an_interrupted_start_leaves_nothing_open(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(socket.socket, "listen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Socket("server", port=0)


# Kept connections.


def test_a_persistent_client_and_server_keep_one_connection(new_server, new_client, run):
    server = new_server(persistent=True)
    client = new_client(server, persistent=True)
    other = new_client(server)
    other.send("between")
    assert server.receive() == "between"
    connections = set()
    for number in range(5):
        reply = run(client.tcpcmd, number)
        assert server.receive() == number
        server.send(number + 1)
        assert reply.result() == number + 1
        connections.add(client.connection)
    assert len(connections) == 1
    for number in range(3):
        client.send(number)
        assert server.receive() == number
    assert {client.connection} == connections


@pytest.mark.fault("C1", "json-socket", "L")
def test_messages_in_one_piece_are_all_served_and_take_turns_with_other_connections(new_server, knock):
    """The second message of a connection queues up behind those of the others; none is lost."""
    server = new_server()
    chatty = knock(server, encode("a1") + encode("a2") + encode("a3"))
    knock(server, encode("b1"))
    seen = []
    for _ in range(4):
        seen.append(server.receive())
        server.send(seen[-1])
    assert seen == ["a1", "b1", "a2", "a3"]
    assert chatty.read(42) == encode("a1") + encode("a2") + encode("a3")
    assert server.dropped == 0


def test_a_half_sent_second_message_keeps_the_connection(new_server, knock):
    server = new_server()
    slow = knock(server, encode("a1") + b"000000")
    assert server.receive() == "a1"
    knock(server, encode("b1"))
    assert server.receive() == "b1"
    slow.send(b'0004"a2"')
    assert server.receive() == "a2"


def test_a_persistent_client_finds_out_that_the_server_closed_and_connects_again(new_server, new_client):
    server = new_server()
    client = new_client(server, persistent=True)
    for number in range(3):
        client.send(number)
        assert server.receive() == number
        server.close()
        with pytest.raises(BrokenConnection):
            client.receive()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_kept_connection_that_ended_unseen_is_replaced(listener, new_client, run, end):
    client = new_client(listener.port, persistent=True)
    for _ in range(2):
        reply = run(client.tcpcmd, 1)
        peer = listener.accept()
        peer.read(11)
        peer.send(encode("OK"))
        assert reply.result() == "OK"
        getattr(peer, end)()


def test_a_late_reply_is_never_taken_for_the_next_one(listener, new_client, run):
    """After a timeout, or with anything unread, the next command gets a connection of its own."""
    client = new_client(listener.port, persistent=True)
    late = unanswered(client, listener, "slow")
    client.send("slow too")
    later = listener.accept()
    with pytest.raises(TimeoutError):
        client.receive(timeout=0.01)
    client.send("not read")
    unread = listener.accept()
    reply = run(client.tcpcmd, "now")
    now = listener.accept()
    now.read(15)
    now.send(encode("right") + encode("unasked"))
    assert reply.result() == "right"
    reply = run(client.tcpcmd, "again")
    again = listener.accept()
    again.read(17)
    again.send(encode("right again"))
    assert reply.result() == "right again"
    for peer in (late, later, unread):
        assert peer.sock.recv(100)
    for peer in (late, later, unread, now):
        assert peer.at_end()


# Ends.


def test_leaving_the_context_closes_everything(new_client):
    with Socket("server", port=0) as server:
        client = new_client(server)
        client.send(1)
        server.receive()
    assert server.server.fileno() == server.connection.fileno() == -1
    for method in (server.receive, lambda: server.send(1), lambda: server.serve({})):
        with pytest.raises(SocketClosed):
            method()
    server.close()
    server.shutdown()
    assert server.address[1] == server.port
    with pytest.raises(ConnectionRefusedError):
        client.send(1)
    client.shutdown()
    for method in (client.send, client.tcpcmd):
        with pytest.raises(SocketClosed, match="this client was shut down"):
            method(1)


def test_a_listener_that_the_program_closed_itself_is_noticed(new_server):
    server = new_server()
    server.server.close()
    with pytest.raises(SocketClosed, match="the listening socket was closed"):
        server.receive()


@pytest.mark.parametrize("treat", [pickle.dumps, copy.copy])
def test_a_socket_is_not_copied(new_client, treat):
    with pytest.raises(TypeError, match="cannot be pickled"):
        treat(new_client(1))
