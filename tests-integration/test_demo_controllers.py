"""The demo's controllers act: a group with real processes, and what its checks notice."""

from __future__ import annotations

import dataclasses
import io
import struct
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "tools" / "demo"
sys.path.insert(0, str(DEMO))

from controllers import account, checks, ledger, picture, report, session  # noqa: E402
from progress import Progress  # noqa: E402

# Of a whole act with its processes; it takes some seconds, and a minute on a very busy machine.
TIMEOUT_S = 240.0


@pytest.fixture(scope="module")
def played():
    """The act with all its processes."""
    stream = io.StringIO()
    with Progress(session.STEPS, stream) as progress:
        result = session.run(progress)
    assert f"{result.first.leader} is killed\n" in stream.getvalue()
    return result


def broken_claims(played):
    return {check.claim for check in checks.all_checks(played) if not check.passed}


@pytest.fixture
def noticed(played):
    """Which claims a change of the account breaks, beside those that were broken before."""
    before = broken_claims(played)
    return lambda changed: broken_claims(changed) - before


def with_reports(played, index, change):
    """The session, one of its controllers having told something else; `change` takes and returns a list."""
    controllers = list(played.controllers)
    reports = change(list(controllers[index].reports))
    controllers[index] = dataclasses.replace(controllers[index], reports=reports)
    return dataclasses.replace(played, controllers=controllers)


def without(kind, **facts):
    """Leave out the reports of a kind, with these facts."""
    wanted = {"kind": kind, **facts}
    return lambda reports: [one for one in reports if not wanted.items() <= one.items()]


def more(kind, **facts):
    """Add a report."""
    return lambda reports: [*reports, {"kind": kind, **facts}]


def changed(kind, value, **facts):
    """Change the first report of a kind."""

    def change(reports):
        place = next(place for place, one in enumerate(reports) if value.items() <= one.items())
        return [*reports[:place], {**reports[place], **facts}, *reports[place + 1 :]]

    value = {"kind": kind, **value}
    return change


def index_of(played, name):
    """Of the first controller of that name."""
    return [one.name for one in played.controllers].index(name)


def follower_of_both(played):
    """Index and ledger of the controller that never led."""
    leaders = {played.first.leader, played.second.leader}
    name = next(name for name in account.CONTROLLERS if name not in leaders)
    return index_of(played, name), next(book for book in ledger.ledgers(played) if book.name == name)


def test_every_claim_holds_with_real_processes(played):
    """Three controllers, a killed leader, four votes."""
    judged = checks.all_checks(played)
    assert not [f"{check.claim}: {check.figure}" for check in judged if not check.passed]
    assert len(judged) == 20
    assert [vote.motion for vote in played.votes] == list(account.MOTIONS)
    assert [one.name for one in played.killed] == [played.first.leader] * 2


def test_results_of_votes_and_ends_of_messages_are_told_in_tables(played):
    """One line each; the messages add up."""
    votes = report.votes_table(played).splitlines()[1:]
    assert [line.split()[0] for line in votes] == list(account.MOTIONS)
    assert [sum(word in line for line in votes) for word in ("timeout", "nothing done", "dead")] == [1, 2, 2]
    terms = [int(line.split()[1]) for line in report.leaders_table(played).splitlines()[1:]]
    assert terms == [played.first.term, played.second.term]
    for line in report.messages_table(played).splitlines()[1:]:
        sent, answered, *others = map(int, line.split()[1:])
        assert sent == answered + sum(others)
        assert answered > 0


def test_a_controller_that_names_another_leader_is_noticed(played, noticed):
    """Nobody, or two in one term, or an old one again."""
    same, terms = "election: all controllers name the same leader", next(
        check.claim for check in checks.all_checks(played) if check.claim.startswith("terms")
    )  # fmt: skip
    index, _ = follower_of_both(played)
    first, second = played.first.term, played.second.term
    assert noticed(with_reports(played, index, without("elected", term=first))) == {same}
    rival = more("elected", leader="ff" * 16, term=second + 1, seconds=played.ended_at)
    assert not noticed(with_reports(played, index, rival))
    two = with_reports(with_reports(played, index, rival), 0 if index else 1, more(
        "elected", leader="ee" * 16, term=second + 1, seconds=played.ended_at
    ))  # fmt: skip
    assert noticed(two) == {terms}
    leader = next(one for one in played.controllers[index].all("elected") if one["term"] == first)
    back = more("elected", leader=leader["leader"], term=first, seconds=played.ended_at)
    assert noticed(with_reports(played, index, back)) == {terms}


def test_elections_that_take_too_long_are_noticed(played, noticed):
    """Each at its own bound."""
    for field, bound_s in (
        ("first", checks.ELECTION_BOUND_S),
        ("second", checks.ELECTION_BOUND_S),
    ):
        reign = getattr(played, field)
        # A little more than the bound, because the difference of two moments is not exact.
        slow = dataclasses.replace(reign, known_at=reign.vacant_since + bound_s + 1e-6)
        (claim,) = noticed(dataclasses.replace(played, **{field: slow}))
        assert "seconds from the" in claim


def test_a_successor_without_a_higher_term_is_noticed(played, noticed):
    """The token would fence nothing off; a replacement that unseats it is noticed too."""
    higher = "succession: another one leads, with a higher term: the fencing token"
    rejoin = next(claim for claim in map(str, _claims(played)) if claim.startswith("rejoin"))
    stale = dataclasses.replace(played.second, term=played.first.term)
    assert {higher, rejoin} <= noticed(dataclasses.replace(played, second=stale))
    unseated = dataclasses.replace(played.joined, term=played.joined.term + 1)
    assert noticed(dataclasses.replace(played, joined=unseated)) == {rejoin}


