"""Where the two polariton lines must be: the continuous model, and the same with a finite time step.

Weakly excited two-level molecules are oscillators, so cavity and molecules
have two bright normal modes. With ``G = g mu12 sqrt(2 w0 N)`` for ``N``
molecules they solve::

    (wc^2 - W^2) (w0^2 - W^2) = G^2 W^2

On resonance their distance is exactly ``G``, which grows as ``sqrt(N)``.

The solver's steps are finite. For its leapfrog, with ``S = sin^2(W dt / 2)``,
the modes solve instead::

    (S - (wc dt/2)^2) (S - sin^2(w0 dt/2)) = (G dt/2)^2 cos(w0 dt/2) S
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cavity.solver import Parameters


class Lines(NamedTuple):
    """Two polariton lines, angular frequencies in atomic units."""

    lower: float
    upper: float

    @property
    def splitting(self) -> float:
        """Distance of the two lines."""
        return self.upper - self.lower


def collective_coupling(parameters: Parameters, molecules: int) -> float:
    """``G`` of `molecules` molecules together, atomic units."""
    return (
        parameters.coupling * parameters.dipole * math.sqrt(2.0 * parameters.molecule_frequency * molecules)
    )


def analytic_lines(parameters: Parameters, molecules: int) -> Lines:
    """Return the normal modes of the continuous model."""
    coupling = collective_coupling(parameters, molecules)
    cavity, molecule = parameters.cavity_frequency**2, parameters.molecule_frequency**2
    lower, upper = _roots(cavity + molecule + coupling**2, cavity * molecule)
    return Lines(math.sqrt(lower), math.sqrt(upper))


def discrete_lines(parameters: Parameters, molecules: int) -> Lines:
    """Return the normal modes of the same model in steps of ``time_step``."""
    dt = parameters.time_step
    coupling = (collective_coupling(parameters, molecules) * dt / 2.0) ** 2
    cavity = (parameters.cavity_frequency * dt / 2.0) ** 2
    molecule = math.sin(parameters.molecule_frequency * dt / 2.0) ** 2
    shift = coupling * math.cos(parameters.molecule_frequency * dt / 2.0)
    lower, upper = _roots(cavity + molecule + shift, cavity * molecule)
    return Lines(2.0 / dt * math.asin(math.sqrt(lower)), 2.0 / dt * math.asin(math.sqrt(upper)))


def _roots(total: float, product: float) -> tuple[float, float]:
    """Both roots of ``x^2 - total x + product``; the small one without cancellation."""
    upper = (total + math.sqrt(total * total - 4.0 * product)) / 2.0
    return product / upper, upper
