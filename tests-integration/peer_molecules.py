"""Atoms on springs, as models of ours and as a program of ASE's: forces that are as easy to check as it gets.

As a program this is one atom behind ASE's `SocketClient`, given ``--unix NAME`` or ``--port PORT``.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

# Hartree per square bohr.
STIFFNESS = 0.7


def spring(position_au: np.ndarray) -> np.ndarray:
    """The force on an atom that is bound to the origin, atomic units; also an amplitude for a field."""
    return -STIFFNESS * position_au


class TwoSprings:
    """Two atoms, each bound to the origin, for servers that may have any number of them."""

    nat = 2

    def __init__(self) -> None:
        self.commits = 0
        self._forces = np.zeros((2, 3))

    def initialize(self, molecule_id: int, dt_au: float, params: Any, /) -> None:
        """Need nothing: the servers of i-PI and ASE have no time step."""

    def stage(self, field_au: np.ndarray, /) -> None:
        """Take the positions of both atoms."""
        self._forces = spring(field_au)

    def commit(self) -> tuple[np.ndarray, dict[str, int]]:
        """Return the forces on both atoms."""
        self.commits += 1
        return self._forces, {"commits": self.commits}


def main() -> None:
    """Serve forces to whoever listens, with ASE's client and a calculator of ASE's kind."""
    from ase import Atoms
    from ase.calculators.calculator import Calculator, all_changes
    from ase.calculators.socketio import SocketClient
    from ase.units import Bohr, Hartree

    class Spring(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            position = self.atoms.positions / Bohr
            self.results["energy"] = STIFFNESS * float((position**2).sum()) / 2 * Hartree
            self.results["forces"] = spring(position) * Hartree / Bohr

    parser = argparse.ArgumentParser()
    parser.add_argument("--unix")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    atoms = Atoms("H")
    atoms.calc = Spring()
    client = SocketClient(host="127.0.0.1", port=options.port, unixsocket=options.unix, timeout=45.0)
    client.run(atoms)


if __name__ == "__main__":
    main()
