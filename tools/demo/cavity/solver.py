"""The field solver: one lossless cavity mode that sees only ``d(mu)/dt`` of its molecules.

No sockets, no files, no clock. `run` is given a function ``couple(field)``
which carries the field to the molecules, wherever they are, and brings their
amplitudes back. So the same solver runs with molecules in this process, behind
our hub, behind another hub, or driven by other programs.

The continuous model, with the cavity coordinate ``q``, its coupling constant
``g`` and the total dipole ``M`` of all molecules, in atomic units::

    d2q/dt2 = -wc^2 q + g dM/dt          the field that the molecules feel: E = -g dq/dt

One step from ``n`` to ``n + 1``, everything centred (second order, no drift):

======================================  ===========================================
``v += dt (-wc^2 q + g sum(amp))``      ``v = dq/dt`` lives at half steps
``E = -g v``                            constant while the molecules make their step
``amp = couple(E)``                     ``d(mu)/dt`` of every molecule at ``n + 1``
``q += dt v``                           ``q`` lives at whole steps
======================================  ===========================================

The sum is `math.fsum`, which rounds once: the order in which molecules are
numbered or answer cannot change a bit of the trajectory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Parameters:
    """The cavity, its molecules and the time step; all in atomic units.

    Attributes
    ----------
    cavity_frequency, molecule_frequency : float
        Angular frequencies of the empty cavity and of the two-level transition.
    dipole : float
        Transition dipole of one molecule.
    collective_coupling : float
        ``G`` of a single molecule: the splitting of its two polaritons.
    time_step : float
        Length of one step; the wire calls it ``dt_au``.
    mean_photons : float
        Energy in the cavity at the start, in quanta. Small: the normal modes
        are those of weakly excited molecules.
    """

    cavity_frequency: float = 0.1
    molecule_frequency: float = 0.1
    dipole: float = 1.0
    collective_coupling: float = 0.01
    time_step: float = 1.0
    mean_photons: float = 1e-4

    @property
    def coupling(self) -> float:
        """``g`` of the field equation, such that one molecule splits the mode by ``G``."""
        return self.collective_coupling / (self.dipole * math.sqrt(2.0 * self.molecule_frequency))

    @property
    def start_coordinate(self) -> float:
        """``q(0)``: all energy is in the coordinate, the velocity is zero."""
        return math.sqrt(2.0 * self.molecule_frequency * self.mean_photons) / self.cavity_frequency


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What the cavity did in ``steps`` steps.

    Attributes
    ----------
    coordinate : ndarray, shape (steps + 1,), float64, atomic units
        ``q`` at the times ``n dt``.
    velocity : ndarray, shape (steps + 1,), float64, atomic units
        ``dq/dt`` at the times ``(n - 1/2) dt``.
    current : ndarray, shape (steps + 1,), float64, atomic units
        ``dM/dt`` of all molecules together at the times ``n dt``.
    """

    coordinate: NDArray[np.float64]
    velocity: NDArray[np.float64]
    current: NDArray[np.float64]

    def same_bits_as(self, other: Trajectory) -> bool:
        """Whether every value of both trajectories has the same 64 bits."""
        return (
            self.coordinate.tobytes() == other.coordinate.tobytes()
            and self.velocity.tobytes() == other.velocity.tobytes()
            and self.current.tobytes() == other.current.tobytes()
        )


def run(
    parameters: Parameters,
    couple: Callable[[float], Iterable[float]],
    steps: int,
    after_step: Callable[[int], None] | None = None,
) -> Trajectory:
    """Let the cavity ring for `steps` steps, coupled to molecules.

    Parameters
    ----------
    parameters : Parameters
        Cavity and time step.
    couple : callable
        Takes the field at the molecules (atomic units) and returns the
        amplitude ``d(mu)/dt`` of each molecule one step later, in any order.
    steps : int
        How many steps to make.
    after_step : callable, optional
        Told the number of finished steps after each of them.

    Returns
    -------
    Trajectory
    """
    dt, g = parameters.time_step, parameters.coupling
    stiffness = parameters.cavity_frequency**2
    q = parameters.start_coordinate
    v = dt * stiffness * q / 2.0  # half a step before the start, so that v(0) = 0
    current = 0.0
    coordinates, velocities, currents = [q], [v], [current]
    for step in range(1, steps + 1):
        v += dt * (-stiffness * q + g * current)
        current = math.fsum(couple(-g * v))
        q += dt * v
        coordinates.append(q)
        velocities.append(v)
        currents.append(current)
        if after_step is not None:
            after_step(step)
    return Trajectory(np.array(coordinates), np.array(velocities), np.array(currents))


def total_energy(
    parameters: Parameters, trajectory: Trajectory, excitation: Iterable[float]
) -> NDArray[np.float64]:
    """Energy of cavity and molecules at whole steps.

    The velocity of a whole step is the mean of its two neighbours, so the
    result oscillates inside a band of relative width ``(wc dt)^2 / 4``: that is
    the leapfrog's, known, and it does not grow.

    Parameters
    ----------
    parameters : Parameters
        What the trajectory was run with.
    trajectory : Trajectory
        Result of `run`.
    excitation : iterable of float
        Sum of the excited populations of all molecules after each step.

    Returns
    -------
    ndarray, shape (steps,), float64, atomic units
        At the times ``0, dt, ... (steps - 1) dt``.
    """
    excited = np.concatenate(([0.0], np.fromiter(excitation, dtype=np.float64)))[:-1]
    velocity = (trajectory.velocity[:-1] + trajectory.velocity[1:]) / 2.0
    cavity = velocity**2 / 2.0 + parameters.cavity_frequency**2 * trajectory.coordinate[:-1] ** 2 / 2.0
    energy: NDArray[np.float64] = cavity + parameters.molecule_frequency * excited
    return energy
