"""A two-level molecule: the example model, and the molecule of the cavity demo.

Schrödinger equation of ``H = w0 |e><e| - mu12 E sigma_x`` (atomic units, hbar
= 1) with the coherence ``r = rho01`` and the excited population ``e = rho11``.
One step with constant field E is split into half a free rotation, a rotation
by the field, and half a free rotation, so it is unitary to rounding::

    th = dt mu12 E,  c, s = cos th, sin th,  p = exp(i w0 dt / 2)
    z   = r p
    e'  = e c^2 + (1-e) s^2 - 2 c s Im z
    r'  = (c^2 z + s^2 conj(z) - i c s (1 - 2e)) p
    amp = d(mu)/dt = -2 w0 mu12 Im r'

It is written out in real scalars: the same bits whichever way the field came,
in every process and Python, which vectorised sines do not promise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

#: (Re r, Im r, e).
State: TypeAlias = tuple[float, float, float]

#: A two-level system in its ground state.
GROUND: State = (0.0, 0.0, 0.0)

#: How far a state may be outside of the possible; rounding of very long runs is far below.
STATE_TOLERANCE = 1e-6


class TwoLevelSystem:
    """A two-level molecule with one transition dipole along an axis.

    Parameters
    ----------
    omega : float
        Transition frequency w0, atomic units, > 0.
    mu12 : float
        Transition dipole, atomic units.
    orientation : int
        The axis of the dipole and of the field it feels: 0, 1, 2 for x, y, z.
    state : sequence of 3 floats, optional
        The state an ``INIT`` without one starts from; the ground state if
        None.

    Notes
    -----
    Every commit returns the new state as extra, ``{"state": [Re r, Im r, e]}``.
    An ``INIT`` whose parameters hold such a ``state`` continues from there, to
    the last bit, because JSON keeps doubles exactly. So a new process can take
    over the molecule of a dead one: the solver keeps the last state it
    *received* and hands it on. An ``INIT`` without ``state`` starts from the
    beginning. ``omega``, ``mu12`` and ``orientation`` may come by ``INIT`` too.

    Examples
    --------
    >>> molecule = TwoLevelSystem(omega=0.1, mu12=1.0)
    >>> molecule.initialize(0, 1.0, {"dt_au": 1.0})
    >>> molecule.stage([0.0, 0.0, 1e-3])
    >>> (x, y, z), extra = molecule.commit()
    >>> f"{z:.3e}", extra["state"] == list(molecule.state)
    ('1.997e-04', True)
    """

    def __init__(
        self,
        omega: float = 0.1,
        mu12: float = 1.0,
        orientation: int = 2,
        state: Any = None,
    ) -> None:
        self._initial = GROUND if state is None else read_state(state)
        self._state = self._initial
        self._staged: State | None = None
        self._dt_au = 0.0
        self._set_parameters(omega, mu12, orientation)

    @property
    def state(self) -> State:
        """The committed state (Re rho01, Im rho01, rho11)."""
        return self._state

    @property
    def energy_au(self) -> float:
        """Energy of the molecule alone, w0 rho11, Hartree."""
        return self.omega * self._state[2]

    def initialize(self, molecule_id: int, dt_au: float, params: Mapping[str, Any], /) -> None:
        """Take the time step, and parameters and state if `params` has them.

        Raises
        ------
        ValueError
            The time step is not positive, or a parameter or the state makes no
            sense. Nothing is changed then.
        """
        if not (math.isfinite(dt_au) and dt_au > 0):
            raise ValueError(f"molecule {molecule_id}: dt_au is {dt_au!r}, want a time step > 0")
        given = params.get("state")
        state = self._initial if given is None else read_state(given)
        self._set_parameters(
            params.get("omega", self.omega),
            params.get("mu12", self.mu12),
            params.get("orientation", self.orientation),
        )
        self._dt_au = dt_au
        half = self.omega * dt_au / 2
        self._phase = (math.cos(half), math.sin(half))
        self._state = state
        self._staged = None

    def stage(self, field_au: NDArray[np.float64] | list[float], /) -> None:
        """Compute the step from the committed state; see the module for the formulas.

        Raises
        ------
        RuntimeError
            There was no `initialize`.
        ValueError
            The field along the axis is not finite.
        """
        if not self._dt_au:
            raise RuntimeError("stage before initialize: the time step is not known")
        field = float(field_au[self.orientation])
        if not math.isfinite(field):
            raise ValueError(f"the field along axis {self.orientation} is {field}")
        angle = self._dt_au * self.mu12 * field
        c, s = math.cos(angle), math.sin(angle)
        cc, ss, cs = c * c, s * s, c * s
        p_re, p_im = self._phase
        r_re, r_im, e = self._state
        z_re = r_re * p_re - r_im * p_im
        z_im = r_re * p_im + r_im * p_re
        w_re = cc * z_re + ss * z_re
        w_im = cc * z_im - ss * z_im - cs * (1 - 2 * e)
        self._staged = (
            w_re * p_re - w_im * p_im,
            w_re * p_im + w_im * p_re,
            e * cc + (1 - e) * ss - 2 * cs * z_im,
        )

    def commit(self) -> tuple[tuple[float, float, float], dict[str, list[float]]]:
        """Make the staged state the committed one.

        Returns
        -------
        amp : tuple of 3 floats
            d(mu)/dt, atomic units.
        extra : dict
            ``{"state": [Re r, Im r, e]}``, the committed state.

        Raises
        ------
        RuntimeError
            Nothing is staged.
        """
        if self._staged is None:
            raise RuntimeError("commit without a staged step")
        self._state, self._staged = self._staged, None
        amp = [0.0, 0.0, 0.0]
        amp[self.orientation] = -2 * self.omega * self.mu12 * self._state[1]
        return (amp[0], amp[1], amp[2]), {"state": list(self._state)}

    def _set_parameters(self, omega: Any, mu12: Any, orientation: Any) -> None:
        checked_omega, checked_mu12 = _real("omega", omega), _real("mu12", mu12)
        if checked_omega <= 0:
            raise ValueError(f"omega is {omega!r}, want > 0")
        if isinstance(orientation, bool) or orientation not in (0, 1, 2):
            raise ValueError(f"orientation is {orientation!r}, want 0, 1 or 2 for x, y, z")
        self.omega, self.mu12, self.orientation = checked_omega, checked_mu12, int(orientation)


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, want a finite number")
    return float(value)


def read_state(state: Any) -> State:
    """Check a state that came from outside.

    Parameters
    ----------
    state : sequence of 3 numbers
        Re rho01, Im rho01, rho11.

    Returns
    -------
    tuple of 3 floats
        The same numbers, to the last bit.

    Raises
    ------
    ValueError
        It is something else, or no quantum state: the population is outside of
        0 ... 1, or the coherence larger than sqrt(e (1 - e)).
    """
    if not isinstance(state, (list, tuple)) or len(state) != 3:
        raise ValueError(f"state is {state!r:.80}, want [Re r, Im r, e]")
    r_re, r_im, e = (_real("a number of the state", value) for value in state)
    if not -STATE_TOLERANCE <= e <= 1 + STATE_TOLERANCE:
        raise ValueError(f"population {e!r} is outside of 0 ... 1")
    if r_re * r_re + r_im * r_im > e * (1 - e) + STATE_TOLERANCE:
        raise ValueError(f"coherence {math.hypot(r_re, r_im)!r} is too large for the population {e!r}")
    return r_re, r_im, e
