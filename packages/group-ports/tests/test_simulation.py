"""A group under everything a network and a host can do to it.

The members run on a simulated network (`simulated_network`), the schedules are drawn
from seeds (`simulated_schedules`): 200 of them, others on each version of Python, or as many
as the environment variable ``GROUP_PORTS_SEEDS`` says. A failure names the command that runs
the same schedule again.
"""

from __future__ import annotations

import os
import sys

import pytest

from .simulated_network import Wrong
from .simulated_schedules import Schedule

SIZES = (3, 4, 5, 7)
KINDS = ("ours", "mixed")
SEEDS = int(os.environ.get("GROUP_PORTS_SEEDS", "200")) // (len(SIZES) * len(KINDS))
FIRST = SEEDS * (sys.version_info.minor - 11)
CASES = [(kind, size, FIRST, SEEDS) for kind in KINDS for size in SIZES]
if "GROUP_PORTS_REPLAY" in os.environ:
    kind, size, seed = os.environ["GROUP_PORTS_REPLAY"].split("-")
    CASES = [(kind, int(size), int(seed), 1)]
COMMAND = "GROUP_PORTS_REPLAY={}-{}-{} python -m pytest -c tox.ini --rootdir=. {}"
HERE = "packages/group-ports/tests/test_simulation.py"


def run_many(kind, size, count=100):
    return [run(kind, size, seed) for seed in range(count)]


def run(kind, size, seed):
    schedule = Schedule(seed, size, mixed=kind == "mixed")
    try:
        schedule.run()
    except Wrong as wrong:
        replay = COMMAND.format(kind, size, seed, HERE)
        raise Wrong(f"{wrong}, at {schedule.network.now:.3f} s; again by: {replay}") from wrong
    return schedule


# A schedule takes some hundredths of a second.
@pytest.mark.fault("C16", "group-ports", "LW")
@pytest.mark.timeout(60 + SEEDS)
@pytest.mark.parametrize(("kind", "size", "first", "count"), CASES)
def test_schedules(kind, size, first, count, figure):
    """One leader a term, a leader for every quorum, one opinion after healing, honest results."""
    schedules = [run(kind, size, seed) for seed in range(first, first + count)]
    assert count < 20 or sum(schedule.network.yes for schedule in schedules) > count
    slowest = max(schedule.took for schedule in schedules)
    figure(f"{kind}, {size} members: {count} schedules, agreed {slowest:.1f} s after healing at the latest")


def test_a_seed_is_a_schedule():
    """The same seed runs the same, to the last message."""
    one, two = (run("ours", 5, 7).network for _ in range(2))
    assert (one.now, one.messages, one.yes) == (two.now, two.messages, two.yes)
    assert run("ours", 5, 8).network.messages != one.messages


def test_the_judge_sees_a_second_leader(monkeypatch):
    """Members that vote as often as they are asked are found out."""
    monkeypatch.setattr("group_ports._terms.Terms.may_vote", lambda *_: True)
    monkeypatch.setattr("group_ports._candidacy.Candidacy.is_won", lambda self: len(self._votes) > 1)
    with pytest.raises(Wrong, match="leader"):
        run_many("ours", 5)


def test_the_judge_sees_ballots_of_strangers(monkeypatch):
    """A leader that counts any ballot is found out."""
    monkeypatch.setattr("group_ports._polls.Poll.admits", lambda self, identity, ours: True)
    with pytest.raises(Wrong, match="ballots"):
        run_many("ours", 5)


def test_the_judge_sees_a_group_without_a_leader(monkeypatch):
    """A follower that forgets its deadline after a vote is found out."""
    monkeypatch.setattr(
        "group_ports._waits.Waits.for_leader", lambda self, now: setattr(self, "deadline", now + 1e9)
    )
    with pytest.raises(Wrong, match=r"without getting a leader|no agreement"):
        run_many("ours", 3)
