"""The example model: its physics, its state, and what it refuses."""

from __future__ import annotations

import cmath
import json
import math

import pytest

from mxl_sockets._driver_protocol import DriverProtocol
from mxl_sockets.two_level import GROUND, TwoLevelSystem, read_state
from wireframe import ipi


def started(dt=1.0, **params):
    molecule = TwoLevelSystem(omega=0.1, mu12=1.0)
    molecule.initialize(0, dt, params)
    return molecule


def step(molecule, field):
    molecule.stage([0.0, 0.0, field])
    return molecule.commit()


def pulse(n):
    return 1e-2 * math.sin(0.097 * n)


def test_one_step_is_the_formula_of_the_module():
    """Compared with the same formula in complex numbers."""
    molecule = started()
    state = (0.01, -0.02, 0.3)
    molecule.initialize(0, 0.7, {"state": list(state), "omega": 0.13, "mu12": 1.7})
    (x, y, z), extra = step(molecule, 0.05)
    r, e = complex(*state[:2]), state[2]
    p, th = cmath.exp(0.5j * 0.13 * 0.7), 0.7 * 1.7 * 0.05
    c, s = math.cos(th), math.sin(th)
    free = r * p
    e_after = e * c**2 + (1 - e) * s**2 - 2 * c * s * free.imag
    r_after = (c**2 * free + s**2 * free.conjugate() - 1j * c * s * (1 - 2 * e)) * p
    assert extra["state"] == pytest.approx([r_after.real, r_after.imag, e_after], abs=1e-15)
    assert (x, y) == (0.0, 0.0)
    assert z == pytest.approx(-2 * 0.13 * 1.7 * r_after.imag, abs=1e-15)


def test_a_long_run_stays_a_pure_state():
    """The step is unitary: |r|^2 = e (1 - e) after 20000 steps to rounding."""
    molecule = started()
    for n in range(20_000):
        step(molecule, pulse(n))
    r_re, r_im, e = molecule.state
    assert e > 1e-4
    assert r_re**2 + r_im**2 == pytest.approx(e * (1 - e), abs=1e-11)
    assert molecule.energy_au == pytest.approx(0.1 * e)


def test_a_weak_field_drives_the_dipole_like_an_oscillator():
    """amp integrates to mu = 2 mu12 Re r, which obeys mu'' + w0^2 mu = 2 w0 mu12^2 E."""
    molecule = started(dt=0.01)
    dipoles = []
    for _ in range(3):
        step(molecule, 1e-6)
        dipoles.append(2 * molecule.state[0])
    second = (dipoles[2] - 2 * dipoles[1] + dipoles[0]) / 0.01**2
    assert second + 0.1**2 * dipoles[1] == pytest.approx(2 * 0.1 * 1e-6, rel=1e-3)


def test_staging_again_starts_from_the_same_committed_state():
    """A staged step that is never committed leaves no trace."""
    once, twice = started(), started()
    for n in range(50):
        before = twice.state
        twice.stage([0.0, 0.0, 123.0])
        assert twice.state == before
        assert step(once, pulse(n)) == step(twice, pulse(n))


def test_a_replacement_continues_bit_for_bit_from_the_state_in_the_extra():
    """Through JSON, as the solver hands it on; one commit of the dead one was never heard of."""
    undisturbed, victim = started(), started()
    expected = [step(undisturbed, pulse(n)) for n in range(400)]
    seen, received = [], None
    for n in range(177):
        seen.append(step(victim, pulse(n)))
        received = json.dumps(seen[-1][1])
    step(victim, pulse(177))  # committed, but its reply was lost
    replacement = TwoLevelSystem(omega=0.1, mu12=1.0)
    replacement.initialize(0, 1.0, {"dt_au": 1.0, **json.loads(received)})
    seen += [step(replacement, pulse(n)) for n in range(177, 400)]
    assert seen == expected


