"""The demo's command line, and its cavity act: physics in this process, short runs with real drivers."""

from __future__ import annotations

import importlib.util
import io
import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

DEMO = Path(__file__).parents[1] / "tools" / "demo"
sys.path.insert(0, str(DEMO))

import acts  # noqa: E402
import progress  # noqa: E402
from cavity import checks, drivers, experiment, kills, normal_modes, solver, spectrum  # noqa: E402
from cavity.analysis import analyse, drift  # noqa: E402

PARAMETERS = solver.Parameters()
TRANSPORTS = ["unix", "tcp"] if hasattr(socket, "AF_UNIX") else ["tcp"]
#: Of a demo with its processes on a very busy machine.
TIMEOUT_S = 120.0


def test_splitting_of_the_normal_modes_is_g_times_the_root_of_n():
    """On resonance the distance of the modes is G sqrt(N) exactly."""
    for molecules in (1, 2, 4, 16, 100):
        lines = normal_modes.analytic_lines(PARAMETERS, molecules)
        assert lines.splitting == pytest.approx(0.01 * math.sqrt(molecules), rel=1e-12)


def test_stepped_modes_approach_the_analytic_ones_with_the_square_of_the_step():
    """Half the step, a quarter of the error: the solver is of second order."""

    def error(time_step: float) -> float:
        parameters = solver.Parameters(time_step=time_step)
        return (
            normal_modes.discrete_lines(parameters, 4).upper
            - normal_modes.analytic_lines(parameters, 4).upper
        )

    assert error(1.0) / error(0.5) == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize("molecules", [1, 4, 16])
def test_molecules_in_this_process_meet_every_figure(molecules):
    """The physics of the full job, without its processes."""
    run = experiment.run_in_process(PARAMETERS, molecules, 4000)
    analysis = analyse(PARAMETERS, molecules, run.trajectory, run.populations.total)
    assert analysis.resolved
    for check in checks.physics_checks(analysis, run.populations.highest):
        assert check.passed, f"{check.claim}: {check.figure}"


def test_a_cavity_without_molecules_rings_at_its_own_stepped_frequency():
    """Nothing couples: the leapfrog's sin(W dt / 2) = wc dt / 2."""
    trajectory = solver.run(PARAMETERS, lambda field: (), 4000)
    shown = spectrum.spectrum_of(trajectory.velocity[1:], PARAMETERS.time_step)
    found = shown.frequency[np.argmax(shown.magnitude)]
    expected = 2.0 * math.asin(PARAMETERS.cavity_frequency / 2.0)
    assert found == pytest.approx(expected, abs=shown.frequency[1])


def test_order_of_the_molecules_cannot_change_a_bit():
    """Different molecules, answered forwards and backwards, give the same trajectory."""

    def answers(field: float) -> list[float]:
        return [field * (0.1 + molecule / 7.0) for molecule in range(9)]

    forwards = solver.run(PARAMETERS, answers, 200)
    backwards = solver.run(PARAMETERS, lambda field: answers(field)[::-1], 200)
    assert forwards.same_bits_as(backwards)


def test_a_single_wrong_bit_is_noticed():
    """The comparison that everything rests on sees the last bit of one value."""
    one = experiment.run_in_process(PARAMETERS, 2, 50)
    other = experiment.run_in_process(PARAMETERS, 2, 50)
    assert one.same_bits_as(other)
    other.trajectory.coordinate[40] = np.nextafter(other.trajectory.coordinate[40], np.inf)
    assert not one.same_bits_as(other)


def test_a_field_half_a_step_late_fails_the_energy_check():
    """The known trap of this scheme cannot pass."""
    late = [0.0]
    couple = experiment.InProcessCoupling(PARAMETERS, 4)

    def late_couple(field: float) -> list[float]:
        late.append(field)
        return couple(late[-2])

    trajectory = solver.run(PARAMETERS, late_couple, 4000)
    analysis = analyse(PARAMETERS, 4, trajectory, couple.populations.total)
    verdicts = {
        check.claim: check.passed for check in checks.physics_checks(analysis, couple.populations.highest)
    }
    assert verdicts["N = 4: energy does not drift"] is False


