"""Names, layouts and events of the aggregate frames.

Where numbers stand is said here and nowhere else; programs that fill or read
whole blocks with numpy take the offsets from these constants.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from wireframe.ipi import BYE, STOP

if TYPE_CHECKING:
    from collections.abc import Iterator

AGGHELLO: Final = b"AGGHELLO"
AGGINIT: Final = b"AGGINIT"
AGGREADY: Final = b"AGGREADY"
AGGSTEP: Final = b"AGGSTEP"
AGGRESULT: Final = b"AGGRESULT"

#: What a hub has to understand.
FROM_BRIDGE: Final = frozenset({AGGHELLO, AGGREADY, AGGRESULT, BYE})
#: What a bridge has to understand.
FROM_HUB: Final = frozenset({AGGINIT, AGGSTEP, STOP})

#: The protocol version that a bridge says in its hello.
VERSION: Final = 1

#: Bytes of one vector: 3 little-endian float64.
VECTOR: Final = 24
#: A step's first bytes: header, number of requests, number of fields. The fields follow.
STEP_HEAD: Final = struct.Struct("<12sii")
#: One request of a step, behind the fields: molecule id, position of its field.
STEP_RECORD: Final = struct.Struct("<ii")
#: A result's first bytes: header, number of answers.
RESULT_HEAD: Final = struct.Struct("<12si")
#: One answer of a result: molecule id, amplitude, length of its extra. The extras follow the last.
RESULT_RECORD: Final = struct.Struct("<i24si")
#: Where the amplitude stands in an answer, bytes.
RESULT_AMPLITUDE_OFFSET: Final = 4
#: Where the length of the extra stands in an answer, bytes.
RESULT_EXTRA_OFFSET: Final = 28

#: Default limit, bytes: a group's name is short, and whoever says hello is still a stranger.
MAX_HELLO: Final = 1 << 16
#: Default limit, bytes: parameters of a million molecules.
MAX_INIT: Final = 256 << 20
#: Default limit, molecules: 128 MiB of answers.
MAX_RECORDS: Final = 1 << 22
#: Default limit, bytes: all extras of one result.
MAX_EXTRAS: Final = 256 << 20


@dataclass(slots=True)
class Hello:
    """An ``AGGHELLO``: which group a bridge stands for.

    Attributes
    ----------
    group_id : str
        Not empty, without blanks around it.
    """

    group_id: str


@dataclass(slots=True)
class GroupInit:
    """An ``AGGINIT``: the molecules of a group and their parameters.

    Attributes
    ----------
    group_id : str
    payloads : dict of int to dict
        INIT parameters of each molecule, in the order of ``molecule_ids``.
    resume : bool
        Whether replacements of drivers are to go on from the last state that
        their molecule has sent. Hubs of MaxwellLink never say so.
    """

    group_id: str
    payloads: dict[int, dict[str, Any]]
    resume: bool = False


@dataclass(slots=True)
class Step:
    """An ``AGGSTEP``: a field for each molecule, equal ones said once.

    Attributes
    ----------
    fields : bytes
        The different fields, 24 bytes each.
    records : bytes
        `STEP_RECORD` for each molecule; ids are all different, positions valid.
    """

    fields: bytes
    records: bytes

    def ids(self) -> tuple[int, ...]:
        """Return the molecules, in the order of the frame."""
        return tuple(molecule_id for molecule_id, _ in STEP_RECORD.iter_unpack(self.records))

    def requests(self) -> dict[int, bytes]:
        """Return the field (24 bytes) of each molecule."""
        fields = self.fields
        return {
            molecule_id: fields[VECTOR * place : VECTOR * (place + 1)]
            for molecule_id, place in STEP_RECORD.iter_unpack(self.records)
        }

    def field_block(self) -> bytes:
        """Return the fields of all molecules as one block, 24 bytes each, repeated where they are equal."""
        fields = self.fields
        return b"".join(
            fields[VECTOR * place : VECTOR * (place + 1)]
            for _, place in STEP_RECORD.iter_unpack(self.records)
        )


@dataclass(slots=True)
class Result:
    """An ``AGGRESULT``: the answers of all molecules of a step, in any order.

    Attributes
    ----------
    records : bytes
        `RESULT_RECORD` for each molecule; ids are all different.
    extras : bytes
        All extras, one after the other; their lengths add up.
    """

    records: bytes
    extras: bytes

    def ids(self) -> tuple[int, ...]:
        """Return the molecules, in the order of the frame."""
        return tuple(molecule_id for molecule_id, _, _ in RESULT_RECORD.iter_unpack(self.records))

    def answers(self) -> dict[int, tuple[bytes, bytes]]:
        """Return amplitude (24 bytes) and extra of each molecule."""
        return {molecule_id: (amplitude, extra) for molecule_id, amplitude, extra in self._each()}

    def amplitude_block(self) -> bytes:
        """Return the amplitudes as one block, 24 bytes each, in the order of the frame."""
        return b"".join(amplitude for _, amplitude, _ in RESULT_RECORD.iter_unpack(self.records))

    def extra_list(self) -> list[bytes]:
        """Return the extras, in the order of the frame."""
        if not self.extras:
            return [b""] * (len(self.records) // RESULT_RECORD.size)
        return [extra for _, _, extra in self._each()]

    def _each(self) -> Iterator[tuple[int, bytes, bytes]]:
        end = 0
        for molecule_id, amplitude, length in RESULT_RECORD.iter_unpack(self.records):
            begin, end = end, end + length
            yield molecule_id, amplitude, self.extras[begin:end]


#: Messages without a body are their own name, such as ``b"AGGREADY"``.
Event: TypeAlias = bytes | Hello | GroupInit | Step | Result
