r"""LCM datagrams: named channels, numbered messages, messages larger than a datagram.

A message that fits one datagram, all integers big-endian:

======= ======================================================================
bytes   content
======= ======================================================================
0-3     ``LC02``
4-7     sequence number of the message, u32
8-      channel name, UTF-8, at most 63 bytes, and a NUL
then    payload
======= ======================================================================

One that does not, in several datagrams:

======= ======================================================================
bytes   content
======= ======================================================================
0-3     ``LC03``
4-7     sequence number of the message, u32, the same in all its fragments
8-11    payload bytes of the whole message, u32
12-15   where this fragment's payload begins in it, u32
16-17   number of this fragment, from 0, u16
18-19   number of fragments, u16
20-     in fragment 0 only: channel name and a NUL
then    payload of this fragment
======= ======================================================================

The sequence is per sender: one socket is one counter, shared by all channels
and both forms, from any start, wrapping at 2^32. Nothing is acknowledged or
repeated, so a gap in the sequence is a loss.

`encode_message` makes the datagrams of a message, `decode` reads one datagram
(`examine` without raising),
`Reassembler` joins fragments, and `SequenceCounter` says what was lost. None of
them reads a clock or opens a socket; where time matters it is the argument
`now`, in seconds of any clock that does not go backwards.

Layouts were taken from the observable behaviour of lcm 1.5.3.
"""

from __future__ import annotations

from wireframe.datagram._channel import MAX_CHANNEL
from wireframe.datagram._decode import decode, examine, split_small
from wireframe.datagram._encode import encode_fragments, encode_message, encode_small, small_head
from wireframe.datagram._faults import Fault
from wireframe.datagram._fragment_heads import FragmentHeads
from wireframe.datagram._holdings import FRAGMENT_COST, MESSAGE_COST, largest_cost
from wireframe.datagram._memory import Memory
from wireframe.datagram._messages import (
    FRAGMENT_MAGIC,
    FULL_FRAGMENT,
    MAX_DATAGRAM,
    MAX_SIZE,
    MIN_DATAGRAM,
    SMALL_MAGIC,
    Event,
    Fragment,
    Message,
    Parts,
    Small,
)
from wireframe.datagram._reassembly import Reassembler
from wireframe.datagram._sequence import Arrival, SequenceCounter

__all__ = [
    "FRAGMENT_COST",
    "FRAGMENT_MAGIC",
    "FULL_FRAGMENT",
    "MAX_CHANNEL",
    "MAX_DATAGRAM",
    "MAX_SIZE",
    "MESSAGE_COST",
    "MIN_DATAGRAM",
    "SMALL_MAGIC",
    "Arrival",
    "Event",
    "Fault",
    "Fragment",
    "FragmentHeads",
    "Memory",
    "Message",
    "Parts",
    "Reassembler",
    "SequenceCounter",
    "Small",
    "decode",
    "encode_fragments",
    "encode_message",
    "encode_small",
    "examine",
    "largest_cost",
    "small_head",
    "split_small",
]
