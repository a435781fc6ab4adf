"""The queue between the thread that receives and the loop that draws."""

from __future__ import annotations

import os
import signal
import threading
import warnings

import pytest

from udp_multicast import BackgroundReceiver, ForeignProcessError, RawBytes, ReceiverClosed


class Upper:
    @staticmethod
    def from_bytes(data):
        if not data.isupper():
            raise ValueError("not upper case")
        return data


@pytest.fixture
def queued(pair, cleanup):
    def make(*arguments, max_queued=16, **settings):
        receiver, sender = pair(*arguments, **settings)
        return cleanup.enter_context(BackgroundReceiver(receiver, max_queued)), sender

    return make


def in_child(action):
    """Run an action in a forked child; what it returns is its exit code. If it hangs, it is killed."""
    with warnings.catch_warnings():
        # Python 3.12 warns of forks with threads around: here that is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        code = 99
        try:
            signal.alarm(20)
            code = action()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_readouts_come_in_order(queued):
    queue, sender = queued()
    sender.send_readouts([RawBytes(bytes([number])) for number in range(5)])
    assert [queue.get(timeout=10) for _ in range(5)] == [b"\0", b"\1", b"\2", b"\3", b"\4"]
    assert (queue.queued, queue.dropped, queue.drain()) == (0, 0, [])


def test_get_ends_by_its_timeout(queued):
    queue, _ = queued()
    with pytest.raises(TimeoutError):
        queue.get(timeout=0.001)


def test_timeout_of_the_receiver_does_not_end_the_thread(queued):
    queue, sender = queued(timeout=0.001)
    with pytest.raises(TimeoutError):
        queue.get(timeout=0.05)
    sender.send_data(b"still here")
    assert queue.get(timeout=10) == b"still here"


def test_get_without_timeout_is_woken_by_a_readout_and_by_close(queued, background):
    queue, sender = queued(timeout=None)
    waiting = background(queue.get)
    sender.send_data(b"x")
    assert waiting.result(10) == b"x"
    waiting = background(queue.get)
    queue.close()
    with pytest.raises(ReceiverClosed):
        waiting.result(10)


def test_what_was_queued_can_be_fetched_after_close(queued, eventually):
    queue, sender = queued()
    sender.send_data(b"x")
    eventually(lambda: queue.queued == 1)
    queue.close()
    queue.close()
    assert queue.drain() == [b"x"]
    assert queue.drain() == []
    with pytest.raises(ReceiverClosed):
        queue.get()


def test_error_of_a_strict_receiver_reaches_who_fetches_after_the_good_ones(queued, eventually):
    queue, sender = queued(Upper, strict=True)
    sender.send_data(b"GOOD")
    sender.send_data(b"bad")
    assert queue.get(timeout=10) == b"GOOD"
    with pytest.raises(ValueError, match="upper"):
        queue.get(timeout=10)
    with pytest.raises(ValueError, match="upper"):
        queue.drain()


@pytest.mark.fault("C19", "udp-multicast", "M")
def test_no_thread_is_left(pair):
    receiver, _ = pair(timeout=None)
    before = threading.active_count()
    with BackgroundReceiver(receiver):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_callback_may_close_it_from_its_own_thread(make_receiver, make_sender):
    receiver = make_receiver(Upper, on_broken=lambda *_: queue.close())
    queue = BackgroundReceiver(receiver)
    make_sender(receiver).send_data(b"broken")
    with pytest.raises(ReceiverClosed):
        queue.get(timeout=10)
    queue.close()


def test_queue_must_hold_something(make_receiver):
    with pytest.raises(ValueError, match="at least 1"):
        BackgroundReceiver(make_receiver(), 0)


def test_forked_child_is_told_instead_of_waiting_for_ever(queued):
    """The thread that receives is the parent's; what it left in the queue is too."""
    queue, sender = queued()

    def child():
        for method in (queue.get, queue.drain):
            try:
                method()
            except ForeignProcessError:
                continue
            return 1
        queue.close()
        return 0

    with queue._changed:  # as if the parent's thread were about to add something
        assert in_child(child) == 0
    sender.send_data(b"parent")
    assert queue.get(timeout=10) == b"parent"


def test_close_ends_even_if_a_readout_class_does_not(make_receiver, make_sender, monkeypatch, caplog):
    """And who waits for readouts is told so then."""
    inside, leave = threading.Event(), threading.Event()

    class Stuck:
        @staticmethod
        def from_bytes(data):
            inside.set()
            leave.wait(60)
            return data

    monkeypatch.setattr("udp_multicast.background._LEAVE_S", 0.01)
    monkeypatch.setattr("udp_multicast._inlet.LEAVE_S", 0.01)
    receiver = make_receiver(Stuck)
    queue = BackgroundReceiver(receiver)
    try:
        make_sender(receiver).send_data(b"x")
        assert inside.wait(10)
        queue.close()
        with pytest.raises(ReceiverClosed):
            queue.get()
        assert "still busy" in caplog.text
    finally:
        leave.set()
        queue._thread.join(10)


@pytest.mark.parametrize("timeout", [1e12, float("inf")])
def test_get_with_an_endless_timeout_waits(queued, timeout):
    queue, sender = queued()
    threading.Timer(0.01, sender.send_data, (b"x",)).start()
    assert queue.get(timeout) == b"x"
