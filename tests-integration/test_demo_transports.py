"""The demo's cavity over bridges and as an MPI job: the bits of the run over sockets."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.machinery
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

DEMO = Path(__file__).parents[1] / "tools" / "demo"
sys.path.insert(0, str(DEMO))

from cavity import act, bridges, checks, coupling, drivers, experiment, job, kills, nodes, solver  # noqa: E402
from processes import ProcessError  # noqa: E402

PARAMETERS = solver.Parameters()
STEPS = 120
#: Of a demo with its processes on a very busy machine.
TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def program():
    """The demo's command line as a module."""
    spec = importlib.util.spec_from_file_location("demo_transports_command", DEMO / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize("molecules", [1, 5])
def test_bridges_give_the_bits_of_molecules_in_one_process(molecules):
    """Aggregated hub, bridges and drivers, each a process; groups of different sizes."""
    run = bridges.run_over_bridges(PARAMETERS, molecules, STEPS)
    assert run.same_bits_as(experiment.run_in_process(PARAMETERS, molecules, STEPS))
    assert (run.transport, run.killed) == ("bridges", 0)


@pytest.mark.parametrize("molecules", [1, 4])
def test_killed_and_replaced_bridges_change_no_bit(molecules):
    """Between steps, at any time, and when some of its molecules have made the step it owes the answer of."""
    planned = kills.plan(STEPS, mortal=False)
    run = bridges.run_over_bridges(PARAMETERS, molecules, STEPS, planned=planned)
    assert run.killed == len(planned) >= 2
    assert run.same_bits_as(experiment.run_in_process(PARAMETERS, molecules, STEPS))


def test_molecules_are_divided_among_groups_in_contiguous_blocks():
    """No group is empty, and none is larger than another by more than one."""
    for molecules in range(2, 20):
        groups = [coupling.group_of(molecule, molecules, ("a", "b")) for molecule in range(molecules)]
        assert groups == sorted(groups)
        assert abs(groups.count("a") - groups.count("b")) <= 1


@pytest.mark.parametrize("whose", ["bridge", "driver"])
def test_a_process_of_a_node_that_ends_by_itself_is_reported(tmp_path, whose):
    """Only deaths that the demo has caused are repaired."""
    with socket.create_server(("127.0.0.1", 0)) as nobody, drivers.DriverProcesses(tmp_path) as molecules:
        model = experiment.parameters_of_model(PARAMETERS)
        with nodes.Nodes(tmp_path, molecules, model, {"node-0": 1}) as node:
            node.populate(nobody.getsockname())
            victim = (node if whose == "bridge" else molecules).living[0]
            victim.kill()
            victim.wait(TIMEOUT_S)
            with pytest.raises(drivers.DriverError, match=f"{whose}-0 ended with status"):
                node.replace_dead()
            for process in (*node.living, *molecules.living):
                process.kill()


def test_runs_over_bridges_and_mpi_are_held_against_the_run_over_sockets():
    """A single wrong bit in one of them is seen, and named."""
    reference = experiment.run_in_process(PARAMETERS, 2, 50)
    tcp = dataclasses.replace(reference, transport="tcp")
    velocity = reference.trajectory.velocity.copy()
    velocity[40] = np.nextafter(velocity[40], np.inf)
    wrong = dataclasses.replace(reference.trajectory, velocity=velocity)
    bridge = dataclasses.replace(reference, transport="bridges", trajectory=wrong)
    killed = dataclasses.replace(bridge, killed=2, planned_kills=3, victims="bridges")
    mpi = dataclasses.replace(reference, transport="mpi")
    verdicts = {
        check.claim.partition(": ")[2]: check.passed
        for check in checks.identity_checks(reference, [tcp, bridge, mpi], [killed])
    }
    assert verdicts == {
        "trajectory over tcp is that of molecules in one process": True,
        "trajectory over bridges is that over tcp": False,
        "trajectory over mpi is that over tcp": True,
        "trajectory over bridges with killed bridges is the undisturbed one": False,
        "bridges killed and replaced": False,
    }


@pytest.mark.parametrize(
    ("transport", "runs"),
    [("bridge", ["bridges", "bridges killed"]), pytest.param("mpi", ["mpi"], marks=pytest.mark.mpi)],
)
def test_the_act_without_sockets_passes_all_its_checks(program, transport, runs):
    """Molecules in one process are then what the runs are held against."""
    options = ["cavity", "--transport", transport, "--steps", str(STEPS), "--molecules", "2"]
    result = act.play(program.parse_arguments(options))
    verdicts = {check.claim: check.passed for check in result.checks}
    assert False not in verdicts.values()
    assert verdicts[f"N = 2: trajectory over {runs[0]} is that of molecules in one process"]
    speeds = result.tables[-1]
    assert all(f"N = 2       {run} " in speeds for run in runs)


@pytest.mark.parametrize(
    ("given", "transports"),
    [
        ([], None),
        (["--transport", "mpi"], ["mpi"]),
        (["--transport", "mpi,bridge"], ["mpi", "bridge"]),
        (["--transport", "mpi", "--transport", "sockets"], ["mpi", "sockets"]),
    ],
)
def test_transports_are_named_with_commas_or_one_by_one(program, given, transports):
    """None stands for the default."""
    assert program.parse_arguments(given).transport == transports


def test_a_transport_that_does_not_exist_is_refused_by_name(program, capsys):
    """Status 2, and what there is."""
    with pytest.raises(SystemExit, match="2"):
        program.parse_arguments(["--transport", "sockets,pigeon"])
    assert "no transport 'pigeon'; there are sockets, bridge, mpi" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["--sockets", "--transports"])
