"""What the original documents: names, defaults, attributes, and the order of things."""

from __future__ import annotations

import inspect
import socket

import pytest

import wireframe
from wireframe import Socket
from wireframe.json_socket import DEFAULT_PORT, BrokenConnection, SocketClosed


def test_the_class_is_exported_and_its_first_parameters_are_those_of_the_original():
    assert wireframe.Socket is Socket
    parameters = list(inspect.signature(Socket).parameters.values())
    assert [(one.name, one.default) for one in parameters[:3]] == [
        ("role", inspect.Parameter.empty),
        ("ip_address", "127.0.0.1"),
        ("port", 61981),
    ]
    assert {one.kind for one in parameters[3:]} == {inspect.Parameter.KEYWORD_ONLY}
    assert DEFAULT_PORT == 61981


@pytest.mark.parametrize(
    ("name", "parameters"), [("send", ["value"]), ("tcpcmd", ["value"]), ("receive", []), ("close", [])]
)
def test_methods_take_what_the_original_takes(name, parameters):
    found = inspect.signature(getattr(Socket, name)).parameters.values()
    assert [one.name for one in found if one.kind is not one.KEYWORD_ONLY] == ["self", *parameters]


def test_an_unknown_role_is_refused():
    with pytest.raises(ValueError, match="role must be 'client' or 'server', not 'referee'"):
        Socket("referee")


def test_attributes_of_a_client(new_client):
    client = new_client(61981)
    assert (client.role, client.ip_address, client.port) == ("client", "127.0.0.1", 61981)
    assert client.address == ("127.0.0.1", 61981)
    assert client.connection is None
    assert not hasattr(client, "server")


def test_attributes_of_a_server(new_server):
    server = new_server()
    assert (server.role, server.ip_address) == ("server", "127.0.0.1")
    assert server.connection is None
    assert isinstance(server.server, socket.socket)
    assert server.server.getsockname() == server.address == ("127.0.0.1", server.port)
    assert server.port > 0


def test_one_thread_can_hold_a_whole_conversation(new_server, new_client):
    """A client may connect and send before the server asks; several frames may go back."""
    server = new_server()
    client = new_client(server)
    client.send({"message": "Howdy!"})
    assert server.receive() == {"message": "Howdy!"}
    server.send([1, 2, 3])
    server.send("more")
    assert client.receive() == [1, 2, 3]
    assert client.receive() == "more"
    assert client.connection.getpeername() == server.connection.getsockname()
    client.close()
    server.close()


def test_messages_are_taken_in_the_order_of_connections(new_server, new_client):
    server = new_server()
    clients = [new_client(server) for _ in range(6)]
    for number, client in enumerate(clients):
        client.send(number)
    assert [server.receive() for _ in clients] == list(range(6))


def test_a_command_is_sent_answered_and_closed(new_server, new_client, run):
    server = new_server()
    client = new_client(server)
    reply = run(client.tcpcmd, {"command": "ready"})
    assert server.receive() == {"command": "ready"}
    server.send("OK")
    assert reply.result() == "OK"
    assert client.connection.fileno() == -1
    assert server.connection.recv(1) == b""


def test_a_command_of_a_server_does_nothing(new_server):
    assert new_server().tcpcmd("anything") is None


def test_a_client_opens_a_new_connection_for_each_message_and_closes_the_one_before(new_server, new_client):
    server = new_server()
    client = new_client(server)
    client.send(1)
    first = client.connection
    client.send(2)
    assert client.connection is not first
    assert first.fileno() == -1
    assert [server.receive(), server.receive()] == [1, 2]


def test_a_connection_stays_open_until_another_message_is_taken(new_server, new_client):
    """A client that gets no reply learns so when the next one is served, as from the original."""
    server = new_server()
    waiting, other = new_client(server), new_client(server)
    waiting.send("unknown command")
    server.receive()
    with pytest.raises(TimeoutError):
        server.receive(timeout=0)
    with pytest.raises(TimeoutError):
        waiting.receive(timeout=0.01)
    other.send("next")
    assert server.receive() == "next"
    with pytest.raises(BrokenConnection):
        waiting.receive()


def test_closing_twice_or_before_anything_is_fine(new_server, new_client):
    server = new_server()
    client = new_client(server)
    for one in (server, client):
        one.close()
        one.close()
    client.send(1)
    server.receive()
    for one in (server, client):
        one.close()
        assert one.connection is None
        one.close()


def test_a_server_goes_on_listening_after_close(new_server, new_client):
    server = new_server()
    client = new_client(server)
    for number in range(3):
        client.send(number)
        assert server.receive() == number
        server.close()
        with pytest.raises(BrokenConnection):
            client.receive()


def test_a_server_has_nobody_to_answer_before_its_first_message_or_after_close(new_server, new_client):
    server = new_server()
    with pytest.raises(BrokenConnection, match="no message was received yet"):
        server.send(1)
    new_client(server).send(1)
    server.receive()
    server.close()
    with pytest.raises(RuntimeError, match="no message"):
        server.send(1)


def test_a_client_has_nothing_to_read_before_it_sent_or_after_a_command(new_server, new_client, run):
    server = new_server()
    client = new_client(server)
    with pytest.raises(BrokenConnection, match="send something first"):
        client.receive()
    serving = run(server.serve, {}, stop="done")
    assert client.tcpcmd({"command": "done"}) == "OK"
    serving.result()
    with pytest.raises(BrokenConnection, match="send something first"):
        client.receive()


def test_a_value_json_cannot_carry_is_refused_before_connecting(listener, new_client):
    client = new_client(listener.port)
    for method in (client.send, client.tcpcmd):
        with pytest.raises(TypeError):
            method({1, 2})
    assert client.connection is None
    listener.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.sock.accept()


def test_nobody_listening_is_a_refused_connection_that_names_the_address(closing, new_client):
    taken = closing(socket.socket())
    taken.bind(("127.0.0.1", 0))  # bound, so nobody else gets it, and not listening
    port = taken.getsockname()[1]
    client = new_client(port)
    for method in (client.send, client.tcpcmd):
        with pytest.raises(ConnectionRefusedError) as caught:
            method(1)
        assert caught.value.__notes__ == [f"while connecting to 127.0.0.1:{port}"]


def test_the_other_side_closing_early_is_a_connection_error_and_the_seeds_runtime_error(listener, new_client):
    client = new_client(listener.port)
    for data, received in ((b"", 0), (b"00000", 5), (b'0000000010"OK"', 14)):
        client.send(1)
        peer = listener.accept()
        peer.read(11)
        peer.send(data)
        peer.close()
        with pytest.raises(RuntimeError) as caught:
            client.receive()
        assert isinstance(caught.value, ConnectionError)
        assert isinstance(caught.value, BrokenConnection)
        assert not isinstance(caught.value, SocketClosed)
        assert f"127.0.0.1:{listener.port}" in str(caught.value)
        assert (caught.value.peer, caught.value.received) == (f"127.0.0.1:{listener.port}", received)
