"""i-PI on the other end: its Python driver under our hub, our driver under its server."""

from __future__ import annotations

import contextlib
import math
import socket
import sys
from typing import Any

import numpy as np
import pytest
from peer_molecules import STIFFNESS
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
    our_hub,
)

from mxl_sockets import TwoLevelSystem

pytestmark = [pytest.mark.peer, PEERS_MAY_WARN]


@pytest.mark.parametrize(
    ("transport", "settings"),
    [
        *((transport, {}) for transport in TRANSPORTS),
        ("tcp", {"handshake": "status"}),
        ("tcp", {"handshake": "init+status"}),
        ("tcp", {"two_phase": True}),
    ],
)
def test_ipi_python_driver_under_our_hub_works_and_ends(transport, settings, tmp_path):
    """The spring's forces come back, and EXIT after the STOP it does not know ends it with status 0.

    Without EXIT it would run on for ever, at full load, after the hub has closed the connection.
    """
    with Programs(tmp_path) as programs:
        with our_hub(transport, IPI_PREFIX, **settings) as (hub, place):
            programs.start(ipi_driver(place, "harmonic", str(STIFFNESS)))
            assert hub.wait_until_bound({0: {"dt_au": 0.5}})
            for step in range(1, 51):
                vector = np.array([0.01 * step, -0.5, 1.0 / step])
                reply = hub.step_barrier({0: {"efield_au": vector}})[0]
                assert reply["amp"].tobytes() == (-STIFFNESS * vector).tobytes()
                assert reply["extra"] == b"nada"
        assert programs.statuses() == [0]


def test_ipi_and_maxwelllink_drivers_share_one_hub(tmp_path):
    """Different programs, one step; a slow end of one kind does not harm the other."""
    from peer_programs import mxl_driver

    inits = {molecule: {"dt_au": 0.5} for molecule in range(2)}
    requests = {molecule: {"efield_au": [0.0, 0.0, 1e-3]} for molecule in inits}
    with Programs(tmp_path) as programs:
        with our_hub("tcp") as (hub, place):
            programs.start(ipi_driver(place, "harmonic", str(STIFFNESS)))
            assert hub.wait_until_bound({0: inits[0]})
            programs.start(mxl_driver(place, "tls", omega=0.1, mu12=1.0, orientation=2))
            assert hub.wait_until_bound(inits)
            for _ in range(20):
                replies = hub.step_barrier(requests)
                assert replies[0]["amp"][2] == -STIFFNESS * 1e-3
                assert replies[1]["extra"].startswith(b'{"Pe":')
        assert programs.statuses() == [0, 0]


@contextlib.contextmanager
def ipi_connection(programs: Programs, command: list[str], listener: socket.socket):
    """A program of ours, connected to i-PI's own view of one driver."""
    from ipi.interfaces.sockets import TIMEOUT
    from ipi.interfaces.sockets import Driver as ServerSide

    program = programs.start(command)
    listener.settimeout(LIMIT_S)
    accepted, _ = listener.accept()
    with accepted:
        accepted.settimeout(TIMEOUT)
        server = ServerSide(accepted)  # has a duplicate of the descriptor
    with contextlib.closing(server):
        yield program, server


def ipi_request(positions: np.ndarray, parameters: str) -> dict[str, Any]:
    """What i-PI's forcefield hands to its socket interface."""
    from ipi.engine.forcefields import ForceRequest

    return ForceRequest(
        id=7,
        pars=parameters,
        pos=positions,
        active=np.arange(len(positions)),
        cell=(np.eye(3), np.eye(3)),
        offset=0.0,
        status="Queued",
    )


