"""The maxwelllink package on the other end: its ``mxl_driver`` under our hub, our driver under its hub.

The physics is the demo's, with the demo's solver: a cavity coupled to one process per molecule.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools" / "demo"))

from cavity import checks, coupling, experiment, solver
from cavity.analysis import analyse
from cavity.drivers import TWO_LEVEL_MODEL
from peer_programs import LIMIT_S, PEERS_MAY_WARN, TRANSPORTS, Programs, drive, mxl_driver, mxl_hub, our_hub

from mxl_sockets import Driver, End, TwoLevelSystem

pytestmark = [pytest.mark.peer, PEERS_MAY_WARN]

PHYSICS = solver.Parameters()
# By number of molecules. The lines of 16 lie four times as far apart, and are resolved in half the time.
STEPS = {1: 4000, 4: 4000, 16: 2000}
# Of the amplitude. Both models make the same step, with their own roundings.
MODELS_AGREE = 1e-10

MXL_TWO_LEVEL = {
    "omega": PHYSICS.molecule_frequency,
    "mu12": PHYSICS.dipole,
    "orientation": coupling.AXIS,
    "pe_initial": 0.0,
}
OUR_TWO_LEVEL = {key: value for key, value in MXL_TWO_LEVEL.items() if key != "pe_initial"}


def ring(hub: Any, molecules: int, programs: Programs, steps: int) -> solver.Trajectory:
    """Let the cavity ring, coupled to the molecules of a hub, whosever it is."""
    couple = coupling.HubCoupling(
        hub, molecules, PHYSICS.time_step, recover=programs.check, patience_s=LIMIT_S
    )
    couple.bind()
    return solver.run(PHYSICS, couple, steps)


def assert_lines_are_the_normal_modes(molecules: int, trajectory: solver.Trajectory) -> None:
    """Frequencies within 0.1 % of the analytic ones, their distance within 1 %."""
    found = analyse(PHYSICS, molecules, trajectory, [0.0] * STEPS[molecules])
    assert found.resolved
    assert found.found == pytest.approx(found.analytic, rel=checks.FREQUENCY_BOUND)
    if found.steps >= checks.DISCRETE_BOUND_STEPS:
        assert found.found == pytest.approx(found.discrete, rel=checks.DISCRETE_BOUND)
    assert found.found.splitting == pytest.approx(found.analytic.splitting, rel=checks.SPLITTING_BOUND)


def difference(one: solver.Trajectory, other: solver.Trajectory) -> float:
    """Largest difference of two trajectories, relative to the amplitude."""
    return max(
        float(np.abs(a - b).max() / np.abs(b).max())
        for a, b in (
            (one.coordinate, other.coordinate),
            (one.velocity, other.velocity),
            (one.current, other.current),
        )
    )


@pytest.mark.parametrize(
    ("molecules", "transport"),
    [(1, "unix"), (1, "tcp"), (4, "unix"), (4, "tcp"), (16, "tcp")],
)
def test_real_drivers_under_our_hub_show_the_normal_modes(molecules, transport, tmp_path):
    """One ``mxl_driver`` per molecule: lines as computed by hand, trajectory as with our model, clean end."""
    reference = experiment.run_in_process(PHYSICS, molecules, STEPS[molecules]).trajectory
    with Programs(tmp_path) as programs:
        with our_hub(transport) as (hub, place):
            for _ in range(molecules):
                programs.start(mxl_driver(place, "tls", **MXL_TWO_LEVEL))
            trajectory = ring(hub, molecules, programs, STEPS[molecules])
        assert programs.statuses() == [0] * molecules
    assert difference(trajectory, reference) < MODELS_AGREE
    assert_lines_are_the_normal_modes(molecules, trajectory)


@pytest.mark.parametrize(
    ("molecules", "transport"),
    [(1, "unix"), (1, "tcp"), (4, "unix"), (4, "tcp"), (16, "unix")],
)
def test_our_drivers_under_the_real_hub_show_the_normal_modes(molecules, transport, tmp_path):
    """One process of ours per molecule: lines as computed by hand, not a bit lost on the way, clean end."""
    reference = experiment.run_in_process(PHYSICS, molecules, STEPS[molecules]).trajectory
    with Programs(tmp_path) as programs:
        with mxl_hub(transport) as (hub, place):
            for _ in range(molecules):
                programs.start(drive(TWO_LEVEL_MODEL, place, **OUR_TWO_LEVEL))
            trajectory = ring(hub, molecules, programs, STEPS[molecules])
        assert programs.statuses() == [0] * molecules
    assert trajectory.same_bits_as(reference)
    assert_lines_are_the_normal_modes(molecules, trajectory)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_driver_in_a_thread_serves_the_real_hub_until_it_says_stop(transport, tmp_path):
    """The class itself, without the command line: it counts the steps and knows why it ended."""
    steps, ends = 200, []
    with Programs(tmp_path) as programs, mxl_hub(transport) as (hub, place):
        model = TwoLevelSystem(**OUR_TWO_LEVEL)
        where = {"unixsocket": place.name} if place.name else {"address": ("127.0.0.1", place.port)}
        with Driver(model, connect_timeout=LIMIT_S, reconnect=False, **where) as driver:
            thread = threading.Thread(target=lambda: ends.append(driver.run()), daemon=True)
            thread.start()
            trajectory = ring(hub, 1, programs, steps)
            hub.graceful_shutdown(wait=0.5)
            thread.join(LIMIT_S)
    assert [(end.reason, end.steps, end.connections, end.molecule_id) for end in ends] == [
        (End.STOP, steps, 1, 0)
    ]
    assert trajectory.same_bits_as(experiment.run_in_process(PHYSICS, 1, steps).trajectory)


@pytest.mark.parametrize(
    "settings",
    [{"handshake": "status"}, {"handshake": "init+status"}, {"two_phase": True}],
    ids=["asked-before-init", "asked-after-init", "two-phase"],
)
def test_real_driver_takes_every_dialogue_our_hub_offers(settings, tmp_path):
    """Questions before and after INIT, and between field and commit, change nothing of the result."""
    steps = 100
    with Programs(tmp_path) as programs:
        with our_hub("tcp", **settings) as (hub, place):
            programs.start(mxl_driver(place, "tls", **MXL_TWO_LEVEL))
            trajectory = ring(hub, 1, programs, steps)
        assert programs.statuses() == [0]
    reference = experiment.run_in_process(PHYSICS, 1, steps).trajectory
    assert difference(trajectory, reference) < MODELS_AGREE


def elapsed_steps(replies: Any) -> dict[int, int]:
    """How many steps each ``mxl_driver`` says that it has committed since it was given its molecule."""
    return {
        molecule: round(json.loads(reply["extra"])["time_au"] / PHYSICS.time_step)
        for molecule, reply in replies.items()
    }


@pytest.mark.fault("C25", "mxl-sockets", "LW")
@pytest.mark.parametrize("moment", ["between two steps", "after the others have answered"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_killed_real_driver_is_replaced_and_the_others_make_each_step_once(transport, moment, tmp_path):
    """The documented way: an empty answer, the hub paused, wait for the replacement, ask again."""
    before, after = 20, 10
    inits = {molecule: {"dt_au": PHYSICS.time_step} for molecule in range(3)}
    requests = {molecule: {"efield_au": np.array([0.0, 0.0, 1e-3])} for molecule in inits}
    with Programs(tmp_path) as programs:
        with our_hub(transport) as (hub, place):
            started = []
            for count in range(1, len(inits) + 1):  # one after the other, so that the second is molecule 1
                started.append(programs.start(mxl_driver(place, "tls", **MXL_TWO_LEVEL)))
                assert hub.wait_until_bound(dict(list(inits.items())[:count]))
            for _ in range(before):
                assert len(hub.step_barrier(requests)) == len(inits)
            victim = started[1]
            if moment == "after the others have answered":
                victim.send_signal(signal.SIGSTOP)
                assert hub.step_barrier(requests, timeout=3.0) == {}
                assert not hub.paused
                assert list(hub.status().late) == [1]
            programs.kill(victim)
            assert hub.step_barrier(requests) == {}
            assert hub.paused
            assert hub.step_barrier(requests) == {}  # nothing is sent while it is paused
            programs.start(mxl_driver(place, "tls", **MXL_TWO_LEVEL))
            assert hub.wait_until_bound(inits)
            assert not hub.paused
            for step in range(1, after + 1):
                replies = hub.step_barrier(requests)
                assert elapsed_steps(replies) == {0: before + step, 1: step, 2: before + step}
        assert programs.statuses() == [0] * len(inits)
