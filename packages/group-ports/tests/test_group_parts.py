"""What the worker of a group is made of: inbox, letters, calls. All of it bounded."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from group_ports import PortError, PortTimeout
from group_ports._actions import MemberJoined
from group_ports._calls import MAX_CALLS, Calls
from group_ports._events import Message, MessageKind
from group_ports._inbox import MAX_NEWS, Inbox
from group_ports._letters import MAX_LETTERS, Letter, Letters
from group_ports.discovery import StaticDiscovery

from .conftest import LIMIT_S


def message(number):
    return Message(MessageKind.GROUP, bytes([number]))


def news(number):
    return MemberJoined(number.to_bytes(16, "big"))


def test_messages_and_news_keep_their_order():
    inbox = Inbox(10, lambda: None)
    events = [news(1), message(1), message(2), news(2), message(3)]
    for event in events:
        inbox.put(event)
    assert [inbox.take(0) for _ in events] == events
    assert inbox.take(0) is None


def test_messages_can_be_taken_past_the_news():
    inbox = Inbox(10, lambda: None)
    inbox.put(news(1))
    inbox.put(message(1))
    assert inbox.take(0, only_messages=True) == message(1)
    assert inbox.take(0, only_messages=True) is None
    assert inbox.take(0) == news(1)


def test_the_latest_message_and_the_oldest_news_are_dropped_and_counted():
    inbox = Inbox(2, lambda: None)
    for number in range(3):
        inbox.put(message(number))
    for number in range(MAX_NEWS + 2):
        inbox.put(news(number))
    taken = list(iter(lambda: inbox.take(0), None))
    assert taken[:2] == [message(0), message(1)]
    assert taken[2:] == [news(number) for number in range(2, MAX_NEWS + 2)]
    assert (inbox.dropped_messages, inbox.dropped_news) == (1, 2)


def test_a_cancellation_that_comes_together_with_an_event_is_not_lost():
    async def both_at_once():
        inbox = Inbox(10, lambda: None)
        task = asyncio.create_task(inbox.take_async(LIMIT_S))
        await asyncio.sleep(0)
        inbox.put(message(1))
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        return inbox.take(0)

    assert asyncio.run(both_at_once()) == message(1)


def test_the_bell_rings_when_there_is_something_again():
    rings = []
    inbox = Inbox(10, lambda: rings.append(1))
    inbox.put(news(1))
    inbox.put(news(2))
    assert len(rings) == 1
    inbox.settle(rings.clear)
    assert len(rings) == 1
    inbox.take(0)
    inbox.take(0)
    inbox.settle(rings.clear)
    assert rings == []
    inbox.put(news(3))
    assert len(rings) == 1


def test_a_closed_inbox_gives_what_it_has_and_then_the_reason():
    inbox = Inbox(10, lambda: None)
    inbox.put(message(1))
    inbox.close(PortError("over", PortError.ECLOSED))
    assert inbox.take(5.0) == message(1)
    with pytest.raises(PortError, match="over"):
        inbox.take(5.0)


class Way:
    """A way to the leader that a test opens and closes."""

    def __init__(self):
        self.sent = []
        self.outcome = True

    def send(self, tag, payload):
        if isinstance(self.outcome, Exception):
            raise self.outcome
        if self.outcome:
            self.sent.append((tag, payload))
        return self.outcome


NOT_YET = PortTimeout("not connected", PortError.EAGAIN)


def test_letters_wait_for_the_leader_and_keep_their_order():
    way = Way()
    letters = Letters(way.send)
    way.outcome = NOT_YET
    answers = [Future(), Future()]
    for number, answer in enumerate(answers):
        letters.post(Letter(b"mtl", bytes([number]), 10.0, answer), 0.0)
    assert len(letters) == 2
    assert letters.next_deadline() == 10.0
    way.outcome = True
    letters.flush(1.0)
    assert way.sent == [(b"mtl", b"\0"), (b"mtl", b"\1")]
    assert [answer.result(0) for answer in answers] == [True, True]


def test_letters_are_given_up_in_time_and_counted():
    way = Way()
    letters = Letters(way.send)
    way.outcome = NOT_YET
    answer = Future()
    letters.post(Letter(b"mtl", b"", 5.0, answer), 0.0)
    letters.post(Letter(b"rtc", b"", 1.0), 0.0)
    letters.flush(1.0)
    assert (len(letters), letters.lost, answer.done()) == (1, 1, False)
    letters.flush(5.0)
    with pytest.raises(PortTimeout):
        answer.result(0)
    assert len(letters) == 0


def test_letters_to_a_leader_that_is_gone_were_not_sent():
    way = Way()
    letters = Letters(way.send)
    way.outcome = NOT_YET
    answer, cancelled = Future(), Future()
    for letter in (
        Letter(b"mtl", b"", 5.0, answer),
        Letter(b"rfv", b"", 5.0),
        Letter(b"mtl", b"", 5.0, cancelled),
    ):
        letters.post(letter, 0.0)
    cancelled.cancel()
    letters.drop()
    assert answer.result(0) is False
    assert (len(letters), letters.lost) == (0, 1)


def test_a_letter_that_is_cancelled_or_wrong_holds_up_nobody():
    way = Way()
    letters = Letters(way.send)
    way.outcome = NOT_YET
    cancelled, wrong = Future(), Future()
    letters.post(Letter(b"mtl", b"a", 5.0, cancelled), 0.0)
    letters.post(Letter(b"mtl", b"b", 5.0, wrong), 0.0)
    cancelled.cancel()
    way.outcome = PortError("gone", PortError.ETERM)
    letters.flush(0.0)
    with pytest.raises(PortError, match="gone"):
        wrong.result(0)
    way.outcome = False
    letters.post(Letter(b"rtc", b"", 5.0), 0.0)
    assert (len(letters), letters.lost, way.sent) == (0, 1, [])


def test_letters_are_bounded():
    way = Way()
    letters = Letters(way.send)
    way.outcome = NOT_YET
    for _ in range(MAX_LETTERS):
        letters.post(Letter(b"rtc", b"", 5.0), 0.0)
    answer = Future()
    letters.post(Letter(b"mtl", b"", 5.0, answer), 0.0)
    with pytest.raises(PortTimeout, match="too many"):
        answer.result(0)
    assert len(letters) == MAX_LETTERS


@pytest.fixture
def calls(cleanup):
    calls = Calls()
    cleanup.callback(calls.close, PortError("over", PortError.ECLOSED))
    return calls


def test_a_call_that_nobody_runs_ends_and_is_never_run(calls):
    ran = []
    with pytest.raises(PortTimeout):
        calls.call(lambda: ran.append(1), 0.01)
    calls.run()
    assert ran == []


def test_a_call_returns_or_raises_what_the_worker_got(calls):
    results = []

    def user():
        results.append(calls.call(lambda: 7))
        try:
            calls.call(lambda: 1 / 0)
        except ZeroDivisionError as error:
            results.append(type(error))

    thread = threading.Thread(target=user)
    thread.start()
    while thread.is_alive():
        calls.run()
    assert results == [7, ZeroDivisionError]


def test_calls_are_bounded_and_end_with_the_worker(calls):
    for _ in range(MAX_CALLS):
        with pytest.raises(PortTimeout):
            calls.post(lambda future: None, 0.0)
    with pytest.raises(PortTimeout, match="too many"):
        calls.call(lambda: 7)
    calls.close(PortError("over", PortError.ECLOSED))
    with pytest.raises(PortError, match="over"):
        calls.call(lambda: 7)


@pytest.mark.parametrize("address", [("", 1), ("a b", 1), ("host", 0), ("host", 65536)])
def test_addresses_that_are_none_are_refused(address):
    with pytest.raises(ValueError, match=r"not a host|a TCP port"):
        StaticDiscovery([address])


def test_a_call_that_never_ends_is_a_port_timeout(calls, monkeypatch):
    """Also one that has begun, so that nobody can take it back."""
    monkeypatch.setattr("group_ports._calls.LONGEST_WAIT_S", 0.05)
    begun, over = threading.Event(), threading.Event()

    def function():
        begun.set()
        over.wait(LIMIT_S)

    def work():
        while not begun.is_set():
            calls.run()

    worker = threading.Thread(target=work)
    worker.start()
    with pytest.raises(PortTimeout) as caught:
        calls.post(lambda future: (future.set_running_or_notify_cancel(), function()), 0.05)
    over.set()
    worker.join()
    assert begun.is_set()
    assert caught.value.errno == PortError.EAGAIN


def test_a_call_that_is_late_returns_what_the_worker_got(calls):
    """The wait of the caller ends while it is being run: what was done is not denied."""
    running = threading.Event()

    def work():
        while not running.is_set():
            calls.run()

    def late(future):
        future.set_running_or_notify_cancel()
        running.set()
        caller_waits_on.wait(LIMIT_S)
        future.set_result(7)

    caller_waits_on = threading.Event()
    worker = threading.Thread(target=work)
    worker.start()
    timer = threading.Timer(0.2, caller_waits_on.set)
    timer.start()
    assert calls.post(late, 0.1) == 7
    worker.join()
    timer.join()


def test_a_timeout_of_the_function_itself_is_its_own(calls):
    def function():
        raise PortTimeout("no room", PortError.EAGAIN)

    caught = []

    def user():
        try:
            calls.call(function)
        except PortTimeout as error:
            caught.append(str(error))

    thread = threading.Thread(target=user)
    thread.start()
    while thread.is_alive():
        calls.run()
    assert caught == ["no room"]
