"""ASE's end, unmodified: its client, or its calculator that is a server.

Started by the bench with an interpreter that has ASE, never imported::

    python ase_peer.py client PORT
    python ase_peer.py server

The client serves until its server ends it. The server says ``{"port": ...}``,
waits for a driver and follows the orders of the bench: a step moves two atoms
and asks for their forces. To measure the conversation and little else, the
atoms are on springs, and the calculator is asked directly: to compare the
atoms with those before, as ``atoms.get_forces()`` does, takes ASE as long.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any, Final

import numpy as np
import orders

#: Of the springs, in whatever units.
STIFFNESS: Final = 0.1
PLACES: Final = np.array([[0.0, 0.1, 0.2], [1.0, -1.0, 0.5]])
PATIENCE_S: Final = 60.0


class Springs:
    """A calculator by its interface alone: ASE's base class costs more time than the client does.

    Energies in eV, lengths in angstrom, with a stiffness of no meaning.
    """

    def get_potential_energy(self, atoms: Any, force_consistent: bool = False) -> float:
        """Return the energy."""
        return STIFFNESS / 2 * float((atoms.positions**2).sum())

    def get_forces(self, atoms: Any) -> Any:
        """Return the forces, shape (2, 3)."""
        return -STIFFNESS * atoms.positions


def serve_client(port: int) -> None:
    """Be a client until the end."""
    from ase import Atoms  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from ase.calculators.socketio import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        SocketClient,
    )

    atoms = Atoms("H2", positions=PLACES)
    atoms.calc = Springs()
    client = SocketClient(host="127.0.0.1", port=port, timeout=PATIENCE_S)
    orders.say(ready=True)
    client.run(atoms)


def serve_calculator() -> None:
    """Be a server, and follow orders."""
    from ase import Atoms  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from ase.calculators.socketio import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        SocketIOCalculator,
    )

    with socket.create_server(("127.0.0.1", 0)) as probe:  # it cannot choose a port itself
        port = probe.getsockname()[1]
    with SocketIOCalculator(port=port, timeout=PATIENCE_S) as calculator:
        orders.say(port=port)
        atoms = Atoms("H2", positions=PLACES, calculator=calculator)

        def run(steps: int) -> tuple[int, float, float]:
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(steps):
                atoms.positions += 1e-6
                calculator.calculate(atoms, ["energy", "forces"], ["positions"])
            return steps, time.perf_counter() - wall, time.process_time() - cpu

        run(1)  # the driver is there afterwards
        orders.say(bound=True)
        orders.follow(run)


if __name__ == "__main__":
    if sys.argv[1] == "client":
        serve_client(int(sys.argv[2]))
    else:
        serve_calculator()
