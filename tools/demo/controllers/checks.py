"""Every claim of the act as a check that can fail."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from checks import Check, below

from controllers.account import CONTROLLERS, MOTIONS, TIMES
from controllers.ledger import ledgers

if TYPE_CHECKING:
    from collections.abc import Collection

    from controllers.account import Session, Vote

#: Seconds to a leader, from the introduction or from the death of the one before: what the package promises,
#: and as much again for a computer that has other things to do.
ELECTION_BOUND_S: Final = 2.0 * (TIMES["peerTimeout"] + TIMES["electionMax"]) / 1000
#: Seconds between the actions of two controllers, and after the moment agreed upon. An idle computer takes
#: milliseconds, a busy one makes a process wait for a second.
ACTION_BOUND_S: Final = 2.0


def all_checks(session: Session) -> list[Check]:
    """Judge a session."""
    mortal = session.first.leader
    living = [name for name in CONTROLLERS if name != mortal]
    return [
        *_election(session),
        *_carried(session, session.vote("open"), list(CONTROLLERS)),
        *_refused(session, session.vote("raise")),
        *_succession(session),
        *_carried(session, session.vote("close"), living),
        *_rejoin(session),
        *_timed_out(session, session.vote("reopen"), mortal, living),
        *_messages(session),
        _processes(session),
    ]


def _election(session: Session) -> list[Check]:
    first = session.first
    leader = session.controllers_named(first.leader)[0].member_id
    originals = session.controllers[: len(CONTROLLERS)]
    naming = [
        one.name
        for one in originals
        if any((news["leader"], news["term"]) == (leader, first.term) for news in one.all("elected"))
    ]
    terms = {one.name: [news["term"] for news in one.all("elected")] for one in session.controllers}
    leaders = {(news["term"], news["leader"]) for one in session.controllers for news in one.all("elected")}
    return [
        Check(
            "election: all controllers name the same leader",
            f"{first.leader}, say {', '.join(naming) or 'none'}",
            naming == list(CONTROLLERS),
        ),
        below("election: seconds from the introduction to one leader", first.seconds, ELECTION_BOUND_S),
        Check(
            "terms: each has one leader, and nobody sees one go back",
            ", ".join(str(term) for term, _ in sorted(leaders)),
            len(dict(leaders)) == len(leaders)
            and all(earlier <= later for seen in terms.values() for earlier, later in pairwise(seen)),
        ),
    ]


def _carried(session: Session, vote: Vote, voters: Collection[str]) -> list[Check]:
    late_ms = [1000 * (done - due) for _, due, done in session.actions(vote)]
    moments = f"{min(late_ms):.1f} to {max(late_ms):.1f} ms after it" if late_ms else "nothing done"
    return [
        Check(
            f"{vote.motion}: all {len(voters)} say yes, and are told that it is carried",
            _ballots(session, vote),
            session.ballots(vote) == dict.fromkeys(voters, True)
            and session.results(vote) == dict.fromkeys(voters, "yes"),
        ),
        Check(
            f"{vote.motion}: each of them acts once, and not before the moment agreed upon",
            f"{', '.join(name for name, *_ in session.actions(vote))}: {moments}",
            sorted(name for name, *_ in session.actions(vote)) == sorted(voters)
            and all(0.0 <= late < 1000 * ACTION_BOUND_S for late in late_ms),
        ),
        below(
            f"{vote.motion}: seconds from the first action to the last", session.apart_s(vote), ACTION_BOUND_S
        ),
    ]


def _refused(session: Session, vote: Vote) -> list[Check]:
    expected = {name: pressure <= MOTIONS[vote.motion] for name, pressure in CONTROLLERS.items()}
    against = ", ".join(name for name, yes in expected.items() if not yes)
    # It is over with the first no: others may not have been asked for theirs any more.
    cast = session.ballots(vote)
    return [
        Check(
            f"{vote.motion}: {against} says no, and all are told that it is refused",
            _ballots(session, vote),
            all(expected[name] == yes for name, yes in cast.items())
            and not all(cast.values())
            and session.results(vote) == dict.fromkeys(CONTROLLERS, "no"),
        ),
        _nothing_done(session, vote),
    ]


def _succession(session: Session) -> list[Check]:
    first, second = session.first, session.second
    return [
        below(
            "succession: seconds from the kill until all that live name one leader",
            second.seconds,
            ELECTION_BOUND_S,
        ),
        Check(
            "succession: another one leads, with a higher term: the fencing token",
            f"{first.leader} {first.term}, then {second.leader} {second.term}",
            second.leader != first.leader and second.term > first.term,
        ),
    ]


def _rejoin(session: Session) -> list[Check]:
    second, joined = session.second, session.joined
    return [
        Check(
            f"rejoin: a new {session.first.leader} follows the leader that there is, who goes on",
            f"{joined.leader} leads, term {joined.term}",
            (joined.leader, joined.term) == (second.leader, second.term),
        )
    ]


def _timed_out(session: Session, vote: Vote, victim: str, living: Collection[str]) -> list[Check]:
    return [
        Check(
            f"{vote.motion}: {victim} is dead and does not vote, and all are told that time is up",
            _ballots(session, vote),
            session.ballots(vote) == dict.fromkeys(living, True)
            and session.results(vote) == dict.fromkeys(living, "timeout"),
        ),
        _nothing_done(session, vote),
    ]


def _nothing_done(session: Session, vote: Vote) -> Check:
    actors = [name for name, *_ in session.actions(vote)]
    return Check(f"{vote.motion}: so nobody acts", ", ".join(actors) or "nothing done", not actors)


def _messages(session: Session) -> list[Check]:
    books = ledgers(session)
    since = session.second.vacant_since
    elected = {
        one.name: max(news["seconds"] for news in one.all("elected") if news["term"] == session.second.term)
        for one in session.survivors
        if any(news["term"] == session.second.term for news in one.all("elected"))
    }
    refusals = [(book, number, *refusal) for book in books for number, refusal in book.refused.items()]
    answered, lost = sum(len(book.answers) for book in books), sum(len(book.lost) for book in books)
    doubled = [f"{book.name} {number}" for book in books for number in book.doubled]
    reached = [f"{book.name} {number}" for book in books for number in book.refused if number in book.heard]
    return [
        Check(
            f"messages: each is answered, refused, or lost with {session.first.leader} and its sender knows",
            f"{sum(len(book.numbers) for book in books)} sent = {answered} answered"
            f" + {len(refusals)} refused + {lost} lost",
            all(book.is_complete for book in books),
        ),
        Check("messages: none is read or answered twice", ", ".join(doubled) or "none is", not doubled),
        Check(
            "messages: refused to all that send while nobody leads, and only then, and read by nobody",
            ", ".join(f"{book.name} {len(book.refused)}" for book in books)
            + (f"; read: {', '.join(reached)}" if reached else ""),
            all(book.refused for book in books)
            and not reached
            and all(
                end >= since and begin <= elected.get(book.name, since) for book, _, _, begin, end in refusals
            ),
        ),
    ]


def _processes(session: Session) -> Check:
    return Check(
        "processes: ended by themselves with status 0, or were killed",
        ", ".join(f"{one.name} {one.status}" for one in session.controllers),
        all((one.status == 0) == (one.killed_at is None) for one in session.controllers)
        and [one.name for one in session.killed] == [session.first.leader] * 2,
    )


def _ballots(session: Session, vote: Vote) -> str:
    ballots = ", ".join(f"{name} {'yes' if yes else 'no'}" for name, yes in session.ballots(vote).items())
    results = sorted(set(session.results(vote).values()))
    return f"{ballots or 'no ballots'}; told: {', '.join(results) or 'nothing'}"
