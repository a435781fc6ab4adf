"""What is over when a queue has been closed."""

from __future__ import annotations

import threading

from udp_multicast import BackgroundReceiver, MulticastReceiver, RawBytes, ReceiverClosed


class SlowToLeave(MulticastReceiver):
    """Its last call takes a while, as one whose thread is not scheduled at once."""

    def receive(self, *arguments):
        try:
            return super().receive(*arguments)
        except ReceiverClosed:
            threading.Event().wait(0.3)
            raise


def test_the_thread_has_ended_when_close_returns():
    before = set(threading.enumerate())
    receiver = SlowToLeave(RawBytes, "239.1.1.1", 0, interface="127.0.0.1")
    queue = BackgroundReceiver(receiver)
    assert len(set(threading.enumerate()) - before) == 1
    queue.close()
    assert set(threading.enumerate()) <= before
