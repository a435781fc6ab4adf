"""What a trajectory says: lines against normal modes, and how well energy was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cavity.normal_modes import Lines, analytic_lines, discrete_lines
from cavity.solver import Parameters, Trajectory, total_energy
from cavity.spectrum import RESOLVABLE_BINS, Spectrum, distance_in_bins, spectrum_of, strongest_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Analysis:
    """Result of one number of molecules.

    Attributes
    ----------
    molecules, steps : int
        How many.
    spectrum : Spectrum
        Of the cavity's velocity, which is the field.
    found, analytic, discrete : Lines
        Lines in the spectrum, of the continuous model, and of the model in steps.
    resolved : bool
        Whether the run is long enough for this distance of two lines.
    energy_band : float
        Highest minus lowest energy, relative to the mean.
    energy_drift : float
        Change of the mean energy from begin to end, relative to the mean.
    """

    molecules: int
    steps: int
    spectrum: Spectrum
    found: Lines
    analytic: Lines
    discrete: Lines
    resolved: bool
    energy_band: float
    energy_drift: float


def analyse(
    parameters: Parameters, molecules: int, trajectory: Trajectory, excitation: Sequence[float]
) -> Analysis:
    """Find the lines of a trajectory and put the normal modes beside them.

    Parameters
    ----------
    parameters : Parameters
        What the trajectory was run with.
    molecules : int
        How many were coupled.
    trajectory : Trajectory
        Result of `cavity.solver.run`.
    excitation : sequence of float
        Sum of the excited populations after each step.
    """
    dt = parameters.time_step
    steps = len(trajectory.velocity) - 1
    spectrum = spectrum_of(trajectory.velocity[1:], dt)
    analytic = analytic_lines(parameters, molecules)
    energy = total_energy(parameters, trajectory, excitation)
    return Analysis(
        molecules,
        steps,
        spectrum,
        strongest_lines(spectrum),
        analytic,
        discrete_lines(parameters, molecules),
        distance_in_bins(analytic.splitting, steps, dt) >= RESOLVABLE_BINS,
        float((energy.max() - energy.min()) / energy.mean()),
        drift(energy),
    )


def drift(energy: NDArray[np.float64]) -> float:
    """Relative change of the mean of an oscillating quantity over its record.

    The means of the two halves are taken under a Hann window each: a plain
    mean would depend on where in its oscillation the record begins and ends,
    by more than the drift that is looked for. The halves' middles are half a
    record apart, hence the factor of two.
    """
    half = len(energy) // 2
    window = np.hanning(half)
    first = np.average(energy[:half], weights=window)
    last = np.average(energy[-half:], weights=window)
    return float(2.0 * (last - first) / energy.mean())
