"""Aggregation with the maxwelllink package on the other end: its hub over our bridges, our hub over its.

The physics is the demo's, with the demo's solver: a cavity coupled to one process per molecule, half of them
behind each of two bridges.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools" / "demo"))

from cavity import coupling, experiment, solver
from cavity.drivers import TWO_LEVEL_MODEL
from peer_programs import LIMIT_S, PEERS_MAY_WARN, SCRIPTS, Place, Programs, drive, mxl_driver

from mxl_sockets import AggregatedSocketHub, Bridge, read_manifest

pytestmark = [pytest.mark.peer, PEERS_MAY_WARN]

PHYSICS = solver.Parameters()
STEPS = 200
GROUPS = 2
MOLECULES = 4
# Of the amplitude. Both models make the same step, with their own roundings.
MODELS_AGREE = 1e-10
OUR_MODEL = {"omega": PHYSICS.molecule_frequency, "mu12": PHYSICS.dipole, "orientation": coupling.AXIS}


class Grouped:
    """A hub whose molecules are dealt out to groups."""

    def __init__(self, hub: Any, groups: list[str]) -> None:
        self._hub = hub
        self._groups = groups
        self.step_barrier = hub.step_barrier

    def wait_until_bound(self, init_payloads, require_init=True, timeout=None):
        inits = {
            one: {**payload, "aggregate_group": self._groups[one % len(self._groups)]}
            for one, payload in init_payloads.items()
        }
        return self._hub.wait_until_bound(inits, require_init, timeout)


def ring(hub: Any, groups: list[str], programs: Programs, steps: int = STEPS) -> solver.Trajectory:
    """Let the cavity ring, coupled to molecules in groups."""
    couple = coupling.HubCoupling(
        Grouped(hub, groups), MOLECULES, PHYSICS.time_step, recover=programs.check, patience_s=LIMIT_S
    )
    couple.bind()
    return solver.run(PHYSICS, couple, steps)


@contextlib.contextmanager
def real_hub():
    """The real aggregated hub on a free port, stopped in the end."""
    from maxwelllink.sockets import AggregatedSocketHub as RealHub

    port = Place.new("tcp").port
    hub = RealHub(host="127.0.0.1", port=port, timeout=LIMIT_S)
    try:
        yield hub, port
    finally:
        hub.stop()


def our_bridge(port: int, group: str, place: Place) -> list[str]:
    """Command line of our bridge, with a UNIX socket for its drivers."""
    hub = ["--hub", f"127.0.0.1:{port}", "--connect-timeout", str(LIMIT_S), "--reconnect-timeout", "0"]
    return [sys.executable, "-m", "mxl_sockets", "bridge", *hub, "--group", group, "--unix", place.name]


@pytest.mark.parametrize("drivers", ["ours", "real"])
def test_the_real_hub_works_over_our_bridges(drivers, tmp_path):
    """Bridges and drivers as programs: not a bit is lost on the way, and all end with the hub."""
    groups, places = ["node-0", "nó"], [Place.new("unix") for _ in range(GROUPS)]
    with Programs(tmp_path) as programs, contextlib.ExitStack() as stack:
        for place in places:
            stack.enter_context(place.removed_afterwards("/tmp/socketmxl_"))
        with real_hub() as (hub, port):
            for group, place in zip(groups, places, strict=True):
                programs.start(our_bridge(port, group, place))
            for molecule in range(MOLECULES):
                place = places[molecule % GROUPS]
                theirs = mxl_driver(place, "tls", pe_initial=0.0, **OUR_MODEL)
                while drivers == "real" and not Path(f"/tmp/socketmxl_{place.name}").exists():
                    programs.check()  # it tries a UNIX socket once only
                programs.start(drive(TWO_LEVEL_MODEL, place, **OUR_MODEL) if drivers == "ours" else theirs)
            trajectory = ring(hub, groups, programs)
        assert programs.statuses() == [0] * (GROUPS + MOLECULES)
    reference = experiment.run_in_process(PHYSICS, MOLECULES, STEPS).trajectory
    if drivers == "ours":
        assert trajectory.same_bits_as(reference)
    else:
        assert (
            np.abs(trajectory.current - reference.current).max()
            < MODELS_AGREE * np.abs(reference.current).max()
        )


def test_our_hub_works_over_the_real_bridges_of_our_manifest(tmp_path):
    """``mxl_bridge`` reads what our hub wrote; no bit is lost on the way, and all end with the hub."""
    prefix, manifest = f"{Place.new('unix').name}_", tmp_path / "nodes.json"
    inits = [{"dt_au": PHYSICS.time_step} for _ in range(GROUPS)]
    with Programs(tmp_path) as programs:
        with AggregatedSocketHub(port=0, timeout=LIMIT_S) as hub:
            specs = hub.init_remote_bridges(
                inits, molecules_per_bridge=1, unix_prefix=prefix, save_file=manifest
            )
            groups = [spec.group_id for spec in specs]
            assert [init["aggregate_group"] for init in inits] == groups
            with contextlib.ExitStack() as stack:
                for spec in specs:
                    place = Place(name=spec.unixsocket)
                    stack.enter_context(place.removed_afterwards("/tmp/socketmxl_"))
                    command = [str(SCRIPTS / "mxl_bridge"), "--info", str(manifest), "--idx", str(spec.idx)]
                    programs.start([sys.executable, *command])
                    for _ in range(MOLECULES // GROUPS):
                        programs.start(drive(TWO_LEVEL_MODEL, place, **OUR_MODEL))
                trajectory = ring(hub, groups, programs)
                assert hub.status().dropped == 0
                hub.stop()
        assert programs.statuses() == [0] * (GROUPS + MOLECULES)
    assert trajectory.same_bits_as(experiment.run_in_process(PHYSICS, MOLECULES, STEPS).trajectory)


def test_block_steps_go_through_the_real_bridge_too(tmp_path):
    """Arrays in and out, in our order, whatever the order of the answers."""
    from maxwelllink.sockets import LocalSocketHubBridge

    place = Place.new("unix")
    ids = [5, 3, 9]
    with (
        place.removed_afterwards("/tmp/socketmxl_"),
        Programs(tmp_path) as programs,
        AggregatedSocketHub(port=0, timeout=LIMIT_S) as hub,
    ):
        bridge = LocalSocketHubBridge(
            group_id="node",
            upstream_host="127.0.0.1",
            upstream_port=hub.address[1],
            local_unixsocket=place.name,
        )
        thread = bridge.start()
        for _ in ids:
            programs.start(drive("peer_molecules:spring", place))
        assert hub.wait_until_bound({one: {"dt_au": 1.0, "aggregate_group": "node"} for one in ids})
        fields = np.arange(9.0).reshape(3, 3)
        fields[1] = -0.0
        for _ in range(20):
            fields += 0.25
            assert hub.step(fields).tobytes() == (-0.7 * fields).tobytes()
        hub.stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
        assert programs.statuses() == [0, 0, 0]


def test_the_real_bridge_is_given_more_molecules_while_it_serves(tmp_path):
    """Our hub sends AGGINIT again on the same connection when a group grows."""
    from maxwelllink.sockets import LocalSocketHubBridge

    place = Place.new("unix")
    with (
        place.removed_afterwards("/tmp/socketmxl_"),
        Programs(tmp_path) as programs,
        AggregatedSocketHub(port=0, timeout=LIMIT_S) as hub,
    ):
        bridge = LocalSocketHubBridge(
            group_id="node",
            upstream_host="127.0.0.1",
            upstream_port=hub.address[1],
            local_unixsocket=place.name,
        )
        thread = bridge.start()
        for count in (1, 2):
            programs.start(drive("peer_molecules:spring", place))
            inits = {one: {"dt_au": 1.0, "aggregate_group": "node"} for one in range(count)}
            assert hub.wait_until_bound(inits)
            assert hub.step(np.ones((count, 3))).tolist() == [[-0.7] * 3] * count
        hub.stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()
        assert programs.statuses() == [0, 0]


def test_a_late_bridge_of_ours_answers_the_real_hub_in_the_order_it_was_asked(tmp_path):
    """Its hub asks again while a step is unanswered; our bridge makes one after the other and loses none."""
    with real_hub() as (hub, port), Programs(tmp_path) as programs:
        with Bridge("node", ("127.0.0.1", port), reconnect=False) as bridge:
            ends = []
            thread = threading.Thread(target=lambda: ends.append(bridge.run()), daemon=True)
            thread.start()
            place = Place(port=bridge.local_address[1])
            driver = programs.start(drive("peer_molecules:spring", place))
            assert hub.wait_until_bound({0: {"dt_au": 1.0, "aggregate_group": "node"}}, timeout=LIMIT_S)
            for number in range(1, 21):
                reply = hub.step_barrier({0: {"efield_au": np.full(3, float(number))}}, timeout=LIMIT_S)
                assert reply[0]["amp"].tolist() == [-0.7 * number] * 3
            hub.stop()
            thread.join(LIMIT_S)
        assert ends[0].steps == 20
        assert driver.wait(LIMIT_S) == 0


def test_manifests_of_both_hubs_are_the_same_bytes(tmp_path):
    """But for the port; and ours reads theirs."""

    class Molecule:
        def __init__(self) -> None:
            self.init_payload: dict[str, Any] = {}

    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    with real_hub() as (hub, port):
        hub.init_remote_bridges([Molecule() for _ in range(5)], molecules_per_bridge=2, save_file=str(theirs))
    with AggregatedSocketHub(port=0, timeout=LIMIT_S) as hub:
        other_port = hub.address[1]
        specs = hub.init_remote_bridges(
            [Molecule() for _ in range(5)], molecules_per_bridge=2, save_file=ours
        )
    assert ours.read_text() == theirs.read_text().replace(f" {port},", f" {other_port},")
    assert read_manifest(theirs).bridges == specs
    assert json.loads(theirs.read_text())["version"] == 1