def test_the_kinds_of_sockets_have_a_name_of_their_own_and_the_old_one(program, name):
    """One says over which sockets, the other whether over sockets at all."""
    options = program.parse_arguments([name, "tcp", "--transport", "sockets"])
    assert (options.sockets, options.transport) == (["tcp"], ["sockets"])


@pytest.mark.parametrize("missing", [["the package mpi4py"], ["the program mpiexec"], None])
def test_what_mpi_needs_is_named_before_anything_is_run(program, monkeypatch, tmp_path, capsys, missing):
    """Status 2, and no transport that could be run hides it."""
    package = types.ModuleType("mpi4py")
    package.__spec__ = importlib.machinery.ModuleSpec("mpi4py", None)
    missing = missing or ["the package mpi4py", "the program mpiexec"]
    monkeypatch.setitem(sys.modules, "mpi4py", None if "the package mpi4py" in missing else package)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    if "the program mpiexec" not in missing:
        launcher = tmp_path / ("mpiexec.exe" if os.name == "nt" else "mpiexec")
        launcher.touch(0o700)
    monkeypatch.setattr(program, "interrupt_on_sigterm", lambda: None)
    assert program.main(["cavity", "--transport", "sockets,mpi", "--output", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert f"--transport mpi needs {' and '.join(missing)}, not found" in shown.err
    assert "0 of 0 checks" in shown.out


if os.name == "posix":  # the launcher is a script

    @pytest.mark.parametrize(
        ("version", "open_mpi"),
        [
            ("mpiexec (Open MPI) 5.0.11", True),
            ("mpiexec (OpenRTE) 4.1.4", True),
            ("HYDRA build details:\n    Version:  5.0.2", False),
        ],
    )
    def test_only_open_mpi_is_given_its_options(monkeypatch, tmp_path, version, open_mpi):
        """Of every age; others would refuse them."""
        launcher = tmp_path / "mpiexec"
        launcher.write_text(f"#!/bin/sh\necho '{version}'\n")
        launcher.chmod(0o700)
        package = types.ModuleType("mpi4py")
        package.__spec__ = importlib.machinery.ModuleSpec("mpi4py", None)
        monkeypatch.setitem(sys.modules, "mpi4py", package)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        first, *options, _, ranks = job.launch_command(3)
        assert (first, ranks) == (str(launcher), "3")
        assert ("--oversubscribe" in options) == open_mpi
        assert bool(options) == open_mpi


@pytest.mark.mpi
@pytest.mark.parametrize("molecules", [1, 5])
def test_an_mpi_job_gives_the_bits_of_molecules_in_one_process(molecules):
    """The solver on rank 0, molecules in blocks on one or two others; it tells how far it is."""
    told: list[int] = []
    run = job.run_over_mpi(PARAMETERS, molecules, STEPS, after_step=told.append)
    assert run.same_bits_as(experiment.run_in_process(PARAMETERS, molecules, STEPS))
    assert run.transport == "mpi"
    assert told == sorted(told)
    assert all(0 < step <= STEPS for step in told)


@pytest.mark.mpi
def test_sockets_bridges_and_mpi_give_the_same_bits():
    """The three ways to the same molecules, and those in one process."""
    runs = [
        experiment.run_with_processes(PARAMETERS, 3, STEPS, "tcp"),
        bridges.run_over_bridges(PARAMETERS, 3, STEPS),
        job.run_over_mpi(PARAMETERS, 3, STEPS),
    ]
    verdicts = {
        check.claim.partition(": ")[2]: check.passed
        for check in checks.identity_checks(experiment.run_in_process(PARAMETERS, 3, STEPS), runs, [])
    }
    assert verdicts == {
        "trajectory over tcp is that of molecules in one process": True,
        "trajectory over bridges is that over tcp": True,
        "trajectory over mpi is that over tcp": True,
    }


@pytest.mark.mpi
def test_a_failed_mpi_job_is_reported_with_its_last_words():
    """Models that refuse their parameters end the job."""
    parameters = dataclasses.replace(PARAMETERS, molecule_frequency=-0.1)
    with pytest.raises(ProcessError, match="want > 0"):
        job.run_over_mpi(parameters, 2, STEPS)


if sys.platform == "linux":  # processes are looked up in /proc

    def _started_in(folder: Path) -> list[str]:
        """Command lines of all processes that were given a path in the folder, but for the demo's own."""
        found = []
        for file in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = file.read_bytes().decode(errors="replace").split("\0")
                if str(DEMO) not in words and any(str(folder) in word for word in words):
                    found.append(" ".join(words))
        return found

    def _connected(folder: Path) -> bool:
        return all("connected" in file.read_text() for file in folder.glob("demo-*/driver-*.stderr"))

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
    @pytest.mark.parametrize(
        ("transport", "molecules", "processes"),
        # Two bridges and two drivers, or a launcher and two ranks; MPICH has a proxy in between.
        [("bridge", 2, 4), pytest.param("mpi", 1, 3, marks=pytest.mark.mpi)],
    )
    def test_a_demo_that_ends_in_the_middle_leaves_no_process(
        tmp_path, transport, molecules, processes, number
    ):
        """Interrupted it ends them; killed, they find out."""
        run = ["cavity", "--steps", "100000", "--molecules", str(molecules), "--transport", transport]
        demo = subprocess.Popen(
            [sys.executable, str(DEMO), *run, "--output", str(tmp_path)],
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        deadline = time.monotonic() + TIMEOUT_S
        try:
            # What has not found its hub yet goes on trying for a while.
            while len(_started_in(tmp_path)) < processes or not _connected(tmp_path):
                assert time.monotonic() < deadline
                assert demo.poll() is None
                time.sleep(0.02)
            demo.send_signal(number)
            demo.wait(TIMEOUT_S)
        finally:
            demo.kill()
            demo.wait(TIMEOUT_S)
        deadline = time.monotonic() + TIMEOUT_S
        assert demo.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
        while left := _started_in(tmp_path):
            assert time.monotonic() < deadline, left
            time.sleep(0.02)
