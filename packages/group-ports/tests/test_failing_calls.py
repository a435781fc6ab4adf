"""Calls of libzmq that fail, each of them once: a port or member goes on, or says why not, in time."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
import time

import pytest
import zmq

from group_ports import Group, GroupAnsPort, GroupPubPort, GroupQryPort, GroupSubPort, PortError, PortSettings
from group_ports._lifecycle import SocketHolder

from .conftest import LIMIT_S

#: Of each call of a port.
DEADLINE_S = 0.1
#: More than a member calls until it leads and has published some heartbeats.
MEMBER_CALLS = 30


class FailingCalls:
    """Lets one call of all ports fail: sends and receives of a first frame, options that are read.

    Later frames of a message cannot fail: libzmq takes and gives whole messages only.
    """

    def __init__(self, monkeypatch):
        self.arm(None, 0)
        attach = SocketHolder._attach

        def attach_failing(port, new_socket, watch):
            attach(port, new_socket, watch)
            port._send_frame = self._sending(port._send_frame)
            port._recv_frame = self._receiving(port._recv_frame)
            port._socket_option = self._reading(port._socket_option)

        monkeypatch.setattr(SocketHolder, "_attach", attach_failing)

    def arm(self, which, code):
        """Let this call from now on fail with this code."""
        self.which, self.code, self.calls, self.has_failed = which, code, 0, False

    def _count(self):
        self.calls += 1
        if self.calls == self.which:
            self.has_failed = True
            raise zmq.Again() if self.code == zmq.EAGAIN else zmq.ZMQError(self.code)

    def _sending(self, send):
        is_inside = False

        def failing(data, flags=0):
            nonlocal is_inside
            if not is_inside:
                self._count()
            is_inside = bool(flags & zmq.SNDMORE)
            return send(data, flags)

        return failing

    def _receiving(self, receive):
        is_inside = False

        def failing(flags=0, copy=True):
            nonlocal is_inside
            if not is_inside:
                self._count()
            frame = receive(flags, copy)
            is_inside = frame.more
            return frame

        return failing

    def _reading(self, option):
        def failing(name):
            self._count()
            return option(name)

        return failing


@pytest.fixture
def failing(monkeypatch):
    return FailingCalls(monkeypatch)


def take_until(port, payload):
    """Read messages up to this one."""
    arrival = port.take(LIMIT_S)
    while arrival.payload != payload:
        arrival = port.take(LIMIT_S)


@pytest.mark.fault("C23", "group-ports", "TE")
@pytest.mark.parametrize("code", [zmq.EAGAIN, errno.EMFILE, errno.ENOBUFS], ids=errno.errorcode.get)
def test_whatever_call_of_a_port_fails_is_a_port_error_in_time_and_it_goes_on(figure, failing, code):
    """T: each call returns by its own deadline. E: a `PortError` says what failed and why."""
    settings = PortSettings(send_timeout=DEADLINE_S, recv_timeout=DEADLINE_S)
    errors, longest = [], 0.0
    with (
        GroupPubPort.standalone(settings=settings) as pub,
        GroupSubPort.standalone(settings=settings) as sub,
        GroupAnsPort.standalone(settings=settings) as ans,
        GroupQryPort.standalone(settings=settings) as qry,
    ):
        sub.update(*pub.address)
        qry.update(*ans.address)
        pub.wait_ready(1)
        qry.wait_connected(1)
        # Whom to answer.
        assert qry.send(b"the first")
        take_until(ans, b"the first")
        steps = [
            lambda: pub.send(b"news"),
            sub.recv,
            pub.subscribers,
            lambda: pub.wait_ready(1, DEADLINE_S),
            lambda: qry.send(b"question"),
            lambda: ans.take(DEADLINE_S),
            lambda: ans.send(b"answer"),
            qry.recv,
            lambda: qry.wait_connected(1, DEADLINE_S),
        ]
        for which in itertools.count(1):
            failing.arm(which, code)
            for step in steps:
                began = time.monotonic()
                try:
                    step()
                except PortError as error:
                    errors.append(error)
                longest = max(longest, time.monotonic() - began)
            has_failed = failing.has_failed
            failing.arm(None, 0)
            # Each end is still where it was, and what was on its way has come.
            pub.send(b"the last")
            take_until(sub, b"the last")
            qry.send(b"the last")
            take_until(ans, b"the last")
            ans.send(b"the last")
            take_until(qry, b"the last")
            if not has_failed:
                break
    assert which > len(steps) // 2
    assert len(errors) >= which // 2
    # What came of it is that nothing came in time.
    assert {error.errno for error in errors} <= {code, zmq.EAGAIN}
    assert {str(error).partition(" error")[0] for error in errors} <= {"send", "recv", "poll"}
    assert longest < DEADLINE_S + LIMIT_S
    told = f"{len(errors)} errors, longest call {longest:.2f} s of {DEADLINE_S} s"
    figure(f"{errno.errorcode[code]} at each of {which - 1} calls: {told}")


@pytest.mark.fault("C23", "group-ports", "TE")
@pytest.mark.parametrize("code", [zmq.EAGAIN, errno.ENOBUFS], ids=errno.errorcode.get)
def test_whatever_call_of_a_member_fails_it_goes_on_or_says_why_not(figure, failing, eventually, code):
    """T: nobody waits for a member that has ended. E: each call says what has ended it."""
    went_on, errors = 0, []
    times = {
        "heartbeat": 10,
        "electionMin": 20,
        "electionMax": 40,
        "peerTimeout": 60_000,
        "consensusTimeout": 30,
    }
    for which in range(1, MEMBER_CALLS + 1):
        failing.arm(which, code)
        with contextlib.closing(Group.standalone("rack", "a", size=1, params=times, last_term=0)) as group:
            with contextlib.suppress(PortError):
                group.update(*group.address)
            eventually(lambda group=group: group.error or failing.has_failed, "the failure")
            eventually(lambda group=group: group.error or group.isLeader(), "what comes of it")
            if group.error is None:
                went_on += 1
                continue
            for call in (lambda group=group: group.send(b"x"), lambda group=group: group.requestVote(b"x")):
                with pytest.raises(PortError, match=os.strerror(code)) as caught:
                    call()
                errors.append(caught.value)
            assert not group.hasLeader()
    assert {error.errno for error in errors} <= {PortError.ECLOSED}
    # That there was no room for a message ends nobody.
    assert code != zmq.EAGAIN or went_on > MEMBER_CALLS // 2
    assert not [one for one in threading.enumerate() if one.name.startswith("group-ports")]
    told = f"{went_on} went on, {MEMBER_CALLS - went_on} ended and said why"
    figure(f"{errno.errorcode[code]} at one call of each of {MEMBER_CALLS} members: {told}")
