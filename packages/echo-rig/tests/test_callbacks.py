"""The registry of callbacks: who is told what, once, whatever another callback does."""

from __future__ import annotations

import asyncio

import pytest

from echo_rig.callbacks import CallbackRegistry, identity
from wireframe.echo import ExpMessage

INIT, START, END = ExpMessage.EXPINIT, ExpMessage.EXPSTART, ExpMessage.EXPEND
ERROR = ExpMessage(0)
ADDRESS = ("127.0.0.1", 11001)


@pytest.fixture
def registry():
    return CallbackRegistry()


@pytest.fixture
def make_future():
    loop = asyncio.new_event_loop()
    yield loop.create_future
    loop.close()


def _count(registry):
    return sum(map(len, registry.entries.values()))


def test_there_is_a_list_for_zero_and_each_event(registry):
    assert list(registry.entries) == [0, 1, 2, 4, 8, 16, 32, 64, 128]
    assert not any(registry.entries.values())


@pytest.mark.parametrize("event", [INIT, 1, True, " ExpInit ", "init"])
def test_one_event_by_number_or_name(registry, event):
    seen = []
    registry.assign(event, lambda *arguments: seen.append(arguments))
    outcome = registry.run(INIT, [42], ADDRESS)
    assert seen == [([42], ADDRESS)]
    assert (outcome.ran, outcome.failures, outcome.coroutines, outcome.resolved) == (1, [], [], [])
    assert registry.run(START, [], ADDRESS).ran == 0


@pytest.mark.parametrize("event", [INIT | START, ~END, ExpMessage.any(), 3])
def test_several_events_are_told_with_the_event(registry, event):
    """On every Python: three items."""
    seen = []
    registry.assign(event, lambda *arguments: seen.append(arguments))
    registry.run(INIT, [42], ADDRESS)
    registry.run(START, ["ref"], ADDRESS)
    registry.run(ERROR, ["text", 1], ADDRESS)
    assert seen == [([42], ADDRESS, INIT), (["ref"], ADDRESS, START)]


def test_all_but_one(registry):
    registry.assign(~END, print)
    assert [event for event, entries in registry.entries.items() if entries] == [1, 2, 8, 16, 32, 64, 128]


def test_zero_is_for_errors(registry):
    seen = []
    registry.assign(0, lambda *arguments: seen.append(arguments))
    registry.run(ERROR, ["ValueError: boom", 1], ADDRESS)
    assert seen == [(["ValueError: boom", 1], ADDRESS)]
    assert registry.clear(0) == 1


@pytest.mark.parametrize("callback", [None, "foo", 5, [print]])
def test_what_cannot_be_called_is_refused(registry, callback):
    with pytest.raises(TypeError, match="callable or a Future"):
        registry.assign(INIT, callback)
    assert not _count(registry)


@pytest.mark.parametrize("event", [256, -257, "EXPSTOP", "", 1 << 5000])
def test_what_is_no_event_is_refused(registry, event):
    with pytest.raises(ValueError, match="event"):
        registry.assign(event, print)
    with pytest.raises(ValueError, match="event"):
        registry.clear(event)


def test_a_future_is_set_once_and_forgotten(registry, make_future):
    future = make_future()
    registry.assign(INIT, future)
    assert registry.run(INIT, [42], ADDRESS).ran == 1
    assert future.result() == ([42], ADDRESS)
    outcome = registry.run(INIT, [43], ADDRESS)
    assert (outcome.ran, outcome.resolved) == (0, [])


@pytest.mark.parametrize(("event", "come"), [(0, ERROR), (INIT | START, START), (ExpMessage.any(), END)])
def test_a_future_for_errors_or_several_events_is_forgotten_everywhere(registry, make_future, event, come):
    """It does not stay and warn when the next event comes."""
    future = make_future()
    registry.assign(event, future)
    registry.run(come, ["a", 1], ADDRESS)
    assert not _count(registry)
    assert future.result() == ((["a", 1], ADDRESS) if event == 0 else (["a", 1], ADDRESS, come))


def test_a_future_that_is_done_already_is_told_and_forgotten(registry, make_future):
    done, twice = make_future(), make_future()
    done.set_result(None)
    registry.assign(INIT, done)
    registry.assign(INIT, twice)
    registry.assign(INIT, twice)
    outcome = registry.run(INIT, [], ADDRESS)
    assert (outcome.ran, outcome.resolved) == (1, [done])
    assert not _count(registry)


