"""LAMMPS with ``fix ipi`` on the other end of our hub: Debian's program, unchanged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from peer_programs import IPI_PREFIX, TRANSPORTS, Place, Programs, ipi_driver, our_hub

pytestmark = pytest.mark.peer

# Bohr and hartree: argon in a box that is not cubic.
BOX = np.diag([20.0, 21.0, 22.0])
PLACES = np.array([[1.0, 1.0, 1.0], [8.0, 1.0, 1.0], [1.0, 9.0, 2.0], [14.5, 1.0, 2.0]])
DEPTH, DIAMETER, CUTOFF = 4e-4, 6.4, 9.0

SCRIPT = """
units electron
atom_style atomic
atom_modify map array sort 0 0.0
boundary p p p
region box block 0 20 0 21 0 22
create_box 1 box
{atoms}
mass 1 39.95
pair_style lj/cut {cutoff}
pair_coeff 1 1 {depth} {diameter}
neighbor 2.0 bin
timestep 1.0
fix hub all ipi {address} {port} {mode}
run {steps}
"""


@pytest.fixture
def lammps():
    """The program; without it the test is skipped by its name."""
    found = shutil.which("lmp")
    if found is None:
        pytest.skip("no LAMMPS here: lmp is not installed (Debian package lammps)")
    return found


def start(programs: Programs, lammps: str, folder: Path, place: Place, steps: int):
    """Start LAMMPS with so many steps to make."""
    text = SCRIPT.format(
        atoms="\n".join("create_atoms 1 single {} {} {}".format(*place) for place in PLACES),
        cutoff=CUTOFF,
        depth=DEPTH,
        diameter=DIAMETER,
        address=place.name or "127.0.0.1",
        port=place.port or 1,
        mode="unix" if place.name else "",
        steps=steps,
    )
    script = folder / f"in.{steps}"
    script.write_text(text, encoding="utf-8")
    # It is an MPI program of one rank; Open MPI otherwise refuses to be root's.
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return programs.start([lammps, "-in", str(script), "-log", "none"], root)


def argon(positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and virial of the same atoms, of the nearest images within the cutoff."""
    difference = positions[:, None] - positions[None]
    edges = np.diag(BOX)
    difference -= edges * np.round(difference / edges)
    squared = (difference**2).sum(axis=2)
    np.fill_diagonal(squared, np.inf)
    sixth = np.where(squared < CUTOFF**2, (DIAMETER**2 / squared) ** 3, 0.0)
    energy = 4 * DEPTH * (sixth**2 - sixth).sum() / 2
    pairs = (24 * DEPTH * (2 * sixth**2 - sixth) / squared)[:, :, None] * difference
    virial = np.einsum("ija,ijb->ab", difference, pairs) / 2
    return energy, pairs.sum(axis=1), virial


def assert_argon(result, positions: np.ndarray) -> None:
    """A result is that of our own sum; LAMMPS has other last digits in its units."""
    energy, forces, virial = argon(positions)
    assert result.energy == pytest.approx(energy, rel=1e-6)
    assert result.forces == pytest.approx(forces, abs=1e-6 * abs(forces).max())
    # It sends one triangle of the matrix, all that i-PI looks at.
    assert result.virial == pytest.approx(np.tril(virial), abs=1e-6 * abs(virial).max())
    assert result.extra == b""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_lammps_computes_argon_for_our_hub(lammps, transport, tmp_path):
    """Forces across the boundaries of the box are right, step by step; after its last step it ends with 0."""
    steps = 20
    with (
        Programs(tmp_path) as programs,
        our_hub(transport, IPI_PREFIX, handshake="status") as (hub, place),
    ):
        start(programs, lammps, tmp_path, place, steps)
        assert hub.wait_until_bound({0: {}})
        for step in range(steps):
            positions = PLACES + np.random.default_rng(step).normal(scale=0.1, size=PLACES.shape)
            assert_argon(hub.forces(positions, BOX), positions)
        assert programs.statuses() == [0], programs.describe()


def test_lammps_that_has_more_steps_to_make_is_ended_by_exit(lammps, tmp_path):
    """Its way to obey is an error exit that says why; nothing is left running."""
    with Programs(tmp_path) as programs:
        with our_hub("tcp", handshake="status") as (hub, place):
            program = start(programs, lammps, tmp_path, place, 1000)
            assert hub.wait_until_bound({0: {}})
            assert_argon(hub.forces(PLACES, BOX), PLACES)
        assert programs.statuses() != [0]
        assert "Got EXIT" in programs.output(program)


def test_lammps_that_ends_early_is_replaced_by_another(lammps, tmp_path):
    """Beads: one program has fewer steps than the run; the next one goes on with its bead."""
    beads = {one: PLACES + 0.1 * one for one in range(2)}
    with Programs(tmp_path) as programs, our_hub("tcp", handshake="status") as (hub, place):
        for one, steps in enumerate((2, 5)):  # in this order: the sum of their steps is just enough
            start(programs, lammps, tmp_path, place, steps)
            assert hub.wait_until_bound({bead: {} for bead in range(one + 1)})
        start(programs, lammps, tmp_path, place, 3)
        for _ in range(5):
            for one, result in hub.forces(beads, BOX).items():
                assert_argon(result, beads[one])
        assert programs.statuses() == [0, 0, 0], programs.describe()


def test_lammps_and_ipi_share_one_hub(lammps, tmp_path):
    """One is READY at once, the other wants INIT: each gets what it needs."""
    with Programs(tmp_path) as programs:
        with our_hub("tcp", handshake="status") as (hub, place):
            start(programs, lammps, tmp_path, place, 3)
            assert hub.wait_until_bound({0: {}})
            programs.start(ipi_driver(place, "harmonic", "0.5"))
            assert hub.wait_until_bound({0: {}, 1: {}})
            for _ in range(3):
                results = hub.forces({0: PLACES, 1: PLACES}, BOX)
                assert_argon(results[0], PLACES)
                assert (results[1].forces == -0.5 * PLACES).all()
        assert programs.statuses() == [0, 0], programs.describe()
