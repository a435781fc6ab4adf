"""What a driver may send, and when."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxl_sockets import UnexpectedMessage
from mxl_sockets._client import Client, Phase
from wireframe import BadHeader, BadPayload, FrameError, FrameTooLarge, ipi

REPLY = ipi.encode_forceready((1.0, 2.0, 3.0), extra=b"{}")
MESSAGES = {
    ipi.READY: ipi.encode_header(ipi.READY),
    ipi.NEEDINIT: ipi.encode_header(ipi.NEEDINIT),
    ipi.HAVEDATA: ipi.encode_header(ipi.HAVEDATA),
    ipi.FORCEREADY: REPLY,
    ipi.BYE: ipi.encode_header(ipi.BYE),
}
DUE = {
    Phase.WAITING: set(),
    Phase.CHECKING: {ipi.READY, ipi.NEEDINIT},
    Phase.CONFIRMING: {ipi.READY},
    Phase.IDLE: set(),
    Phase.STAGING: {ipi.HAVEDATA},
    Phase.STAGED: set(),
    Phase.ASKED: {ipi.FORCEREADY},
    Phase.STOPPING: set(MESSAGES),
    Phase.GONE: set(),
}


def client(phase=Phase.WAITING, max_extra=100):
    one = Client("192.0.2.1:7", 0.0, max_extra=max_extra)
    one.phase = phase
    return one


def test_a_new_driver_is_nobody_yet():
    one = Client("peer", 3.5, endpoint=4, max_extra=0)
    assert (one.peer, one.since, one.endpoint) == ("peer", 3.5, 4)
    assert one.phase is Phase.WAITING
    assert one.molecule_id is None
    assert not one.initialized
    assert one.wants_init
    assert not one.partial


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("name", MESSAGES)
def test_each_message_is_legal_only_where_it_is_due(phase, name):
    one = client(phase)
    if name in DUE[phase]:
        (event,) = one.receive(MESSAGES[name])
        assert event == name or isinstance(event, ipi.ForceReady)
        assert not one.partial
        return
    with pytest.raises(UnexpectedMessage, match=f"sent {name.decode()} although it {phase.value}") as caught:
        list(one.receive(MESSAGES[name]))
    assert caught.value.excerpt == name


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("size", [1, 11])
def test_the_beginning_of_something_that_is_not_due_is_enough(phase, size):
    """Nobody waits for the rest of a message that may not come at all."""
    one = client(phase)
    if DUE[phase]:
        assert list(one.receive(REPLY[:size])) == []
        assert one.partial
        return
    with pytest.raises(UnexpectedMessage, match=f"sent bytes although it {phase.value}"):
        list(one.receive(REPLY[:size]))


def test_a_message_that_is_not_due_is_refused_by_its_header_alone():
    one = client(Phase.STAGING)
    with pytest.raises(FrameError):
        list(one.receive(MESSAGES[ipi.READY]))


@given(cuts=st.lists(st.integers(0, len(REPLY)), max_size=6).map(sorted))
@settings(derandomize=True, deadline=None, database=None, max_examples=60)
def test_a_reply_may_come_in_any_pieces(cuts):
    one = client(Phase.ASKED)
    events = []
    for start, end in zip([0, *cuts], [*cuts, len(REPLY)], strict=True):
        events += one.receive(REPLY[start:end])
        assert one.partial is (0 < end < len(REPLY))
    (event,) = events
    assert event.forces == struct.pack("<3d", 1, 2, 3)
    assert event.extra == b"{}"


def test_the_phase_may_move_between_two_messages_of_one_read():
    one = client(Phase.STAGING)
    found = []
    for event in one.receive(MESSAGES[ipi.HAVEDATA] + REPLY[:50]):
        found.append(event)
        one.phase = Phase.ASKED
    assert found == [ipi.HAVEDATA]
    assert one.partial
    (event,) = one.receive(REPLY[50:])
    assert event.extra == b"{}"


def test_a_second_reply_in_one_read_is_refused_and_the_first_is_kept():
    one = client(Phase.ASKED)
    events = one.receive(REPLY + REPLY)
    assert next(events).extra == b"{}"
    one.phase = Phase.IDLE
    with pytest.raises(UnexpectedMessage, match="although it is bound and was asked nothing"):
        next(events)


def test_bytes_behind_a_reply_are_refused_at_once():
    one = client(Phase.ASKED)
    events = one.receive(REPLY + b"F")
    assert next(events).extra == b"{}"
    one.phase = Phase.IDLE
    with pytest.raises(UnexpectedMessage, match="sent bytes"):
        next(events)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"GET / HTTP/1", BadHeader),
        (ipi.encode_header(ipi.GETFORCE), BadHeader),
        (ipi.encode_forceready((0.0,) * 6), BadPayload),
        (REPLY[:120] + struct.pack("<i", -5), BadPayload),
        (REPLY[:120] + struct.pack("<i", 101), FrameTooLarge),
    ],
)
def test_illegal_bytes_are_an_error_as_soon_as_they_can_be_told(data, kind):
    with pytest.raises(kind):
        list(client(Phase.ASKED).receive(data))


def test_the_error_is_a_value_error():
    with pytest.raises(ValueError, match="waits for a molecule"):
        list(client().receive(MESSAGES[ipi.READY]))


@pytest.mark.parametrize("phase", Phase)
def test_a_driver_owes_an_answer_where_one_is_due_for_a_question(phase):
    """After STOP it may answer what it was asked before, or not."""
    assert client(phase).owes_answer is (bool(DUE[phase]) and phase is not Phase.STOPPING)