def _claims(played):
    return [check.claim for check in checks.all_checks(played)]


@pytest.mark.parametrize("motion", ["open", "close"])
def test_an_action_twice_too_early_or_missing_is_noticed(played, motion, noticed):
    """Each acts once, at the moment, with the others."""
    index, _ = follower_of_both(played)
    vote = played.vote(motion)
    (act,) = played.controllers[index].about("acted", vote)
    once = f"{motion}: each of them acts once, and not before the moment agreed upon"
    apart = f"{motion}: seconds from the first action to the last"
    assert noticed(with_reports(played, index, more(**act))) == {once}
    early = changed("acted", {"rfv_id": vote.rfv_id}, done=act["due"] - 0.001)
    assert noticed(with_reports(played, index, early)) == {once}
    late = changed("acted", {"rfv_id": vote.rfv_id}, done=act["due"] + 2 * checks.ACTION_BOUND_S)
    assert noticed(with_reports(played, index, late)) == {once, apart}
    assert once in noticed(with_reports(played, index, without("acted", rfv_id=vote.rfv_id)))


@pytest.mark.parametrize("motion", ["raise", "reopen"])
def test_an_action_that_was_not_carried_is_noticed(played, motion, noticed):
    """Refused, or out of time: nobody moves."""
    index, _ = follower_of_both(played)
    act = more("acted", rfv_id=played.vote(motion).rfv_id, due=0.0, done=0.0, term=1)
    assert noticed(with_reports(played, index, act)) == {f"{motion}: so nobody acts"}


@pytest.mark.parametrize("motion", account.MOTIONS)
def test_a_wrong_or_missing_result_is_noticed(played, motion, noticed):
    """Of any vote, at one controller."""
    index, _ = follower_of_both(played)
    rfv_id = played.vote(motion).rfv_id
    told = "no" if motion in {"open", "close"} else "yes"
    for change in (changed("result", {"rfv_id": rfv_id}, vote=told), without("result", rfv_id=rfv_id)):
        (claim,) = noticed(with_reports(played, index, change))
        assert claim.startswith(f"{motion}: ")


def test_a_ballot_against_the_gauge_is_noticed(played, noticed):
    """Somebody who should have said no."""
    rfv_id = played.vote("raise").rfv_id
    change = changed("ballot", {"rfv_id": rfv_id}, yes=True)
    (claim,) = noticed(with_reports(played, index_of(played, "south"), change))
    assert claim == "raise: south says no, and all are told that it is refused"


def test_a_message_that_is_lost_in_silence_is_noticed(played, noticed):
    """No answer, and the leader lives; or a number of which nothing is known."""
    index, book = follower_of_both(played)
    ends = next(claim for claim in _claims(played) if claim.startswith("messages: each"))
    number = min(set(book.answers) - book.told)
    assert noticed(with_reports(played, index, without("answer", number=number))) == {ends}
    assert ends in noticed(with_reports(played, index, without("message", number=number)))


def test_a_message_that_is_answered_or_read_twice_is_noticed(played, noticed):
    """By one leader or by two."""
    index, book = follower_of_both(played)
    twice = "messages: none is read or answered twice"
    again = more("answer", number=book.answers[0], term=2, seconds=played.ended_at)
    assert noticed(with_reports(played, index, again)) == {twice}
    sender = played.controllers[index].member_id
    heard = more("heard", sender=sender, number=book.heard[0], seconds=played.ended_at)
    leader = index_of(played, played.second.leader)
    assert noticed(with_reports(played, leader, heard)) == {twice}


def test_a_refusal_that_is_not_true_is_noticed(played, noticed):
    """It was read all the same, or there was a leader, or nobody was refused while there was none."""
    index, book = follower_of_both(played)
    refused = next(claim for claim in _claims(played) if claim.startswith("messages: refused"))
    number = min(book.refused)
    sender = played.controllers[index].member_id
    heard = more("heard", sender=sender, number=number, seconds=played.ended_at)
    leader = index_of(played, played.second.leader)
    assert noticed(with_reports(played, leader, heard)) == {refused}
    for moment in (played.first.known_at, played.ended_at):
        change = changed("message", {"number": number}, begin=moment, seconds=moment)
        assert noticed(with_reports(played, index, change)) == {refused}
    assert refused in noticed(
        with_reports(
            played, index, lambda reports: [one for one in reports if one.get("outcome", "taken") == "taken"]
        )
    )


def test_a_bad_ending_of_a_process_is_noticed(played, noticed):
    """Another exit status."""
    ended = "processes: ended by themselves with status 0, or were killed"
    for index, one in enumerate(played.controllers):
        controllers = list(played.controllers)
        controllers[index] = dataclasses.replace(one, status=0 if one.status else 1)
        assert noticed(dataclasses.replace(played, controllers=controllers)) == {ended}


@pytest.mark.parametrize("is_empty", [False, True])
def test_the_picture_is_drawn_also_of_controllers_that_told_nothing(played, tmp_path, is_empty):
    """A slide as PNG, in a folder that is made."""
    if is_empty:
        for index in range(len(played.controllers)):
            played = with_reports(played, index, lambda _: [])
    path = tmp_path / "folder" / "controllers.png"
    picture.draw(played, path, passed=not is_empty)
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:]) == (1920, 1080)


def test_the_act_passes_from_the_command_line(tmp_path):
    """Status 0, its checks in the summary, its picture in the folder."""
    demo = subprocess.run(
        [sys.executable, str(DEMO), "controllers", "--quick", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "20 of 20 checks passed" in demo.stdout
    assert (tmp_path / "controllers.png").is_file()
