"""ASE on the other end: its ``SocketClient`` under our hub, our driver under its server."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from peer_molecules import STIFFNESS
from peer_programs import IPI_PREFIX, LIMIT_S, PEERS_MAY_WARN, TRANSPORTS, Place, Programs, drive, our_hub

pytestmark = [pytest.mark.peer, PEERS_MAY_WARN]

INITS = {0: {"dt_au": 0.5}}
FIRST_FIELD = np.array([0.25, -0.5, 1.0])


def ase_client(place: Place) -> list[str]:
    """Command line of a program around ASE's client."""
    where = ["--unix", place.name] if place.name else ["--port", str(place.port)]
    return [sys.executable, str(Path(__file__).with_name("peer_molecules.py")), *where]


def assert_steps_work(hub, steps: int = 20) -> None:
    """Fields go there and the spring's forces come back, each to its own step."""
    for step in range(1, steps + 1):
        vector = FIRST_FIELD / step
        replies = hub.step_barrier({0: {"efield_au": vector}})
        # ASE thinks in electronvolts and ångströms, hence the last digits.
        assert replies[0]["amp"] == pytest.approx(-STIFFNESS * vector, rel=1e-12)


@pytest.mark.parametrize("two_phase", [False, True], ids=["at-once", "two-phase"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_ase_client_under_a_hub_that_asks_before_init(transport, two_phase, tmp_path):
    """It says that it is ready, so it gets neither INIT nor STOP, both fatal to it; EXIT ends it with 0."""
    with Programs(tmp_path) as programs:
        with our_hub(transport, IPI_PREFIX, handshake="status", two_phase=two_phase) as (hub, place):
            programs.start(ase_client(place))
            assert hub.wait_until_bound(INITS)
            assert_steps_work(hub)
        assert programs.statuses() == [0], programs.describe()


def test_init_that_was_not_asked_for_kills_the_ase_client_and_the_hub_goes_on(tmp_path):
    """With the default handshake ASE's client dies of an assertion; the hub says so and takes the next."""
    with Programs(tmp_path) as programs:
        with our_hub("tcp") as (hub, place):
            victim = programs.start(ase_client(place))
            assert hub.wait_until_bound(INITS)
            assert victim.wait(LIMIT_S) == 1
            assert "AssertionError" in programs.output(victim)
            programs.running.remove(victim)
            assert hub.step_barrier({0: {"efield_au": FIRST_FIELD}}) == {}
            assert hub.paused
            assert "molecule 0" in hub.status().last_error
            programs.start(drive("peer_molecules:spring", place))
            assert hub.wait_until_bound(INITS)
            assert_steps_work(hub)
        assert programs.statuses() == [0]


@pytest.mark.parametrize("end", ["exit", "close"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_our_driver_under_the_ase_server(transport, end, tmp_path):
    """INIT with one NUL byte, any number of atoms, questions before and after: forces come out right.

    The server's protocol knows EXIT, which ends our driver with status 0. But its ``close`` only closes:
    then our driver reports, by its status, that it has lost the server.
    """
    from ase import Atoms
    from ase.calculators.socketio import SocketIOCalculator
    from ase.units import Bohr, Hartree

    place = Place.new(transport)
    where = {"unixsocket": place.name} if place.name else {"port": place.port}
    with Programs(tmp_path) as programs:
        with SocketIOCalculator(**where, timeout=LIMIT_S) as server:
            program = programs.start(drive("peer_molecules:TwoSprings", place, IPI_PREFIX))
            atoms = Atoms("H2", positions=[[0.0, 0.1, 0.2], [1.0, -1.0, 0.5]], calculator=server)
            for _ in range(5):
                atoms.positions += 0.25
                expected = -STIFFNESS * atoms.positions / Bohr * Hartree / Bohr
                assert atoms.get_forces() == pytest.approx(expected, rel=1e-12)
                assert atoms.get_potential_energy() == 0.0
            if end == "exit":
                server.server.protocol.end()
                assert program.wait(LIMIT_S) == 0, programs.describe()
        assert programs.statuses() == [0 if end == "exit" else 3]
