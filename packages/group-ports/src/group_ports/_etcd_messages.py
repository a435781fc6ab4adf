"""What is said to etcd and what it answers, checked. No I/O.

The gateway writes 64-bit numbers as strings, leaves zeros out, and encodes keys
and values in base64.

============================ ============================== =======================================
path                         question                       answer
============================ ============================== =======================================
``/v3/lease/grant``          ``TTL``                        ``ID``, ``TTL``
``/v3/lease/keepalive``      ``ID``                         ``result``: ``TTL``, 0 if it is over
``/v3/lease/revoke``         ``ID``
``/v3/election/campaign``    ``name``, ``lease``, ``value`` comes when this lease leads
``/v3/election/leader``      ``name``                       ``kv``; error ``election: no leader``
``/v3/election/observe``     ``name``                       a ``kv`` for each change, without end
``/v3/election/proclaim``    ``leader``, ``value``          ``leader`` as of ``campaign``
``/v3/election/resign``      ``leader``
============================ ============================== =======================================

The keys of an election begin with its name and end in the lease of the candidate. The one
that was created first leads, and the revision of the store at which it was created
is the term: revisions only grow. (etcd 3.4, api-reference and observed.)
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Final

from group_ports._etcd_gateway import EtcdFailure
from group_ports.leader_source import MAX_TERM, Leadership

#: What the election service says when nobody stands.
NO_LEADER: Final = "election: no leader"


@dataclass(frozen=True, slots=True)
class LeaderKey:
    """The key of the candidate that leads."""

    key: str
    lease: int
    revision: int
    value: bytes

    def named(self, name: str) -> dict[str, str]:
        """Return it as the election service wants it."""
        return {"name": encode(name), "key": self.key, "rev": str(self.revision), "lease": str(self.lease)}


def encode(text: str | bytes) -> str:
    """Return a key or a value as it is sent."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def read_grant(answer: dict[str, Any]) -> tuple[int, int]:
    """Return lease and seconds."""
    lease, seconds = _number(answer, "ID"), _number(answer, "TTL")
    if lease < 1 or seconds < 1:
        raise EtcdFailure(f"lease {lease} for {seconds} s")
    return lease, seconds


def read_keepalive(answer: dict[str, Any]) -> int:
    """Return seconds; 0: the lease is over."""
    return _number(_part(answer, "result"), "TTL")


def read_leader(answer: dict[str, Any]) -> LeaderKey:
    """Return the key that leads."""
    kv = _part(answer, "kv")
    key, value = kv.get("key"), kv.get("value", "")
    if not isinstance(key, str) or not isinstance(value, str):
        raise EtcdFailure("a key or a value that is no text")
    try:
        text = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EtcdFailure("a value that is not base64") from error
    revision = _number(kv, "create_revision")
    if revision < 1:
        raise EtcdFailure(f"a leader of revision {revision}")
    return LeaderKey(key, _number(kv, "lease"), revision, text)


def value_of(member_id: bytes, address: tuple[str, int] | None) -> bytes:
    """Return what a candidate says of itself."""
    value: dict[str, str | int] = {"id": member_id.hex()}
    if address is not None:
        value["host"], value["port"] = address
    return json.dumps(value).encode()


def read_leadership(leader: LeaderKey, until: float) -> Leadership:
    """Return who leads, by what it said of itself."""
    try:
        value = json.loads(leader.value)
        address = (value["host"], value["port"]) if "host" in value else None
        return Leadership(bytes.fromhex(value["id"]), leader.revision, until, address)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EtcdFailure(f"a leader that says {leader.value[:100]!r} of itself") from error


def _part(answer: dict[str, Any], name: str) -> dict[str, Any]:
    part = answer.get(name)
    if not isinstance(part, dict):
        raise EtcdFailure(f"an answer without {name}")
    return part


def _number(part: dict[str, Any], name: str) -> int:
    """Return a number of 63 bits; what is left out is 0."""
    number = part.get(name, 0)
    try:
        if isinstance(number, (str, int)) and not isinstance(number, bool) and 0 <= int(number) <= MAX_TERM:
            return int(number)
    except ValueError as error:
        raise EtcdFailure(f"{name} is no number") from error
    raise EtcdFailure(f"{name} is no number of 63 bits")
