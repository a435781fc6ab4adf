"""Forces on atoms: what an i-PI program is asked, and what it answers.

Atomic units throughout:

=============  ==========  ===============================================
quantity       shape       unit
=============  ==========  ===============================================
``positions``  (nat, 3)    bohr
``cell``       (3, 3)      bohr; the rows are the lattice vectors, as in
                           ASE (on the wire they are the columns)
``energy``     number      hartree
``forces``     (nat, 3)    hartree/bohr
``virial``     (3, 3)      hartree; minus stress times volume
``extra``      bytes       whatever the program adds
=============  ==========  ===============================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mxl_sockets._arrays import Fields

if TYPE_CHECKING:
    from mxl_sockets._model import Parameters

__all__ = ["ForceField", "ForceResult"]


def _no_virial() -> Fields:
    return np.zeros((3, 3))


@dataclass(frozen=True, slots=True, eq=False)
class ForceResult:
    """Energy, forces and virial of some atoms; atomic units.

    Values are what the program sent, nan and inf too.

    Attributes
    ----------
    energy : float
        Hartree.
    forces : ndarray, shape (nat, 3), float64
        Hartree per bohr. A model may give anything array-like.
    virial : ndarray, shape (3, 3), float64
        Hartree; ASE's stress is this divided by minus the volume. Zeros if a
        model gives none.
    extra : bytes
        Whatever the program adds. A model may give a mapping, which is sent as JSON.
    """

    energy: float
    forces: Fields
    virial: Fields = field(default_factory=_no_virial)
    extra: bytes = b""


#: Positions, shape (nat, 3), and cell, shape (3, 3), bohr, in; a `ForceResult`
#: out, or the first two, three or four values of one as a tuple.
ForceFunction: TypeAlias = Callable[[Fields, Fields], ForceResult | tuple[Any, ...]]


class ForceField:
    """A model of atoms for a `mxl_sockets.Driver`: positions and cell in, energy and forces out.

    Under i-PI's and ASE's servers, and under `SocketHub.forces`.

    Parameters
    ----------
    function : callable
        ``function(positions, cell)``, bohr, shapes (nat, 3) and (3, 3), rows
        of the cell are the lattice vectors; the arrays are the function's to
        keep. It returns a `ForceResult`, or a tuple ``(energy, forces)``,
        ``(energy, forces, virial)`` or ``(energy, forces, virial, extra)``.
    nat : int, optional
        The only number of atoms that is accepted; any up to 2**20 by default.
    initialize : callable, optional
        ``initialize(bead, parameters)`` is called for every INIT, with a
        `mxl_sockets.Parameters`; its ``text`` is what i-PI calls parameters.

    Raises
    ------
    TypeError
        `function` cannot be called.
    ValueError
        `nat` is less than 1.

    Examples
    --------
    >>> def springs(positions, cell):
    ...     return 0.05 * (positions**2).sum(), -0.1 * positions
    >>> from mxl_sockets import Driver
    >>> driver = Driver(ForceField(springs), "127.0.0.1:31415")
    """

    def __init__(
        self,
        function: ForceFunction,
        *,
        nat: int | None = None,
        initialize: Callable[[int, Parameters], object] | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"{function!r} is no function of positions and cell")
        if nat is not None and nat < 1:
            raise ValueError(f"a force field is of at least one atom, not {nat}")
        self.function = function
        self.nat = nat
        self._initialize = initialize
        self._result: ForceResult | tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"ForceField({self.function!r})"

    def initialize(self, bead: int, dt_au: float, params: Parameters, /) -> None:
        """Pass an INIT on; forces have no time step."""
        if self._initialize is not None:
            self._initialize(bead, params)

    def stage(self, positions: Fields, cell: Fields, /) -> None:
        """Call the function and keep its result."""
        self._result = self.function(positions, cell)

    def commit(self) -> ForceResult | tuple[Any, ...]:
        """Return the result."""
        return self._result
