"""Atoms with real forces: a cluster and a crystal of copper, and programs that compute them with ASE's EMT.

As a program this is ASE's `SocketClient` around one of them, given ``cluster`` or ``crystal``, and
``--unix NAME`` or ``--port PORT``. `emt` is the same as a model of our driver.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from mxl_sockets import ForceField, ForceResult

# Hartree per square bohr.
STIFFNESS = 0.7


def copper(kind: str) -> Any:
    """Five atoms in no box, or four in a small skewed one with periodic boundaries; with their calculator."""
    from ase import Atoms
    from ase.build import bulk
    from ase.calculators.emt import EMT

    if kind == "cluster":
        places = [[0, 0, 0], [2.3, 0.1, 0], [0, 2.4, 0.2], [1.2, 1.1, 2.0], [2.4, 2.3, 0.1]]
        return Atoms("Cu5", positions=places, calculator=EMT())
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell @ np.array([[1.02, 0.03, 0], [0, 0.99, 0.05], [0.01, 0, 1]]), scale_atoms=True)
    atoms.calc = EMT()
    return atoms


def in_atomic_units(atoms: Any) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and virial of ASE's atoms, computed directly."""
    from ase.units import Bohr, Hartree

    virial = np.zeros((3, 3))
    if atoms.cell.rank == 3:
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume() / Hartree
    return atoms.get_potential_energy() / Hartree, atoms.get_forces() * Bohr / Hartree, virial


class _Emt:
    """Copper atoms wherever they are told to be, in the box they are told."""

    def __call__(self, positions: np.ndarray, cell: np.ndarray) -> ForceResult:
        from ase.units import Bohr

        atoms = copper("crystal")
        atoms.set_cell(cell * Bohr)
        atoms.positions = positions * Bohr
        energy, forces, virial = in_atomic_units(atoms)
        return ForceResult(energy, forces, virial, b"copper")


def _springs(positions: np.ndarray, cell: np.ndarray) -> tuple[Any, ...]:
    """Each atom bound to the origin; a virial that is not symmetric and an extra, to see how they arrive."""
    energy = STIFFNESS / 2 * (positions**2).sum()
    return energy, -STIFFNESS * positions, np.outer(positions[0], cell[0]), {"atoms": len(positions)}


emt = ForceField(_Emt())
springs = ForceField(_springs)


def main() -> None:
    """Serve forces to whoever listens, with ASE's client."""
    from ase.calculators.socketio import SocketClient

    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["cluster", "crystal"])
    parser.add_argument("--unix")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    client = SocketClient(host="127.0.0.1", port=options.port, unixsocket=options.unix, timeout=45.0)
    client.run(copper(options.kind), use_stress=options.kind == "crystal")


if __name__ == "__main__":
    main()
