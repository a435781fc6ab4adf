"""The shares of groups in a step: their frames filled, and their results read, all molecules at once.

The layout of the frames is `wireframe.aggregate`'s; numpy only moves whole
columns. Between two steps of the same molecules nothing is allocated but what
the caller gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mxl_sockets._arrays import WIRE_FLOAT
from wireframe import BadPayload, aggregate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mxl_sockets._arrays import Fields

_ID: Final = np.dtype("<i4")
_VECTOR: Final = 24
_STEP: Final = aggregate.encode_header(aggregate.AGGSTEP)


@dataclass(slots=True)
class Answer:
    """What a bridge answered, in the order of its share.

    Attributes
    ----------
    amplitudes : ndarray, shape (n, 3), float64
    extras : list of bytes or None
        None if all are empty.
    """

    amplitudes: Fields
    extras: list[bytes] | None


class GroupShare:
    """The part of one group in the steps of some molecules.

    Parameters
    ----------
    ids : tuple of int
        Its molecules, in the order of the step.
    rows : slice or ndarray of int
        Where they stand in the step.

    Attributes
    ----------
    ids : tuple of int
    rows : slice or ndarray of int
    frame : bytes or memoryview
        The AGGSTEP that was made last; unchanged until the next one is made.
    """

    def __init__(self, ids: tuple[int, ...], rows: slice | NDArray[np.intp]) -> None:
        self.ids = ids
        self.rows = rows
        count = len(ids)
        parts = aggregate.encode_step_block(ids, bytes(_VECTOR * count))
        self._block = bytearray(b"".join(parts))
        self._fields: Fields = np.ndarray((count, 3), WIRE_FLOAT, self._block, len(parts[0]))
        self._ids: NDArray[np.int32] = np.array(ids, _ID)
        self._id_block = self._ids.tobytes()
        self.frame: bytes | memoryview = memoryview(self._block).toreadonly()

    def fill(self, fields: Fields) -> None:
        """Make the AGGSTEP of a step, a field for every molecule, equal or not."""
        self._fields[...] = fields[self.rows]
        self.frame = memoryview(self._block).toreadonly()

    def fill_once(self, fields: Fields) -> None:
        """Make the AGGSTEP of a step in which equal fields are sent once.

        Equal is equal bit for bit; fields stand in the order of first appearance.
        """
        block = fields[self.rows].tobytes()
        count = len(self.ids)
        places: dict[bytes, int] = {}
        numbers = [
            places.setdefault(block[at : at + _VECTOR], len(places)) for at in range(0, len(block), _VECTOR)
        ]
        if len(places) == count:
            self.fill(fields)
            return
        records = np.empty((count, 2), _ID)
        records[:, 0] = self._ids
        records[:, 1] = numbers
        head = aggregate.STEP_HEAD.pack(_STEP, count, len(places))
        self.frame = b"".join((head, *places, records.tobytes()))

    def read(self, result: aggregate.Result) -> Answer:
        """Read the result of a step.

        Raises
        ------
        wireframe.BadPayload
            It answers for other molecules.
        """
        count = len(self.ids)
        records, size = result.records, aggregate.RESULT_RECORD.size
        if len(records) != count * size:
            raise BadPayload(f"bridge answered for {len(records) // size} of {count} molecules", at=12)
        found: NDArray[np.int32] = np.ndarray((count,), _ID, records, 0, (size,))
        amplitudes: Fields = np.ndarray(
            (count, 3), WIRE_FLOAT, records, aggregate.RESULT_AMPLITUDE_OFFSET, (size, WIRE_FLOAT.itemsize)
        )
        extras = result.extra_list() if result.extras else None
        if found.tobytes() == self._id_block:
            return Answer(amplitudes, extras)
        order = self._order_of(found)
        return Answer(amplitudes[order], None if extras is None else [extras[place] for place in order])

    def _order_of(self, found: NDArray[np.int32]) -> NDArray[np.intp]:
        """Return where each molecule of the share stands among others; no id is there twice."""
        by_found, by_wanted = np.argsort(found), np.argsort(self._ids)
        if (found[by_found] != self._ids[by_wanted]).any():
            strangers = sorted(set(found.tolist()) - set(self.ids))
            raise BadPayload(f"bridge answered for molecules it was not asked for: {strangers[:8]}", at=16)
        order = np.empty_like(by_found)
        order[by_wanted] = by_found
        return order


def divide(ids: tuple[int, ...], group_of: Mapping[int, str]) -> dict[str, GroupShare]:
    """Divide the molecules of a step among their groups.

    Parameters
    ----------
    ids : tuple of int
        All different, all in a group.
    group_of : mapping of int to str

    Raises
    ------
    ValueError
        A molecule stands twice.
    """
    if len(set(ids)) != len(ids):
        raise ValueError("a step needs different molecules")
    rows: dict[str, list[int]] = {}
    for row, molecule_id in enumerate(ids):
        rows.setdefault(group_of[molecule_id], []).append(row)
    return {name: GroupShare(tuple(ids[row] for row in own), _rows(own)) for name, own in rows.items()}


def _rows(rows: list[int]) -> slice | NDArray[np.intp]:
    """Return the cheapest index of some rows in ascending order."""
    if rows[-1] - rows[0] == len(rows) - 1:
        return slice(rows[0], rows[-1] + 1)
    return np.array(rows, np.intp)


def join_amplitudes(count: int, shares: Mapping[str, GroupShare], answers: Mapping[str, Answer]) -> Fields:
    """Return the amplitudes of a complete step, in its order, as a new array."""
    joined: Fields = np.empty((count, 3), np.float64)
    for name, share in shares.items():
        joined[share.rows] = answers[name].amplitudes
    return joined


def join_extras(
    count: int, shares: Mapping[str, GroupShare], answers: Mapping[str, Answer]
) -> Sequence[bytes]:
    """Return the extras of a complete step, in its order."""
    joined: list[Any] = [b""] * count
    for name, share in shares.items():
        extras = answers[name].extras
        if extras is None:
            continue
        if isinstance(share.rows, slice):
            joined[share.rows] = extras
        else:
            for row, extra in zip(share.rows.tolist(), extras, strict=True):
                joined[row] = extra
    return joined