def test_the_state_survives_the_whole_protocol_bit_for_bit():
    """INIT with a state, then a reply whose extra holds the next one: no digit is lost."""
    state = [0.1 + 0.2, -0.0, 1 / 3]
    protocol = DriverProtocol(molecule := TwoLevelSystem())
    protocol.receive(ipi.Init(0, json.dumps({"dt_au": 1.0, "state": state}).encode()))
    assert list(map(float.hex, molecule.state)) == list(map(float.hex, state))
    protocol.receive(ipi.PosData(ipi.IDENTITY, ipi.IDENTITY, bytes(24)))
    extra = protocol.receive(ipi.GETFORCE).message[ipi.REPLY_LENGTH :]
    assert tuple(json.loads(extra)["state"]) == molecule.state


def test_init_without_state_starts_from_the_beginning_and_drops_the_staged_step():
    molecule = TwoLevelSystem(state=[0.0, 0.0, 1.0])
    molecule.initialize(0, 1.0, {})
    step(molecule, 0.3)
    molecule.stage([0.0, 0.0, 0.3])
    molecule.initialize(0, 1.0, {"state": None})
    assert molecule.state == (0.0, 0.0, 1.0)
    with pytest.raises(RuntimeError, match="without a staged step"):
        molecule.commit()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_orientation_chooses_the_axis_of_field_and_amplitude(axis):
    molecule = TwoLevelSystem(orientation=axis)
    molecule.initialize(0, 1.0, {})
    field = [9.0, 9.0, 9.0]
    field[axis] = 1e-3
    molecule.stage(field)
    amp, _ = molecule.commit()
    assert [i for i in range(3) if amp[i]] == [axis]
    assert amp[axis] == step(started(), 1e-3)[0][2]


def test_parameters_may_come_by_init():
    molecule = TwoLevelSystem()
    molecule.initialize(0, 1.0, {"omega": 2, "mu12": 0.5, "orientation": 0, "unknown": "ignored"})
    assert (molecule.omega, molecule.mu12, molecule.orientation) == (2.0, 0.5, 0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"omega": 0},
        {"omega": -0.1},
        {"omega": math.nan},
        {"omega": "0.1"},
        {"mu12": math.inf},
        {"mu12": None},
        {"mu12": True},
        {"orientation": 3},
        {"orientation": "z"},
        {"orientation": True},
    ],
)
def test_parameters_without_sense_are_refused_in_both_places(parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=name):
        TwoLevelSystem(**parameters)
    molecule = started()
    with pytest.raises(ValueError, match=name):
        molecule.initialize(0, 1.0, parameters)
    assert (molecule.omega, molecule.mu12, molecule.orientation) == (0.1, 1.0, 2)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ([0, 0], "want"),
        ("abc", "want"),
        ({"r": 1}, "want"),
        ([0, 0, math.nan], "finite"),
        ([0, None, 0], "finite"),
        ([0, 0, False], "finite"),
        ([0, 0, 1.1], "population"),
        ([0, 0, -0.1], "population"),
        ([0.5, 0.1, 0.5], "coherence"),
        ([0.1, 0, 0], "coherence"),
    ],
)
def test_states_that_cannot_be_are_refused(state, why):
    with pytest.raises(ValueError, match=why):
        read_state(state)


def test_a_state_off_by_rounding_is_accepted_as_it_is():
    assert read_state([0.5 + 1e-9, 0, 0.5]) == (0.5 + 1e-9, 0.0, 0.5)
    assert read_state((0, 0, -1e-12)) == (0.0, 0.0, -1e-12)


@pytest.mark.parametrize("dt", [0.0, -1.0, math.nan, math.inf])
def test_a_time_step_without_sense_is_refused(dt):
    with pytest.raises(ValueError, match="molecule 4: dt_au"):
        TwoLevelSystem().initialize(4, dt, {})


def test_staging_before_init_or_with_a_field_without_sense_is_refused():
    with pytest.raises(RuntimeError, match="before initialize"):
        TwoLevelSystem().stage([0.0, 0.0, 0.0])
    for field in (math.nan, math.inf):
        with pytest.raises(ValueError, match="field"):
            started().stage([0.0, 0.0, field])
    assert TwoLevelSystem().state == GROUND
