"""Names, constants and events of the i-PI protocol."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

#: Bytes of a header, padding included.
HEADER_LENGTH: Final = 12

STATUS: Final = b"STATUS"
READY: Final = b"READY"
HAVEDATA: Final = b"HAVEDATA"
NEEDINIT: Final = b"NEEDINIT"
INIT: Final = b"INIT"
POSDATA: Final = b"POSDATA"
GETFORCE: Final = b"GETFORCE"
FORCEREADY: Final = b"FORCEREADY"
STOP: Final = b"STOP"
EXIT: Final = b"EXIT"
BYE: Final = b"BYE"

#: `POSDATA` when the position is an electric field.
FIELDDATA: Final = POSDATA
#: `GETFORCE` when the force is a source amplitude.
GETSOURCE: Final = GETFORCE
#: `FORCEREADY` when the force is a source amplitude.
SOURCEREADY: Final = FORCEREADY

#: What a driver has to understand.
FROM_SERVER: Final = frozenset({STATUS, INIT, POSDATA, GETFORCE, STOP, EXIT})
#: What a server has to understand.
FROM_DRIVER: Final = frozenset({NEEDINIT, READY, HAVEDATA, FORCEREADY, BYE})

#: Bytes of one float64, of one vector and of one 3x3 matrix.
REAL: Final = 8
VECTOR: Final = 24
MATRIX: Final = 72

#: The 3x3 identity as nine little-endian reals, 72 bytes.
IDENTITY: Final = struct.pack("<9d", 1, 0, 0, 0, 1, 0, 0, 0, 1)
#: The 3x3 zero matrix, 72 bytes.
ZEROS: Final = bytes(MATRIX)

#: Where the field stands in the combined request, `encode_request`.
REQUEST_FIELD_OFFSET: Final = 160
#: Bytes of the combined request.
REQUEST_LENGTH: Final = 196
#: Bytes of a ``FORCEREADY`` of one atom up to its extra: header, energy, nat,
#: force, virial, length of the extra.
REPLY_LENGTH: Final = 124
#: Those bytes, part by part.
REPLY: Final = struct.Struct("<12sdi24s72si")

#: Default limit, bytes. Larger than any INIT text or extra seen so far, small
#: enough for a hub to hold one for each of many peers.
MAX_STRING: Final = 16 << 20
#: Default limit, atoms. 24 MiB of positions.
MAX_NAT: Final = 1 << 20


@dataclass(slots=True)
class Init:
    """An ``INIT`` message.

    Attributes
    ----------
    bead : int
        Bead index; for molecules the molecule id.
    text : bytes
        Free text from i-PI, JSON from MaxwellLink, one NUL byte from ASE.
    """

    bead: int
    text: bytes


@dataclass(slots=True)
class PosData:
    """A ``POSDATA`` message; blocks are little-endian float64 bytes.

    Attributes
    ----------
    cell, inverse_cell : bytes
        9 reals each (72 bytes): the row-major matrix whose *columns* are the
        lattice vectors.
    positions : bytes
        nat x 3 reals (24 nat bytes); for one molecule the field vector.
    """

    cell: bytes
    inverse_cell: bytes
    positions: bytes


@dataclass(slots=True)
class ForceReady:
    """A ``FORCEREADY`` message; blocks are little-endian float64 bytes.

    Attributes
    ----------
    energy : float
        Hartree.
    forces : bytes
        nat x 3 reals (24 nat bytes); for one molecule the source amplitude.
    virial : bytes
        9 reals (72 bytes), as they stand on the wire: senders transpose.
    extra : bytes
        Anything; i-PI expects text, MaxwellLink drivers send JSON.
    """

    energy: float
    forces: bytes
    virial: bytes
    extra: bytes


@dataclass(slots=True)
class PosDataBatch:
    """A ``POSDATA`` message for a batch of systems of the same size.

    Attributes
    ----------
    cells : bytes
        N x (cell, inverse cell), 144 bytes each.
    positions : bytes
        N x nat x 3 reals.
    nat : int
        Atoms of one system.
    """

    cells: bytes
    positions: bytes
    nat: int


@dataclass(slots=True)
class ForceReadyBatch:
    """A ``FORCEREADY`` message for a batch of systems of the same size.

    Attributes
    ----------
    energies : bytes
        N reals.
    forces : bytes
        N x nat x 3 reals.
    virials : bytes
        N x 9 reals.
    extras : list of bytes
        N byte strings.
    nat : int
        Atoms of one system.
    """

    energies: bytes
    forces: bytes
    virials: bytes
    extras: list[bytes]
    nat: int


#: Messages without a body are their own name, such as ``b"STATUS"``.
Event: TypeAlias = bytes | Init | PosData | ForceReady | PosDataBatch | ForceReadyBatch