def test_a_callback_that_raises_does_not_stop_the_others(registry):
    seen = []

    def boom(data, address):
        raise ValueError("boom")

    def cancelled(data, address):
        raise asyncio.CancelledError

    for callback in (boom, cancelled, lambda data, address: seen.append(data)):
        registry.assign(INIT, callback)
    outcome = registry.run(INIT, [42], ADDRESS)
    assert seen == [[42]]
    assert outcome.ran == 3
    assert [(callback, type(error)) for callback, error in outcome.failures] == [
        (boom, ValueError),
        (cancelled, asyncio.CancelledError),
    ]


def test_an_interrupt_of_the_user_goes_through(registry):
    def interrupt(data, address):
        raise KeyboardInterrupt

    registry.assign(INIT, interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry.run(INIT, [], ADDRESS)


def test_coroutines_are_handed_over(registry):
    async def callback(data, address):
        return data

    registry.assign(INIT, callback)
    (coroutine,) = registry.run(INIT, [42], ADDRESS).coroutines
    assert asyncio.run(coroutine) == [42]


def test_a_callback_may_remove_and_add_others(registry):
    """What was removed is not called any more, what was added waits for the next event."""
    seen = []

    def later(data, address):
        seen.append("later")

    def first(data, address):
        registry.clear(INIT)
        registry.assign(INIT, later)

    registry.assign(INIT, first)
    registry.assign(INIT, lambda data, address: seen.append("removed"))
    assert registry.run(INIT, [], ADDRESS).ran == 1
    assert seen == []
    registry.run(INIT, [], ADDRESS)
    assert seen == ["later"]


def test_a_callback_may_close_the_registry(registry, make_future):
    future = make_future()
    registry.assign(INIT, lambda data, address: registry.close())
    registry.assign(INIT, future)
    outcome = registry.run(INIT, [], ADDRESS)
    assert (outcome.ran, outcome.resolved, outcome.failures) == (1, [], [])
    assert future.cancelled()


def test_clear_one_or_all(registry):
    registry.assign(INIT, print)
    registry.assign(INIT, len)
    registry.assign(INIT, len)
    registry.assign(START, len)
    assert registry.clear("init", sum) == 0
    assert registry.clear("init", len) == 2
    assert registry.entries[INIT] == [(print, False)]
    assert registry.clear(INIT | START) == 2
    assert not _count(registry)


def test_clear_several_events_at_once_counts_each(registry):
    registry.assign(INIT | START, print)
    assert registry.clear(ExpMessage.any(), print) == 2


class Owner:
    def method(self, data, address):
        pass


class Unhashable(list):
    def __call__(self, data, address):
        pass


def test_clear_finds_methods_wrappers_and_what_has_no_hash(registry):
    owner, unhashable = Owner(), Unhashable()

    def wrapper(data, address):
        pass

    wrapper.id = identity(unhashable)
    registry.assign(INIT, owner.method)
    registry.assign(INIT, wrapper)
    registry.assign(INIT, unhashable)
    assert registry.clear(INIT, owner.method) == 1
    assert registry.clear(INIT, unhashable) == 2


def test_clear_cancels_futures_or_not(registry, make_future):
    kept, cancelled = make_future(), make_future()
    registry.assign(INIT | START, kept)
    registry.assign(INIT | START, cancelled)
    assert registry.clear(INIT, kept, cancel_futures=False) == 1
    assert not kept.done()
    assert registry.clear(INIT, cancelled) == 1
    assert cancelled.cancelled()
    # A cancelled one waits for nothing; the other still waits for the second event.
    assert registry.entries[START] == [(kept, True)]


def test_close_empties_the_lists_and_cancels(registry, make_future):
    waiting, done = make_future(), make_future()
    done.set_result(1)
    registry.assign(INIT | START, waiting)
    registry.assign(END, done)
    registry.assign(0, print)
    lists = dict(registry.entries)
    registry.close()
    registry.close()
    assert waiting.cancelled()
    assert done.result() == 1
    assert all(registry.entries[event] is entries and not entries for event, entries in lists.items())


def test_futures_of_a_loop_that_is_closed_are_forgotten(registry):
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.add_done_callback(print)  # Somebody waits; waking him would raise.
    loop.close()
    registry.assign(INIT, future)
    registry.close()
    assert not _count(registry)
    assert not future.done()


def test_a_future_of_a_closed_loop_costs_a_failure_and_nothing_else(registry):
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    future.add_done_callback(print)
    loop.close()
    seen = []
    registry.assign(INIT, future)
    registry.assign(INIT, lambda data, address: seen.append(data))
    outcome = registry.run(INIT, [42], ADDRESS)
    assert [type(error) for _, error in outcome.failures] == [RuntimeError]
    assert seen == [[42]]
