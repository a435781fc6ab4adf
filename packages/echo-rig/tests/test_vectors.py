"""Every message and exchange captured from a real peer, byte for byte, with a bare socket in its place."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from echo_rig import EchoProtocol
from wireframe.echo import ExpMessage, ExpStatus

from .raw_peers import free_uri, in_loop, raw_client_and, raw_server_and, until


def _number_or_object(found):
    """The file spells numbers that JSON lacks as objects."""
    return float(found["non_finite"]) if "non_finite" in found else found


VECTORS = json.loads(
    (Path(__file__).parent / "vectors" / "echo-rig.json").read_text(encoding="utf-8"),
    object_hook=_number_or_object,
)
EXCHANGES = {exchange["name"]: exchange for exchange in VECTORS["exchanges"]}
TOKEN = {"token": "0123456789abcdef0123456789abcdef01234567"}
LOGGED_IN = SimpleNamespace(
    is_logged_in=True, base_url="https://alyx.example.org", user="alice", _token=TOKEN
)
LOGGED_OUT = SimpleNamespace(is_logged_in=False, base_url="https://alyx.example.org", user=None, _token=None)

#: The call behind each message.
CALLS = {
    "init-none": ("init",),
    "init-int": ("init", 42),
    "init-str": ("init", "2022-01-01_1_subject"),
    "init-dict": ("init", {"exp_ref": "2022-01-01_1_subject"}),
    "init-nested": ("init", [1, 2.5, True, False, None, {"a": {"b": []}}]),
    "init-non-ascii": ("init", "souris \u00e9 \u00b5 \U0001f42d"),
    "init-control-chars": ("init", 'a\n\t"\\/\x7f'),
    "init-tuple": ("init", (1, "x")),
    "init-nan-inf": ("init", [math.nan, math.inf, -math.inf]),
    "init-int-keys": ("init", {2: "a", None: "b", True: "c"}),
    "init-floats": ("init", [1e16, 1e-7, 0.1, -0.0, 1e300]),
    "start-str": ("start", "2022-01-01_1_subject"),
    "start-str-data": ("start", "2022-01-01_1_subject", {"foo": "bar"}),
    "start-dict-date": (
        "start",
        {"subject": "baz", "date": dt.date(2020, 1, 1), "sequence": 1},
        {"foo": "bar"},
    ),
    "start-dict-strings": ("start", {"date": "2020-01-01", "sequence": "003", "subject": "baz"}),
    "start-none": ("start", None),
    "start-empty": ("start", ""),
    "stop": ("stop",),
    "stop-data": ("stop", "foo"),
    "stop-immediately": ("stop", None, True),
    "stop-immediately-data": ("stop", {"error": "ValueError"}, True),
    "status-enum-connected": ("status", ExpStatus.CONNECTED),
    "status-int-10": ("status", 10),
    "status-str-RUNNING": ("status", "RUNNING"),
    "status-enum-stopped": ("status", ExpStatus.STOPPED),
    "info": ("info", ExpStatus.RUNNING),
    "info-data": ("info", "CONNECTED", {"main_sync": True}),
    "cleanup": ("cleanup",),
    "cleanup-data": ("cleanup", 8),
    "alyx-send": ("alyx", LOGGED_IN),
    "alyx-request-none": ("alyx", None),
    "alyx-request-logged-out": ("alyx", LOGGED_OUT),
    "confirmed-send-list": ("confirmed_send", [ExpMessage.EXPINFO, "x"]),
    "confirmed-send-one-element": ("confirmed_send", [ExpMessage.EXPSTATUS]),
    "confirmed-send-str": ("confirmed_send", "hello"),
    "confirmed-send-bytes": ("confirmed_send", b"[1,null]"),
    "confirmed-send-none": ("confirmed_send", None),
}


def all_messages():
    return [
        pytest.param(message, id=f"{message['name']}-{message['sender_role']}-{message['transport']}")
        for message in VECTORS["messages"]
    ]


def test_every_captured_message_has_its_call_here():
    assert len(VECTORS["messages"]) == 146
    assert {message["name"] for message in VECTORS["messages"]} == set(CALLS)


async def called(end, name, **where):
    """Make the call, which is over when its echo is there; a request for a token is not answered."""
    method, *arguments = CALLS[name]
    if name.startswith("alyx-request"):
        where["timeout"] = 0.01
    with contextlib.suppress(TimeoutError) if "timeout" in where else contextlib.nullcontext():
        await getattr(end, method)(*arguments, **where)


@pytest.mark.parametrize("message", all_messages())
@in_loop
async def test_a_call_puts_exactly_these_bytes_on_the_wire(message):
    expected = bytes.fromhex(message["hex"])
    uri = free_uri(message["transport"])
    if message["sender_role"] == "client":
        meeting, where = raw_server_and(EchoProtocol.client, uri), {}
    else:
        meeting, where = raw_client_and(EchoProtocol.server, uri), {"addr": None}
    async with meeting as (raw, ours):
        if where:
            where["addr"] = raw.address
        call = asyncio.create_task(called(ours, message["name"], **where))
        assert await raw.receive() == expected
        assert len(expected) == message["length"]
        await raw.send(expected)
        await call


@pytest.mark.parametrize("message", all_messages())
@in_loop
async def test_these_bytes_are_echoed_and_reach_the_callbacks(message):
    data = bytes.fromhex(message["hex"])
    uri = free_uri(message["transport"])
    arrived = []
    if message["sender_role"] == "client":
        meeting = raw_client_and(EchoProtocol.server, uri)
    else:
        meeting = raw_server_and(EchoProtocol.client, uri)
    async with meeting as (raw, ours):
        logging.getLogger(ours.name).setLevel(logging.CRITICAL)
        ours.assign_callback(ExpMessage.any(), lambda data, addr, event: arrived.append([int(event), *data]))
        if message["sender_role"] == "server" and message["transport"] == "udp":
            ours.send(b"[0, 0]")  # tells the bare socket where its client is
            await raw.receive()
        await raw.send(data)
        if data == b"hello" and message["transport"] == "tcp":
            await raw.send(b" ")  # ends the word at once, which would else take some silence
        assert await raw.receive(len(data)) == data
        if message["event"] is not None and len(message["decoded"]) > 1:
            await until(lambda: arrived)
            assert repr(arrived) == repr([message["decoded"]])
        else:
            assert arrived == []


def responding(end, event, data):
    async def respond(_, addr):
        await end.confirmed_send(
            [event, data] if event != 2 else [2, "2022-01-01_1_subject", data], addr=addr
        )

    end.assign_callback(event, respond)


def failing(end):
    def fail(_data, _addr):
        raise ValueError("boom")

    end.assign_callback("EXPINIT", fail)


async def play_udp_server(end, name):
    """Be the server of an exchange; the client is a bare socket. What is returned was heard."""
    heard = []
    if name == "services-init-echo-then-response":
        responding(end, 1, {"ready": True})
    elif name == "callback-error":
        failing(end)
    elif name == "start-both-directions":
        responding(end, 2, {"status": 20})
    elif name == "alyx-request-and-reply":

        async def answer(data, addr):
            heard.append(data)
            await end.alyx(LOGGED_IN, addr)

        end.assign_callback("ALYX", answer)
    return heard


async def play_udp_client(end, name):
    """Be the client of an exchange; return what the captured one returned."""
    if name == "echo-no-callback":
        return await end.init(42)
    if name == "services-init-echo-then-response":
        answer = asyncio.ensure_future(end.on_event("EXPINIT"))
        await asyncio.sleep(0)
        await end.init("foo")
        return {"c": (await answer)[0]}
    if name == "callback-error":
        error = asyncio.ensure_future(end.on_event(0))
        await asyncio.sleep(0)
        await end.init(1)
        return await error
    if name == "alyx-request-and-reply":
        return await end.alyx(None)
    if name == "start-both-directions":
        answer = asyncio.ensure_future(end.on_event("EXPSTART"))
        await asyncio.sleep(0)
        await end.start("2022-01-01_1_subject")
        await answer
        return None
    assert name == "non-json"
    return await end.confirmed_send("not json")


UDP_EXCHANGES = [name for name, exchange in EXCHANGES.items() if exchange["transport"] == "udp"]
TCP_EXCHANGES = [name for name, exchange in EXCHANGES.items() if exchange["transport"] == "tcp"]


@pytest.mark.parametrize("name", UDP_EXCHANGES)
@in_loop
async def test_an_exchange_over_udp_replayed_by_a_bare_client(name):
    steps = EXCHANGES[name]["steps"]
    async with raw_client_and(EchoProtocol.server, free_uri("udp")) as (raw, ours):
        heard = await play_udp_server(ours, name)
        for step in steps:
            data = bytes.fromhex(step["hex"])
            if step["dir"] == "c>s":
                await raw.send(data)
            else:
                assert await raw.receive() == data
        assert await raw.is_quiet()
        if name == "alyx-request-and-reply":
            assert heard == [[None, {}]]


@pytest.mark.parametrize("name", UDP_EXCHANGES)
@in_loop
async def test_an_exchange_over_udp_replayed_by_a_bare_server(name):
    exchange = EXCHANGES[name]
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, ours):
        call = asyncio.create_task(play_udp_client(ours, name))
        for step in exchange["steps"]:
            data = bytes.fromhex(step["hex"])
            if step["dir"] == "c>s":
                assert await raw.receive() == data
            else:
                await raw.send(data)
        result = await call
        assert await raw.is_quiet()
        if name == "callback-error":
            assert result == (["ValueError: boom", 1], raw.address)
        elif name == "alyx-request-and-reply":
            assert result == ["https://alyx.example.org", {"alice": TOKEN}]
        else:
            assert repr(result) == exchange["result"]


#: What the peer loses and ours delivers; all bytes are the same.
MORE_DELIVERED = {
    "tcp-two-messages-one-segment": [[42], [None]],
    "tcp-one-message-two-segments": [["abcdef"]],
}


@pytest.mark.parametrize("name", TCP_EXCHANGES)
@in_loop
async def test_an_exchange_over_tcp_replayed_by_a_bare_client(name):
    exchange = EXCHANGES[name]
    arrived = []
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, ours):
        if name == "tcp-callback-error":
            failing(ours)
        else:
            ours.assign_callback("EXPINIT", lambda data, addr: arrived.append(data))
            ours.assign_callback("EXPCLEANUP", lambda data, addr: arrived.append(data))
        await raw.send(*(bytes.fromhex(segment["hex"]) for segment in exchange["client_segments"]))
        stream = bytes.fromhex(exchange["server_stream"]["hex"])
        assert await raw.receive(len(stream)) == stream
        assert await raw.is_quiet()
        assert arrived == MORE_DELIVERED.get(name, exchange["dispatched"])


@pytest.mark.parametrize("name", TCP_EXCHANGES)
@in_loop
async def test_an_exchange_over_tcp_replayed_by_a_bare_server(name):
    exchange = EXCHANGES[name]
    async with raw_server_and(EchoProtocol.client, free_uri("tcp")) as (raw, ours):
        errors = []
        ours.assign_callback(0, lambda data, addr: errors.append(data))
        expected = b"".join(bytes.fromhex(segment["hex"]) for segment in exchange["client_segments"])
        calls = [asyncio.create_task(ours.init("abcdef" if b"abc" in expected else 42))]
        if b"[8" in expected:
            calls.append(asyncio.create_task(ours.cleanup()))
            # One at a time, because an old end reads them only apart.
            first, second = b"[1, 42]", b"[8, null]"
            for part in (first, second):
                assert await raw.receive(len(part)) == part
                await raw.send(part)
        else:
            assert await raw.receive(len(expected)) == expected
            stream = bytes.fromhex(exchange["server_stream"]["hex"])
            if name == "tcp-one-message-two-segments":
                await raw.send(stream[:8], stream[8:])
            else:
                await raw.send(stream)
        await asyncio.gather(*calls)
        if name == "tcp-callback-error":
            await until(lambda: errors)
            assert errors == [["ValueError: boom", 1]]
        assert await raw.is_quiet()


@pytest.mark.parametrize("result", VECTORS["api_results"], ids=lambda result: result["name"])
@in_loop
async def test_a_token_that_was_asked_for_is_returned_as_the_original_does(result):
    client = None if "none" in result["name"] else LOGGED_OUT
    async with raw_server_and(EchoProtocol.client, free_uri("udp")) as (raw, ours):
        call = asyncio.create_task(ours.alyx(client))
        await raw.send(await raw.receive(), raw.sender)
        await raw.send(result["received"].encode())
        assert await raw.receive() == result["received"].encode()
        answer = await call
        assert answer == result["returns"]
        assert type(answer).__name__ == result["returns_type"]
