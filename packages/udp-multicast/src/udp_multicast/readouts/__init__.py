"""Readouts: what one datagram means.

Any class with `to_bytes` and a class method `from_bytes` is a readout. Three
ready ones:

=============== ============================================================
`RawBytes`      the bytes of the datagram, as they are
`JsonReadout`   one JSON value, UTF-8
`ArrayReadout`  a numpy array with dtype and shape
=============== ============================================================

Bytes of an `ArrayReadout`, numbers little-endian:

======= ======================================================================
bytes   content
======= ======================================================================
0       length of the dtype, u8
then    dtype as numpy's ``dtype.str``, ASCII: byte order, kind, size (``<f8``)
then    number of dimensions, u8
then    length of each dimension, u32
then    the elements, last dimension fastest
======= ======================================================================

`ArrayReadout.fixed` makes a class for one dtype and shape that both sides
know: its datagrams are the elements alone.
"""

from __future__ import annotations

from udp_multicast.readouts._array import ArrayReadout
from udp_multicast.readouts._contract import Readout, ReadoutClass, SendableReadout
from udp_multicast.readouts._json import JsonReadout
from udp_multicast.readouts._raw import RawBytes

__all__ = ["ArrayReadout", "JsonReadout", "RawBytes", "Readout", "ReadoutClass", "SendableReadout"]