def test_drift_is_found_under_an_oscillation_a_thousand_times_larger():
    """A linear change of 1e-6 shows; the oscillation itself counts as no drift."""
    steps = np.arange(4000)
    oscillation = 1.0 + 1e-3 * np.sin(0.21 * steps)
    assert abs(drift(oscillation)) < 1e-9
    assert drift(oscillation + 1e-6 * steps / len(steps)) == pytest.approx(1e-6, rel=0.01)


def test_short_runs_are_not_judged_by_their_lines():
    """Unresolved lines are reported as not judged, neither passed nor failed."""
    run = experiment.run_in_process(PARAMETERS, 1, 1000)
    analysis = analyse(PARAMETERS, 1, run.trajectory, run.populations.total)
    verdicts = [check.verdict for check in checks.physics_checks(analysis, run.populations.highest)]
    assert verdicts == ["----", "----", "----", "PASS", "----", "PASS"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_driver_processes_give_the_bits_of_molecules_in_one_process(transport):
    """Two driver processes behind the hub, no disturbance."""
    reference = experiment.run_in_process(PARAMETERS, 2, 300)
    run = experiment.run_with_processes(PARAMETERS, 2, 300, transport)
    assert run.same_bits_as(reference)
    assert run.killed == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_killed_and_replaced_drivers_change_no_bit(transport):
    """One death at every moment of a step; the trajectory is the undisturbed one."""
    reference = experiment.run_in_process(PARAMETERS, 2, 300)
    planned = kills.plan(300)
    run = experiment.run_with_processes(PARAMETERS, 2, 300, transport, planned=planned)
    assert run.killed == len(planned)
    assert run.same_bits_as(reference)


def test_a_single_molecule_survives_every_kind_of_death():
    """With one molecule nobody else keeps the hub busy meanwhile."""
    reference = experiment.run_in_process(PARAMETERS, 1, 300)
    run = experiment.run_with_processes(PARAMETERS, 1, 300, "tcp", planned=kills.plan(300))
    assert run.killed == run.planned_kills
    assert run.same_bits_as(reference)


def test_a_driver_that_fails_by_itself_is_reported_with_its_last_words(tmp_path):
    """Nobody killed it, so it is an error, and the error says why it died."""
    with drivers.DriverProcesses(tmp_path) as processes:
        processes.start([sys.executable, "-c", "import sys; sys.exit('no such molecule')"])
        processes.living[0].wait(TIMEOUT_S)
        with pytest.raises(drivers.DriverError, match="no such molecule"):
            processes.bury()


def test_no_driver_is_left_behind_by_an_exception(tmp_path):
    """Leaving the context ends drivers that would never end by themselves."""
    processes = drivers.DriverProcesses(tmp_path)

    def start_and_fail() -> None:
        with processes:
            processes.start([sys.executable, "-c", "import time; time.sleep(600)"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start_and_fail()
    assert processes.living[0].poll() is not None


if sys.platform == "linux":  # the processes are looked up in /proc

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize(
        ("act", "processes"),
        [
            (["cavity", "--steps", "100000", "--molecules", "2", "--transports", "tcp"], 2),
            (["readouts", "--readouts", "200000"], 5),
            (["controllers"], 3),
        ],
    )
    def test_an_interrupted_demo_ends_its_processes(tmp_path, act, processes, number):
        """Ctrl-C or a polite kill in the middle of an act: status 130, no process lives on."""
        demo = subprocess.Popen(
            [sys.executable, str(DEMO), *act, "--output", str(tmp_path)],
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while len(children := _children(demo.pid)) < processes:
                assert time.monotonic() < deadline
                assert demo.poll() is None
                time.sleep(0.01)
            demo.send_signal(number)
            _, errors = demo.communicate(timeout=TIMEOUT_S)
        finally:
            demo.kill()
            demo.wait(TIMEOUT_S)
        assert demo.returncode == 130
        assert b"interrupted" in errors
        assert not [child for child in children if Path(f"/proc/{child}").exists()]
        assert not list(tmp_path.glob("demo-*"))

    def _children(process: int) -> list[int]:
        tasks = Path(f"/proc/{process}/task").glob("*/children")
        return [int(child) for children in tasks for child in children.read_text().split()]


def test_progress_is_a_bar_on_a_terminal_and_one_line_per_run_elsewhere():
    """No control characters end up in a log file."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    shown = {}
    for stream in (Terminal(), io.StringIO()):
        with progress.Progress(10, stream) as bar:
            bar.begin_run("N = 1", 10)
            bar(5)
            bar.end_run("done")
        shown[type(stream)] = stream.getvalue()
    assert "\r" in shown[Terminal]
    assert "[....." in shown[Terminal]
    assert shown[io.StringIO].count("\n") == 1
    assert "\r" not in shown[io.StringIO]


@pytest.fixture
def command(monkeypatch):
    """The demo's command line in this process, which keeps its signal handlers."""
    spec = importlib.util.spec_from_file_location("demo_command", DEMO / "__main__.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "interrupt_on_sigterm", lambda: None)
    return module.main


@pytest.fixture
def programme(monkeypatch, tmp_path):
    """Three acts that end in the three possible ways."""
    play = """
from acts import ActBroke, Result
from checks import Check

TITLE = "an act"

def add_arguments(parser):
    pass

def play(options):
    {}
"""
    result = "return Result(['a table'], [Check('it works', '1 of 1', {})], 'x.png', lambda path: None)"
    modules = {
        "good": result.format("True"),
        "unjudged": result.format("None"),
        "bad": result.format("False"),
        "broken": "raise ActBroke('nobody came')",
    }
    for name, ending in modules.items():
        (tmp_path / f"programme_{name}.py").write_text(play.format(ending))
        monkeypatch.delitem(sys.modules, f"programme_{name}", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(acts, "ACTS", {name: f"programme_{name}" for name in modules})
    return acts.ACTS


@pytest.mark.parametrize(
    ("chosen", "status"),
    [
        (["good"], 0),
        (["unjudged"], 0),
        (["good", "bad"], 1),
        (["broken", "good"], 2),
        (["good", "unjudged", "bad", "broken"], 2),
    ],
)
def test_exit_status_tells_the_worst_ending_of_the_chosen_acts(
    command, programme, monkeypatch, capsys, chosen, status
):
    """All checks pass, one fails, an act broke; the acts after it are played all the same."""
    monkeypatch.setitem(command.__globals__, "ACTS", programme)
    assert command(chosen) == status
    shown = capsys.readouterr()
    assert [line.partition(":")[0] for line in shown.err.splitlines() if line.endswith("an act")] == chosen
    assert shown.out.count("a table") == sum(name != "broken" for name in chosen)
    assert ("all acts" in shown.out) == (len(chosen) > 1)
    assert ("broke: nobody came" in shown.out) == ("broken" in chosen)


def test_all_acts_are_played_in_order_on_demand(command, programme, monkeypatch, capsys):
    """The last line sums them up: passed of judged."""
    monkeypatch.setitem(command.__globals__, "ACTS", programme)
    assert command(["all"]) == 2
    lines = capsys.readouterr().out.splitlines()[-5:]
    assert [line.split()[0] for line in lines] == ["good", "unjudged", "bad", "broken", "all"]
    assert "1 of 2 checks passed" in lines[-1]


def test_without_names_the_first_act_is_played(command, programme, monkeypatch, capsys):
    """And no other."""
    monkeypatch.setitem(command.__globals__, "ACTS", programme)
    assert command([]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines() == ["good: an act"]
    assert shown.out.splitlines()[-1].startswith("good ")


def test_an_act_that_does_not_exist_is_refused_by_name(command, capsys):
    """Nothing is played; status 2, as of every wrong argument."""
    with pytest.raises(SystemExit, match="2"):
        command(["cavity", "opera"])
    error = capsys.readouterr().err
    assert f"no act opera; there are {', '.join(acts.ACTS)}" in error
    assert "cavity" in acts.ACTS
