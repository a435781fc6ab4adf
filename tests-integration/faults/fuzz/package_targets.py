"""What the packages read by themselves: pickles, records, readouts, documents."""

from __future__ import annotations

import datetime as dt
import http
import json
import tempfile
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from judging import flat, hold, parts_of

from group_ports import _etcd_messages, _zeroconf_records
from group_ports._etcd_gateway import EtcdFailure, _reason
from group_ports._objects import loads
from mxl_sockets._model import Parameters
from mxl_sockets._roster import state_in
from mxl_sockets._status_document import LISTED, decode_document
from mxl_sockets.manifest import read_manifest
from udp_multicast import ArrayReadout, JsonReadout
from wireframe.errors import FrameError

#: Classes that a program may allow.
ALLOWED = (uuid.UUID, dt.timedelta, http.HTTPStatus)
_PLAIN = (
    type(None), bool, int, float, complex, str, bytes, bytearray, np.ndarray, np.generic, np.dtype, *ALLOWED,
)  # fmt: skip
_FIXED = ArrayReadout.fixed("<i2", (2, 3))
_FILE = Path(tempfile.gettempdir()) / f"manifest-{uuid.uuid4().hex}.json"


def objects(data: bytes) -> None:
    """Pickles: plain data and objects of allowed classes, whatever the program says."""
    seen: set[int] = set()
    stack = [loads(data, allowed=ALLOWED, max_objects=10_000)]
    while stack:
        one = stack.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if type(one) in (list, tuple, set, frozenset):
            stack.extend(one)
        elif type(one) is dict:
            stack.extend([*one, *one.values()])
        else:
            hold(isinstance(one, _PLAIN), f"an object of {type(one)}")
            hold(not getattr(one, "dtype", np.dtype("i1")).hasobject, "an array of objects")


def etcd(data: bytes) -> None:
    """Answers of the gateway of etcd, each read as all the answers there are."""
    hold(isinstance(_reason(500, data), str), "no reason")
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return  # as `Gateway.ask` judges it
    if not isinstance(answer, dict):
        return
    readers: Iterable[Callable[[dict[str, Any]], Any]] = (
        _etcd_messages.read_grant,
        _etcd_messages.read_keepalive,
        lambda answer: _etcd_messages.read_leadership(_etcd_messages.read_leader(answer), 1.0),
    )
    for read in readers:
        try:
            read(answer)
        except EtcdFailure:
            continue


def zeroconf(data: bytes) -> None:
    """Records of DNS-SD: a name, an entry of TXT in each part, and in the last one addresses and a port."""
    name, *texts, last = [*parts_of(data), b"", b""]
    properties: dict[bytes, bytes | None] = {}
    for text in texts:
        key, is_there, value = text.partition(b"=")
        properties[key] = value if is_there else None
    addresses = [".".join(map(str, last[at : at + 4])) for at in range(0, len(last) - 5, 4)]
    port = int.from_bytes(last[-2:], "big") or None
    try:
        host, known = _zeroconf_records.read_place(addresses, port)
        hold(host in addresses and known == port, "another place than was said")
    except _zeroconf_records.RecordRefused:
        pass
    group = _zeroconf_records.read_key(name.decode("utf-8", "replace"), properties)
    member = bytes.fromhex((properties[b"member"] or b"").decode())
    hold(name.decode().lower() == _zeroconf_records.name_of(group, member), "a name of another group")


def readout_array(data: bytes) -> None:
    """Arrays with a header, and of a fixed kind."""
    try:
        hold(_FIXED.from_bytes(data).to_bytes() == data, "an array is other bytes when it is written again")
    except FrameError:
        hold(len(data) != 12, "an array of the right length is refused")
    readout = ArrayReadout.from_bytes(data)
    hold(
        not readout.array.flags.writeable and not readout.array.dtype.hasobject,
        "an array that can be changed",
    )
    again = ArrayReadout.from_bytes(readout.to_bytes()).array
    hold((again.dtype, again.shape) == (readout.array.dtype, readout.array.shape), "another array")
    hold(again.tobytes() == readout.array.tobytes(), "other elements")


def readout_json(data: bytes) -> None:
    """One JSON value."""
    value = JsonReadout.from_bytes(data).value
    try:
        text = JsonReadout(value).to_bytes()
    except (ValueError, RecursionError):
        return  # lone surrogates, numbers beyond float64, too deep by now
    hold(
        flat(JsonReadout.from_bytes(text).value) == flat(value), "a value changes when it is written and read"
    )


def mxl_status(data: bytes) -> None:
    """The document of a status socket."""
    document = decode_document(data)
    lists: tuple[list[Any], ...] = (document.drivers, document.losses, document.histogram)
    hold(all(len(one) <= LISTED for one in lists), "a list beyond its limit")


def mxl_manifest(data: bytes) -> None:
    """The manifest of remote bridges, which is a file."""
    _FILE.write_bytes(data)
    try:
        manifest = read_manifest(_FILE)
    finally:
        _FILE.unlink()
    hold(1 <= manifest.hub_port <= 65535 and manifest.molecules_per_bridge >= 1, "an impossible manifest")
    json.dumps(manifest.to_dict())


def mxl_init(data: bytes) -> None:
    """The text of INIT, and the state in an extra: read, or taken as something else, never refused."""
    parameters = Parameters.from_text(data)
    hold(parameters.text == data and isinstance(parameters, dict), "the text of INIT is lost")
    state_in(data)
