"""Polls: what decides them, and whose ballots count."""

from __future__ import annotations

import math

import pytest

from group_ports import _poll_memory, _polls
from group_ports._poll_memory import PollMemory
from group_ports._polls import MAX_TIMEOUT, Polls, effective_timeout
from wireframe.group import Vote, Voting

MEMBERS = frozenset(bytes([65 + i]) * 16 for i in range(5))
ALL = sorted(MEMBERS)


def vote(polls, *votes, voters=ALL, ours=MEMBERS):
    return [polls.ballot("P", voter, yes, ours) for voter, yes in zip(voters, votes, strict=False)]


def opened(kind, electorate=MEMBERS):
    polls = Polls(1.5)
    assert polls.start("P", kind, 0.0, electorate, 10.0)
    return polls


@pytest.mark.parametrize(
    ("kind", "votes", "results"),
    [
        (Voting.MAJORITY, (1, 1, 1), (None, None, Vote.YES)),
        (Voting.MAJORITY, (0, 0, 0), (None, None, Vote.NO)),
        (Voting.MAJORITY, (1, 0, 1, 0, 1), (None,) * 4 + (Vote.YES,)),
        (Voting.CONSENSUS, (1, 1, 1, 1, 1), (None,) * 4 + (Vote.YES,)),
        (Voting.CONSENSUS, (1, 0), (None, Vote.NO)),
    ],
)
def test_decided_as_soon_as_certain(kind, votes, results):
    """Not before, not later; afterwards the poll is over."""
    polls = opened(kind)
    assert vote(polls, *map(bool, votes)) == list(results)
    assert polls.ballot("P", ALL[4], True, MEMBERS) is None
    assert polls.next_deadline() == math.inf


def test_even_electorate():
    """Of four, three carry it and two refuse it."""
    four = frozenset(ALL[:4])
    assert vote(opened(Voting.MAJORITY, four), False, False) == [None, Vote.NO]
    assert vote(opened(Voting.MAJORITY, four), True, True, True) == [None, None, Vote.YES]


def test_one_ballot_per_member():
    """The first counts, and no second opinion."""
    polls = opened(Voting.MAJORITY)
    assert vote(polls, True, True, True, True, False, False, voters=[ALL[0]] * 6) == [None] * 6
    assert vote(polls, True, True, voters=ALL[1:]) == [None, Vote.YES]


def test_strangers_have_no_ballot():
    """Whatever they call themselves, as long as all members are known."""
    polls = opened(Voting.MAJORITY)
    strangers = [b"x" * 16, b"\x00abcd", b"14012345", b"", b"1" * 21]
    assert vote(polls, *[True] * 5, voters=strangers) == [None] * 5


def test_reference_members_vote_by_digits():
    """As many as there are members that may be theirs, and nobody else."""
    polls = opened(Voting.MAJORITY)
    ours = frozenset(ALL[:3])
    digits = [b"1401", b"1401", b"1402", b"1403", b"1404"]
    assert vote(polls, *[True] * 5, voters=digits, ours=ours) == [None] * 5
    assert polls.ballot("P", ALL[0], True, ours) is Vote.YES


def test_no_more_ballots_than_members():
    """Also if a member votes by its id after digits have taken its place."""
    pair = frozenset(ALL[:2])
    polls = opened(Voting.CONSENSUS, frozenset(ALL[:3]))
    assert vote(polls, True, voters=[b"1401"], ours=pair) == [None]
    assert vote(polls, True, voters=[ALL[2]], ours=MEMBERS) == [None]
    assert vote(polls, True, voters=[ALL[0]], ours=MEMBERS) == [Vote.YES]


def test_deadline_counts_from_the_start():
    """By the leader's clock, in the time asked for or the default."""
    polls = Polls(1.5)
    polls.start("default", Voting.MAJORITY, 0.0, MEMBERS, 10.0)
    polls.start("asked", Voting.MAJORITY, 0.2, MEMBERS, 10.0)
    assert polls.next_deadline() == 10.2
    assert polls.expire(10.1) == []
    assert polls.expire(10.2) == ["asked"]
    assert polls.expire(11.5) == ["default"]


@pytest.mark.parametrize("timeout", [0.0, -1.0, -math.inf, math.nan])
def test_impossible_timeouts(timeout):
    """They are the default."""
    assert effective_timeout(timeout, 1.5) == 1.5


def test_endless_timeouts_end():
    """After a day."""
    assert effective_timeout(math.inf, 1.5) == MAX_TIMEOUT


def test_a_poll_is_opened_once():
    """A doubled request does not reset the ballots."""
    polls = opened(Voting.MAJORITY)
    vote(polls, True, True)
    assert not polls.start("P", Voting.MAJORITY, 9.0, MEMBERS, 11.0)
    assert polls.ballot("P", ALL[2], True, MEMBERS) is Vote.YES


def test_open_polls_are_bounded(monkeypatch):
    """Further ones are refused; closing makes room."""
    monkeypatch.setattr(_polls, "MAX_POLLS", 2)
    polls = Polls(1.5)
    assert [polls.start(name, Voting.MAJORITY, 0.0, MEMBERS, 0.0) for name in "abc"] == [True, True, False]
    assert polls.close() == ["a", "b"]
    assert polls.start("c", Voting.MAJORITY, 0.0, MEMBERS, 0.0)


def test_requests_and_results_are_news_once():
    """A request after its result is none."""
    memory = PollMemory()
    assert [memory.request("P"), memory.request("P")] == [True, False]
    assert [memory.resolve("P"), memory.resolve("P")] == [True, False]
    assert memory.resolve("Q")
    assert not memory.request("Q")
    assert memory.is_over("Q")


def test_own_questions_end(monkeypatch):
    """Answered or not; and there is a limit to how many are open."""
    monkeypatch.setattr(_poll_memory, "MAX_POLLS", 2)
    memory = PollMemory()
    assert [memory.ask("P", 3.0), memory.ask("Q", 2.0), memory.ask("R", 1.0)] == [True, True, False]
    memory.resolve("Q")
    assert memory.expire(2.9) == []
    assert memory.expire(3.0) == ["P"]
    assert not memory.resolve("P")


def test_memory_is_bounded(monkeypatch):
    """The oldest is forgotten first."""
    monkeypatch.setattr(_poll_memory, "MAX_REMEMBERED", 2)
    memory = PollMemory()
    assert [memory.request(name) for name in "abcb"] == [True, True, True, False]
    assert memory.request("a")
