"""What was read of a TCP peer is acknowledged at once, as the system itself tells."""

from __future__ import annotations

import socket

import pytest

from mxl_sockets._quick_ack import acknowledger

OPTION = getattr(socket, "TCP_QUICKACK", None)


@pytest.mark.parametrize("times", [1, 3])
def test_the_system_is_told_each_time(times):
    """It forgets the wish soon, so that it has to be told again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), 10)
        theirs, _ = listener.accept()
        with ours, theirs:
            acknowledge = acknowledger(ours)
            assert (acknowledge is None) is (OPTION is None)
            for _ in range(times if acknowledge is not None else 0):
                ours.setsockopt(socket.IPPROTO_TCP, OPTION, 0)
                assert not ours.getsockopt(socket.IPPROTO_TCP, OPTION)
                acknowledge()
                assert ours.getsockopt(socket.IPPROTO_TCP, OPTION)
