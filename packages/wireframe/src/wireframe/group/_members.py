"""Ids of members, and the hosts they are on."""

from __future__ import annotations

import struct
from typing import Final

#: Bytes of a member id.
MEMBER_LENGTH: Final = 16

#: Host, process, discriminator.
_MEMBER: Final = struct.Struct(">4sIQ")
_HOST_LENGTH: Final = 4


def member_id(host: str, pid: int, discriminator: int) -> bytes:
    """Return a member id as the original makes them.

    Parameters
    ----------
    host : str
        IPv4 address of the member's host. The first number must not be 0, because
        ZeroMQ keeps identities that begin with a zero for itself.
    pid : int
        Number of its process, unsigned 32-bit.
    discriminator : int
        What tells the members of a process apart, unsigned 64-bit: at random,
        where the original takes the address of an object, which processes may
        share.

    Returns
    -------
    bytes
        16 bytes. Only equality matters; any 16 bytes with a first one that is
        not zero would do.

    Raises
    ------
    ValueError
        A part does not fit.

    Examples
    --------
    >>> member_id("127.0.0.1", 4321, 0x7F5A4CFB3F90).hex()
    '7f000001000010e100007f5a4cfb3f90'
    """
    octets = octets_of(host)
    if not octets[0]:
        raise ValueError(f"a member id must not begin with zero, as that of {host} would")
    return packed(_MEMBER, octets, pid, discriminator)


def checked_member(member: bytes) -> bytes:
    """Return a member id that may be packed, which would fill or cut it silently."""
    if not isinstance(member, bytes):
        raise TypeError(f"a member id is bytes, not {type(member).__name__}")
    if len(member) != MEMBER_LENGTH:
        raise ValueError(f"a member id has {MEMBER_LENGTH} bytes, not {len(member)}")
    return member


def octets_of(host: str) -> bytes:
    """Return the 4 bytes of an IPv4 address; ValueError if it is none."""
    try:
        octets = bytes(map(int, host.split(".")))
    except ValueError:
        octets = b""
    # int() also reads signs, blanks, zeros in front and digits of other scripts.
    if len(octets) != _HOST_LENGTH or ".".join(map(str, octets)) != host:
        raise ValueError(f"not an IPv4 address: {host!r}")
    return octets


def packed(layout: struct.Struct, *parts: object) -> bytes:
    """Pack numbers that may be out of range; ValueError if one is."""
    try:
        return layout.pack(*parts)
    except struct.error as error:
        raise ValueError(f"a number does not fit, {error}: {parts!r}") from error
