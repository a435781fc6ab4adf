"""Five computers on a switch, each with a member of a group or with ports: what a network can do to them.

Lines are cut in both directions or one, leaders and subscribers stopped, interfaces taken down. Each computer
is a network namespace. What has to be in order at any time is written in `group_book`.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from group_book import Book
from group_laboratory import (
    GRACE_S,
    HEALED_WITHIN_S,
    SIZE,
    STEPPED_DOWN_WITHIN_S,
    End,
    Laboratory,
    Member,
)
from namespaces import hosts_on_a_switch

# Ports: seconds after which they ask whether a peer lives, and give it up.
LIVENESS = {"heartbeat_s": 0.5, "liveness_s": 2.0}
GIVEN_UP_WITHIN_S = 2 * sum(LIVENESS.values())
# The longest pause between two attempts to connect. The first may come too early.
RECONNECT = {"reconnect_max_s": 1.0}
# Twice that, and for a machine that others use, too, once more as much as until a peer is given up.
RESUMED_WITHIN_S = 2 * RECONNECT["reconnect_max_s"] + sum(LIVENESS.values())


@contextlib.contextmanager
def laboratory_in(directory: Path) -> Iterator[Laboratory]:
    with contextlib.ExitStack() as stack:
        switch, hosts = stack.enter_context(hosts_on_a_switch(SIZE))
        yield Laboratory(switch, hosts, stack, directory)


@pytest.fixture
def empty_laboratory(tmp_path: Path) -> Iterator[Laboratory]:
    """One of its own, with nobody in it."""
    with laboratory_in(tmp_path) as laboratory:
        yield laboratory


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Take what a test of a fault has measured, for the report of the run."""
    return lambda text: request.node.user_properties.append(("figure", text))


class Standing:
    """The laboratory of the test before; a new one, if there is none that is in order."""

    def __init__(self, new_directory: Callable[[], Path]) -> None:
        self._new_directory = new_directory
        self._stack = contextlib.ExitStack()
        self._laboratory: Laboratory | None = None

    def take(self) -> Laboratory:
        laboratory = self._laboratory
        if laboratory is None or not laboratory.is_in_order:
            self._stack.close()
            laboratory = self._stack.enter_context(laboratory_in(self._new_directory()))
            self._laboratory = laboratory
            laboratory.start_group()
        # Until a test says that it is.
        laboratory.is_in_order = False
        return laboratory

    def close(self) -> None:
        with self._stack:
            if self._laboratory is not None and self._laboratory.is_in_order:
                self._laboratory.close()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with contextlib.closing(Standing(lambda: tmp_path_factory.mktemp("group"))) as standing:
        yield standing


@pytest.fixture
def laboratory(standing: Standing) -> Laboratory:
    """One in which five members have a leader; it stays for the next test."""
    return standing.take()


@pytest.fixture
def group(laboratory: Laboratory) -> list[Member]:
    """The five members."""
    return laboratory.members


ANN, BOB = "aa" * 16, "bb" * 16


def note(term: int, leader: str) -> dict[str, Any]:
    return {"tag": "ldr", "term": term, "leader": leader, "at": 0.0}


def ballot(term: int, candidate: str, voter: str) -> dict[str, Any]:
    return {"tag": "vot", "term": term, "candidate": candidate, "vote": 1, "voter": voter}


@pytest.mark.parametrize(
    "said",
    [
        [(note(1, ANN), ANN), (note(1, BOB), BOB)],
        [(note(2, ANN), ANN), (note(3, ANN), ANN), (note(2, ANN), ANN)],
        [(note(1, ANN), BOB)],
        [(ballot(2, ANN, BOB), BOB), (ballot(2, BOB, BOB), BOB)],
        [(ballot(2, ANN, BOB), BOB), (ballot(1, ANN, BOB), BOB)],
        [({"tag": "req", "term": 1, "candidate": ANN}, ANN), (ballot(1, BOB, ANN), ANN)],
        [({"tag": "rcm", "rfv_id": "A", "kind": 0}, ANN), ({"tag": "ann", "rfv_id": "A", "vote": 0}, BOB)],
    ],
)
def test_book_says_what_is_wrong(said):
    """Two leaders, terms that go back, second votes and results of others do not get past it."""
    book = Book()
    *good, (last, sender) = said
    for each, who in good:
        book.take(each, who)
    with pytest.raises(AssertionError):
        book.take(last, sender)


