"""`EchoProtocol` over TCP, between two of ours or with a bare socket."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys

import pytest

from echo_rig import (
    EchoProtocol,
    _connection,
    _connections,
    _liveness,
    _message_cutter,
    _patient_listener,
    app,
)

from .raw_peers import RawStream, free_uri, in_loop, place_of, raw_client_and, raw_server_and, until


@pytest.mark.parametrize("scheme", ["tcp", "ws", "wss"])
@in_loop
async def test_all_schemes_of_streams_are_the_same_plain_tcp(scheme):
    async with raw_server_and(EchoProtocol.client, free_uri(scheme)) as (raw, client):
        call = asyncio.ensure_future(client.init(42))
        assert await raw.receive() == b"[1, 42]"
        await raw.send(b"[1, 42]")
        await call
        assert client._socket.type is app.socket.SOCK_STREAM


@in_loop
async def test_a_server_serves_clients_and_sends_to_them():
    async with await EchoProtocol.server(free_uri("tcp"), name="rig") as server:
        assert server.Server is not None
        assert server.is_connected
        async with await EchoProtocol.client(server.server_uri) as client:
            calls = []
            server.assign_callback("EXPSTART", lambda *call: calls.append(call))
            await client.start("2022-01-01_1_subject")
            address = client._socket.getsockname()
            assert calls == [(["2022-01-01_1_subject", None], address)]
            assert server._socket.type is app.socket.SOCK_STREAM
            answer = asyncio.ensure_future(client.on_event("INIT"))
            await server.init(42, addr=address)
            assert await answer == ([42], place_of(server.server_uri))
            assert 0 < client.round_trip() < 1


@in_loop
async def test_an_address_that_nobody_is_connected_from_is_warned_of_and_gets_nothing(caplog):
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (raw, client):
        client.send(b"foo", addr=("192.168.0.0", 1))
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        client.send(b"foo")
        assert await raw.receive() == b"foo"


@in_loop
async def test_send_writes_the_given_bytes_to_the_transport():
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (_, client):
        written = []
        real, client._transport = (
            client._transport,
            type("Spy", (), {"write": lambda _, data: written.append(data)})(),
        )
        client.send(b"foo")
        client._transport = real
        assert written == [b"foo"]


# What is no list


@in_loop
async def test_a_word_is_complete_after_a_short_silence():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, _):
        await raw.send(b"hel", b"lo")
        assert await raw.receive() == b"hello"


@in_loop
async def test_words_that_are_sent_are_confirmed():
    async with (
        await EchoProtocol.server(free_uri("tcp")) as server,
        await EchoProtocol.client(server.server_uri) as client,
    ):
        for data in (b"hello", "two words", None, 21, {"a": 1}):
            await client.confirmed_send(data)


@pytest.mark.fault("C6", "echo-tcp")
@in_loop
async def test_a_list_without_its_end_is_given_up_after_a_long_silence(monkeypatch):
    monkeypatch.setattr(_message_cutter, "UNFINISHED_S", 0.02)
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        arrived = []
        server.assign_callback("EXPCLEANUP", lambda data, addr: arrived.append(data))
        await raw.send(b'[1, "never ended')
        assert await raw.receive(16) == b'[1, "never ended'
        await raw.send(b"[8, 8]")
        assert await raw.receive() == b"[8, 8]"
        assert arrived == [[8]]


@pytest.mark.fault("C3", "echo-tcp", "E")
@in_loop
async def test_a_message_beyond_the_limit_is_dropped_and_the_connection_goes_on(monkeypatch, caplog):
    monkeypatch.setattr(_message_cutter, "MAX_STREAM_MESSAGE", 100)
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        (connection,) = server._connections.values()
        await raw.send(b'[1, "' + b"x" * 500, b"x" * 500 + b'"]', b"[8, 8]")
        assert await raw.receive() == b"[8, 8]"
        assert "1007 bytes" in caplog.text
        assert connection._cutter.silence_s is None


@in_loop
async def test_a_long_message_that_is_dropped_halfway_and_never_ended_is_given_up_too(monkeypatch):
    monkeypatch.setattr(_message_cutter, "MAX_STREAM_MESSAGE", 100)
    monkeypatch.setattr(_message_cutter, "UNFINISHED_S", 0.02)
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        (connection,) = server._connections.values()
        await raw.send(b'[1, "' + b"x" * 500)
        await until(lambda: connection._cutter.silence_s is None)
        await raw.send(b"[8, 8]")
        assert await raw.receive() == b"[8, 8]"


@in_loop
async def test_what_is_complete_but_for_the_end_of_the_stream_is_taken():
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (raw, client):
        raw.socket.send(b"hello")
        raw.socket.shutdown(socket.SHUT_WR)
        assert await raw.receive() == b"hello"
        assert await client.on_eof_received is True
        assert await client.on_connection_lost is None
        assert not client.is_connected
        with pytest.raises(ConnectionError):
            await client.init()


@pytest.mark.fault("C4", "echo-tcp", "E")
@pytest.mark.parametrize("message", [[1, "cut"], "word", {"a": 1}, '"text"'], ids=str)
@in_loop
async def test_a_stream_that_ends_inside_an_echo_is_a_lost_connection(caplog, message):
    """At each byte; and no error of the protocol, which a caller would take for a wrong program."""
    caplog.set_level(logging.WARNING)
    size = len(EchoProtocol.encode(message))
    for cut in range(size):
        async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (raw, client):
            call = asyncio.ensure_future(client.confirmed_send(message, timeout=20.0))
            echo = await raw.receive()
            assert len(echo) == size
            raw.socket.send(echo[:cut])
            raw.socket.shutdown(socket.SHUT_WR)
            with pytest.raises(ConnectionResetError, match="is gone: end of stream"):
                await call
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    if message != "word":
        assert f"ended inside a message, dropped {size - 1} bytes" in caplog.text


@in_loop
async def test_a_message_that_the_end_of_its_stream_cuts_off_is_not_delivered():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        heard = []
        server.assign_callback("EXPINIT", lambda data, address: heard.append(data))
        raw.socket.send(b'[1, "whole"][1, "par')
        raw.socket.shutdown(socket.SHUT_WR)
        assert await raw.receive() == b'[1, "whole"]'
        assert await raw.receive() == b""
        await until(lambda: not server.addresses)
        assert heard == [["whole"]]


# Limits


@pytest.mark.fault("C7", "echo-tcp")
@in_loop
async def test_beyond_the_limit_of_connections_newcomers_are_closed(monkeypatch, caplog):
    monkeypatch.setattr(_connections, "MAX_CONNECTIONS", 2)
    async with await EchoProtocol.server(free_uri("tcp")) as server:
        clients = [await EchoProtocol.client(server.server_uri) for _ in range(2)]
        for client in clients:
            await client.init()
        async with await RawStream.connect(place_of(server.server_uri)) as raw:
            assert await raw.receive() == b""
        assert "2 connections" in caplog.text
        for client in clients:
            await client.init()
            client.close()
        await until(lambda: not server.addresses)
        async with await EchoProtocol.client(server.server_uri) as client:
            await client.init()


@pytest.mark.fault("C7", "echo-tcp")
@in_loop
async def test_a_server_that_cannot_accept_tries_again(monkeypatch, caplog):
    """Several times if it must; and a server that is closed meanwhile leaves nothing behind."""
    accept = socket.socket.accept
    attempts = []

    def short(self):
        attempts.append(self)
        if len(attempts) <= 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(self)

    monkeypatch.setattr(_patient_listener, "ACCEPT_AGAIN_S", 0.01)
    async with await EchoProtocol.server(free_uri("tcp")) as server:
        monkeypatch.setattr(socket.socket, "accept", short)
        clients = [await EchoProtocol.client(server.server_uri) for _ in range(3)]
        for client in clients:
            await client.confirmed_send([1, None], timeout=10.0)
            client.close()
        assert len(attempts) > 3
        assert server.is_connected
    assert caplog.text.count("cannot accept now") == 1
    attempts.clear()
    async with await EchoProtocol.server(free_uri("tcp")) as server:
        client = await EchoProtocol.client(server.server_uri)
        await until(lambda: attempts)
        server.close()
        client.close()
        await asyncio.sleep(0.02)
        assert len(attempts) == 1


@pytest.mark.fault("C7", "echo-tcp")
@in_loop
async def test_strangers_that_say_nothing_make_room_for_who_speaks(monkeypatch, caplog):
    monkeypatch.setattr(_connections, "MAX_CONNECTIONS", 2)
    async with await EchoProtocol.server(free_uri("tcp")) as server:
        place = place_of(server.server_uri)
        async with await RawStream.connect(place) as first, await RawStream.connect(place) as second:
            await until(lambda: len(server.addresses) == 2)
            async with await EchoProtocol.client(server.server_uri) as client:
                await client.init()
                assert await first.receive() == b""
                async with await EchoProtocol.client(server.server_uri) as another:
                    await another.init()
                    await client.init()
                assert await second.receive() == b""
        assert "which said nothing" in caplog.text


@in_loop
async def test_a_message_may_take_its_time_to_come_whole():
    """A list that is cut waits for its rest longer than a word does: one echo, one callback."""
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        arrived = []
        server.assign_callback("INIT", lambda data, address: arrived.append(data))
        await raw.send(b'[1, "ab')
        await asyncio.sleep(3 * _message_cutter.SILENCE_S)  # real time is what the rule is about
        await raw.send(b'c"]')
        assert await raw.receive(10) == b'[1, "abc"]'
        await until(lambda: arrived == [["abc"]])


@pytest.mark.fault("C5", "echo-tcp")
@in_loop
async def test_an_end_that_vanishes_is_noticed_by_the_system():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (_, server):
        (connection,) = server._connections.values()
        stream = connection.transport.get_extra_info("socket")
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        if sys.platform == "linux":
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == _liveness.UNANSWERED_MS
            assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == _liveness.KEEPALIVE_IDLE_S


# Closing


@in_loop
async def test_close_gives_a_slow_reader_some_time_and_then_no_more(monkeypatch):
    monkeypatch.setattr(_connection, "LINGER_S", 0.05)
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        (connection,) = server._connections.values()
        while connection.transport.get_write_buffer_size() < 1 << 20:
            server.send(b"[1, " + b"1" * 100_000 + b"]", raw.address)
        server.close()
        server.close()
        assert server._connections
        await until(lambda: not server._connections)


@in_loop
async def test_what_is_sent_right_before_close_arrives():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        message = b"[1, " + b"1" * 5_000_000 + b"]"
        server.send(message, raw.address)
        server.close()
        assert await raw.receive(len(message)) == message


@in_loop
async def test_closing_within_a_callback_leaves_the_rest_of_the_segment_alone():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        ran = []

        def close(data, addr):
            ran.append(data)
            server.close()

        server.assign_callback("EXPINIT", close)
        await raw.send(b"[1, 1][1, 2][1, 3]")
        assert await raw.receive() == b"[1, 1]"
        assert await raw.receive() == b""
        assert ran == [[1]]


@in_loop
async def test_a_connection_that_was_accepted_right_before_close_is_closed():
    server = await EchoProtocol.server(free_uri("tcp"))
    server.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with await RawStream.connect(listener.getsockname()) as raw:
            accepted, _ = listener.accept()
            await asyncio.get_running_loop().connect_accepted_socket(server.new_connection, accepted)
            assert await raw.receive() == b""
    assert server.addresses == []


@in_loop
async def test_close_cancels_sends_of_a_server_and_of_its_clients():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        call = asyncio.ensure_future(server.init(addr=raw.address))
        await raw.receive()
        assert server.awaiting_response(raw.address)
        server.close()
        await asyncio.wait([call])
        assert call.cancelled()
        assert await server.on_connection_lost == "Close called on communicator"


def test_an_end_can_be_closed_without_a_running_loop():
    loop = asyncio.new_event_loop()
    uri = free_uri("tcp")
    server = loop.run_until_complete(EchoProtocol.server(uri))
    client = loop.run_until_complete(EchoProtocol.client(uri))
    loop.run_until_complete(client.init())
    client.close()
    server.close()
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    for end in (client, server):
        assert not end.is_connected
        end.close()


@in_loop
async def test_a_server_may_be_told_to_start_later():
    async with await EchoProtocol.server(free_uri("tcp"), start_serving=False) as server:
        assert not server.is_connected
        await server.Server.start_serving()
        assert server.is_connected
        async with await EchoProtocol.client(server.server_uri) as client:
            await client.init()


@in_loop
async def test_a_connection_that_breaks_is_reported_as_what_it_is():
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (raw, client):
        logging.getLogger(client.name).setLevel(logging.CRITICAL)
        call = asyncio.ensure_future(client.init())
        await raw.receive()
        # What the system calls an end that does not answer any more.
        client.connection_lost(TimeoutError(110, "Connection timed out"))
        with pytest.raises(ConnectionError, match="timed out"):
            await call
        assert isinstance(await client.on_connection_lost, TimeoutError)
        client._transport.abort()


@in_loop
async def test_a_stream_is_refused_where_datagrams_are_wanted():
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (_, client):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            transport = type("Transport", (), {"get_extra_info": lambda _, name: datagrams})()
            with pytest.raises(RuntimeError, match="Unsupported transport layer"):
                client.connection_made(transport)


@in_loop
async def test_a_callback_may_hang_up_while_its_message_waits_for_the_network():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        (connection,) = server._connections.values()
        connection.pause_writing()
        assert not connection.transport.is_reading()
        connection.close()
        connection.resume_writing()
        connection.pause_writing()
        assert await raw.receive() == b""


@in_loop
async def test_the_flow_of_a_client_is_that_of_its_connection():
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (_, client):
        client.pause_writing()
        assert not client._transport.is_reading()
        client.resume_writing()
        assert client._transport.is_reading()
