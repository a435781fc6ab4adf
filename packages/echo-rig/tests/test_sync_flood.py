"""Messages that do not end do not keep a blocking call for ever."""

from __future__ import annotations

import socket

import pytest

from echo_rig.sync import listen

#: So many messages are there, one after the other, always one before the call looks again.
ENDLESS = 8000


@pytest.mark.parametrize(
    "call",
    [lambda rig: rig.poll(), lambda rig: rig.serve(timeout=0.01), lambda rig: rig.poll(timeout=0.01)],
    ids=["poll", "serve", "poll with a wait"],
)
def test_a_call_ends_although_there_is_always_one_more(call):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as chosen:
        chosen.bind(("127.0.0.1", 0))
        address = chosen.getsockname()
    told = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))

        def one_more(*_):
            nonlocal told
            told += 1
            if told < ENDLESS:
                # Each one is another text, and no loop.
                stranger.sendto(b'[1, "%d"]' % told, address)

        with listen("udp://{}:{}".format(*address)) as rig:
            rig.assign_callback("EXPINIT", one_more)
            stranger.sendto(b'[1, "first"]', address)
            call(rig)
    assert 0 < told < ENDLESS
