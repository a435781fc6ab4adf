"""What `test_mpi` runs under mpiexec: ``mpi_program.py SCENARIO DIRECTORY [WORD...]`` on every rank.

Rank 0 runs the scenario and leaves what it saw in ``result.json``; drivers append what their models do to
``events-RANK``, one JSON line each, so that nothing is lost when they are killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mxl_sockets import End, ModelError, TwoLevelSystem
from mxl_sockets.errors import ForeignProcessError
from mxl_sockets.mpi import MPIDriver, MPIHub, RanksLate

SCENARIO, DIRECTORY, WORDS = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
MOLECULES = 9
STEPS = 20
PARAMETERS = {"dt_au": 0.5, "omega": 0.1, "mu12": 1.2}
PATIENCE_S = 20.0


def fields_of_step(step: int, molecules: int = MOLECULES) -> np.ndarray:
    """The same numbers in every process."""
    chance = random.Random(step)
    return np.array([[chance.uniform(-1e-2, 1e-2) for _ in range(3)] for _ in range(molecules)])


def note(rank: int, **event: Any) -> None:
    with (DIRECTORY / f"events-{rank}").open("a") as file:
        file.write(json.dumps(event) + "\n")


class Witness(TwoLevelSystem):
    """Tells what happens to it, and has accidents: (rank, step, "stage" or "commit", what)."""

    accidents: ClassVar[list[tuple[int, int, str, str]]] = []
    rank = -1

    def initialize(self, molecule_id, dt_au, params):
        super().initialize(molecule_id, dt_au, params)
        self.molecule = molecule_id
        note(self.rank, what="init", molecule=molecule_id, state=params.get("state"))
        self.count = 0

    def stage(self, field_au):
        self.count += 1
        self._accident("stage")
        super().stage(field_au)

    def commit(self):
        result = super().commit()
        note(self.rank, what="commit", molecule=self.molecule, state=list(self.state))
        self._accident("commit")
        return result

    def _accident(self, where):
        for accident in list(self.accidents):
            rank, step, moment, what = accident
            if (rank, step, moment) == (self.rank, self.count, where):
                self.accidents.remove(accident)  # once is enough
                note(self.rank, what=what, molecule=self.molecule)
                if what == "raise":
                    raise ArithmeticError(f"molecule {self.molecule} is unwell")
                os.kill(os.getpid(), getattr(signal, what))


def pid_of(rank: int) -> int:
    return int((DIRECTORY / f"pid-{rank}").read_text())


def kill(rank: int) -> None:
    """Return when it is dead, not only doomed: until then it might still answer."""
    pid = pid_of(rank)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    with contextlib.suppress(OSError):  # its entry may go at any moment, and then all is well
        while time.monotonic() < deadline:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            time.sleep(0.001)


def molecules(count: int = MOLECULES) -> dict[int, dict[str, Any]]:
    return {100 + 3 * k: PARAMETERS for k in range(count)}


def caught(call, *arguments, **named):
    """The type of the exception that a call raises, and its text."""
    try:
        result = call(*arguments, **named)
    except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
        return type(error).__name__, str(error)
    return "nothing", repr(result)


def trajectory(hub: MPIHub, steps: range) -> list[list[str]]:
    return [[value.hex() for value in hub.step(fields_of_step(k)).ravel().tolist()] for k in steps]


# -- scenarios: what the hub does; returns what the test wants to know --------------------------------------


def run_trajectory() -> dict[str, Any]:
    """Arrays and dictionaries in turns."""
    amplitudes = []
    with MPIHub(timeout=PATIENCE_S, extras=True) as hub:
        hub.register_molecule(100)
        assert hub.expected == {100}
        assert not hub.all_bound(molecules())
        assert hub.wait_until_bound(molecules())
        assert hub.all_bound(molecules())
        for k in range(STEPS):
            fields = fields_of_step(k)
            if k % 3:
                rows = hub.step(fields)
            else:
                requests = {one: {"efield_au": row} for one, row in zip(molecules(), fields, strict=True)}
                order = reversed(requests) if k % 2 else requests  # any order will do
                result = hub.step_barrier({one: requests[one] for one in order})
                assert list(result) == list(molecules())
                rows = np.array([one["amp"] for one in result.values()])
                states = [json.loads(one["extra"])["state"] for one in result.values()]
            amplitudes.append([value.hex() for value in rows.ravel().tolist()])
        status = hub.status()
        bound = dict(status.bound)
    return {
        "amplitudes": amplitudes,
        "states": len(states),
        "bound": bound,
        "steps": status.steps,
        "after": caught(hub.step, fields_of_step(0))[0],
        "barrier": hub.step_barrier({100: {"efield_au": (0, 0, 0)}}),
        "again": caught(hub.stop)[0],
    }


def run_killed() -> dict[str, Any]:
    """Drivers kill themselves at the moments in the words."""
    with MPIHub(timeout=PATIENCE_S, resume="resume" in WORDS) as hub:
        assert hub.wait_until_bound(molecules())
        begin = time.monotonic()
        amplitudes = trajectory(hub, range(STEPS))
        return {
            "amplitudes": amplitudes,
            "lost": hub.lost_ranks,
            "generation": hub.generation,
            "bound": hub.status().bound,
            "dropped": hub.status().dropped,
            "seconds": time.monotonic() - begin,
        }


def run_killed_idle() -> dict[str, Any]:
    """A driver dies while nobody waits for it."""
    with MPIHub(timeout=PATIENCE_S, resume=True) as hub:
        assert hub.wait_until_bound(molecules())
        amplitudes = trajectory(hub, range(5))
        kill(1)
        amplitudes += trajectory(hub, range(5, 10))
        kill(2)
        assert hub.wait_until_bound(molecules())
        amplitudes += trajectory(hub, range(10, STEPS))
        kill(3)
        hub.stop(wait=PATIENCE_S)
        return {"amplitudes": amplitudes, "lost": hub.lost_ranks}


def run_all_killed() -> dict[str, Any]:
    hub = MPIHub(timeout=PATIENCE_S)
    assert hub.wait_until_bound(molecules())
    said = caught(trajectory, hub, range(STEPS))
    return {"error": said, "again": caught(hub.step, fields_of_step(3)), "stop": caught(hub.stop)}


def run_hub_killed() -> dict[str, Any]:
    hub = MPIHub(timeout=PATIENCE_S)
    assert hub.wait_until_bound(molecules())
    trajectory(hub, range(3))
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def run_paused() -> dict[str, Any]:
    """A driver stops itself in the fourth step; here it is continued, or the job aborted."""
    hub = MPIHub(timeout=PATIENCE_S)
    assert hub.wait_until_bound(molecules())
    amplitudes = trajectory(hub, range(3))
    seen: dict[str, Any] = {}
    # On a machine with other work the others may be late at first; that one stays late.
    for _ in range(40):
        begin = time.monotonic()
        try:
            hub.step(fields_of_step(3), timeout=0.5)
        except RanksLate as error:
            seen = {"ranks": list(error.ranks), "late": sorted(error.late), "text": str(error)}
        seen["seconds"] = time.monotonic() - begin
        if seen.get("ranks") == [2]:
            break
    seen["status"] = sorted(hub.status().late)
    requests = {one: {"efield_au": (0, 0, 0)} for one in molecules()}
    seen["barrier"] = hub.step_barrier(requests, timeout=0.1)
    seen["bound"] = hub.wait_until_bound(molecules(), timeout=0.1)
    seen["other"] = caught(hub.step, fields_of_step(4), timeout=0.1)[0]
    seen["stop"] = caught(hub.stop, wait=0.1)[0]
    if "abort" in WORDS:
        (DIRECTORY / "result.json").write_text(json.dumps(seen))
        hub.abort(7)
    os.kill(pid_of(2), signal.SIGCONT)
    if "bind" in WORDS:  # whoever waits for the step first, its result is for who repeats it
        assert hub.wait_until_bound(molecules())
    amplitudes += trajectory(hub, range(3, STEPS))
    hub.stop()
    return {**seen, "amplitudes": amplitudes}


class Interrupt(Exception):
    pass


def run_interrupted() -> dict[str, Any]:
    """A signal handler raises while the hub waits for a paused driver."""

    def handler(number, frame):
        raise Interrupt

    signal.signal(signal.SIGALRM, handler)
    with MPIHub(timeout=PATIENCE_S) as hub:
        assert hub.wait_until_bound(molecules())
        amplitudes = trajectory(hub, range(3))
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        said = caught(hub.step, fields_of_step(3))[0]
        os.kill(pid_of(2), signal.SIGCONT)
        amplitudes += trajectory(hub, range(3, STEPS))
    return {"error": said, "amplitudes": amplitudes}


def run_hub_exception() -> dict[str, Any]:
    with MPIHub(timeout=PATIENCE_S) as hub:
        assert hub.wait_until_bound(molecules())
        trajectory(hub, range(3))
        raise RuntimeError("the solver has diverged")


def run_model_error() -> dict[str, Any]:
    """A model raises in the fourth step; then its rank begins afresh and the step is completed."""
    with MPIHub(timeout=PATIENCE_S, resume=True) as hub:
        assert hub.wait_until_bound(molecules())
        amplitudes = trajectory(hub, range(3))
        first = caught(hub.step, fields_of_step(3))
        second = caught(hub.step, fields_of_step(3))
        other = caught(hub.step, fields_of_step(4))[0]
        assert hub.wait_until_bound(molecules())
        amplitudes += trajectory(hub, range(3, STEPS))
        return {
            "first": first,
            "second": second,
            "other": other,
            "amplitudes": amplitudes,
            "generation": hub.generation,
        }


def run_wrong() -> dict[str, Any]:
    """Wrong arguments freeze and send nothing."""
    seen: dict[str, Any] = {"driver here": caught(MPIDriver, Witness)}
    hub = MPIHub(timeout=PATIENCE_S)
    with hub:
        seen["unbound"] = caught(hub.step, fields_of_step(0))
        seen["json"] = caught(hub.wait_until_bound, {1: {"dt_au": {1}}})
        seen["id"] = caught(hub.wait_until_bound, {2**40: {}})
        seen["no time step"] = caught(hub.wait_until_bound, {1: {"dt_au": -1.0}})
        assert hub.wait_until_bound(molecules())
        seen["shape"] = caught(hub.step, np.zeros((MOLECULES, 2)))
        seen["kind"] = caught(hub.step, [["a", "b", "c"]] * MOLECULES)
        seen["others"] = caught(hub.step_barrier, {5: {"efield_au": (0, 0, 0)}})
        seen["field"] = caught(hub.step_barrier, {one: {} for one in molecules()})
        child = os.fork()
        if not child:
            os._exit(0 if caught(hub.step, fields_of_step(0))[0] == ForeignProcessError.__name__ else 1)
        seen["fork"] = os.waitpid(child, 0)[1]
        hub._busy.acquire()
        seen["thread"] = caught(hub.step, fields_of_step(0))[0]
        hub._busy.release()
        seen["amplitudes"] = trajectory(hub, range(STEPS))
    return seen


def run_slow_start() -> dict[str, Any]:
    """The drivers are made only after the first waiting has failed; more ranks than molecules."""
    few = dict(list(molecules().items())[:1])
    with MPIHub(timeout=PATIENCE_S) as hub:
        early = hub.wait_until_bound(few, timeout=0.2)
        step = caught(hub.step, [[0.0, 0.0, 1e-3]], timeout=0.1)[0]
        (DIRECTORY / "go").touch()
        # The same step goes on although INIT had not been sent when it was asked for.
        amplitude = hub.step([[0.0, 0.0, 1e-3]])
        status = hub.status()
        hub.wait_until_bound(molecules())  # others: everything begins afresh
        amplitudes = trajectory(hub, range(STEPS))
        return {
            "early": early,
            "step": step,
            "amplitude": amplitude.tolist(),
            "waiting": status.waiting,
            "amplitudes": amplitudes,
            "generation": hub.generation,
        }


def run_twice() -> dict[str, Any]:
    """One hub after the other in one job."""
    both = []
    for _ in range(2):
        with MPIHub(timeout=PATIENCE_S) as hub:
            assert hub.wait_until_bound(molecules())
            both.append(trajectory(hub, range(STEPS)))
    return {"same": both[0] == both[1], "amplitudes": both[1]}


def run_block() -> dict[str, Any]:
    """A block model; in the words: what it does wrong."""
    with MPIHub(timeout=PATIENCE_S, extras=True) as hub:
        assert hub.wait_until_bound(molecules())
        if WORDS:
            return {"error": caught(hub.step, fields_of_step(0))}
        good = all((hub.step(fields_of_step(k)) == 2 * fields_of_step(k)).all() for k in range(STEPS))
        result = hub.step_barrier({one: {"efield_au": (1.0, 2.0, 3.0)} for one in molecules()})
        return {"good": good, "extras": [one["extra"].decode() for one in result.values()]}


# -- the other ranks -----------------------------------------------------------------------------------------


def doubling(found):
    def step(fields):
        match WORDS:
            case ["shape"]:
                return fields[:-1]
            case ["kind"]:
                return [["x", "y", "z"]] * len(fields)
            case ["ragged"]:
                return [[1.0], [1.0, 2.0]]
            case ["raise"]:
                raise ArithmeticError("no")
            case ["extras"]:
                return 2 * fields, [b""]
        return 2 * fields, [{"id": params["molecule_id"]} for params in found.values()]

    return step


def drive(rank: int) -> None:
    Witness.rank = rank
    for word in WORDS:
        who, at, step = word.partition("@")
        if at:  # RANK:SIGNAL@STEP:MOMENT
            (number, what), (count, moment) = who.split(":"), step.split(":")
            Witness.accidents.append((int(number), int(count), moment, what))
    if SCENARIO == "slow_start":
        if rank == 1:
            deadline = time.monotonic() + PATIENCE_S
            while not (DIRECTORY / "go").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
    elif SCENARIO == "wrong":
        note(rank, what="hub here", said=caught(MPIHub))
    for _ in range(2 if SCENARIO == "twice" else 1):
        driver = MPIDriver(block=doubling) if SCENARIO == "block" else MPIDriver(Witness)
        try:
            summary = driver.run()
        except ModelError as error:
            note(rank, what="failed", said=str(error))
        else:
            note(rank, what="end", reason=summary.reason.value, steps=summary.steps)
            if summary.reason is End.LOST:
                end_without_hub()


def end_without_hub() -> None:
    """As in `main`, when all other drivers have said their last."""
    from mpi4py import MPI

    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        files = list(DIRECTORY.glob("events-*"))
        if sum('"end"' in file.read_text() for file in files) == MPI.COMM_WORLD.Get_size() - 1:
            break
        time.sleep(0.01)
    MPI.COMM_WORLD.Abort(1)


def main() -> None:
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.Get_rank()
    (DIRECTORY / f"pid-{rank}").write_text(str(os.getpid()))
    MPI.COMM_WORLD.Barrier()
    if rank:
        drive(rank)
        return
    result = globals()[f"run_{SCENARIO}"]()
    (DIRECTORY / "result.json").write_text(json.dumps(result))
    if SCENARIO == "all_killed" or result.get("lost"):
        # After a death Open MPI 5.0.11 sometimes hangs in MPI_Finalize; the README advises this.
        MPI.COMM_WORLD.Abort(1)


if __name__ == "__main__":
    main()
