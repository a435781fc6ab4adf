"""Who is in the group."""

from __future__ import annotations

from group_ports import _membership
from group_ports._membership import Membership

OWN, A, B = b"o" * 16, b"a" * 16, b"b" * 16


def test_a_member_is_always_in():
    """And what it hears of itself changes nothing."""
    members = Membership(OWN, 3.0)
    assert not members.heard(OWN, 1.0)
    assert not members.left(OWN, 1.0)
    assert OWN in members
    assert len(members) == 1


def test_joining_is_news_once():
    """The first sign of life only."""
    members = Membership(OWN, 3.0)
    assert [members.heard(A, now) for now in (1.0, 2.0)] == [True, False]
    assert members.ids() == {OWN, A}


def test_silence_is_a_goodbye():
    """From the last sign of life, at exactly the time announced."""
    members = Membership(OWN, 0.9)
    members.heard(A, 0.1)
    members.heard(B, 0.2)
    members.heard(A, 0.3)
    deadline = members.next_deadline()
    assert members.expire(deadline - 1e-9) == []
    assert members.expire(deadline) == [B]
    assert members.expire(members.next_deadline()) == [A]
    assert members.next_deadline() == float("inf")


def test_a_late_tic_does_not_raise_the_dead():
    """After a goodbye an id is kept out for one peer timeout."""
    members = Membership(OWN, 3.0)
    members.heard(A, 1.0)
    assert members.left(A, 2.0)
    assert not members.left(A, 2.0)
    assert members.is_departed(A)
    assert not members.heard(A, 2.1)
    members.expire(5.0)
    assert members.heard(A, 5.0)


def test_memory_is_bounded(monkeypatch):
    """Whoever invents ids fills what there is and no more; known members stay."""
    monkeypatch.setattr(_membership, "MAX_MEMBERS", 3)
    members = Membership(OWN, 3.0)
    assert [members.heard(bytes([i]) * 16, 1.0) for i in range(5)] == [True] * 3 + [False] * 2
    assert not members.heard(bytes([0]) * 16, 2.0)
    assert len(members) == 4
    for i in range(10):
        members.left(bytes([i]) * 16, 3.0)
        members.heard(bytes([i + 3]) * 16, 3.0)
    assert sum(members.is_departed(bytes([i]) * 16) for i in range(13)) == 3
