"""The queue between the thread that receives and the loop that draws."""

from __future__ import annotations

import threading

import pytest

from udp_multicast import BackgroundReceiver, RawBytes, ReceiverClosed


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
