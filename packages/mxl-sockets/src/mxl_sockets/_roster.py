"""Which driver is which molecule: registration, waiting, binding.

No sockets and no clock, so that every order of arrivals and deaths can be
tested. A driver keeps its molecule until it dies; a molecule keeps its INIT
parameters, and with ``resume`` its last received state, for whoever comes next.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from mxl_sockets._client import Client, Phase
from wireframe import ipi

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ClientT = TypeVar("ClientT", bound=Client)

#: The time step's key. LAMMPS' ``fix mxl`` takes the number behind the first
#: occurrence of these letters in the text, wherever they stand.
TIME_STEP: Final = "dt_au"


@dataclass(frozen=True)
class WaitingDriver:
    """What a match function is told about a driver without a molecule.

    Attributes
    ----------
    peer : str
        ``host:port`` of a TCP peer, ``path#number`` of a UNIX peer.
    since : float
        Seconds since it connected.
    """

    peer: str
    since: float


#: Gets a waiting driver and the molecules without one (in the order in which
#: they were asked for); answers one of them, or None to let the driver wait.
Match: TypeAlias = Callable[[WaitingDriver, Sequence[int]], int | None]


def checked_id(molecule_id: int) -> int:
    """Return a molecule id as a plain number.

    Raises
    ------
    TypeError
        It is not an integer.
    ValueError
        It does not fit the 32 bits it has on the wire.
    """
    number = operator.index(molecule_id)
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"molecule id {number} is not a signed 32-bit number")
    return number


def has_time_step(payload: Mapping[str, Any]) -> bool:
    """Whether INIT parameters are those of a molecule in a field, for a peer that scans them as text."""
    return any(TIME_STEP in str(key) for key in payload)


def encode_molecule_init(molecule_id: int, payload: Mapping[str, Any]) -> bytes:
    """Return the INIT message that binds a driver to a molecule.

    The JSON text is the payload with the key ``molecule_id`` set; separators,
    escapes and key order are those of Python's default encoder, as the
    established hub sends them. Only if the letters ``dt_au`` stand elsewhere
    too, the time step comes first.

    Raises
    ------
    TypeError
        The payload holds something that JSON cannot carry.
    ValueError
        It refers to itself, or the id is not a signed 32-bit number.
    """
    molecule_id = checked_id(molecule_id)
    try:
        text = json.dumps({**payload, "molecule_id": molecule_id})
        if TIME_STEP in payload and text.count(TIME_STEP) > 1:
            time_step = {TIME_STEP: payload[TIME_STEP]}
            text = json.dumps({**time_step, **payload, "molecule_id": molecule_id})
    except TypeError as error:
        raise TypeError(f"INIT parameters of molecule {molecule_id}: {error}") from error
    return ipi.encode_init(molecule_id, text.encode())


class Roster(Generic[ClientT]):
    """Molecules, the drivers bound to them, and the drivers that wait.

    Parameters
    ----------
    resume : bool
        Keep the last state each molecule's driver sent and hand it on.
    match : callable, optional
        Chooses the molecule of a waiting driver; by default the first of each.

    Attributes
    ----------
    expected : set of int
        Registered ids.
    bound : dict of int to Client
    waiting : dict of Client to None
        In order of arrival.
    endpoints : set of int
        Molecules with an endpoint of their own; no other driver becomes them.
    generation : int
        Changes whenever `bound` does.
    arrivals : int
        Changes whenever a driver comes, goes or becomes ready to be bound.
    """

    def __init__(self, *, resume: bool = False, match: Match | None = None) -> None:
        self.expected: set[int] = set()
        self.bound: dict[int, ClientT] = {}
        self.waiting: dict[ClientT, None] = {}
        self.endpoints: set[int] = set()
        self.generation = 0
        self.arrivals = 0
        self.resume = resume
        self._match = match
        self._payloads: dict[int, Mapping[str, Any]] = {}
        self._last_extras: dict[int, bytes] = {}
        self._next_id = 0

    @property
    def asks_again(self) -> bool:
        """Whether waiting drivers must be offered again without any news of them."""
        return self._match is not None and bool(self.waiting)

    def register(self, molecule_id: int) -> None:
        """Reserve an id.

        Raises
        ------
        TypeError, ValueError
            It is no 32-bit number, or reserved already.
        """
        molecule_id = checked_id(molecule_id)
        if molecule_id in self.expected:
            raise ValueError(f"molecule {molecule_id} is already registered")
        self.expected.add(molecule_id)

    def register_next(self) -> int:
        """Reserve and return the smallest id not handed out and not reserved."""
        while self._next_id in self.expected:
            self._next_id += 1
        self.expected.add(self._next_id)
        self._next_id += 1
        return self._next_id - 1

    def remember(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        """Keep INIT parameters; raises as `encode_molecule_init` and keeps none then."""
        # Those of living molecules too: their replacements will need them.
        for molecule_id, payload in payloads.items():
            encode_molecule_init(molecule_id, payload)
        self._payloads.update({molecule_id: dict(payload) for molecule_id, payload in payloads.items()})

    def remember_init(self, molecule_id: int, payload: Mapping[str, Any] | None) -> None:
        """Keep one molecule's INIT parameters if there are any; raises as `remember`."""
        if payload:
            self.remember({molecule_id: payload})
        else:
            checked_id(molecule_id)

    def remember_extras(self, ids: Iterable[int], extras: Iterable[bytes]) -> None:
        """Keep the extras of a complete step, if states are handed on."""
        if self.resume:
            self._last_extras.update(zip(ids, extras, strict=True))

    def missing(self, ids: Iterable[int]) -> list[int]:
        """Return the ids without a driver."""
        return [molecule_id for molecule_id in ids if molecule_id not in self.bound]

    def unready(self, ids: Iterable[int]) -> list[int]:
        """Return the ids without a driver that has its INIT."""
        bound = self.bound
        return [one for one in ids if one not in bound or not bound[one].initialized]

    def check_atoms(self, atoms: Mapping[int, int]) -> None:
        """Check that drivers can be asked for these numbers of atoms.

        Raises
        ------
        ValueError
            A living one was asked for another number, which no program can
            change, or is a molecule in a field: LAMMPS' ``fix mxl`` has room
            for one vector and does not look how many it is sent.
        """
        for molecule_id, nat in atoms.items():
            client = self.bound.get(molecule_id)
            in_field = has_time_step(self._payloads.get(molecule_id, {}))
            served = (1 if in_field else None) if client is None else client.nat
            if served not in (None, nat):
                is_one = 'takes, as one with "dt_au" in its parameters,' if in_field else "has served"
                raise ValueError(f"the driver of molecule {molecule_id} {is_one} {served} atoms, not {nat}")

    def pair(self, ids: Sequence[int], now: float) -> list[tuple[ClientT, int]]:
        """Choose drivers for the molecules among `ids` that have none.

        Waiting drivers are taken in order of arrival, molecules in the given
        order. A driver that came to a molecule's own endpoint can only become
        that molecule; a match function may choose for the others.

        Raises
        ------
        ValueError
            The match function answered a molecule that was not offered.
        """
        free = dict.fromkeys(self.missing(ids))
        shared = {molecule_id: None for molecule_id in free if molecule_id not in self.endpoints}
        pairs = []
        for client in self.waiting:
            if not free:
                break
            if client.phase is not Phase.WAITING:
                continue
            if client.endpoint is not None:
                chosen = client.endpoint if client.endpoint in free else None
            else:
                chosen = self._choose(client, shared, now)
            if chosen is not None:
                del free[chosen]
                shared.pop(chosen, None)
                pairs.append((client, chosen))
        return pairs

    def _choose(self, client: ClientT, free: Mapping[int, None], now: float) -> int | None:
        if self._match is None or not free:
            return next(iter(free), None)
        offered = list(free)
        chosen = self._match(WaitingDriver(client.peer, now - client.since), offered)
        if chosen is not None and chosen not in free:
            raise ValueError(f"match chose molecule {chosen!r} for {client.peer}, offered were {offered}")
        return chosen

    def init_message(self, molecule_id: int, extra: bytes | None) -> bytes:
        """Return the INIT message for whoever becomes `molecule_id`.

        Parameters
        ----------
        molecule_id : int
        extra : bytes or None
            The extra of the step under way, which is newer than the kept one.
        """
        payload = dict(self._payloads.get(molecule_id, {}))
        if self.resume:
            state = state_in(self._last_extras.get(molecule_id, b"") if extra is None else extra)
            if state is not None:
                payload["state"] = state
        return encode_molecule_init(molecule_id, payload)

    def join(self, client: ClientT) -> None:
        """Let a new driver wait."""
        self.waiting[client] = None
        self.arrivals += 1

    def bind(self, client: ClientT, molecule_id: int) -> None:
        """Make a waiting driver a molecule."""
        self.waiting.pop(client, None)
        client.molecule_id = molecule_id
        if has_time_step(self._payloads.get(molecule_id, {})):
            client.nat = 1
        self.bound[molecule_id] = client
        self.generation += 1

    def leave(self, client: ClientT) -> int | None:
        """Forget a driver; return the molecule that has lost it, if any."""
        self.waiting.pop(client, None)
        self.arrivals += 1
        molecule_id = client.molecule_id
        if molecule_id is None:
            return None
        client.molecule_id = None
        del self.bound[molecule_id]
        self.generation += 1
        return molecule_id


def state_in(extra: bytes) -> Any:
    """Return what a driver put under ``"state"`` in its extra, None if nothing."""
    try:
        decoded = json.loads(extra) if extra else None
    except (ValueError, RecursionError):
        return None  # an extra may be anything; only JSON can carry a state
    return decoded.get("state") if isinstance(decoded, dict) else None
