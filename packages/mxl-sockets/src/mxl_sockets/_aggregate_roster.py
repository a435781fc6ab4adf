"""Which bridge stands for which molecules: groups, waiting bridges, binding.

No sockets and no clock. A molecule's group is said by its INIT parameters,
``aggregate_group``, and never changes; without it the molecule is a group of
its own. A group has one bridge at a time and keeps the parameters of its
molecules, and with ``resume`` their last received states, for whoever comes
next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from mxl_sockets._aggregate_link import BridgeLink, LinkPhase
from mxl_sockets._roster import Roster, checked_id, state_in
from wireframe import aggregate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LinkT = TypeVar("LinkT", bound=BridgeLink)

#: The INIT parameter that names a molecule's group.
GROUP_KEY: Final = "aggregate_group"
#: Most bytes of an AGGINIT: what our bridge takes.
MAX_INIT: Final = 256 << 20

_SERVING: Final = (LinkPhase.READY, LinkPhase.ASKED)


def group_name(molecule_id: int, payload: Mapping[str, Any]) -> str:
    """Return the group of a molecule.

    Raises
    ------
    ValueError
        The name is empty.

    Examples
    --------
    >>> group_name(7, {"aggregate_group": " node-0 "}), group_name(7, {})
    ('node-0', 'molecule-7')
    """
    named = payload.get(GROUP_KEY)
    if named is None:
        return f"molecule-{molecule_id}"
    name = str(named).strip()
    if not name:
        raise ValueError(f"molecule {molecule_id}: its {GROUP_KEY} is empty")
    return name


def encode_group_init(
    group_id: str, payloads: Mapping[int, Mapping[str, Any]], *, resume: bool = False
) -> bytes:
    """Return AGGINIT for a group.

    Raises
    ------
    TypeError, ValueError
        JSON cannot carry it, or it is more than a bridge would take: that would
        hang up, come again, and be sent it again.
    """
    message = aggregate.encode_init(group_id, payloads, resume=resume)
    if len(message) > MAX_INIT:
        raise ValueError(
            f"group {group_id!r}: the parameters of its {len(payloads)} molecules have {len(message)} bytes, "
            f"a bridge takes {MAX_INIT}; make smaller groups"
        )
    return message


class Group(Generic[LinkT]):
    """Some molecules and the bridge that stands for them.

    Attributes
    ----------
    group_id : str
    payloads : dict of int to dict
        INIT parameters, in the order in which the molecules came.
    link : BridgeLink or None
    outdated : bool
        Whether the bridge was sent other molecules than there are now.
    """

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.payloads: dict[int, dict[str, Any]] = {}
        self.link: LinkT | None = None
        self.outdated = False

    @property
    def serves(self) -> bool:
        """Whether a bridge has all its drivers and can be asked for all molecules."""
        return self.link is not None and self.link.phase in _SERVING and not self.outdated


class GroupRoster(Generic[LinkT]):
    """Groups, the bridges bound to them, and the bridges that wait.

    Parameters
    ----------
    resume : bool
        Keep the last state each molecule sent and hand it on.

    Attributes
    ----------
    ids : Roster
        Who is registered.
    groups : dict of str to Group
    group_of : dict of int to str
    parked : dict of str to BridgeLink
        Bridges whose group has not been wanted yet, one for each group.
    generation : int
        Changes whenever a bridge is bound, becomes ready, or goes.
    """

    def __init__(self, *, resume: bool = False) -> None:
        self.ids: Roster[Any] = Roster()
        self.groups: dict[str, Group[LinkT]] = {}
        self.group_of: dict[int, str] = {}
        self.parked: dict[str, LinkT] = {}
        self.generation = 0
        self.resume = resume
        self._extras: dict[int, bytes] = {}

    def remember(self, payloads: Mapping[int, Mapping[str, Any]]) -> None:
        """Keep INIT parameters, and make the groups they name.

        Raises
        ------
        TypeError, ValueError
            An id is not a 32-bit number, a group's name is empty or differs
            from what it was, or the parameters cannot be JSON. Nothing is kept then.
        """
        wanted: dict[str, dict[int, dict[str, Any]]] = {}
        for molecule_id, payload in payloads.items():
            one = checked_id(molecule_id)
            name = group_name(one, payload)
            known = self.group_of.get(one, name)
            if known != name:
                raise ValueError(f"molecule {one} belongs to group {known!r}, it cannot move to {name!r}")
            wanted.setdefault(name, {})[one] = {**payload, "molecule_id": one}
        for name, added in wanted.items():
            held = self.groups[name].payloads if name in self.groups else {}
            encode_group_init(name, {**held, **added})  # raises for what cannot be sent
        for name, added in wanted.items():
            group = self.groups.setdefault(name, Group(name))
            if group.link is not None and not added.keys() <= group.payloads.keys():
                group.outdated = True
                self.generation += 1
            group.payloads.update(added)
            self.group_of.update(dict.fromkeys(added, name))

    def unknown(self, ids: Iterable[int]) -> list[int]:
        """Return the molecules that belong to no group yet."""
        return [one for one in ids if one not in self.group_of]

    def groups_of(self, ids: Iterable[int]) -> list[Group[LinkT]]:
        """Return the groups of molecules that have one, each once."""
        group_of = self.group_of
        names = dict.fromkeys(group_of[one] for one in ids if one in group_of)
        return [self.groups[name] for name in names]

    def missing(self, ids: Iterable[int]) -> list[int]:
        """Return the molecules whose group has no bridge."""
        return [one for one in ids if (group := self._group(one)) is None or group.link is None]

    def unready(self, ids: Iterable[int]) -> list[int]:
        """Return the molecules whose group has no bridge that serves all of it."""
        return [one for one in ids if (group := self._group(one)) is None or not group.serves]

    def _group(self, molecule_id: int) -> Group[LinkT] | None:
        name = self.group_of.get(molecule_id)
        return None if name is None else self.groups[name]

    def holder(self, group_id: str) -> LinkT | None:
        """Return the bridge that is bound to a group or waits for it."""
        group = self.groups.get(group_id)
        return group.link if group is not None and group.link is not None else self.parked.get(group_id)

    def park(self, link: LinkT, group_id: str) -> None:
        """Let a bridge that has said its group wait.

        Raises
        ------
        ValueError
            The group has a bridge, or another one waits for it.
        """
        if self.holder(group_id) is not None:
            raise ValueError(f"group {group_id!r} has a bridge already")
        link.group_id = group_id
        link.phase = LinkPhase.PARKED
        self.parked[group_id] = link
        self.generation += 1

    def wants_start(self, group: Group[LinkT]) -> bool:
        """Whether a bridge is there for `start`.

        A waiting one, or one that was sent fewer molecules than there are now
        and owes no answer.
        """
        if group.link is None:
            return group.group_id in self.parked
        return group.outdated and group.link.phase is LinkPhase.READY

    def start(self, group: Group[LinkT]) -> LinkT:
        """Bind the waiting bridge, if the group has none, and return the one to be sent AGGINIT now."""
        if group.link is None:
            group.link = self.parked.pop(group.group_id)
        group.outdated = False
        group.link.phase = LinkPhase.STARTING
        self.generation += 1
        return group.link

    def init_message(self, group: Group[LinkT]) -> bytes:
        """Return the AGGINIT for whoever becomes the bridge of a group, with the last states."""
        payloads = group.payloads
        if self.resume:
            states = {one: state_in(self._extras.get(one, b"")) for one in payloads}
            payloads = {
                one: payload if states[one] is None else {**payload, "state": states[one]}
                for one, payload in payloads.items()
            }
        return encode_group_init(group.group_id, payloads, resume=self.resume)

    def remember_extras(self, ids: Sequence[int], extras: Sequence[bytes]) -> None:
        """Keep the extras of a group's answer."""
        self._extras.update(zip(ids, extras, strict=True))

    def led_by(self, link: LinkT) -> Group[LinkT] | None:
        """Return the group whose bridge this is, if any."""
        group = None if link.group_id is None else self.groups.get(link.group_id)
        return group if group is not None and group.link is link else None

    def leave(self, link: LinkT) -> Group[LinkT] | None:
        """Forget a bridge; return the group that has lost it, if any. May be done again."""
        group_id = link.group_id
        if group_id is None:
            return None
        self.generation += 1
        if self.parked.get(group_id) is link:
            del self.parked[group_id]
        group = self.led_by(link)
        if group is not None:
            group.outdated = False
            group.link = None
        return group
