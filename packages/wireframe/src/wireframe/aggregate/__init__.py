"""Aggregate frames: what a hub and a bridge that stands for many molecules say to each other.

Every message starts with a header of twelve ASCII characters, padded with
blanks, as in `wireframe.ipi`. Integers are signed 32-bit, reals are 64-bit
IEEE, both little-endian; a text is an int length and that many bytes of JSON.

=============  =========  ====================================================
message        sent by    after the header
=============  =========  ====================================================
``AGGHELLO``   bridge     text ``{"group_id":str,"version":1}``
``AGGINIT``    hub        text ``{"group_id":str,"init_payloads":{"<id>":
                          {...}},"molecule_ids":[ids]}``
``AGGREADY``   bridge     nothing: all its drivers are there
``AGGSTEP``    hub        int nreq, int nuniq, nuniq vectors,
                          nreq x (int id, int position of its vector)
``AGGRESULT``  bridge     int nresp, nresp x (int id, vector, int length of
                          its extra), then all extras
``STOP``       hub        nothing
``BYE``        bridge     nothing (answers STOP)
=============  =========  ====================================================

Nothing in the stream numbers the steps: a result belongs to a step by order
alone. Steps and results have a *scalar* form (mappings of molecules) and a
*block* form (contiguous arrays); both make and read the same frames.

Layouts were taken from the observable behaviour of MaxwellLink 0.5.0. Its hubs
merge 0.0 and -0.0 in the table of fields; here equal means equal bit for bit.
"""

from __future__ import annotations

from wireframe._decoder import NEED_DATA
from wireframe.aggregate._decode import Decoder
from wireframe.aggregate._encode import encode_result, encode_result_block, encode_step, encode_step_block
from wireframe.aggregate._greetings import encode_hello, encode_init
from wireframe.aggregate._messages import (
    AGGHELLO,
    AGGINIT,
    AGGREADY,
    AGGRESULT,
    AGGSTEP,
    FROM_BRIDGE,
    FROM_HUB,
    RESULT_AMPLITUDE_OFFSET,
    RESULT_EXTRA_OFFSET,
    RESULT_HEAD,
    RESULT_RECORD,
    STEP_HEAD,
    STEP_RECORD,
    Event,
    GroupInit,
    Hello,
    Result,
    Step,
)
from wireframe.ipi import BYE, STOP, encode_header

__all__ = [
    "AGGHELLO",
    "AGGINIT",
    "AGGREADY",
    "AGGRESULT",
    "AGGSTEP",
    "BYE",
    "FROM_BRIDGE",
    "FROM_HUB",
    "NEED_DATA",
    "RESULT_AMPLITUDE_OFFSET",
    "RESULT_EXTRA_OFFSET",
    "RESULT_HEAD",
    "RESULT_RECORD",
    "STEP_HEAD",
    "STEP_RECORD",
    "STOP",
    "Decoder",
    "Event",
    "GroupInit",
    "Hello",
    "Result",
    "Step",
    "encode_header",
    "encode_hello",
    "encode_init",
    "encode_result",
    "encode_result_block",
    "encode_step",
    "encode_step_block",
]
