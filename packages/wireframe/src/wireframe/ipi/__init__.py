"""The i-PI protocol: what a server and its force drivers say to each other.

Every message starts with a header of twelve ASCII characters, padded with
blanks. Integers are signed 32-bit, reals are 64-bit IEEE, both little-endian.

=============  ===========  ====================================================
message        sent by      after the header
=============  ===========  ====================================================
``STATUS``     server       nothing
``INIT``       server       int bead, int length, that many bytes of text
``POSDATA``    server       9 reals cell, 9 reals inverse cell, int nat,
                            3 nat reals positions
``GETFORCE``   server       nothing
``STOP``       server       nothing (ends MaxwellLink drivers)
``EXIT``       server       nothing (ends i-PI and ASE drivers)
``NEEDINIT``   driver       nothing
``READY``      driver       nothing
``HAVEDATA``   driver       nothing
``FORCEREADY`` driver       real energy, int nat, 3 nat reals forces, 9 reals
                            virial, int length, that many bytes of extra
``BYE``        driver       nothing (answers STOP)
=============  ===========  ====================================================

Between an electromagnetic solver and a molecule the same bytes carry another
meaning: nat is 1, the one position is the electric field, the one force is the
source amplitude d(mu)/dt, both in atomic units. `FIELDDATA`, `GETSOURCE` and
`SOURCEREADY` are names for that use.

A server that was configured for batches (i-PI 3.3) sends N systems in one
message, see `Decoder`. Nothing in the stream numbers the messages: a reply
belongs to a request by order alone.

Layouts were taken from the peers' observable behaviour: MaxwellLink 0.5.0,
i-PI 3.3.1 and ASE 3.29.0.
"""

from __future__ import annotations

from wireframe._decoder import NEED_DATA
from wireframe.ipi._decode import Decoder
from wireframe.ipi._encode import (
    encode_forceready,
    encode_forceready_batch,
    encode_header,
    encode_init,
    encode_posdata,
    encode_posdata_batch,
    encode_request,
)
from wireframe.ipi._messages import (
    BYE,
    EXIT,
    FIELDDATA,
    FORCEREADY,
    FROM_DRIVER,
    FROM_SERVER,
    GETFORCE,
    GETSOURCE,
    HAVEDATA,
    HEADER_LENGTH,
    IDENTITY,
    INIT,
    NEEDINIT,
    POSDATA,
    READY,
    REPLY_LENGTH,
    REQUEST_FIELD_OFFSET,
    REQUEST_LENGTH,
    SOURCEREADY,
    STATUS,
    STOP,
    ZEROS,
    Event,
    ForceReady,
    ForceReadyBatch,
    Init,
    PosData,
    PosDataBatch,
)
from wireframe.ipi._reply import reals, split_reply

__all__ = [
    "BYE",
    "EXIT",
    "FIELDDATA",
    "FORCEREADY",
    "FROM_DRIVER",
    "FROM_SERVER",
    "GETFORCE",
    "GETSOURCE",
    "HAVEDATA",
    "HEADER_LENGTH",
    "IDENTITY",
    "INIT",
    "NEEDINIT",
    "NEED_DATA",
    "POSDATA",
    "READY",
    "REPLY_LENGTH",
    "REQUEST_FIELD_OFFSET",
    "REQUEST_LENGTH",
    "SOURCEREADY",
    "STATUS",
    "STOP",
    "ZEROS",
    "Decoder",
    "Event",
    "ForceReady",
    "ForceReadyBatch",
    "Init",
    "PosData",
    "PosDataBatch",
    "encode_forceready",
    "encode_forceready_batch",
    "encode_header",
    "encode_init",
    "encode_posdata",
    "encode_posdata_batch",
    "encode_request",
    "reals",
    "split_reply",
]