def test_book_knows_how_a_leader_is_told_of_its_successor():
    book = Book()
    for said, sender in [(note(1, ANN), ANN), (note(2, BOB), BOB), (note(1, BOB), BOB), (note(2, BOB), BOB)]:
        book.take(said, sender)
    assert book.leaders == {1: ANN, 2: BOB}


@pytest.mark.fault("C16", "group-ports")
@pytest.mark.parametrize(("leader_is_in", "seconds"), [("minority", 1.5), ("majority", 4.5)])
def test_partition_leaves_a_leader_to_the_quorum_and_none_to_the_others(
    laboratory, group, figure, leader_is_in, seconds
):
    old = laboratory.agreed(group)
    one, other, *_ = laboratory.others(old)
    minority = [old, one] if leader_is_in == "minority" else [one, other]
    majority = laboratory.others(*minority)
    marks = {member.id: len(member.events) for member in group}
    began = laboratory.partition(minority, majority)
    stepped_down = max(laboratory.exited(member, old, marks[member.id], since=began) for member in minority)
    laboratory.agreed(majority)
    # It stays like this for as long as it takes.
    laboratory.hold(seconds)
    for member in minority:
        # They know each other, unless one of them was just made to wait for long.
        alone = {"leader": None, "is_leader": False, "size": 2, "id": member.id}
        laboratory.until(
            lambda member=member, alone=alone: laboratory.ask(member, "status") == alone, f"not {alone}"
        )
        assert laboratory.ask(member, "to_leader", data="00") is False
        assert laboratory.ask(member, "request_vote", topic="00", kind="majority", timeout_ms=None) is None
        laboratory.silent(member, stepped_down)
    laboratory.until(lambda: laboratory.ask(majority[0], "to_leader", data="01"), "nobody leads the majority")
    laboratory.heal()
    laboratory.finish()
    figure(f"leader in the {leader_is_in}: the minority had none {stepped_down - began:.2f} s after the cut")


@pytest.mark.parametrize("seconds", [2.0, 5.0], ids=["connections last", "connections are given up"])
def test_stopped_leader_is_succeeded_and_leads_no_more_when_it_goes_on(laboratory, group, seconds):
    old = laboratory.agreed(group)
    mark, began = len(old.events), time.monotonic()
    term = max(led for led, leader in laboratory.book.leaders.items() if leader == old.id)
    old.program.signal(signal.SIGSTOP)
    laboratory.agreed(laboratory.others(old))
    laboratory.hold(seconds - (time.monotonic() - began))
    went_on = time.monotonic()
    old.program.signal(signal.SIGCONT)
    stepped_down = laboratory.exited(old, old, mark, since=went_on)
    if laboratory.agreed(group, HEALED_WITHIN_S) is not old:
        laboratory.silent(old, stepped_down, term)
    laboratory.finish()


@pytest.mark.parametrize("leader_is", ["deaf", "mute"])
def test_leader_that_hears_nobody_or_is_not_heard_is_succeeded(laboratory, group, leader_is):
    """The lines of the leader work in one direction only, which is too little for any connection."""
    old = laboratory.agreed(group)
    rest = laboratory.others(old)
    mark = len(old.events)
    began = laboratory.cut((rest, [old]) if leader_is == "deaf" else ([old], rest))
    stepped_down = laboratory.exited(old, old, mark, since=began)
    laboratory.agreed(rest)
    laboratory.silent(old, stepped_down)
    laboratory.heal()
    laboratory.finish()


def test_member_that_has_lost_its_leader_alone_unseats_nobody(laboratory, group):
    """The other three hear both, and go on to follow the leader."""
    leader = laboratory.agreed(group)
    odd = laboratory.others(leader)[0]
    mark = len(odd.events)
    began = laboratory.partition([leader], [odd])
    laboratory.exited(odd, leader, mark, since=began)
    # It would try again at least as often.
    laboratory.calm(STEPPED_DOWN_WITHIN_S)
    laboratory.agreed(laboratory.others(odd))
    laboratory.heal()
    laboratory.finish()


