"""Bridges that are killed and restarted under a hub that goes on: every step is made, and made once.

200 molecules behind 4 bridges, 4 kills; ``MXL_SOCKETS_CHURN_MOLECULES=10000 MXL_SOCKETS_CHURN_KILLS=20`` is
the whole measure.
"""

from __future__ import annotations

import gc
import json
import os
import random
import secrets
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from peer_programs import LIMIT_S, Programs

from mxl_sockets import AggregatedSocketHub

MOLECULES = int(os.environ.get("MXL_SOCKETS_CHURN_MOLECULES", "200"))
KILLS = int(os.environ.get("MXL_SOCKETS_CHURN_KILLS", "4"))
SEED = int(os.environ.get("MXL_SOCKETS_CHURN_SEED", "20261121"))
BRIDGES = 4
STEPS_BETWEEN = 20
PATIENCE_S = 60.0 + MOLECULES / 50

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="counts descriptors and pages where Linux tells them"
)


@pytest.fixture
def many_descriptors():
    """Enough open files for all drivers of a node; children inherit the limit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOLECULES + 1024
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"{wanted} open files are needed"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Node:
    """A bridge that can be killed, and its drivers that cannot."""

    def __init__(self, number: int, programs: Programs, folder: Path, port: int) -> None:
        self._programs = programs
        self._command = [
            sys.executable, "-m", "mxl_sockets", "bridge", "--hub", f"127.0.0.1:{port}",
            "--group", f"node-{number}", "--unix", str(folder / f"node-{number}"), "--quiet",
            "--connect-timeout", str(PATIENCE_S), "--reconnect-timeout", "0",
        ]  # fmt: skip
        self.diary = folder / f"diary-{number}.json"
        drivers = [str(Path(__file__).with_name("node_drivers.py")), str(folder / f"node-{number}")]
        self._bridge = programs.start(self._command)
        programs.start([sys.executable, *drivers, str(MOLECULES // BRIDGES), str(self.diary)])

    def restart(self, delay_s: float) -> None:
        """Kill the bridge after a while and start another one in its place."""
        time.sleep(delay_s)
        self._programs.kill(self._bridge)
        self._bridge = self._programs.start(self._command)


def judge(nodes: list[Node], answered: np.ndarray) -> int:
    """Hold the drivers' diaries against what the hub got; return how many commits were undone by an INIT.

    `answered[step, molecule]` is the instance whose answer the hub took for that step.
    """
    undone = 0
    for number, node in enumerate(nodes):
        instances: dict[int, dict[int, list[int]]] = {}
        for instance, (molecule, committed) in enumerate(json.loads(node.diary.read_text(encoding="utf-8"))):
            assert molecule % BRIDGES == number, "a molecule was given to another node"
            # One instance sees steps in order, none left out, none twice.
            assert (
                committed == list(range(committed[0], committed[0] + len(committed))) if committed else True
            )
            instances.setdefault(molecule, {})[instance] = committed
        for molecule in range(number, MOLECULES, BRIDGES):
            by = answered[1:, molecule]
            assert (np.diff(by) >= 0).all(), "an older instance answered after a newer one"
            assert set(by.tolist()) <= instances[molecule].keys(), "an answer of nobody"
            for instance, committed in instances[molecule].items():
                own = (np.flatnonzero(by == instance) + 1).tolist()
                # What it answered it has committed, and beside at most the step in which its bridge died.
                assert committed[: len(own)] == own
                assert len(committed) <= len(own) + 1
                undone += len(committed) - len(own)
    return undone


@pytest.mark.timeout(120 + KILLS * (20 + MOLECULES // 50))
@pytest.mark.usefixtures("many_descriptors")
def test_every_molecule_sees_every_step_once_or_a_visible_init_whatever_bridge_is_killed(tmp_path):
    """Each time 20 steps have been made since the last restart a bridge is killed, at any moment of a step.

    The hub's descriptors and memory are the same after the last kill as after the first ones.
    """
    dice = random.Random(SEED)
    folder = Path("/tmp") / f"churn-{secrets.token_hex(6)}"  # short: the path of a UNIX socket has 107 bytes
    folder.mkdir(mode=0o700)
    total = STEPS_BETWEEN * (KILLS + 1)
    # Made and touched before memory is looked at.
    answered = np.full((total + 1, MOLECULES), -1, np.int32)
    fields = np.zeros((MOLECULES, 3))
    marks = []
    try:
        with Programs(tmp_path) as programs, AggregatedSocketHub(port=0, timeout=PATIENCE_S) as hub:
            nodes = [Node(number, programs, folder, hub.address[1]) for number in range(BRIDGES)]
            inits = {one: {"aggregate_group": f"node-{one % BRIDGES}"} for one in range(MOLECULES)}
            assert hub.wait_until_bound(inits)
            duration = 0.01
            for step in range(1, total + 1):
                killer = None
                if step > 1 and step % STEPS_BETWEEN == 1:
                    victim = nodes[dice.randrange(BRIDGES)]
                    killer = threading.Thread(target=victim.restart, args=(dice.uniform(0, 1.2 * duration),))
                    killer.start()
                fields[:, 0] = step
                begin = time.monotonic()
                amplitudes = hub.step(fields)
                if killer is None:
                    duration = time.monotonic() - begin
                else:
                    killer.join(LIMIT_S)
                    marks.append((descriptors(), resident_bytes()))
                assert (amplitudes[:, 0] == step).all(), "an answer of another step"
                assert (amplitudes[:, 2] == np.arange(MOLECULES)).all(), "an answer of another molecule"
                answered[step] = amplitudes[:, 1]
            status = hub.status()
            assert (status.steps, status.dropped) == (total, KILLS)
            hub.stop()
            assert programs.statuses() == [0] * (2 * BRIDGES)
        undone = judge(nodes, answered)
        settled = marks[len(marks) // 2 :]
        print(
            f"{total} steps of {MOLECULES} molecules, {KILLS} kills, {undone} commits undone by an INIT; "
            f"descriptors {marks[0][0]} .. {marks[-1][0]}, "
            f"memory {marks[0][1] >> 10} .. {marks[-1][1] >> 10} KiB"
        )
        # After a kill the new bridge's connection may or may not be there yet.
        assert max(one for one, _ in marks) - min(one for one, _ in marks) <= 2
        assert max(size for _, size in settled) - settled[0][1] <= 1 << 20
    finally:
        for left in folder.iterdir():
            left.unlink()
        folder.rmdir()
