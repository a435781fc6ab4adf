"""A pause behind each echo in a stream, for ends that read all at once as one message."""

from __future__ import annotations

import asyncio

import pytest

from echo_rig import EchoProtocol, _apart
from echo_rig._apart import MAX_KEPT, ApartWriter

from .raw_peers import free_uri, in_loop, raw_client_and, until


class FakeLoop:
    """A clock that is set by hand, and what is to be called."""

    def __init__(self):
        self.now = 100.0
        self.calls = []

    def time(self):
        return self.now

    def call_later(self, seconds, callback):
        call = FakeCall(self.now + seconds, callback)
        self.calls.append(call)
        return call

    def pass_time(self, seconds):
        self.now += seconds
        due = [call for call in self.calls if call.at <= self.now]
        self.calls = [call for call in self.calls if call.at > self.now]
        for call in due:
            if not call.is_cancelled:
                call.callback()


class FakeCall:
    def __init__(self, at, callback):
        self.at = at
        self.callback = callback
        self.is_cancelled = False

    def cancel(self):
        self.is_cancelled = True


@pytest.fixture
def loop():
    return FakeLoop()


@pytest.fixture
def written():
    return []


@pytest.fixture
def writer(loop, written):
    return ApartWriter(written.append, loop)


def test_without_an_echo_messages_go_out_at_once(writer, written):
    writer.write(b"1")
    writer.write(b"2")
    assert written == [b"1", b"2"]


def test_behind_an_echo_messages_go_out_one_by_one_with_a_pause(writer, written, loop):
    writer.echo(b"echo")
    writer.write(b"1")
    writer.write(b"2")
    assert written == [b"echo"]
    loop.pass_time(_apart.APART_S)
    assert written == [b"echo", b"1"]
    writer.write(b"3")
    loop.pass_time(_apart.APART_S)
    loop.pass_time(_apart.APART_S)
    assert written == [b"echo", b"1", b"2", b"3"]
    writer.write(b"4")
    assert written[-1] == b"4"


def test_an_echo_never_waits(writer, written):
    writer.echo(b"echo")
    writer.write(b"1")
    writer.echo(b"another")
    assert written == [b"echo", b"another"]


def test_what_is_kept_back_is_limited(writer, written, loop):
    writer.echo(b"echo")
    for number in range(MAX_KEPT + 1):
        writer.write(b"%d" % number)
    assert written == [b"echo", *(b"%d" % number for number in range(MAX_KEPT + 1))]
    loop.pass_time(1)
    assert len(written) == MAX_KEPT + 2


def test_what_is_kept_back_is_dropped_with_the_stream(writer, written, loop):
    writer.echo(b"echo")
    writer.write(b"1")
    writer.forget()
    loop.pass_time(1)
    assert written == [b"echo"]


def failing(end):
    def fail(_data, _addr):
        raise ValueError("boom")

    end.assign_callback("EXPINIT", fail)


@in_loop
async def test_an_old_end_can_read_the_error_apart_from_the_echo(monkeypatch):
    monkeypatch.setattr(_apart, "APART_S", 0.1)
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):
        failing(server)
        await raw.send(b"[1, null]")
        assert await raw.receive() == b"[1, null]"
        assert await raw.receive() == b'[0, "ValueError: boom", 1]'


@in_loop
async def test_what_is_kept_back_goes_out_before_the_stream_is_closed():
    async with raw_client_and(EchoProtocol.server, free_uri("tcp")) as (raw, server):

        def say_and_close(_data, addr):
            server.send([4, "closing"], addr)
            server.close()

        server.assign_callback("EXPINIT", say_and_close)
        await raw.send(b"[1, null]")
        answer = b'[1, null][4, "closing"]'
        assert await raw.receive(len(answer)) == answer


@in_loop
async def test_for_an_end_that_numbers_nothing_is_kept_back(monkeypatch):
    monkeypatch.setattr(_apart, "APART_S", 3600.0)
    async with (
        await EchoProtocol.server(free_uri("tcp"), numbering=True) as server,
        await EchoProtocol.client(server.server_uri, numbering=True) as client,
    ):
        failing(server)
        errors = []
        client.assign_callback(0, lambda data, addr: errors.append(data))
        await client.cleanup()
        await client.init()
        await asyncio.sleep(0)
        await until(lambda: errors)
