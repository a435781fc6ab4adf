"""Every order of events around a step: nothing lost, nothing twice, nothing mixed up.

The production hub runs in a simulated world (``simulated_world.py``). Small
setups are searched completely: all interleavings of requests, commits,
replies, deaths, replacements and deadlines, each state visited once. Larger
ones are tried with seeds. `judge` knows nothing of schedules; it reads what
happened and compares with what a run without accidents does.

A failure ends with a line such as ``replay(Setup(deaths=2), (0, 1, 3))``; called
in this module, it runs the same schedule again.
"""

from __future__ import annotations

import functools
import json
import random

import pytest

from .simulated_drivers import Setup, next_state
from .simulated_schedules import Dice, Known, Replay, Search
from .simulated_world import simulation

# Nothing here waits: how long it takes is the machine's affair.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def run():
    with simulation() as one:
        yield one


@functools.cache
def undisturbed(molecule, steps):
    """The states of a molecule to which nothing happens."""
    states = [0]
    for step in range(steps):
        states.append(next_state(states[-1], step, molecule))
    return states


def judge(setup, history):
    """Raise unless a history is right so far.

    * Every result holds the values of exactly its step.
    * A driver commits consecutive steps, each once, each with the right field.
    * The next driver of a molecule goes on after the last reply that the hub
      has read: only a commit of which nobody ever heard may be repeated.
    * With ``resume`` it does so in the very state.
    * In two phases nobody commits before everybody has staged.
    """
    steps = len(history.results)
    states = [undisturbed(molecule, setup.steps) for molecule in range(setup.molecules)]
    for step, result in enumerate(history.results):
        assert list(result) == list(range(setup.molecules))
        for molecule, (amplitude, extra) in result.items():
            assert amplitude[:2] == (step, molecule + 0.5), "an amplitude of another step or molecule"
            if setup.resume:
                assert amplitude[2] == states[molecule][step + 1], "not the undisturbed trajectory"
                assert extra is None or json.loads(extra) == {"state": amplitude[2]}

    due = dict.fromkeys(range(setup.molecules), 0)
    for life in history.lives:
        assert len(life.inits) <= 1, "a second INIT on one connection"
        if not life.inits:
            assert not life.committed
            continue
        ((molecule, state),) = life.inits
        committed = [step for step, _ in life.committed]
        first = due[molecule]
        assert committed == list(range(first, first + len(committed))), "lost, repeated or mixed up"
        assert life.fields == [(step, molecule + 0.5, 0.25) for step in committed]
        assert life.delivered == committed[: len(life.delivered)]
        assert len(committed) - len(life.delivered) <= 1
        due[molecule] += len(life.delivered)
        assert state == (states[molecule][first] if setup.resume else 0)
        if setup.two_phase:
            assert all(len(staged) == setup.molecules for _, staged in life.committed), "an early commit"
    assert set(due.values()) == {steps}

    if history.finished:
        assert steps == setup.steps
        assert history.open_lines == 0


def attempt(run, setup, schedule, name):
    try:
        return run(setup, schedule, lambda history: judge(setup, history))
    except Known:
        return None
    except BaseException as error:
        error.add_note(f"replay({setup}, {name()})")
        raise


def replay(setup, schedule=()):
    """Run one schedule again: a path of choices, or ``Dice(seed)``."""
    schedule = Replay(schedule) if isinstance(schedule, tuple) else schedule
    with simulation() as run:
        return run(setup, schedule, lambda history: judge(setup, history))


def search(run, setup, memory=True):
    """Run all schedules; return their number and the states in which there was a choice."""
    seen = set()
    ahead = [()]
    runs = 0
    while ahead:
        schedule = Search(ahead.pop(), seen, ahead, memory)
        attempt(run, setup, schedule, lambda path=schedule.path: tuple(path))
        runs += 1
        assert runs < 20_000, "this setup is too large to be searched"
    return runs, seen


@pytest.mark.fault("C10", "mxl-sockets", "LW")
@pytest.mark.parametrize(
    "setup",
    [
        Setup(steps=1, delays=0, replacement="later"),
        Setup(steps=1, delays=0, resume=True, replacement="waits"),
        Setup(steps=1, delays=0, resume=True, two_phase=True, replacement="later"),
        Setup(molecules=2, steps=2, two_phase=True, replacement="waits"),
        Setup(molecules=2, steps=1, deaths=2, delays=0, resume=True, reset=True, replacement="later"),
        Setup(molecules=2, steps=2, arrays=True, replacement="later"),
        Setup(molecules=2, steps=1, resume=True, two_phase=True, reset=True),
        Setup(steps=1, ordered=True, replacement="later"),
        Setup(molecules=2, steps=1, delays=2, ordered=True, replacement="later"),
        Setup(molecules=2, steps=1, deaths=2, resume=True, ordered=True, reset=True, replacement="waits"),
        Setup(molecules=2, steps=2, delays=0, chatter=1, arrays=True, ordered=True, replacement="waits"),
        Setup(molecules=1, steps=2, delays=1, chatter=1, arrays=True, ordered=True, replacement="waits"),
    ],
    ids=str,
)
def test_all_interleavings_keep_every_step_whole(run, setup):
    """Requests, commits, replies, deaths at each point, replacements and deadlines in all orders."""
    runs, states = search(run, setup)
    assert runs > len(states) / 2 > 250


@pytest.mark.parametrize(
    "setup",
    [
        Setup(molecules=2, steps=1, deaths=0, delays=2),
        Setup(molecules=1, steps=2, resume=True),
        Setup(molecules=1, steps=1, two_phase=True),
        Setup(molecules=2, steps=1, deaths=0, delays=2, ordered=True),
    ],
    ids=str,
)
def test_the_search_misses_no_state(run, setup):
    """Visiting each state once leads to the same states as running every single path."""
    few, remembered = search(run, setup)
    every, complete = search(run, setup, memory=False)
    assert few < every
    assert remembered == complete


def random_setup(seed):
    dice = random.Random(seed)
    return Setup(
        molecules=4,
        steps=3,
        two_phase=dice.random() < 0.4,
        resume=dice.random() < 0.6,
        arrays=dice.random() < 0.3,
        deaths=dice.choice((0, 1, 2, 4, 6)),
        delays=dice.choice((0, 1, 3)),
        replacement=dice.choice(("waits", "later", "any time")),
        reset=dice.random() < 0.3,
        pieces=dice.random() < 0.6,
        chatter=dice.choice((0, 0, 1, 2)),
        silence_timeout=dice.choice((None, None, 2.5)),
        ordered=dice.random() < 0.5,
    )


@pytest.mark.parametrize("block", range(4))
def test_random_schedules_keep_every_step_whole(run, block):
    """Four molecules, several steps; also pieces, slow readers, hung drivers and unasked replies."""
    for seed in range(200 * block, 200 * (block + 1)):
        history = attempt(run, random_setup(seed), Dice(seed), lambda seed=seed: f"Dice({seed})")
        assert history.finished


def test_the_same_schedule_gives_the_same_history():
    setup = random_setup(11)
    assert repr(replay(setup, Dice(11))) == repr(replay(setup, Dice(11)))
    assert replay(Setup()).finished
