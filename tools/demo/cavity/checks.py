"""Every claim of the act as a check that can fail, with its bound beside the figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from checks import Check, below

if TYPE_CHECKING:
    from cavity.analysis import Analysis
    from cavity.experiment import Run
    from cavity.normal_modes import Lines

#: Relative. Finite steps shift the lines by 0.02 to 0.03 %.
FREQUENCY_BOUND: Final = 1e-3
#: Relative. The harder test: the lines of one molecule lie only 5 % off the empty cavity.
SPLITTING_BOUND: Final = 1e-2
#: Relative, each line against the model in steps, which leaves only the window's error.
DISCRETE_BOUND: Final = 2e-5
#: Steps from which that bound holds: the window's error falls with the length of the record.
DISCRETE_BOUND_STEPS: Final = 4000
#: Relative. The leapfrog's own band is (wc dt)^2 / 4 = 2.5e-3.
ENERGY_BAND_BOUND: Final = 2.6e-3
#: Relative, over the whole run.
ENERGY_DRIFT_BOUND: Final = 3e-6
#: Of one molecule. The normal modes are those of weak excitation.
EXCITATION_BOUND: Final = 1e-4


def physics_checks(analysis: Analysis, highest_excitation: float) -> list[Check]:
    """Lines, splitting, energy and excitation of one number of molecules."""
    name = f"N = {analysis.molecules}"
    resolved = analysis.resolved
    long_enough = resolved and analysis.steps >= DISCRETE_BOUND_STEPS
    frequency = _worst(analysis.found, analysis.analytic)
    discrete = _worst(analysis.found, analysis.discrete)
    splitting = abs(analysis.found.splitting / analysis.analytic.splitting - 1)
    return [
        below(f"{name}: both lines at the analytic normal modes", frequency, FREQUENCY_BOUND, resolved),
        below(f"{name}: splitting is G sqrt(N)", splitting, SPLITTING_BOUND, resolved),
        below(f"{name}: both lines at the modes of the stepped model", discrete, DISCRETE_BOUND, long_enough),
        below(f"{name}: energy stays inside the leapfrog's band", analysis.energy_band, ENERGY_BAND_BOUND),
        below(f"{name}: energy does not drift", abs(analysis.energy_drift), ENERGY_DRIFT_BOUND, resolved),
        below(f"{name}: molecules are weakly excited", highest_excitation, EXCITATION_BOUND),
    ]


def identity_checks(reference: Run, undisturbed: list[Run], disturbed: list[Run]) -> list[Check]:
    """Equal bits over every transport, and in spite of killed processes.

    Sockets are held against molecules in one process, bridges and MPI against
    sockets, if these were run.
    """
    name = f"N = {reference.molecules}"
    values = f"{len(reference.trajectory.velocity) - 1} steps compared bit for bit"
    first = undisturbed[0]
    checks = []
    for run in undisturbed:
        other = first if run.transport in ("bridges", "mpi") and first is not run else reference
        whose = "of molecules in one process" if other is reference else f"over {other.transport}"
        claim = f"{name}: trajectory over {run.transport} is that {whose}"
        checks.append(Check(claim, values, run.same_bits_as(other)))
    for run in disturbed:
        claim = f"{name}: trajectory over {run.transport} with killed {run.victims} is the undisturbed one"
        checks.append(Check(claim, values, run.same_bits_as(first)))
        figure = f"{run.killed} of {run.planned_kills}"
        claim = f"{name}: {run.victims} killed and replaced"
        checks.append(Check(claim, figure, run.killed == run.planned_kills))
    return checks


def _worst(found: Lines, expected: Lines) -> float:
    return max(abs(line / other - 1) for line, other in zip(found, expected, strict=True))
