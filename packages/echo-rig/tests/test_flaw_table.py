"""The flaws that were found in the original, row by row: none of them is here.

A bare socket plays the original where it matters what the other end does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading

import pytest

from echo_rig import EchoProtocol, ExpMessage, RigsSilent, Services, _link, _timed_link
from echo_rig import uri as uri_module

from .held_clock import HeldClock
from .raw_peers import (
    RawDatagrams,
    RawStream,
    free_uri,
    in_loop,
    place_of,
    raw_client_and,
    raw_server_and,
    until,
)

BOTH = pytest.mark.parametrize("scheme", ["udp", "tcp"])


def recorder(end, events=None):
    """Keep what arrives at an end."""
    arrived = []
    end.assign_callback(
        ExpMessage.any() if events is None else events,
        lambda data, addr, *event: arrived.append(data if events is not None else [int(event[0]), *data]),
    )
    return arrived


# 1: one lost echo


@BOTH
@in_loop
async def test_1_a_lost_echo_fails_one_send_and_nothing_else(scheme):
    async with raw_server_and(EchoProtocol.client, free_uri(scheme)) as (raw, ours):
        listening = asyncio.ensure_future(ours.on_event("EXPINFO"))
        with pytest.raises(TimeoutError):
            await ours.confirmed_send([1, None], timeout=0.05)
        assert await raw.receive() == b"[1, null]"
        assert await raw.is_quiet(), "an old end runs its callbacks again for each repetition"
        assert ours.is_connected
        assert not listening.done()
        assert not ours.awaiting_response()
        call = asyncio.ensure_future(ours.cleanup())
        assert await raw.receive() == b"[8, null]"
        await raw.send(b"[8, null]")
        await call
        await raw.send(b"[64, 20, null]")
        assert await listening == ([20, None], ours._server_address)


@in_loop
async def test_1_a_silent_client_does_not_close_the_server_for_the_others():
    uri = free_uri("udp")
    async with (
        await EchoProtocol.server(uri) as server,
        RawDatagrams(connect=place_of(uri)) as silent,
        await EchoProtocol.client(uri) as client,
    ):
        await silent.send(b"[32]")
        await silent.receive()
        await client.init()
        other = next(address for address in server.addresses if address != silent.address)
        with pytest.raises(TimeoutError):
            await server.confirmed_send([1, None], addr=silent.address, timeout=0.05)
        await server.init(addr=other)
        await client.init()


@BOTH
@in_loop
async def test_1_a_closed_end_fails_at_once(scheme):
    async with await EchoProtocol.server(free_uri(scheme)) as server:
        client = await EchoProtocol.client(server.server_uri)
        client.close()
        server.close()
        before = asyncio.get_running_loop().time()
        for call in (client.init(), server.init(addr=("127.0.0.1", 9))):
            with pytest.raises(ConnectionError):
                await call
        with pytest.raises(ConnectionError):
            client.send([1, None])
        assert asyncio.get_running_loop().time() - before < server.default_echo_timeout


async def end(task):
    """Cancel a task, again if a message came at the same moment, when the first may be forgotten."""
    while not task.done():
        task.cancel()
        await asyncio.sleep(0.001)


# 2: one doubled datagram


@pytest.fixture
def held_clock(monkeypatch):
    """What makes a storm, and what is late, is judged by the time between messages."""
    return HeldClock(monkeypatch, _link, _timed_link)


async def echo_everything(raw, counts):
    """What the original does with everything that it does not wait for."""
    while True:
        data = await raw.receive()
        counts.append(data)
        await raw.send(data)


@pytest.mark.fault("D7", "echo-udp")
@pytest.mark.usefixtures("held_clock")
@in_loop
async def test_2_a_doubled_echo_of_our_message_starts_no_storm():
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, ours):
        arrived = recorder(ours)
        call = asyncio.ensure_future(ours.init(1))
        echo = await raw.receive()
        await raw.send(echo)
        await raw.send(echo)
        await call
        counts = []
        storm = asyncio.ensure_future(echo_everything(raw, counts))
        await ours.cleanup()  # behind all that went on by then
        await asyncio.sleep(0.1)
        await end(storm)
        # One copy may be a response with the same content.
        assert len(counts) <= 3
        assert len(arrived) <= 1


@pytest.mark.fault("C11", "echo-udp")
@pytest.mark.fault("D7", "echo-udp")
@pytest.mark.usefixtures("held_clock")
@in_loop
async def test_2_a_doubled_command_of_an_old_end_ends_before_long():
    async with raw_client_and(EchoProtocol.server, free_uri("udp")) as (raw, ours):
        arrived = recorder(ours)
        await raw.send(b"[1, 1]")
        await raw.send(b"[1, 1]")
        assert await raw.receive() == b"[1, 1]"  # the echo it waits for; the second it sends back, and so on
        counts = []
        storm = asyncio.ensure_future(echo_everything(raw, counts))
        await until(lambda: storm.done() or ours._links[raw.address].conversation.counters.bounces)
        await asyncio.sleep(0.05)
        # An old end has no numbers to tell a loop by, so it takes the whole limit.
        assert len(counts) <= 1100
        assert len(arrived) <= 1100
        await raw.send(b"[8, null]")  # it still serves
        await until(lambda: arrived[-1] == [8, None])
        await end(storm)


@pytest.mark.usefixtures("held_clock")
@in_loop
async def test_2_a_bare_send_to_an_old_end_starts_no_storm():
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, ours):
        arrived = recorder(ours)
        counts = []
        storm = asyncio.ensure_future(echo_everything(raw, counts))
        ours.send([1, 1])
        await ours.cleanup()
        await asyncio.sleep(0.05)
        assert counts == [b"[1, 1]", b"[8, null]"]
        assert arrived == []
        await end(storm)


# 3, 4: more than one send


@BOTH
@pytest.mark.parametrize("numbering", [False, True])
@in_loop
async def test_3_many_sends_to_one_address_at_the_same_time_are_all_confirmed(scheme, numbering):
    async with await EchoProtocol.server(free_uri(scheme), numbering=numbering) as server:
        arrived = recorder(server, "EXPINIT")
        async with await EchoProtocol.client(server.server_uri, numbering=numbering) as client:
            await asyncio.gather(*(client.init(number) for number in range(100)))
            assert arrived == [[number] for number in range(100)]


@in_loop
async def test_3_the_same_message_twice_at_the_same_time_is_sent_twice():
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, ours):
        calls = [asyncio.ensure_future(ours.init()) for _ in range(2)]
        for _ in calls:
            assert await raw.receive() == b"[1, null]"
            await raw.send(b"[1, null]")
        await asyncio.gather(*calls)


@BOTH
@in_loop
async def test_4_a_send_between_the_echo_and_the_wakeup_of_the_one_before_is_confirmed(scheme):
    async with raw_server_and(EchoProtocol.client, free_uri(scheme)) as (raw, ours):
        first = asyncio.ensure_future(ours.init())
        echo = await raw.receive()
        link = ours._links[ours._server_address]
        link.receive(echo)
        assert not first.done()
        second = asyncio.get_running_loop().create_future()
        link.send(b"[8, null]", confirm=True, context=second)
        await first
        assert ours.awaiting_response()
        await raw.send(await raw.receive())
        await second
        assert not ours.awaiting_response()


# 5: cancellation


@pytest.mark.fault("C22", "echo-rig")
@BOTH
@in_loop
async def test_5_a_cancelled_send_leaves_nothing_behind(scheme):
    async with raw_server_and(EchoProtocol.client, free_uri(scheme)) as (raw, ours):
        arrived = recorder(ours)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await ours.init("cancelled")
        assert not ours.awaiting_response()
        late = await raw.receive()
        await raw.send(b"[64, 0, 1]")
        assert await raw.receive() == b"[64, 0, 1]"
        await raw.send(late)
        await raw.send(b"[64, 0, 2]")
        assert await raw.receive() == b"[64, 0, 2]", "the late echo should have been dropped"
        call = asyncio.ensure_future(ours.cleanup())
        await raw.send(await raw.receive())
        await call
        assert arrived == [[64, 0, 1], [64, 0, 2]]


@pytest.mark.fault("C22", "echo-rig")
@BOTH
@in_loop
async def test_5_cancelling_at_any_moment_leaves_an_end_that_works(scheme):
    async with (
        await EchoProtocol.server(free_uri(scheme)) as server,
        await EchoProtocol.client(server.server_uri) as client,
    ):
        for turns in range(12):
            call = asyncio.ensure_future(client.init(turns))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
            assert not client.awaiting_response()
        await client.cleanup()


@BOTH
@in_loop
async def test_5_a_cancellation_together_with_the_echo_is_a_cancellation(scheme):
    async with raw_server_and(EchoProtocol.client, free_uri(scheme)) as (raw, ours):
        call = asyncio.ensure_future(ours.init())
        echo = await raw.receive()
        ours._links[ours._server_address].receive(echo)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        assert not ours.awaiting_response()


# 6, 7: crossing


@BOTH
@in_loop
async def test_6_a_message_that_crosses_ours_is_echoed_delivered_and_the_wait_goes_on(scheme):
    async with raw_server_and(EchoProtocol.client, free_uri(scheme)) as (raw, ours):
        arrived = recorder(ours)
        call = asyncio.ensure_future(ours.init(1))
        assert await raw.receive() == b"[1, 1]"
        await raw.send(b"[8, 8]")
        assert await raw.receive() == b"[8, 8]"
        assert not call.done()
        await raw.send(b"[1, 1]")
        await call
        assert arrived == [[8, 8]]


@BOTH
@in_loop
async def test_6_an_error_that_crosses_ours_is_no_echo(scheme):
    async with raw_server_and(EchoProtocol.client, free_uri(scheme)) as (raw, ours):
        errors = recorder(ours, 0)
        call = asyncio.ensure_future(ours.init(1))
        await raw.receive()
        await raw.send(b'[0, "ValueError: late", 8]')
        await until(lambda: errors)
        assert not call.done()
        await raw.send(b"[1, 1]")
        await call
        assert errors == [["ValueError: late", 8]]


@BOTH
@in_loop
async def test_6_two_of_ours_that_send_at_once_both_succeed(scheme):
    async with (
        await EchoProtocol.server(free_uri(scheme)) as server,
        await EchoProtocol.client(server.server_uri) as client,
    ):
        at_server, at_client = recorder(server), recorder(client)
        await client.cleanup()
        where = server.addresses[0]
        for number in range(50):
            await asyncio.gather(client.init(number), server.info(0, number, addr=where))
        assert at_server[1:] == [[1, number] for number in range(50)]
        assert at_client == [[64, 0, number] for number in range(50)]


@in_loop
async def test_6_what_is_no_message_fails_the_send_that_waits_and_nothing_else():
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, ours):
        call = asyncio.ensure_future(ours.init(1))
        await raw.receive()
        await raw.send(b"nonsense")
        with pytest.raises(RuntimeError, match="Unexpected response"):
            await call
        call = asyncio.ensure_future(ours.cleanup())
        await raw.send(await raw.receive())
        await call


@BOTH
@in_loop
async def test_7_the_same_message_crossing_is_delivered_at_both_ends_if_it_has_a_number(scheme):
    async with (
        await EchoProtocol.server(free_uri(scheme), numbering=True) as server,
        await EchoProtocol.client(server.server_uri, numbering=True) as client,
    ):
        at_server, at_client = recorder(server), recorder(client)
        await client.cleanup()
        await asyncio.gather(client.init(), server.init(addr=server.addresses[0]))
        await until(lambda: at_client and len(at_server) == 2)
        assert (at_server[1:], at_client) == ([[1, None]], [[1, None]])


# 8, 9: streams


@in_loop
async def test_8_an_answer_in_one_segment_with_the_echo_is_an_answer():
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (raw, ours):
        arrived = recorder(ours)
        call = asyncio.ensure_future(ours.init(1))
        await raw.receive()
        await raw.send(b'[1, 1][1, {"ready": true}][0, "ValueError: boom", 1]')
        await call
        assert await raw.receive() == b'[1, {"ready": true}]'
        assert arrived == [[1, {"ready": True}]]


@in_loop
async def test_8_messages_in_one_segment_are_echoed_and_delivered_one_by_one():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, ours):
        arrived = recorder(ours, "EXPINIT")
        stream = b"".join(b"[1, %d]" % number for number in range(200))
        await raw.send(stream)
        assert await raw.receive(len(stream)) == stream
        assert arrived == [[number] for number in range(200)]


@pytest.mark.fault("C1", "echo-tcp", "LW")
@in_loop
async def test_9_a_message_cut_at_any_byte_arrives_whole():
    message = '[1, "souris \u00e9 \U0001f42d", {"a": [1, 2]}]'.encode()
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, ours):
        arrived = recorder(ours, "EXPINIT")
        for cut in range(1, len(message)):
            await raw.send(message[:cut], message[cut:])
            assert await raw.receive(len(message)) == message
        assert arrived == [["souris \u00e9 \U0001f42d", {"a": [1, 2]}]] * (len(message) - 1)


@pytest.mark.fault("C1", "echo-tcp", "L")
@in_loop
async def test_9_an_echo_cut_at_any_byte_confirms():
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (raw, ours):
        for cut in range(1, 7):
            call = asyncio.ensure_future(ours.init(42))
            echo = await raw.receive()
            await raw.send(echo[:cut], echo[cut:])
            await call


@in_loop
async def test_9_long_messages_pass_through_a_stream():
    async with await EchoProtocol.server(free_uri("tcp")) as server:
        arrived = recorder(server, "EXPINIT")
        async with await EchoProtocol.client(server.server_uri) as client:
            for size in (70_000, 200_000, 1_000_000):
                await client.init("x" * size)
            assert [len(data[0]) for data in arrived] == [70_000, 200_000, 1_000_000]


BAD = [
    b"7",
    b"not json",
    b"\xff\xfe",
    b"[3, 1]",
    b"[1.5, 1]",
    b"[256, 1]",
    b'["nonsense", 1]',
    b"[1]",
    b"{}",
    b"[" * 30_000 + b"]" * 30_000,
    b"[1, " + b"7" * 5000 + b"]",
    b'[1, "\\ud800"',
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad[:12]))
@in_loop
async def test_9_bad_input_costs_a_stream_one_message_and_not_the_connection(bad, caplog):
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, ours):
        arrived = recorder(ours)
        # A space ends a word; an unfinished list is ended by what makes it whole.
        whole = bad + (b"]" if bad.endswith(b'"') else b" ")
        await raw.send(whole)
        assert await raw.receive(len(whole)) == whole
        await raw.send(b"[8, null]")
        assert await raw.receive() == b"[8, null]"
        assert arrived[-1] == [8, None]


# 10, 11: connections


@in_loop
async def test_10_clients_of_a_stream_are_served_apart():
    async with await EchoProtocol.server(free_uri("tcp")) as server:
        arrived = []
        server.assign_callback("EXPINIT", lambda data, addr: arrived.append((data[0], addr)))
        first = await EchoProtocol.client(server.server_uri)
        second = await EchoProtocol.client(server.server_uri)
        async with first, second:
            at_first, at_second = recorder(first, "EXPINFO"), recorder(second, "EXPINFO")
            for end in (first, second, first):
                await end.init(end is first)
            address = {end: end._socket.getsockname() for end in (first, second)}
            assert arrived == [(True, address[first]), (False, address[second]), (True, address[first])]
            await server.info(20, "for the first", addr=address[first])
            await server.info(20, "for the second", addr=address[second])
            assert (at_first, at_second) == ([[20, "for the first"]], [[20, "for the second"]])
            first.close()
            await until(lambda: server.addresses == [address[second]])
            await second.init(False)


@pytest.mark.fault("C19", "echo-rig")
@in_loop
async def test_11_closing_a_stream_server_closes_the_listener_and_all_connections():
    uri = free_uri("tcp")
    server = await EchoProtocol.server(uri)
    async with await EchoProtocol.client(uri) as client, await RawStream.connect(place_of(uri)) as raw:
        await until(lambda: len(server.addresses) == 2)
        waiting = asyncio.ensure_future(client.on_event("EXPINIT"))
        await asyncio.sleep(0)
        server.close()
        assert not server.is_connected
        assert await raw.receive() == b""
        assert await client.on_connection_lost is None
        assert not client.is_connected
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        with pytest.raises(ConnectionError):
            await EchoProtocol.client(uri)
        async with await EchoProtocol.server(uri):
            """The port is free at once."""


@in_loop
async def test_11_an_end_that_leaves_fails_only_what_was_for_it():
    async with await EchoProtocol.server(free_uri("tcp")) as server:
        raw = await RawStream.connect(place_of(server.server_uri))
        async with await EchoProtocol.client(server.server_uri) as client:
            await until(lambda: len(server.addresses) == 2)
            call = asyncio.ensure_future(server.init(addr=raw.address))
            assert await raw.receive() == b"[1, null]"
            raw.reset()
            with pytest.raises(ConnectionError):
                await call
            await client.init()
            with pytest.raises(ConnectionError):
                await server.init(addr=raw.address)
            assert server.is_connected


# 12: refusal, size, flow


@in_loop
async def test_12_a_refusal_fails_what_waits_at_once_and_every_time():
    async with await EchoProtocol.client(free_uri("udp")) as client:
        logging.getLogger(client.name).setLevel(logging.CRITICAL)
        client.default_echo_timeout = 60.0
        for _ in range(3):
            with pytest.raises(ConnectionRefusedError):
                await client.init()
        assert isinstance(await client.on_error_received, ConnectionRefusedError)
        assert client.is_connected


@pytest.mark.fault("C3", "echo-udp", "E")
@in_loop
async def test_12_a_message_that_fits_no_datagram_is_refused_before_it_is_sent():
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, ours):
        for call in (ours.send, ours.confirmed_send):
            with pytest.raises(ValueError, match="65507"):
                await asyncio.sleep(0, call(b"x" * 65508)) if call == ours.send else await call(b"x" * 65508)
        call = asyncio.ensure_future(ours.confirmed_send(b"x" * 65507))
        data = await raw.receive()
        assert len(data) == 65507
        await raw.send(data)
        await call


@pytest.mark.fault("C6", "echo-tcp")
@in_loop
async def test_12_of_an_end_that_does_not_read_nothing_more_is_read():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, ours):
        (connection,) = ours._connections.values()
        for end in (raw.socket, connection.transport.get_extra_info("socket")):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # else the system keeps many megabytes
                end.setsockopt(socket.SOL_SOCKET, option, 65536)
        message = b'[1, "' + b"x" * 60_000 + b'"]'
        loop = asyncio.get_running_loop()
        flood = asyncio.ensure_future(loop.sock_sendall(raw.socket, message * 200))
        await until(lambda: connection.is_congested, "congestion")
        held = connection.transport.get_write_buffer_size()
        assert not connection.transport.is_reading()
        assert held < 2 << 20
        # When it reads again, all goes on and nothing is missing.
        assert await raw.receive(len(message) * 200) == message * 200
        await flood


@pytest.mark.fault("C3", "echo-tcp", "M")
@in_loop
async def test_12_messages_that_nobody_takes_do_not_fill_the_memory():
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (_, ours):
        while ours._transport.get_write_buffer_size() <= 16 << 20:
            ours.send(b"x" * (1 << 20))
        with pytest.raises(ConnectionError, match="does not read"):
            ours.send(b"x")
        assert ours._transport.get_write_buffer_size() < 32 << 20
        ours._transport.abort()


# 13, 14: hostile input


@pytest.mark.parametrize("bad", [b"1", *BAD, b'[0, "e"]', b"[0]"], ids=lambda bad: repr(bad[:12]))
@in_loop
async def test_13_a_bad_datagram_is_echoed_as_ever_and_costs_one_log_record(bad, caplog):
    caplog.set_level(logging.INFO)
    async with raw_client_and(EchoProtocol.server, free_uri("udp")) as (raw, ours):
        arrived = recorder(ours)
        caplog.clear()
        await raw.send(bad)
        await raw.send(b"[8, null]")
        if bad[1:2] != b"0":
            assert await raw.receive() == bad
        assert await raw.receive() == b"[8, null]"
        assert arrived == [[8, None]]
        records = [record for record in caplog.records if "[8, null]" not in record.getMessage()]
        assert len(records) == 1
        assert len(records[0].getMessage()) < 2000


@in_loop
async def test_13_an_empty_datagram_harms_nobody():
    async with raw_client_and(EchoProtocol.server, free_uri("udp")) as (raw, _):
        await raw.send(b"")
        await raw.send(b"[8, null]")
        while (data := await raw.receive()) != b"[8, null]":
            assert data == b""


@in_loop
async def test_13_bad_datagrams_without_end_do_not_fill_the_log(caplog):
    async with raw_client_and(EchoProtocol.server, free_uri("udp")) as (raw, _):
        for number in range(300):
            await raw.send(b"[%d, 1]" % (1000 + number))
            await raw.receive()
        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(warnings) <= 5


@in_loop
async def test_14_events_that_do_not_exist_are_not_kept():
    async with raw_client_and(EchoProtocol.server, free_uri("udp")) as (raw, _):
        before = len(ExpMessage._value2member_map_)
        for number in range(256, 556):
            await raw.send(b"[%d, 1]" % number)
            await raw.receive()
        assert len(ExpMessage._value2member_map_) == before


# 15: who may speak


@pytest.mark.fault("C12", "echo-udp")
@BOTH
@in_loop
async def test_15_who_is_not_allowed_is_neither_heard_nor_echoed_to(scheme):
    uri = free_uri(scheme)
    async with await EchoProtocol.server(uri, allow=["192.0.2.0/24"]) as server:
        arrived = recorder(server)
        raw = (
            RawDatagrams(connect=place_of(uri)) if scheme == "udp" else await RawStream.connect(place_of(uri))
        )
        async with raw:
            await raw.send(b"[16, null]")
            await until(lambda: server.strangers)
            if scheme == "udp":
                assert await raw.is_quiet()
            assert (arrived, server.addresses) == ([], [])


@BOTH
@in_loop
async def test_15_who_is_allowed_is_served(scheme):
    async with (
        await EchoProtocol.server(free_uri(scheme), allow=["192.0.2.0/24", "127.0.0.1"]) as server,
        await EchoProtocol.client(server.server_uri) as client,
    ):
        await client.init()
        assert server.strangers == 0


@in_loop
async def test_15_nonsense_of_one_client_does_not_disturb_a_send_to_another():
    uri = free_uri("udp")
    async with (
        await EchoProtocol.server(uri) as server,
        RawDatagrams(connect=place_of(uri)) as good,
        RawDatagrams(connect=place_of(uri)) as bad,
    ):
        for raw in (good, bad):
            await raw.send(b"[32]")
            await raw.receive()
        call = asyncio.ensure_future(server.init(addr=good.address))
        await good.receive()
        await bad.send(b"nonsense")
        await bad.receive()
        await good.send(b"[1, null]")
        await call


# 16: callbacks


@pytest.mark.fault("C19", "echo-rig", "E")
@BOTH
@in_loop
async def test_16_all_callbacks_run_and_what_they_raise_is_told_to_the_sender(scheme):
    async with await EchoProtocol.server(free_uri(scheme)) as server:
        logging.getLogger(server.name).setLevel(logging.CRITICAL)
        ran = []

        def fails(data, addr):
            ran.append("fails")
            raise ValueError("boom")

        async def fails_later(data, addr):
            await asyncio.sleep(0)
            ran.append("later")
            raise KeyError("late")

        server.assign_callback("EXPINIT", fails)
        server.assign_callback("EXPINIT", fails_later)
        server.assign_callback("EXPINIT", lambda data, addr: ran.append("runs"))
        async with await EchoProtocol.client(server.server_uri) as client:
            logging.getLogger(client.name).setLevel(logging.CRITICAL)
            errors = recorder(client, 0)
            first = asyncio.ensure_future(client.on_event(0))
            await asyncio.sleep(0)
            await client.init()
            await until(lambda: len(errors) == 2)
            assert ran == ["fails", "runs", "later"]
            assert errors == [["ValueError: boom", 1], ["KeyError: 'late'", 1]]
            assert (await first)[0] == ["ValueError: boom", 1]
            assert len(client._callbacks[0]) == 1, "the future is forgotten"


# 17, 18: several rigs


@in_loop
async def test_17_a_dead_rig_does_not_keep_the_stop_from_the_others():
    uris = {name: free_uri("udp") for name in ("first", "dead", "last")}
    servers = {}
    for name in ("first", "last"):
        server = servers[name] = await EchoProtocol.server(uris[name])

        async def answer(_, addr, server=server, name=name):
            await server.stop(f"{name} has stopped", immediately=True, addr=addr)

        server.assign_callback("EXPINTERRUPT", answer)
    async with RawDatagrams(bind=place_of(uris["dead"])):
        rigs = [await EchoProtocol.client(uri, name=name) for name, uri in uris.items()]
        rigs[1].default_echo_timeout = 0.1
        services = Services(rigs)
        with pytest.raises(RigsSilent) as raised:
            await services.stop(immediately=True)
        assert raised.value.silent == ("dead",)
        assert raised.value.results == {"first": ["first has stopped"], "last": ["last has stopped"]}
        assert set(raised.value.timings) == {"first", "last"}
        services.close()
        for server in servers.values():
            server.close()


@pytest.mark.parametrize("concurrent", [True, False])
@in_loop
async def test_18_an_answer_that_comes_together_with_the_echo_is_not_missed(concurrent):
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, ours):
        services = Services([ours], timeout=5)
        call = asyncio.ensure_future(services.init(1, concurrent=concurrent))
        echo = await raw.receive()
        await raw.send(echo)
        await raw.send(b"[1, 42]")
        assert await raw.receive() == b"[1, 42]"
        assert await call == {ours.name: [42]}
        assert not any(ours._callbacks.values())


# 20: names and addresses


def ipv6_loopback():
    try:
        free_uri("udp", "::1")
    except OSError:
        return []
    return ["::1"]


@pytest.mark.parametrize("host", ["127.0.0.1", *ipv6_loopback()])
@BOTH
@in_loop
async def test_20_both_kinds_of_addresses_work_in_both_directions(scheme, host):
    async with await EchoProtocol.server(free_uri(scheme, host)) as server:
        at_server = []
        server.assign_callback("EXPINIT", lambda data, addr: at_server.append(addr))
        async with await EchoProtocol.client(server.server_uri) as client:
            at_client = recorder(client, "EXPINFO")
            await client.init()
            assert at_server == [client._socket.getsockname()[:2]]
            await server.info(20, "back", addr=at_server[0])
            assert at_client == [[20, "back"]]


@in_loop
async def test_20_a_link_local_address_keeps_its_zone():
    async with await EchoProtocol.server(free_uri("udp")) as server:
        written = []
        server._transport, real = (
            type("Spy", (), {"sendto": lambda _, *sent: written.append(sent)})(),
            server._transport,
        )
        server.datagram_received(b"[8, null]", ("fe80::1", 7, 0, 3))
        server._transport = real
        assert written == [(b"[8, null]", ("fe80::1%3", 7))]


@in_loop
async def test_20_schemes_are_read_in_any_case_and_unknown_ones_refused():
    for scheme, kind in (("UDP", socket.SOCK_DGRAM), ("Ws", socket.SOCK_STREAM), ("WSS", socket.SOCK_STREAM)):
        place = free_uri("udp" if kind == socket.SOCK_DGRAM else "tcp").partition("://")[2]
        async with await EchoProtocol.server(f"{scheme}://{place}") as server:
            assert server._socket.type == kind
    with pytest.raises(ValueError, match="no transport"):
        await EchoProtocol.server("http://127.0.0.1:8080")


@in_loop
async def test_20_looking_up_a_name_does_not_stop_the_loop(monkeypatch):
    looked_up, go_on = threading.Event(), threading.Event()
    real = socket.getaddrinfo

    def slow(host, *arguments, **named):
        if host == "rig-pc":
            looked_up.set()
            go_on.wait(10)
            host = "127.0.0.1"
        return real(host, *arguments, **named)

    monkeypatch.setattr(uri_module.socket, "getaddrinfo", slow)
    making = asyncio.ensure_future(EchoProtocol.client("udp://rig-pc:9"))
    await until(looked_up.is_set)
    await asyncio.sleep(0.01)  # the loop runs meanwhile
    go_on.set()
    async with await making as client:
        assert (client.hostname, client.name) == ("127.0.0.1", "udp://rig-pc:9")


# 21: tokens; that they get into no log is shown in test_security


@in_loop
async def test_21_a_request_for_a_token_may_have_a_time_limit():
    async with (
        await EchoProtocol.server(free_uri("udp")) as server,
        await EchoProtocol.client(server.server_uri) as client,
    ):
        with pytest.raises(TimeoutError):
            await client.alyx(timeout=0.02)
        assert client.is_connected
        await client.init()


@in_loop
async def test_the_logger_of_the_user_keeps_its_handlers_and_level():
    logger = logging.getLogger("a logger of the user")
    handler = logging.NullHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    root = list(logging.getLogger().handlers)
    async with await EchoProtocol.server(free_uri("udp"), name=logger.name):
        assert logger.handlers == [handler]
        assert (logger.level, logger.propagate) == (logging.ERROR, False)
        assert logging.getLogger().handlers == root
    logger.removeHandler(handler)
