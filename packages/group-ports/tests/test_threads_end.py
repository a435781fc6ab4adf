"""When something has been closed, the threads that it had are over, also when they take a moment to end."""

from __future__ import annotations

import threading

import pytest
import zmq

from group_ports import Group, GroupAnsPort, GroupPubPort, GroupQryPort, GroupSubPort
from group_ports.security import AllowList, CurveKeys


@pytest.fixture
def begun(monkeypatch):
    """The threads of this process that were not there before; each takes a while to end."""
    before = set(threading.enumerate())
    real = threading.Thread.run

    def run(self):
        try:
            real(self)
        finally:
            threading.Event().wait(0.3)

    monkeypatch.setattr(threading.Thread, "run", run)
    return lambda: set(threading.enumerate()) - before


@pytest.mark.parametrize("kind", [GroupPubPort, GroupSubPort, GroupQryPort, GroupAnsPort])
def test_of_a_port(begun, kind):
    port = kind.standalone()
    assert begun()
    port.close()
    assert not begun()


def test_of_a_port_that_was_reset(begun):
    port = GroupSubPort.standalone()
    port.reset()
    assert len(begun()) == 1
    port.close()
    assert not begun()


def test_of_a_list_of_those_who_may_connect(begun):
    with zmq.Context() as context:
        allow_list = AllowList(context, [CurveKeys.generate().public])
        assert len(begun()) == 1
        allow_list.close()
        assert not begun()


def test_of_a_member(begun):
    group = Group.standalone("rack", "a")
    assert begun()
    group.close()
    assert not begun()
