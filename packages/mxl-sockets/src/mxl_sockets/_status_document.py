"""A hub's status as one JSON document, bounded whatever the hub is.

One line of text, UTF-8 without line breaks inside, and a line feed::

    {"format": 1, "process": 4242, "address": "127.0.0.1:31415", "age_s": 0.0,
     "steps": 12345, "steps_per_s": 20.1, "paused": false,
     "bound": 98, "missing": 1, "late": 1, "orphaned": 1, "waiting": 0, "dropped": 3,
     "drivers": [[0, "127.0.0.1:40122", 1], ...],
     "late_s": [[17, 3.2, "127.0.0.1:40123", 1], ...], "missing_ids": [4], "orphans": [[4, "", 1]],
     "waiting_peers": [], "losses": [[120.5, "127.0.0.1:40124 (molecule 4): closed"]],
     "replies": 98312, "mean_s": 0.0012, "maximum_s": 0.031, "histogram": [[0.001024, 51000], ...]}

The numbers count everything; each list has at most `LISTED` entries, those of
``late_s`` with the longest waits. Times are seconds.
"""

from __future__ import annotations

import heapq
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mxl_sockets._connect import TcpTarget

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mxl_sockets.status import HubStatus

FORMAT: Final = 1
#: Entries of each list.
LISTED: Final = 100
#: Bytes that a reader takes at the most; ours are far shorter.
LARGEST: Final = 1 << 20
#: Characters of a peer's name or of a reason.
LONGEST_TEXT: Final = 300


@dataclass(frozen=True, kw_only=True)
class StatusDocument:
    """What a status socket tells; the fields are those of the JSON object."""

    process: int
    address: str
    age_s: float
    steps: int
    steps_per_s: float
    paused: bool
    bound: int
    missing: int
    late: int
    orphaned: int
    waiting: int
    dropped: int
    drivers: list[tuple[int, str, int]]
    late_s: list[tuple[int, float, str, int]]
    missing_ids: list[int]
    orphans: list[tuple[int, str, int]]
    waiting_peers: list[str]
    losses: list[tuple[float, str]]
    replies: int
    mean_s: float
    maximum_s: float
    histogram: list[tuple[float, int]]


def encode_document(status: HubStatus, age_s: float, process: int) -> bytes:
    """Return the document of a status that was taken `age_s` seconds ago."""
    address = status.address
    longest = heapq.nlargest(LISTED, _holders(status), key=lambda entry: entry[1])
    times = status.reply_times
    document = {
        "format": FORMAT,
        "process": process,
        "address": address if isinstance(address, str) else str(TcpTarget(*address)) if address else "",
        "age_s": round(age_s, 3),
        "steps": status.steps,
        "steps_per_s": status.steps_per_s,
        "paused": status.paused,
        "bound": len(status.bound),
        "missing": len(status.missing),
        "late": len(status.late),
        "orphaned": len(status.orphaned),
        "waiting": len(status.waiting),
        "dropped": status.dropped,
        "drivers": list(itertools.islice(_crowds(status, status.bound), LISTED)),
        # The clock has gone on since the snapshot.
        "late_s": [(one, seconds + age_s, peer, count) for one, seconds, peer, count in longest],
        "missing_ids": status.missing[:LISTED],
        "orphans": list(itertools.islice(_crowds(status, status.orphaned), LISTED)),
        "waiting_peers": status.waiting[:LISTED],
        "losses": [(loss.age_s + age_s, loss.text[:LONGEST_TEXT]) for loss in status.losses[:LISTED]],
        "replies": times.count,
        "mean_s": times.mean_s,
        "maximum_s": times.maximum_s,
        "histogram": list(times.histogram.items()),
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _who(status: HubStatus, molecule_id: int) -> str:
    """Return who serves a molecule, and its group if it has one; nothing is an empty text."""
    group = status.groups.get(molecule_id)
    return ", ".join(filter(None, (status.bound.get(molecule_id), group and f"group {group}")))


def _crowds(status: HubStatus, ids: Iterable[int]) -> Iterable[tuple[int, str, int]]:
    """Return a molecule of each crowd: the first, who serves it, and how many there are; a group is one."""
    if not status.groups:
        return ((one, _who(status, one), 1) for one in ids)
    found: dict[str, tuple[int, str, int]] = {}
    for one in ids:
        who = _who(status, one)
        first, _, count = found.get(who, (one, who, 0))
        found[who] = first, who, count + 1
    return found.values()


def _holders(status: HubStatus) -> Iterable[tuple[int, float, str, int]]:
    """Return a late molecule of each crowd, with its age."""
    return ((one, status.late[one], who, count) for one, who, count in _crowds(status, status.late))


def decode_document(data: bytes) -> StatusDocument:
    """Read a document.

    Raises
    ------
    ValueError
        It is none, or of another format.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"this is no status: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"this is no status of format {FORMAT}")
    try:
        return StatusDocument(
            **{name: _checked(found[name], shape) for name, shape in _SHAPES.items()},
        )
    except KeyError as error:
        raise ValueError(f"this status has no {error}") from error


#: A type, or a tuple of types for a list of entries, or a list of one type for a list of that.
_SHAPES: Final[dict[str, Any]] = {
    "process": int,
    "address": str,
    "age_s": float,
    "steps": int,
    "steps_per_s": float,
    "paused": bool,
    "bound": int,
    "missing": int,
    "late": int,
    "orphaned": int,
    "waiting": int,
    "dropped": int,
    "drivers": (int, str, int),
    "late_s": (int, float, str, int),
    "missing_ids": [int],
    "orphans": (int, str, int),
    "waiting_peers": [str],
    "losses": (float, str),
    "replies": int,
    "mean_s": float,
    "maximum_s": float,
    "histogram": (float, int),
}


def _checked(value: object, shape: Any) -> Any:
    """Return a value that has the shape it should have; raises `ValueError`."""
    if isinstance(shape, (list, tuple)):
        if not isinstance(value, list) or len(value) > LISTED:
            raise ValueError(f"a status has a list of at most {LISTED} entries here, not {value!r:.80}")
        if isinstance(shape, list):
            return [_checked(entry, shape[0]) for entry in value]
        for entry in value:
            if not isinstance(entry, list) or len(entry) != len(shape):
                raise ValueError(f"a status has {len(shape)} values here, not {entry!r:.80}")
        return [tuple(map(_checked, entry, shape)) for entry in value]
    if shape is float and type(value) is int:
        try:
            value = float(value)
        except OverflowError as error:
            raise ValueError(f"a status has a time or rate here, not {value!r:.80}") from error
    # A bool is an int to Python, and no number here.
    if type(value) is not shape:
        raise ValueError(f"a status has {shape.__name__} here, not {value!r:.80}")
    return value
