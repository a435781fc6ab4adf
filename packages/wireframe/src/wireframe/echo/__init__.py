r"""Experiment messages: JSON text that the receiver sends back, byte for byte.

A message is a JSON list. Its first item is the event, a number of
`ExpMessage`, the others are its arguments:

================================== ===========================================
message                            meaning
================================== ===========================================
``[1, data]``                      EXPINIT: get ready
``[2, reference, data]``           EXPSTART: start
``[4, data]``                      EXPEND: stop
``[8, data]``                      EXPCLEANUP: tidy up
``[16, data]``                     EXPINTERRUPT: stop at once
``[32, status]``                   EXPSTATUS: a number of `ExpStatus`
``[32]``                           a ping, to which nobody reacts
``[64, status, data]``             EXPINFO
``[128, base_url, tokens]``        ALYX: log in to a data base
``[0, "ValueError: text", event]`` the other end failed to handle an event
================================== ===========================================

The receiver first sends back the exact bytes it got, the echo, unless their
second character is ``0``; then it acts. An answer is a message of its own, of
the same event, and is echoed in turn. Nothing else tells commands, answers and
echoes apart.

Over UDP a message is a datagram. Over TCP messages follow each other without
any delimiter; `Splitter` finds them. Messages may carry a number in white space
behind them, see `Number`: old peers do not see it and send it back.

Numbers: 96 characters, a blank for 0 and a tab for 1, the most significant bit
first.

===== ======================================================================
bits  content
===== ======================================================================
8     ``a5``
32    session: at random, not 0, one for each communicator
32    number of the message, from 1, consecutive for each destination
16    distance: the number minus the floor, the oldest number still wanted
8     check: CRC-8 (polynomial 0x07, from 0) of the 88 bits before
===== ======================================================================

None of this reads a clock or opens a socket. Bytes and rules were taken from
the observable behaviour of iblutil 1.20.0; the numbers are an addition.
"""

from __future__ import annotations

from wireframe._decoder import NEED_DATA
from wireframe.echo._number import (
    MAX_DISTANCE,
    MAX_NUMBER,
    TAG_LENGTH,
    ClockAnswer,
    ClockRequest,
    Number,
    add_clock_answer,
    add_clock_request,
    add_number,
    read_clock_note,
    read_number,
)
from wireframe.echo._split import MAX_SIZE, Oversized, Splitter
from wireframe.echo._text import (
    MAX_DEPTH,
    MAX_DIGITS,
    EventMessage,
    decode,
    decode_event,
    encode,
    is_echoed,
    is_ping,
)
from wireframe.echo._vocabulary import LISTEN_PORT, PROTOCOL_VERSION, ExpMessage, ExpStatus

__all__ = [
    "LISTEN_PORT",
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_DISTANCE",
    "MAX_NUMBER",
    "MAX_SIZE",
    "NEED_DATA",
    "PROTOCOL_VERSION",
    "TAG_LENGTH",
    "ClockAnswer",
    "ClockRequest",
    "EventMessage",
    "ExpMessage",
    "ExpStatus",
    "Number",
    "Oversized",
    "Splitter",
    "add_clock_answer",
    "add_clock_request",
    "add_number",
    "decode",
    "decode_event",
    "encode",
    "is_echoed",
    "is_ping",
    "read_clock_note",
    "read_number",
]
