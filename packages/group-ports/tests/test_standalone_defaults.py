"""Ports of which nothing is said are for this machine alone."""

from __future__ import annotations

import pytest
import zmq

from group_ports import GroupAnsPort, GroupPubPort, GroupQryPort, GroupSubPort


@pytest.mark.parametrize("kind", [GroupPubPort, GroupSubPort, GroupQryPort, GroupAnsPort])
def test_a_standalone_port_is_at_the_loopback_interface(make_port, kind):
    port = make_port(kind)
    assert (port.getGlobalIface(), port.getLocalIface()) == ("127.0.0.1", "127.0.0.1")
    assert port.getInfo().portHost == "127.0.0.1"
    if kind in (GroupPubPort, GroupAnsPort):
        assert port.getSocket().getsockopt(zmq.LAST_ENDPOINT).startswith(b"tcp://127.0.0.1:")