def test_interface_of_the_leader_goes_down_and_up(empty_laboratory):
    """In a laboratory of its own, because the observer does not hear all votes of this one."""
    laboratory = empty_laboratory
    laboratory.is_complete = False
    group = laboratory.start_group()
    old = laboratory.agreed(group)
    host = laboratory.hosts[group.index(old)]
    mark, began = len(old.events), time.monotonic()
    host.set_link("down")
    laboratory.exited(old, old, mark, since=began)
    laboratory.agreed(laboratory.others(old))
    assert laboratory.ask(old, "to_leader", data="00") is False
    host.set_link("up")
    laboratory.finish()
    laboratory.close()


def test_polls_are_carried_by_ballots_that_arrive_and_by_no_others(laboratory, group):
    old = laboratory.agreed(group)
    one, *majority = laboratory.others(old)

    def poll(asker: Member, voters: Sequence[Member], votes: str, kind: str) -> str:
        """Open a poll of voters that do as they are told; return its name when all have heard of it."""
        for voter in voters:
            voter.set_vote(votes)
            laboratory.ask(voter, "status")
        opened: list[str | None] = []

        def is_open() -> bool:
            # On a very busy machine there may be no leader for a moment.
            asked = laboratory.ask(asker, "request_vote", topic="74", kind=kind, timeout_ms=20_000)
            opened.append(asked)
            return asked is not None

        laboratory.until(is_open, "nobody leads")
        rfv = opened[-1]
        for voter in voters:
            laboratory.expect(voter, event="vote_request", rfv=rfv)
        return str(rfv)

    def results(rfv: str, members: Sequence[Member]) -> set[str]:
        return {laboratory.expect(each, event="vote_result", rfv=rfv)["vote"] for each in members}

    assert results(poll(one, group, "yes", "consensus"), group) == {"yes"}

    # Two of five have voted when the lines are cut, the others do it behind the cut.
    poll_of_five = poll(old, group, "abstain", "majority")
    for voter in (old, one):
        voter.yes.add(poll_of_five)
        assert laboratory.ask(voter, "cast", rfv=poll_of_five, vote=True) is True
    laboratory.partition([old, one], majority)
    for voter in majority:
        laboratory.ask(voter, "cast", rfv=poll_of_five, vote=True)
    assert results(poll_of_five, [old, one]) == {"timeout"}

    new = laboratory.agreed(majority)
    laboratory.until(lambda: len(new.peers) == 2, "it does not miss the others")
    assert results(poll(majority[0], majority, "yes", "consensus"), majority) == {"yes"}
    laboratory.heal()
    laboratory.agreed(group, HEALED_WITHIN_S)
    assert results(poll(old, group, "yes", "consensus"), group) == {"yes"}
    assert laboratory.book.results[poll_of_five] == 2
    laboratory.finish()


@pytest.mark.parametrize("seed", [1])
def test_whatever_happens_to_the_lines_all_agree_when_they_are_whole(laboratory, group, seed):
    """One fault follows another before the group has settled; the book is kept all the time."""
    chance = random.Random(seed)
    for _ in range(5):
        some = chance.sample(group, chance.randint(1, SIZE - 1))
        match chance.choice(["partition", "one way", "stop"]):
            case "partition":
                laboratory.partition(some, laboratory.others(*some))
            case "one way":
                laboratory.cut((some, laboratory.others(*some)))
            case "stop":
                some[0].program.signal(signal.SIGSTOP)
        laboratory.hold(chance.uniform(0.3, 3.0))
        for member in group:
            member.program.signal(signal.SIGCONT)
    laboratory.heal()
    laboratory.finish()


