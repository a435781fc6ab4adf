"""Forces on atoms: i-PI's and ASE's clients under our hub, our driver under their servers."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import numpy as np
import pytest
from peer_atoms import STIFFNESS, copper, in_atomic_units
from peer_programs import (
    IPI_PREFIX,
    LIMIT_S,
    PEERS_MAY_WARN,
    SCRIPTS,
    TRANSPORTS,
    Place,
    Programs,
    drive,
    ipi_driver,
    mxl_driver,
    our_hub,
)

pytestmark = [pytest.mark.peer, PEERS_MAY_WARN]


def ase_client(place: Place, kind: str) -> list[str]:
    """Command line of a program around ASE's client."""
    where = ["--unix", place.name] if place.name else ["--port", str(place.port)]
    return [sys.executable, str(Path(__file__).with_name("peer_atoms.py")), kind, *where]


def moved(kind: str, step: int):
    """Copper atoms that have been shaken a little, and another shape of their box."""
    atoms = copper(kind)
    atoms.rattle(0.02, seed=step)
    if kind == "crystal":
        atoms.set_cell(atoms.cell * (1 + 0.003 * step), scale_atoms=True)
    return atoms


def assert_forces_are(result, atoms) -> None:
    """A result is what ASE computes directly."""
    energy, forces, virial = in_atomic_units(atoms)
    assert result.energy == pytest.approx(energy, rel=1e-9)
    assert result.forces == pytest.approx(forces, abs=1e-9)
    assert result.virial == pytest.approx(virial, abs=1e-9)


@pytest.mark.parametrize("kind", ["cluster", "crystal"])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_ase_client_computes_copper_for_our_hub(transport, kind, tmp_path):
    """Energy, forces and virial are those of the direct calculation, in a box whose shape changes too."""
    from ase.units import Bohr

    with Programs(tmp_path) as programs:
        with our_hub(transport, IPI_PREFIX, handshake="status") as (hub, place):
            programs.start(ase_client(place, kind))
            assert hub.wait_until_bound({0: {}})
            for step in range(10):
                atoms = moved(kind, step)
                cell = None if kind == "cluster" else atoms.cell.array / Bohr
                assert_forces_are(hub.forces(atoms.positions / Bohr, cell), atoms)
        assert programs.statuses() == [0], programs.describe()


@pytest.mark.parametrize("handshake", ["init", "status", "init+status"])
def test_ipi_python_driver_computes_many_atoms_for_our_hub(handshake, tmp_path):
    """Its harmonic wells, four beads at a time, each with a program of its own."""
    beads = np.random.default_rng(3).normal(size=(4, 6, 3))
    with Programs(tmp_path) as programs:
        with our_hub("tcp", handshake=handshake) as (hub, place):
            for _ in beads:
                programs.start(ipi_driver(place, "harmonic", str(STIFFNESS)))
            for step in range(1, 11):
                results = hub.forces(dict(enumerate(beads / step)), 50 * np.eye(3))
                for bead, result in results.items():
                    positions = beads[bead] / step
                    assert result.energy == pytest.approx(STIFFNESS / 2 * (positions**2).sum(), rel=1e-12)
                    assert (result.forces == -STIFFNESS * positions).all()
                    assert result.extra == b"nada"
        assert programs.statuses() == [0] * len(beads), programs.describe()


def test_three_kinds_of_drivers_share_one_hub(tmp_path):
    """MaxwellLink's in a field, i-PI's and ASE's with atoms and in the field too, each ended its own way."""
    from ase.units import Bohr

    inits = {molecule: {"dt_au": 0.5} if molecule < 2 else {} for molecule in range(5)}
    with Programs(tmp_path) as programs:
        with our_hub("tcp", handshake="status") as (hub, place):
            commands = [
                mxl_driver(place, "tls", omega=0.1, mu12=1.0, orientation=2),
                ipi_driver(place, "harmonic", str(STIFFNESS)),
                ipi_driver(place, "harmonic", str(STIFFNESS)),
                ase_client(place, "cluster"),
                drive("peer_atoms:springs", place),
            ]
            for molecule, command in enumerate(commands):
                programs.start(command)
                assert hub.wait_until_bound({one: inits[one] for one in range(molecule + 1)})
            in_field = {molecule: {"efield_au": [0.0, 0.0, 1e-3]} for molecule in (0, 1)}
            for step in range(10):
                replies = hub.step_barrier(in_field)
                assert replies[0]["extra"].startswith(b'{"Pe":')
                assert replies[1]["amp"][2] == -STIFFNESS * 1e-3
                atoms = moved("cluster", step)
                positions = atoms.positions / Bohr
                results = hub.forces({2: positions, 3: positions, 4: positions}, 40 * np.eye(3))
                assert_forces_are(results[3], atoms)
                assert (results[2].forces == -STIFFNESS * positions).all()
                assert (results[4].forces == -STIFFNESS * positions).all()
        assert programs.statuses() == [0] * len(commands), programs.describe()