@pytest.mark.parametrize("exchange", ["classic", "consolidated"])
def test_our_two_level_driver_under_the_server_class_of_ipi(exchange, tmp_path):
    """Both of i-PI's ways to make a step give our amplitudes; its INIT text carries the time step."""
    reference = TwoLevelSystem()
    reference.initialize(7, 0.5, {"dt_au": 0.5})
    with Programs(tmp_path) as programs, socket.create_server(("127.0.0.1", 0)) as listener:
        command = drive("mxl_sockets.two_level:TwoLevelSystem", Place(port=listener.getsockname()[1]))
        with ipi_connection(programs, command, listener) as (program, server):
            for step in range(1, 21):
                vector = np.array([0.0, 0.0, 1e-3 * step])
                request = ipi_request(vector, '{"dt_au": 0.5}')
                if exchange == "classic":
                    server.dispatch(request)
                else:
                    assert server.dispatch_send(request)
                    assert server.dispatch_recv(request)
                assert request["status"] == "Done"
                reference.stage(vector)
                amplitude, extra = reference.commit()
                energy, forces, virial, parsed = request["result"]
                assert tuple(forces) == amplitude
                assert parsed["state"] == extra["state"]
                assert energy == 0.0
                assert not virial.any()
            server.shutdown()  # sends EXIT
            assert program.wait(LIMIT_S) == 0, programs.describe()


def test_init_with_the_free_text_of_ipi_is_no_error(tmp_path):
    """i-PI sends ``key : value, ...`` or nothing; a model that needs no parameters does not mind."""
    with Programs(tmp_path) as programs, socket.create_server(("127.0.0.1", 0)) as listener:
        command = drive("peer_molecules:TwoSprings", Place(port=listener.getsockname()[1]))
        for text in ("", "omega : 0.1, kind : water"):
            with ipi_connection(programs, command, listener) as (program, server):
                positions = np.arange(6.0)
                request = ipi_request(positions, text)
                server.dispatch(request)
                assert (request["result"][1] == -STIFFNESS * positions).all()
                server.shutdown()
                assert program.wait(LIMIT_S) == 0, programs.describe()
                programs.running.remove(program)


# One atom, no temperature, no thermostat: what moves it is our driver alone.
IPI_INPUT = """
<simulation verbosity="low">
  <output prefix="run">
    <properties stride="1" filename="out"> [ step, atom_x(0) ] </properties>
  </output>
  <total_steps>{steps}</total_steps>
  <ffsocket name="spring" mode="{mode}" pbc="False">
    <address>{address}</address> <port>{port}</port> <latency>1e-4</latency> <timeout>{timeout}</timeout>
  </ffsocket>
  <system>
    <initialize nbeads="1">
      <positions mode="manual"> [ 0.5, 0, 0 ] </positions>
      <masses mode="manual"> [ 1000 ] </masses>
      <labels mode="manual"> [ H ] </labels>
      <cell mode="abc"> [ 50, 50, 50 ] </cell>
    </initialize>
    <forces> <force forcefield="spring"/> </forces>
    <motion mode="dynamics">
      <fixcom> False </fixcom>
      <dynamics mode="nve"> <timestep> {time_step} </timestep> </dynamics>
    </motion>
    <ensemble/>
  </system>
</simulation>
"""


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_simulation_of_the_real_ipi_program_runs_on_our_driver(transport, tmp_path):
    """The whole program with its own dynamics: an atom swings on our spring, then EXIT ends our driver."""
    steps, time_step = 40, 2.0
    place = Place.new(transport)
    text = IPI_INPUT.format(
        steps=steps,
        time_step=time_step,
        mode="unix" if place.name else "inet",
        address=place.name or "127.0.0.1",
        port=place.port or 1,
        timeout=LIMIT_S,
    )
    (tmp_path / "input.xml").write_text(text, encoding="utf-8")
    with Programs(tmp_path) as programs, place.removed_afterwards(IPI_PREFIX):
        programs.start([sys.executable, str(SCRIPTS / "i-pi"), "input.xml"])
        programs.start(drive("peer_molecules:spring", place, IPI_PREFIX))
        assert programs.statuses() == [0, 0], programs.describe()
    step, coordinate = np.loadtxt(tmp_path / "run.out")[:, :2].T
    # Velocity Verlet's own frequency: sin(W dt / 2) = w dt / 2.
    frequency = 2 / time_step * math.asin(math.sqrt(STIFFNESS / 1000) * time_step / 2)
    expected = 0.5 * np.cos(frequency * time_step * step)
    assert len(step) == steps + 1
    assert coordinate == pytest.approx(expected, abs=1e-7)  # as many digits as it prints