@pytest.mark.fault("C5", "group-ports", "T")
@pytest.mark.fault("C16", "group-ports", "T")
def test_peers_behind_a_network_that_swallows_everything_are_given_up_in_time(empty_laboratory, figure):
    """No packet says that they are gone, and all four kinds of ports find out; three of them say nothing."""
    laboratory = empty_laboratory
    publisher = End(laboratory, 1, "publisher", **LIVENESS)
    answerer = End(laboratory, 1, "answerer", **LIVENESS)
    subscriber = End(laboratory, 2, "subscriber", **LIVENESS)
    asker = End(laboratory, 2, "asker", **LIVENESS)
    subscriber.ask("update", publisher.ask("address"))
    publisher.ask("ready", 1)
    asker.ask("update", *answerer.ask("address"))
    answerer.order("answer")
    assert asker.ask("ask", 1)["answered"] == 1
    assert asker.ask("enough") is True
    answerer.answer()
    began = laboratory.partition([publisher], [subscriber])
    for end in (publisher, subscriber, asker):
        end.order("peers", 0)
    answerer.order("lost")
    took = [end.answer() - began for end in (publisher, subscriber, asker, answerer)]
    assert max(took) < GIVEN_UP_WITHIN_S
    figure(f"{len(took)} kinds of ports gave up within {max(took):.2f} s of {GIVEN_UP_WITHIN_S} s")
    laboratory.heal()
    for end in (subscriber, asker):
        end.ask("peers", 1)
    # It subscribes anew when it is used.
    subscriber.order("until", 0)
    publisher.ask("ready", 1)
    publisher.ask("send", 1, 10)
    assert subscriber.answer() == [0]


@pytest.mark.fault("C16", "group-ports", "T")
def test_publishers_are_heard_again_when_the_network_is_whole(empty_laboratory, figure):
    """As soon as that, after a cut that was short and after one that was longer."""
    laboratory = empty_laboratory
    subscriber = End(laboratory, 5, "subscriber", **LIVENESS, **RECONNECT)
    publishers = [End(laboratory, host, "publisher", numbering=True, **LIVENESS) for host in (1, 2, 3, 4)]
    subscriber.ask("update", *(publisher.ask("address") for publisher in publishers))
    for publisher in publishers:
        publisher.ask("ready", 1)
        publisher.order("tick", 0.01)
    subscriber.ask("resumed", time.monotonic(), len(publishers))
    for seconds in (0.0, 2.5):
        laboratory.partition([subscriber], publishers)
        subscriber.ask("peers", 0)
        time.sleep(seconds)
        laboratory.heal()
        healed = time.monotonic()
        resumed = subscriber.ask("resumed", healed, len(publishers)) - healed
        assert resumed < RESUMED_WITHIN_S
        figure(f"all {len(publishers)} heard again {resumed:.2f} s after a cut of {seconds} s and more")


@pytest.mark.fault("C16", "group-ports", "LT")
def test_each_question_is_answered_or_fails_in_time_whatever_the_network_does(empty_laboratory, figure):
    """Many members lose the leader and come back at once, before it knows; each of them stays who it is."""
    laboratory = empty_laboratory
    count = 12
    timeouts = {"send_timeout": 0.2, "recv_timeout": 2.0}
    answerer = End(laboratory, 1, "answerer", liveness_s=30.0)
    asker = End(laboratory, 2, "asker", **timeouts, **LIVENESS, **RECONNECT)
    asker.ask("be", count)
    assert asker.ask("ask", 1)["no leader"] == count
    asker.ask("update", *answerer.ask("address"))
    asker.ask("peers", count)
    answerer.order("answer")
    answered = asker.ask("ask", 5)["answered"]
    assert answered == 5 * count

    laboratory.partition([asker], [answerer])
    during = asker.ask("ask", 2)
    assert during["answered"] == 0
    assert during["unanswered"] + during["unreached"] == 2 * count
    assert during["longest"] < sum(timeouts.values()) + GRACE_S
    asker.ask("peers", 0)
    assert asker.ask("ask", 1)["unreached"] == count
    laboratory.heal()
    healed = time.monotonic()
    assert asker.ask("peers", count) - healed < RESUMED_WITHIN_S
    again = asker.ask("ask", 5)
    assert again["answered"] == 5 * count
    # Those that were under way when the lines were cut may be answered late, but once.
    assert again["late"] <= during["unanswered"]

    assert asker.ask("enough") is True
    seen = answerer.answer()
    assert seen["questions"] == seen["different"] <= 10 * count + during["unanswered"]
    asker.ask("update", *answerer.ask("move"))
    asker.ask("peers", count)
    answerer.order("answer")
    assert asker.ask("ask", 2)["answered"] == 2 * count
    figure(
        f"{seen['different']} questions of {count} members, {seen['questions'] - seen['different']} twice; "
        f"in the cut the longest took {during['longest']:.2f} s of {sum(timeouts.values()):.2f} s"
    )
