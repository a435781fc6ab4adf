"""What a member says of itself in DNS-SD, and whether what others say is it. No I/O, no zeroconf.

::

    <member id>-<checksum of the key>._group-ports._tcp.local.     PTR, SRV: port, A: IPv4 address
    TXT  version=1  type=<group type>  instance=<instance>  message=<message>  member=<member id>

The id is 32 hexadecimal digits. All of this comes from strangers: whoever is on the
link can send any record.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: Of the publishers of groups.
SERVICE_TYPE: Final = "_group-ports._tcp.local."
VERSION: Final = "1"
#: Bytes of one string in a TXT record: name, ``=`` and value.
_MAX_TEXT: Final = 255
_ID_SIZE: Final = 16
#: First number of addresses that a publisher cannot have: multicast and beyond.
_FIRST_MULTICAST: Final = 224


class RecordRefused(ValueError):
    """The records of a service are not those of a member."""


def name_of(key: str, member_id: bytes) -> str:
    """Return the name of the service: one for each member and group."""
    checksum = hashlib.blake2s(key.encode(), digest_size=4).hexdigest()
    return f"{member_id.hex()}-{checksum}.{SERVICE_TYPE}"


def properties_of(key: str, member_id: bytes) -> dict[str, str]:
    """Return the TXT record.

    Raises
    ------
    ValueError
        A name that does not fit in.

    Examples
    --------
    >>> properties_of("m@rack.a", bytes(16))["instance"]
    'a'
    """
    message, _, group = key.rpartition("@")
    group_type, _, instance = group.rpartition(".")
    properties = {
        "version": VERSION,
        "type": group_type,
        "instance": instance,
        "message": message,
        "member": member_id.hex(),
    }
    for name, value in properties.items():
        if len(f"{name}={value}".encode()) > _MAX_TEXT:
            raise ValueError(f"the {name} of the group is too long to be announced: {value!r}")
    return properties


def read_key(name: str, properties: Mapping[bytes, bytes | None]) -> str:
    """Return the key of the group that a service belongs to.

    Parameters
    ----------
    name : str
        Of the service.
    properties : mapping
        The TXT record.

    Raises
    ------
    RecordRefused
        Not the record of a member, or of another version.
    """
    texts = {}
    for part in (b"version", b"type", b"instance", b"message", b"member"):
        value = properties.get(part)
        if value is None:
            raise RecordRefused(f"TXT without {part.decode()}")
        try:
            texts[part] = value.decode()
        except UnicodeDecodeError as error:
            raise RecordRefused(f"TXT with a {part.decode()} that is no text") from error
    if texts[b"version"] != VERSION:
        raise RecordRefused(f"another version, {texts[b'version'][:20]!r}")
    try:
        member_id = bytes.fromhex(texts[b"member"])
    except ValueError as error:
        raise RecordRefused("TXT with a member that is no id") from error
    key = f"{texts[b'message']}@{texts[b'type']}.{texts[b'instance']}"
    if len(member_id) != _ID_SIZE or name.lower() != name_of(key, member_id):
        raise RecordRefused("a name that is not that of the member")
    return key


def read_place(addresses: Iterable[str], port: int | None) -> tuple[str, int]:
    """Return host and TCP port of a publisher.

    Raises
    ------
    RecordRefused
        None that a publisher can have.
    """
    if not port or not 1 <= port <= 65535:
        raise RecordRefused(f"a port that is none, {port}")
    for address in addresses:
        first = ipaddress.IPv4Address(address).packed[0]
        if 0 < first < _FIRST_MULTICAST:
            return address, port
    raise RecordRefused("no address")