def test_a_killed_bead_is_replaced_by_another_kind_of_program(tmp_path):
    """The same wells by i-PI's program and by ours: whoever computes a bead, its forces are right."""
    beads = dict(enumerate(np.random.default_rng(5).normal(size=(2, 3, 3))))
    with Programs(tmp_path) as programs:
        with our_hub("tcp") as (hub, place):
            victims = [programs.start(ipi_driver(place, "harmonic", str(STIFFNESS))) for _ in beads]
            hub.forces(beads)
            programs.start(drive("peer_atoms:springs", place))
            programs.kill(victims[0])
            for _ in range(5):
                results = hub.forces(beads)
                assert all((results[one].forces == -STIFFNESS * beads[one]).all() for one in beads)
            assert hub.status().dropped == 1
        assert programs.statuses() == [0, 0], programs.describe()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_our_force_field_under_the_calculator_of_ase(transport, tmp_path):
    """Energy, forces and stress of a crystal in a skewed box, as if ASE had computed them itself."""
    from ase.calculators.socketio import SocketIOCalculator

    place = Place.new(transport)
    where = {"unixsocket": place.name} if place.name else {"port": place.port}
    with Programs(tmp_path) as programs:
        with SocketIOCalculator(**where, timeout=LIMIT_S) as server:
            programs.start(drive("peer_atoms:emt", place, IPI_PREFIX))
            for step in range(5):
                direct, atoms = moved("crystal", step), moved("crystal", step)
                atoms.calc = server
                assert atoms.get_potential_energy() == pytest.approx(direct.get_potential_energy(), rel=1e-9)
                assert atoms.get_forces() == pytest.approx(direct.get_forces(), abs=1e-9)
                assert atoms.get_stress() == pytest.approx(direct.get_stress(), abs=1e-9)
        assert programs.statuses() == [3]  # ASE closes without a word


@pytest.mark.parametrize("exchange", ["classic", "consolidated"])
def test_our_force_field_under_the_server_class_of_ipi(exchange, tmp_path):
    """Energy, forces, virial and extra arrive as the model meant them, cell and atoms as i-PI did.

    But for a virial that is not symmetric, which no real model has: i-PI takes it as it stands on the wire,
    where every program writes the transpose.
    """
    from test_peers_ipi import ipi_connection, ipi_request

    cell = np.array([[10.0, 1.0, 0.5], [0.0, 11.0, 2.0], [0.0, 0.0, 12.0]])  # columns, as i-PI has them
    with Programs(tmp_path) as programs, socket.create_server(("127.0.0.1", 0)) as listener:
        command = drive("peer_atoms:springs", Place(port=listener.getsockname()[1]))
        with ipi_connection(programs, command, listener) as (program, server):
            for step in range(1, 6):
                positions = np.random.default_rng(step).normal(size=(3, 3))
                request = ipi_request(positions.ravel(), "")
                request["cell"] = (cell, np.linalg.inv(cell))
                if exchange == "classic":
                    server.dispatch(request)
                else:
                    assert server.dispatch_send(request)
                    assert server.dispatch_recv(request)
                energy, forces, virial, extra = request["result"]
                assert energy == pytest.approx(STIFFNESS / 2 * (positions**2).sum(), rel=1e-15)
                assert (forces.reshape(-1, 3) == -STIFFNESS * positions).all()
                assert virial == pytest.approx(np.outer(cell[:, 0], positions[0]), rel=1e-15)
                assert extra["atoms"] == len(positions)
            server.shutdown()  # sends EXIT
            assert program.wait(LIMIT_S) == 0, programs.describe()


# Two beads of two atoms, both in the same place at first; positions are printed as x, y, z.
IPI_INPUT = """
<simulation verbosity="low">
  <output prefix="run">
    <properties stride="1" filename="out">
      [ step, potential, atom_x(0;0), atom_x(1;0), atom_x(0;1), atom_x(1;1) ]
    </properties>
  </output>
  <total_steps>{steps}</total_steps>
  <ffsocket name="springs" mode="{mode}" pbc="False">
    <address>{address}</address> <port>{port}</port> <latency>1e-4</latency> <timeout>{timeout}</timeout>
  </ffsocket>
  <system>
    <initialize nbeads="2">
      <positions mode="manual"> [ 0.5, 0, 0, -0.25, 0, 0, 0.5, 0, 0, -0.25, 0, 0 ] </positions>
      <masses mode="manual"> [ 1000, 2000 ] </masses>
      <labels mode="manual"> [ H, H ] </labels>
      <cell mode="abc"> [ 50, 50, 50 ] </cell>
      <velocities mode="thermal" units="kelvin"> 300 </velocities>
    </initialize>
    <forces> <force forcefield="springs"/> </forces>
    <motion mode="dynamics">
      <fixcom> False </fixcom>
      <dynamics mode="nve"> <timestep> 2.0 </timestep> </dynamics>
    </motion>
    <ensemble> <temperature units="kelvin"> 300 </temperature> </ensemble>
  </system>
</simulation>
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_path_integral_of_the_real_ipi_program_runs_on_our_force_fields(transport, tmp_path):
    """The whole program, two beads of two atoms over two of our drivers; EXIT ends both with 0."""
    place = Place.new(transport)
    steps = 20
    text = IPI_INPUT.format(
        steps=steps,
        mode="unix" if place.name else "inet",
        address=place.name or "127.0.0.1",
        port=place.port or 1,
        timeout=LIMIT_S,
    )
    (tmp_path / "input.xml").write_text(text, encoding="utf-8")
    with Programs(tmp_path) as programs, place.removed_afterwards(IPI_PREFIX):
        programs.start([sys.executable, str(SCRIPTS / "i-pi"), "input.xml"])
        for _ in range(2):
            programs.start(drive("peer_atoms:springs", place, IPI_PREFIX))
        assert programs.statuses() == [0, 0, 0], programs.describe()
    table = np.loadtxt(tmp_path / "run.out")
    assert len(table) == steps + 1
    # The mean over the beads, of springs on all three coordinates of both atoms.
    energy = STIFFNESS / 2 * (table[:, 2:] ** 2).sum(axis=1) / 2
    assert table[:, 1] == pytest.approx(energy, rel=1e-6)
    assert abs(np.diff(table[:, 2])).min() > 0  # they do move
