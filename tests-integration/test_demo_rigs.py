"""The demo's rigs act: an experiment with real processes, and what its checks notice."""

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

from progress import Progress  # noqa: E402
from rigs import account, checks, picture, report, session  # noqa: E402

# Of a whole act with its processes; it takes some seconds, and a minute on a very busy machine.
TIMEOUT_S = 240.0
LIVING = {"behaviour", "ephys"}


@pytest.fixture(scope="module")
def held():
    """An experiment with all its processes."""
    stream = io.StringIO()
    with Progress(session.ROUNDS, stream, unit="round") as progress:
        result = session.run(progress)
    assert "video is gone, says the heartbeat" in stream.getvalue()
    return result


def broken_claims(held):
    return {check.claim for check in checks.all_checks(held) if not check.passed}


@pytest.fixture
def noticed(held):
    """Which claims a change of the account breaks, beside those that were broken before."""
    before = broken_claims(held)
    return lambda changed: broken_claims(changed) - before


def with_round(held, name, **changes):
    """The experiment, one of its rounds having ended otherwise."""
    rounds = [dataclasses.replace(one, **changes) if one.name == name else one for one in held.rounds]
    return dataclasses.replace(held, rounds=rounds)


def with_rig(held, name, **changes):
    """The experiment, one of its rigs having told something else."""
    return dataclasses.replace(
        held, rigs={**held.rigs, name: dataclasses.replace(held.rigs[name], **changes)}
    )


def test_every_claim_holds_in_an_experiment_with_real_processes(held):
    """Three rigs, one of them killed."""
    assert not broken_claims(held)
    assert len(checks.all_checks(held)) == 12
    assert [one.name for one in held.rounds] == ["init", "start", "info", "stop", "cleanup"]


def test_the_error_of_a_round_names_the_dead_rig_and_carries_the_answers_of_the_others(held):
    """As the acquisition PC caught it."""
    for name in ("info", "stop"):
        one = held.round(name)
        assert list(one.failures) == [account.MORTAL]
        assert set(one.results) == set(one.timings) == LIVING


def test_what_was_answered_is_told_in_a_table(held):
    """Milliseconds, or why there are none."""
    table = report.rounds_table(held)
    assert [line.split()[0] for line in table.splitlines()[1:]] == [one.name for one in held.rounds]
    assert table.count("failed") == 2
    assert table.count("not asked") == 1
    assert "stop" in report.failures_table(held)


def test_a_rig_that_is_not_ready_or_runs_something_else_is_noticed(held, noticed):
    """Its answer is missing, or of another experiment."""
    init, start = held.round("init"), held.round("start")
    fewer = {name: data for name, data in init.results.items() if name != "ephys"}
    assert noticed(with_round(held, "init", results=fewer)) == {"init: all rigs are ready"}
    other = {**start.results, "ephys": ["another", {}]}
    assert noticed(with_round(held, "start", results=other)) == {"start: all rigs run this experiment"}


def test_rigs_that_are_asked_one_after_the_other_are_noticed(held, noticed):
    """The round takes as long as the sum of their answers."""
    answers_s = held.round("init").timings.values()
    # With begin 0, because the difference of two moments is not exact.
    assert noticed(with_round(held, "init", begin=0.0, end=sum(answers_s))) == {
        "init: seconds, below the sum of all answers"
    }


def test_a_death_that_the_heartbeat_missed_is_noticed(held, noticed):
    """Never, or of the wrong rig."""
    without = [change for change in held.changes if change.state != "gone"]
    missed = "heartbeat: seconds until video was gone"
    assert noticed(dataclasses.replace(held, changes=without)) == {missed}
    late = account.Change("ephys", "late", held.killed_at)
    assert noticed(dataclasses.replace(held, changes=[*held.changes, late])) == {
        "heartbeat: the others were live all the time"
    }


def test_errors_without_names_or_results_are_noticed(held, noticed):
    """Nobody named, somebody else named, nothing carried along."""
    named, carried = (
        "info: the error names video and nobody else",
        "info: the error carries what the others answered",
    )
    assert noticed(with_round(held, "info", failures={})) == {named}
    assert noticed(with_round(held, "info", failures={"video": "x", "ephys": "x"})) == {named}
    assert noticed(with_round(held, "info", results={})) == {carried}


def test_a_rig_that_was_not_stopped_or_miscounts_is_noticed(held, noticed):
    """No answer, or another number than it tells in the end."""
    fewer = {"ephys": held.round("stop").results["ephys"]}
    claims = noticed(with_round(held, "stop", results=fewer))
    assert "stop: reaches all but video, whom the error names" in claims
    assert noticed(with_rig(held, "ephys", samples=1)) == {"stop: rigs tell how many samples they took"}
    assert noticed(with_round(held, "cleanup", failures={"ephys": "x"})) == {
        "cleanup: done by all that are left, no error"
    }


def test_a_message_twice_or_a_bad_ending_is_noticed(held, noticed):
    """One event more, another exit status."""
    events = held.rigs["ephys"].events
    assert noticed(with_rig(held, "ephys", events=[*events[:1], *events])) == {
        "rigs: each message reached its callback once, in order"
    }
    ended = "rigs: ended by themselves with status 0, video was killed"
    assert noticed(with_rig(held, "ephys", status=1)) == {ended}
    assert noticed(with_rig(held, "video", status=0)) == {ended}


@pytest.mark.parametrize("is_empty", [False, True])
def test_the_picture_is_drawn_also_of_rigs_that_told_nothing(held, tmp_path, is_empty):
    """A slide as PNG, in a folder that is made."""
    if is_empty:
        for name in account.RIGS:
            held = with_rig(held, name, events=[], answers=[])
        held = dataclasses.replace(held, changes=[])
    path = tmp_path / "folder" / "rigs.png"
    picture.draw(held, path, passed=not is_empty)
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:]) == (1920, 1080)


def test_the_act_passes_from_the_command_line(tmp_path):
    """Status 0, its checks in the summary, its picture in the folder."""
    demo = subprocess.run(
        [sys.executable, str(DEMO), "rigs", "--quick", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "12 of 12 checks passed" in demo.stdout
    assert (tmp_path / "rigs.png").is_file()
