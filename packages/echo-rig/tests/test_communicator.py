"""From the bytes of one message to its callbacks: what every communicator does."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import warnings

import pytest

from echo_rig import _coroutine_tasks
from echo_rig.communicator import Communicator
from wireframe.echo import ExpMessage

ADDRESS = ("127.0.0.1", 5)


class Recorder(Communicator):
    """Keeps what it is told to send."""

    def __init__(self, server_uri="127.0.0.1", name="rig", logger=None):
        super().__init__(server_uri, name, logger)
        self.sent = []

    def send(self, data, addr=None):
        self.sent.append((data, addr))

    @property
    def is_connected(self):
        return True

    def init(self, data=None):
        return super().init(data)

    def start(self, exp_ref, data=None):
        return super().start(exp_ref, data)

    def stop(self, data=None, immediately=False):
        return super().stop(data, immediately)

    def status(self, status):
        return super().status(status)

    def info(self, status, data=None):
        return super().info(status, data)

    def cleanup(self, data=None):
        return super().cleanup(data)

    def alyx(self, alyx):
        return super().alyx(alyx)


@pytest.fixture
def rig(caplog):
    caplog.set_level(logging.DEBUG)
    return Recorder()


def _texts(caplog, level=logging.DEBUG):
    return [
        record.getMessage() for record in caplog.records if record.levelno >= level and record.name == "rig"
    ]


def _tasks():
    return asyncio.all_tasks() - {asyncio.current_task()}


async def _settled(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("given", "uri", "host", "port"),
    [
        ("127.0.0.1", "udp://127.0.0.1:11001", "127.0.0.1", 11001),
        ("WS://localhost:80", "ws://127.0.0.1:80", "127.0.0.1", 80),
        ("tcp://[::1]:9999", "tcp://[::1]:9999", "::1", 9999),
        ("wss://[fe80::1%lo]", "wss://[fe80::1%lo]:11001", "fe80::1%lo", 11001),
        (ipaddress.ip_address("::1"), "udp://[::1]:11001", "::1", 11001),
    ],
)
def test_uri_and_its_parts(given, uri, host, port):
    rig = Recorder(given, None)
    assert (rig.server_uri, rig.hostname, rig.port) == (uri, host, port)
    assert rig.protocol == uri.partition(":")[0]
    assert rig.name == rig.logger.name == str(given)
    assert uri in repr(rig)


@pytest.mark.parametrize("uri", ["http://127.0.0.1", "https://127.0.0.1:443", "zmq://127.0.0.1"])
def test_a_scheme_without_transport_is_refused(uri):
    with pytest.raises(ValueError, match="only for udp, tcp, ws, wss"):
        Recorder(uri)


def test_name_and_logger_as_given():
    logger = logging.getLogger("another")
    rig = Recorder("localhost", "rig", logger)
    assert (rig.name, rig.logger) == ("rig", logger)
    assert not logger.handlers


def test_encode_and_decode():
    assert Recorder.encode([None, 21, "message"]) == b'[null, 21, "message"]'
    assert Recorder.encode(b"raw") == b"raw"
    assert Recorder.encode("raw text") == b"raw text"
    assert Recorder.decode(b" [1,null] ") == Recorder.decode("[1, null]") == [1, None]
    for data in (b'[null, 21, "message"]"', "foo", b"[" * 5000):
        with pytest.warns(UserWarning, match="Failed to decode"):
            assert Recorder.decode(data) == (data if isinstance(data, str) else data.decode())
    with pytest.warns(UserWarning, match="Failed"), pytest.raises(UnicodeDecodeError):
        Recorder.decode(b"\xff")


def test_a_message_reaches_its_callbacks_and_the_log(rig, caplog):
    """Without a running loop; the tag of blanks behind it is not shown."""
    seen = []
    rig.assign_callback("start", lambda *arguments: seen.append(arguments))
    rig._receive(b'[2, "ref", null]   \t \t', ADDRESS)
    assert seen == [(["ref", None], ADDRESS)]
    assert _texts(caplog) == ["Received '[2, \"ref\", null]' from udp://127.0.0.1:5"]
    assert rig.sent == []


def test_no_callback_is_worth_a_line_for_developers(rig, caplog):
    rig._receive(b"[1, null]", ("::1", 5))
    assert _texts(caplog) == [
        "Received '[1, null]' from udp://[::1]:5",
        "No callbacks to execute for event EXPINIT",
    ]


def test_long_and_strange_messages_are_one_short_line(rig, caplog):
    rig._receive(b'[1, "' + b"a" * 5000 + b'"]', ADDRESS)
    rig._receive('[1, "\n\u2028\x1b[31m"]'.encode(), ADDRESS)
    assert all(len(text) < 600 and text.isprintable() for text in _texts(caplog))


def test_a_failing_callback_is_logged_once_and_reported(rig, caplog):
    def boom(data, address):
        raise ValueError("boom")

    seen = []
    rig.assign_callback(1, boom)
    rig.assign_callback(1, lambda data, address: seen.append(data))
    rig._receive(b"[1, null]", ADDRESS)
    assert rig.sent == [(b'[0, "ValueError: boom", 1]', ADDRESS)]
    assert seen == [[None]]
    (text,) = _texts(caplog, logging.ERROR)
    assert text.endswith('failed with error "boom"')


def test_an_error_report_has_a_size_that_travels(rig):
    def boom(data, address):
        raise ValueError("\N{MICRO SIGN}" * 100_000)

    rig.assign_callback(1, boom)
    rig._receive(b"[1, null]", ADDRESS)
    assert len(rig.sent[0][0]) < 15_000


def test_an_error_whose_text_cannot_be_made_is_reported_too(rig):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    def boom(data, address):
        raise Mute

    rig.assign_callback(1, boom)
    rig._receive(b"[1, null]", ADDRESS)
    assert rig.sent == [(b'[0, "Mute: (its text cannot be made)", 1]', ADDRESS)]


def test_a_report_that_cannot_be_sent_does_not_stop_the_others(rig, caplog):
    def boom(data, address):
        raise ValueError("boom")

    def broken(data, addr=None):
        raise OSError("closed")

    rig.send = broken
    seen = []
    rig.assign_callback(1, boom)
    rig.assign_callback(1, boom)
    rig.assign_callback(1, lambda data, address: seen.append(data))
    rig._receive(b"[1, null]", ADDRESS)
    assert seen == [[None]]
    assert sum("Could not tell" in text for text in _texts(caplog)) == 2


def test_an_error_of_the_other_end_is_logged_once_and_told(rig, caplog):
    seen = []
    rig.assign_callback(0, lambda *arguments: seen.append(arguments))
    rig._receive(b'[0, "ValueError: boom", 1]', ADDRESS)
    assert seen == [(["ValueError: boom", 1], ADDRESS)]
    assert _texts(caplog) == ["Callback for EXPINIT on udp://127.0.0.1:5 failed with ValueError: boom"]
    assert rig.sent == []


@pytest.mark.parametrize(
    ("about", "shown"), [(b"256", "256"), (b'"bogus"', "'bogus'"), (b"{}", "{}"), (b"3", "EXPINIT|EXPSTART")]
)
def test_an_error_about_anything_is_logged(rig, caplog, about, shown):
    rig._receive(b'[0, ["no", "text"], ' + about + b"]", ADDRESS)
    (text,) = _texts(caplog, logging.ERROR)
    assert f"for {shown} on" in text
    assert "['no', 'text']" in text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"foo",
        b"\xff",
        b"{}",
        b"1",
        b"[]",
        b"[1]",
        b"[256, 1]",
        b"[3, 1]",
        b"[1.5, 1]",
        b"[[], 1]"[:-1],
        b'["bogus", 1]',
        b'[{"a": 1}, 1]',
        b'[0, "e"]',
        b"[" * 30_000,
        b"[1, " + b"9" * 5000 + b"]",
        b'[128, "u", {"a": {"token": "SECRET"}}',
    ],
)
def test_malformed_input_costs_one_record(rig, caplog, data):
    with pytest.warns(RuntimeWarning, match="Expected list") as caught:
        rig._receive(data, ADDRESS)
    assert len(caught) == 1
    (text,) = _texts(caplog)
    assert text.startswith(f"Dropped {len(data)} bytes from udp://127.0.0.1:5: ")
    assert "SECRET" not in text
    assert len(text) < 700
    assert rig.sent == []


def test_malformed_input_cannot_raise_where_warnings_are_errors(rig):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rig._receive(b"foo", ADDRESS)


def test_the_same_mistake_again_is_for_developers(rig, caplog):
    for _ in range(3):
        rig._receive(b"foo", ADDRESS)
    rig._receive(b"foo", ("127.0.0.2", 5))
    assert len(_texts(caplog)) == 4
    assert len(_texts(caplog, logging.WARNING)) == 2


def test_a_ping_is_no_mistake(rig, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rig._receive(b"[32] \t", ADDRESS)
    assert _texts(caplog) == []


def test_tokens_are_never_logged(rig, caplog):
    """Neither the message, nor what a callback or the other end says of it, nor a future set to it."""

    def boom(data, address):
        raise ValueError(data)

    async def scenario():
        done = asyncio.get_running_loop().create_future()
        done.set_result("SECRET")
        rig.assign_callback("alyx", boom)
        rig.assign_callback("alyx", done)
        rig._receive(b'[128, "https://alyx.example.org", {"alice": {"token": "SECRET"}}]', ADDRESS)
        rig._receive(b'[0, "ValueError: SECRET", 128]', ADDRESS)

    asyncio.run(scenario())
    assert "SECRET" not in caplog.text
    assert b"SECRET" not in rig.sent[0][0]
    assert rig.sent[0][0].startswith(b'[0, "ValueError: (not shown')
    assert "Future for ALYX already resolved" in _texts(caplog, logging.WARNING)
    assert len(_texts(caplog, logging.ERROR)) == 2


def test_on_event_returns_data_and_address(rig):
    async def scenario():
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            one = group.create_task(rig.on_event("init"))
            several = group.create_task(rig.on_event(ExpMessage.EXPINIT | ExpMessage.EXPEND))
            error = group.create_task(rig.on_event(0))
            await asyncio.sleep(0)
            rig._receive(b"[1, 42]", ADDRESS)
            rig._receive(b'[0, "e", 1]', ADDRESS)
        return one.result(), several.result(), error.result()

    assert asyncio.run(scenario()) == (
        ([42], ADDRESS),
        ([42], ADDRESS, ExpMessage.EXPINIT),
        (["e", 1], ADDRESS),
    )
    assert not any(rig._callbacks.values())


def test_on_event_given_up_leaves_nothing_behind(rig, caplog):
    async def scenario():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await rig.on_event(ExpMessage.any())

    asyncio.run(scenario())
    assert not any(rig._callbacks.values())
    rig._receive(b"[1, 42]", ADDRESS)
    assert "already resolved" not in caplog.text


def test_a_future_that_is_done_is_worth_one_warning(rig, caplog):
    async def scenario():
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        rig.assign_callback(1, done)
        rig._receive(b"[1, 42]", ADDRESS)
        rig._receive(b"[1, 42]", ADDRESS)

    asyncio.run(scenario())
    assert _texts(caplog, logging.WARNING) == ["Future for EXPINIT already resolved"]


def test_clear_callbacks_tells_how_many(rig, caplog):
    rig.assign_callback(3, print)
    rig.assign_callback(0, print)
    assert rig.clear_callbacks("expinit", print) == 1
    assert rig.clear_callbacks(0) == 1
    assert rig.clear_callbacks(ExpMessage.any()) == 1
    assert _texts(caplog)[0] == "[rig] 1 callbacks cleared"


def test_coroutine_callbacks_run_and_their_errors_are_reported(rig, caplog):
    """Receipt does not wait for them."""
    seen = []

    async def slow(data, address):
        await asyncio.sleep(0)
        seen.append(data)

    async def failing(data, address):
        raise ValueError("boom")

    async def scenario():
        rig.assign_callback(1, slow)
        rig.assign_callback(1, failing)
        rig._receive(b"[1, 42]", ADDRESS)
        assert seen == []
        await _settled(lambda: not _tasks())

    asyncio.run(scenario())
    assert seen == [[42]]
    assert rig.sent == [(b'[0, "ValueError: boom", 1]', ADDRESS)]
    (text,) = _texts(caplog, logging.ERROR)
    assert "failing" in text


def test_a_coroutine_callback_without_a_loop_is_reported(rig):
    async def callback(data, address):
        pass

    rig.assign_callback(1, callback)
    rig._receive(b"[1, 42]", ADDRESS)
    assert rig.sent == [(b'[0, "RuntimeError: no running event loop", 1]', ADDRESS)]


def test_coroutine_callbacks_are_bounded(rig, monkeypatch):
    monkeypatch.setattr(_coroutine_tasks, "MAX_COROUTINES", 3)

    async def forever(data, address):
        await asyncio.get_running_loop().create_future()

    async def scenario():
        rig.assign_callback(1, forever)
        for _ in range(5):
            rig._receive(b"[1, 42]", ADDRESS)
        assert len(rig._tasks) == 3
        rig.close()
        await _settled(lambda: not _tasks())

    asyncio.run(scenario())
    assert [data for data, _ in rig.sent] == [b'[0, "RuntimeError: busy with 3 coroutine callbacks", 1]'] * 2
    assert len(rig._tasks) == 0


def test_close_cancels_coroutine_callbacks_except_the_one_that_closes(rig):
    log = []

    async def closing(data, address):
        rig.close()
        await asyncio.sleep(0)
        log.append("went on")

    async def other(data, address):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            log.append("cancelled")

    async def scenario():
        rig.assign_callback(1, other)
        rig.assign_callback(1, closing)
        rig._receive(b"[1, 42]", ADDRESS)
        await _settled(lambda: not _tasks())

    asyncio.run(scenario())
    assert sorted(log) == ["cancelled", "went on"]
    assert rig.sent == []


def test_a_coroutine_callback_does_not_start_behind_close(rig):
    async def callback(data, address):
        pass

    async def scenario():
        rig.assign_callback(1, callback)
        rig.assign_callback(1, lambda data, address: rig.close())
        rig._receive(b"[1, 42]", ADDRESS)
        assert not _tasks()

    asyncio.run(scenario())
    assert b"closed by another callback" in rig.sent[0][0]


def test_close_without_a_loop_after_its_loop_is_gone(rig):
    """Twice, and with a future, a coroutine callback and a stream of a loop that is closed."""

    async def forever(data, address):
        await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()

    async def scenario():
        rig.assign_callback(1, forever)
        rig._receive(b"[1, 42]", ADDRESS)
        future = loop.create_future()
        future.add_done_callback(print)
        rig.assign_callback(1, future)
        await asyncio.sleep(0)
        return rig.events(), _tasks().pop()

    stream, task = loop.run_until_complete(scenario())
    loop.close()
    rig.close()
    rig.close()
    assert not any(rig._callbacks.values())
    assert stream is not None
    # The loop was closed under its task, which is the mistake that this test makes; undo it.
    task._log_destroy_pending = False
    task.get_coro().close()


def test_close_ends_what_waits(rig):
    async def scenario():
        waiting = asyncio.create_task(rig.on_event("init"))
        future = asyncio.get_running_loop().create_future()
        rig.assign_callback(4, future)
        stream = rig.events()
        rig._receive(b"[2, 1, null]", ADDRESS)
        await asyncio.sleep(0)
        rig.close()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        assert waiting.cancelled()
        assert future.cancelled()
        assert [event.data for event in [one async for one in stream]] == [[1, None]]
        assert [one async for one in stream] == []
        with pytest.raises(ConnectionError, match="rig is closed"):
            await rig.on_event("init")
        with pytest.raises(ConnectionError, match="rig is closed"):
            rig.events()

    asyncio.run(scenario())
    assert list(rig._callbacks) == [0, 1, 2, 4, 8, 16, 32, 64, 128]
    assert not any(rig._callbacks.values())


def test_events_come_in_order_and_only_those_wanted(rig, caplog):
    async def scenario():
        every, some, errors = rig.events(), rig.events("init"), rig.events(0)
        rig._receive(b"[1, 42]", ADDRESS)
        rig._receive(b"[4, 43]", ADDRESS)
        rig._receive(b'[0, "e", 1]', ADDRESS)
        rig.close()
        return [[(one.event, one.data) async for one in stream] for stream in (every, some, errors)]

    every, some, errors = asyncio.run(scenario())
    assert every == [(1, [42]), (4, [43])]
    assert some == [(1, [42])]
    assert errors == [(0, ["e", 1])]
    assert "No callbacks" not in caplog.text


def test_events_wait_for_the_next_one(rig):
    async def scenario():
        async with asyncio.timeout(10):
            stream = rig.events()
            task = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            rig._receive(b"[1, 42]", ADDRESS)
            return await task

    event = asyncio.run(scenario())
    assert (event.event, event.data, event.address) == (ExpMessage.EXPINIT, [42], ADDRESS)


def test_a_slow_reader_loses_the_oldest_and_can_tell(rig):
    async def scenario():
        stream = rig.events(max_queued=2)
        for number in range(5):
            rig._receive(b"[1, %d]" % number, ADDRESS)
        assert stream.dropped == 3
        rig.close()
        stream.close()
        return [one.data async for one in stream]

    assert asyncio.run(scenario()) == [[3], [4]]


def test_a_stream_that_was_left_is_gone(rig):
    async def scenario():
        rig.events()
        gc.collect()
        assert len(rig._streams) == 0
        stream = rig.events()
        stream.close()
        rig._receive(b"[1, 42]", ADDRESS)
        return [one async for one in stream]

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_stream_keeps_one_at_least(rig, limit):
    with pytest.raises(ValueError, match="max_queued must be 1 or more"):
        rig.events(max_queued=limit)
    with pytest.raises(ValueError, match="event"):
        rig.events("bogus")
