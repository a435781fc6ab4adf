"""`EchoProtocol` over UDP, between two of ours or with a bare socket."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import SimpleNamespace

import pytest

from echo_rig import EchoProtocol, _links, app
from wireframe.echo import TAG_LENGTH, read_number

from .fault_proxy import FaultProxy
from .raw_peers import RawDatagrams, free_uri, in_loop, place_of, raw_client_and, raw_server_and, until


@in_loop
async def test_both_roles_say_who_they_are():
    uri = free_uri("udp")
    async with await EchoProtocol.server(uri, name="rig") as server, await EchoProtocol.client(uri) as client:
        assert (server.role, client.role) == ("server", "client")
        assert (server.name, client.name) == ("rig", uri)
        assert (server.logger.name, client.logger.name) == ("rig", uri)
        assert (server.server_uri, server.protocol, (server.hostname, server.port)) == (
            uri,
            "udp",
            place_of(uri),
        )
        for end in (server, client):
            assert end.is_connected
            assert end._socket.type is app.socket.SOCK_DGRAM
            assert end.Server is None
            assert end.awaiting_response() is False
            with pytest.raises(AttributeError):
                end.role = "server"
            assert not any(
                future.done()
                for future in (end.on_connection_lost, end.on_error_received, end.on_eof_received)
            )


def test_a_role_that_is_none_is_refused_without_a_loop():
    with pytest.raises(ValueError, match="role"):
        EchoProtocol("127.0.0.1", "foo")


@in_loop
async def test_a_role_is_read_in_any_case_with_blanks():
    end = EchoProtocol("127.0.0.1", " Server ")
    assert end.role == "server"
    assert not end.is_connected
    with pytest.raises(ConnectionError, match="no transport yet"):
        end.send([1, None], ("127.0.0.1", 9))
    end.close()


@in_loop
async def test_what_is_wrong_with_a_call_is_said_before_anything_is_sent():
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, client):
        server = await EchoProtocol.server(free_uri("udp"))
        with pytest.raises(TypeError):
            await server.confirmed_send([1, None], timeout=-1)
        with pytest.raises(ValueError, match="IP address"):
            await server.confirmed_send([1, None], addr=("localhost", 9))
        server.close()
        with pytest.raises(ValueError, match="only send to its server"):
            await client.confirmed_send([1, None], addr=("localhost", client.port + 100), timeout=-1)
        with pytest.raises(ValueError, match="timeout"):
            await client.confirmed_send([1, None], timeout=-1)
        client.default_echo_timeout = 0
        with pytest.raises(ValueError, match="timeout"):
            await client.confirmed_send([1, None])
        with pytest.raises(ValueError, match="ExpStatus"):
            await client.status(21)
        with pytest.raises(KeyError):
            await client.status("running")
        with pytest.raises(KeyError):
            await client.start({"subject": "mouse"})
        assert await raw.is_quiet()


@in_loop
async def test_a_callback_gets_the_address_of_the_sender_who_may_be_answered():
    async with (
        await EchoProtocol.server(free_uri("udp")) as server,
        await EchoProtocol.client(server.server_uri) as client,
    ):
        calls = []
        server.assign_callback("expstart", lambda *call: calls.append(call))
        await client.start("2022-01-01_1_subject")
        address = client._socket.getsockname()
        # At once: nothing is waited for between the echo and the callbacks.
        assert calls == [(["2022-01-01_1_subject", None], address)]
        assert server.addresses == [address]
        answer = asyncio.ensure_future(client.on_event("INIT"))
        await server.init(42, addr=address)
        assert await answer == ([42], place_of(server.server_uri))
        await client.confirmed_send([8, 1], addr=place_of(server.server_uri))


@in_loop
async def test_send_takes_bytes_text_and_values_and_awaits_nothing():
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, client):
        for data, expected in (
            (b"foo", b"foo"),
            ("text", b"text"),
            ([1, None], b"[1, null]"),
            (bytearray(b"x"), b"x"),
        ):
            client.send(data)
            assert await raw.receive() == expected
            assert not client.awaiting_response()


@in_loop
async def test_a_client_ignores_everybody_but_its_server_with_one_warning(caplog):
    async with await EchoProtocol.client(free_uri("udp")) as client:
        arrived = []
        client.assign_callback("EXPINIT", lambda data, addr: arrived.append(data))
        for _ in range(3):
            client.datagram_received(b"[1, null]", ("192.168.0.0", client.port))
        assert arrived == []
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "192.168.0.0" in caplog.text


@in_loop
async def test_text_that_is_no_message_warns_as_the_original_does():
    async with raw_client_and(EchoProtocol.server, free_uri("udp")) as (raw, server):
        await raw.send(b"[8, null]")
        await raw.receive()
        with pytest.warns(RuntimeWarning, match="Expected list"):
            server._receive(b"foo", raw.address)


# The entries of `_last_sent` that programs make by hand


@in_loop
async def test_an_echo_that_was_entered_by_hand_is_confirmed_cut_off_or_refused(caplog):
    async with await EchoProtocol.client(free_uri("udp")) as client:
        address = place_of(client.server_uri)
        futures = [asyncio.get_running_loop().create_future() for _ in range(5)]
        client._last_sent[address] = (b"foo", futures[0])
        assert client.awaiting_response()
        assert client.awaiting_response(address)
        assert not client.awaiting_response(("localhost", 8080))
        client._receive(b"foo", address)
        assert futures[0].result() is True
        # Exactly as long as a message may be, and the beginning of what was sent.
        long = b"f" * (client.max_message_size + 10)
        client._last_sent[address] = (long, futures[1])
        client._receive(long[: client.max_message_size], address)
        assert futures[1].result() is True
        assert "Received truncated echo" in caplog.text
        client._last_sent[address] = (long, futures[2])
        client._receive(long[: client.max_message_size - 1], address)
        assert isinstance(futures[2].exception(), RuntimeError)
        # A message is no wrong echo.
        client._last_sent[address] = (b"foo", futures[3])
        client._transport.close()
        client._transport = type("Nowhere", (), {"sendto": lambda *_: None, "close": lambda _: None})()
        client._receive(b"[8, null]", address)
        client._receive(b'[0, "ValueError: boom", 1]', address)
        assert not futures[3].done()
        client._receive(b"bar", address)
        assert isinstance(futures[3].exception(), RuntimeError)
        client._last_sent[address] = (None, futures[4])
        client.close()
        assert futures[4].cancelled()
        assert not client.awaiting_response()


@in_loop
async def test_a_truncated_echo_of_our_own_message_confirms_with_a_warning(caplog, monkeypatch):
    monkeypatch.setattr(EchoProtocol, "max_message_size", 100)
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, client):
        call = asyncio.ensure_future(client.init("x" * 200))
        await raw.send((await raw.receive())[:100], raw.sender)
        await call
        assert "Received truncated echo" in caplog.text
        call = asyncio.ensure_future(client.init("y" * 200))
        await raw.send((await raw.receive())[:99])
        with pytest.raises(RuntimeError, match="Unexpected response"):
            await call


# Closing


@in_loop
async def test_close_cancels_who_waits_and_may_be_called_again():
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, client):
        event = asyncio.get_running_loop().create_future()
        client.assign_callback("EXPCLEANUP", event)
        calls = [asyncio.ensure_future(client.init()), asyncio.ensure_future(client.on_event("INIT"))]
        await raw.receive()
        client.close()
        client.close()
        await asyncio.wait(calls)
        assert all(call.cancelled() for call in [*calls, event])
        assert await client.on_connection_lost == "Close called on communicator"
        assert client.on_error_received.cancelled()
        assert client.on_eof_received.cancelled()
        assert not client.is_connected
        assert client._transport.is_closing()
        assert not any(client._callbacks.values())
        await raw.send(b"[1, null]")
        assert await raw.is_quiet()


@in_loop
async def test_closing_within_a_callback_ends_everything_there():
    async with raw_client_and(lambda uri: EchoProtocol.server(uri, numbering=True), free_uri("udp")) as (
        raw,
        server,
    ):
        ran = []

        def close(data, addr):
            ran.append(data)
            server.close()

        server.assign_callback("EXPINIT", close)
        server.assign_callback("EXPINIT", lambda data, addr: ran.append("another"))
        await raw.send(b"[1, 1]")
        assert await raw.receive() == b"[1, 1]"
        await until(lambda: ran)
        server._receive(b"[1, 2]", raw.address)
        assert ran == [[1]]


def test_an_end_can_be_closed_without_a_running_loop():
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(EchoProtocol.server(free_uri("udp")))
    server.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert not server.is_connected
    server.close()
    assert server.on_connection_lost.result() == "Close called on communicator"


@in_loop
async def test_an_address_in_use_is_an_error_and_nothing_stays_open():
    async with await EchoProtocol.server(free_uri("udp")) as server:
        with pytest.raises(OSError, match=r"[Aa]ddress"):
            await EchoProtocol.server(server.server_uri)


@pytest.mark.fault("C22", "echo-rig")
@pytest.mark.parametrize("scheme", ["udp", "tcp"])
@in_loop
async def test_making_an_end_can_be_cancelled_at_any_moment(scheme):
    async with await EchoProtocol.server(free_uri(scheme)) as known:
        for turns in range(8):
            for make in (EchoProtocol.server(free_uri(scheme)), EchoProtocol.client(known.server_uri)):
                making = asyncio.ensure_future(make)
                for _ in range(turns):
                    await asyncio.sleep(0)
                making.cancel()
                await asyncio.wait([making])
                if not making.cancelled():
                    making.result().close()
        await asyncio.sleep(0.01)


# Memory and numbers


@in_loop
async def test_a_server_remembers_so_many_addresses_and_never_uses_a_number_twice(monkeypatch):
    monkeypatch.setattr(_links, "MAX_LINKS", 3)
    async with await EchoProtocol.server(free_uri("udp"), numbering=True) as server:
        raws = [RawDatagrams(connect=place_of(server.server_uri)) for _ in range(5)]
        seen = []
        for _ in range(2):
            for raw in raws:
                await raw.send(b"[32]")
                assert await raw.receive() == b"[32]"
                assert len(server.addresses) <= 3
                call = asyncio.ensure_future(server.init(addr=raw.address))
                while not call.done():
                    async with asyncio.timeout(10):
                        data = await raw.receive()
                    seen.append((raw.address, data))
                    await raw.send(data)
                    await asyncio.sleep(0.001)
                await call
        numbers = [(address, read_number(data)) for address, data in seen]
        assert all(number is not None for _, number in numbers)
        sent_again = len(numbers) - len(
            {(address, number.session, number.number) for address, number in numbers}
        )
        assert sent_again == sum(link.conversation.retransmissions for link in server._links.values())
        for raw in raws:
            raw.socket.close()


@in_loop
async def test_numbering_begins_when_the_other_end_numbers():
    async with await EchoProtocol.server(free_uri("udp")) as server:
        async with RawDatagrams(connect=place_of(server.server_uri)) as raw:
            await raw.send(b"[32]")
            assert await raw.receive() == b"[32]"
            server.send([1, None], raw.address)
            assert await raw.receive() == b"[1, null]"
        async with await EchoProtocol.client(server.server_uri, numbering=True) as client:
            await client.cleanup()
            address = client._socket.getsockname()
            await until(lambda: server._links[address].conversation.numbers)
            await server.init(addr=address)
            for end, where in ((client, place_of(server.server_uri)), (server, address)):
                await until(lambda end=end, where=where: end._links[where].conversation.peer_numbers)


@in_loop
async def test_an_end_that_must_not_number_does_not():
    async with (
        await EchoProtocol.server(free_uri("udp"), numbering=False) as server,
        await EchoProtocol.client(server.server_uri, numbering=True) as client,
    ):
        await client.init()
        await server.init(addr=server.addresses[0])
        assert not server._links[server.addresses[0]].conversation.numbers


@in_loop
async def test_a_number_is_left_out_where_the_message_would_not_fit_a_datagram():
    async with raw_server_and(lambda uri: EchoProtocol.client(uri, numbering=True), free_uri("udp")) as (
        raw,
        client,
    ):
        call = asyncio.ensure_future(
            client.confirmed_send(b'[1, "' + b"x" * (65507 - 7 - TAG_LENGTH + 1) + b'"]')
        )
        data = b"[32]"
        while data.startswith(b"[32]"):
            data = await raw.receive()
            await raw.send(data)
        assert len(data) == 65507 - TAG_LENGTH + 1
        await call


@in_loop
async def test_numbered_messages_are_repeated_until_they_are_through():
    async with (
        await EchoProtocol.server(free_uri("udp"), numbering=True) as server,
        FaultProxy(place_of(server.server_uri), loss=0.5, seed=3) as network,
        await EchoProtocol.client(network.uri, numbering=True) as client,
    ):
        arrived = []
        server.assign_callback("EXPINIT", lambda data, addr: arrived.append(data[0]))
        client.default_echo_timeout = 15.0
        for number in range(10):
            await client.init(number)
        assert arrived == list(range(10))
        assert network.counts["lost"] > 5


@in_loop
async def test_round_trips_and_times_of_hearing_are_known():
    async with (
        await EchoProtocol.server(free_uri("udp")) as server,
        await EchoProtocol.client(server.server_uri) as client,
    ):
        assert client.round_trip() is None
        assert client.heard_at() is None
        await client.init()
        assert 0 < client.round_trip() < 1
        assert client.heard_at() > 0
        assert server.heard_at(client._socket.getsockname()) > 0
        assert server.round_trip(client._socket.getsockname()) is None


# Seams that tests and programs of the original use


@in_loop
async def test_a_transport_of_the_wrong_kind_is_refused():
    async with await EchoProtocol.client(free_uri("udp")) as client:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            for carrier in (None, stream):
                transport = type("Transport", (), {"get_extra_info": lambda _, name, found=carrier: found})()
                with pytest.raises(RuntimeError, match="Unsupported transport layer"):
                    client.connection_made(transport)


@in_loop
async def test_the_wait_for_of_the_module_app_is_what_waits(monkeypatch):
    async with await EchoProtocol.client(free_uri("udp")) as client:
        calls = []

        def instead(error):
            async def wait_for(future, **named):
                calls.append(named)
                raise error

            return wait_for

        monkeypatch.setattr(app.asyncio, "wait_for", instead(TimeoutError()))
        with pytest.raises(TimeoutError):
            await client.confirmed_send(None, timeout=0.2)
        monkeypatch.setattr(app.asyncio, "wait_for", instead(RuntimeError()))
        with pytest.raises(RuntimeError, match="Unexpected response"):
            await client.confirmed_send(None)
        monkeypatch.undo()
        assert calls == [{"timeout": 0.2}, {"timeout": 1.0}]
        assert not client.awaiting_response()


@in_loop
async def test_error_received_tells_the_future_once_and_the_log_once_per_cause(caplog):
    async with await EchoProtocol.server(free_uri("udp")) as server:
        errors = [ConnectionRefusedError(111, "refused"), OSError(101, "unreachable")]
        for error in errors * 3:
            server.error_received(error)
        assert await server.on_error_received is errors[0]
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


@pytest.mark.fault("C22", "echo-rig")
def test_two_ends_in_two_loops_of_two_threads_talk():
    uri = free_uri("udp")
    ready, done = threading.Event(), threading.Event()
    heard = []

    async def serve():
        async with await EchoProtocol.server(uri) as server:
            server.assign_callback("EXPINIT", lambda data, addr: heard.append(data))
            ready.set()
            await until(done.is_set)

    async def send():
        async with await EchoProtocol.client(uri) as client:
            for number in range(10):
                await client.init(number)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        asyncio.run(send())
    finally:
        done.set()
        thread.join(10)
    assert heard == [[number] for number in range(10)]


@in_loop
async def test_the_same_token_is_given_again_as_often_as_it_is_asked_for():
    client_of_alyx = SimpleNamespace(
        is_logged_in=True, base_url="https://alyx", user="alice", _token={"token": "t"}
    )
    async with (
        await EchoProtocol.server(free_uri("udp")) as server,
        await EchoProtocol.client(server.server_uri) as client,
    ):
        # The same bytes in both directions: what comes is still no copy of what was sent.
        await client.alyx(client_of_alyx)

        async def give(data, addr):
            if not data[1]:
                await server.alyx(client_of_alyx, addr)

        server.assign_callback("ALYX", give)
        for _ in range(3):
            assert await client.alyx(timeout=5) == ["https://alyx", {"alice": {"token": "t"}}]
