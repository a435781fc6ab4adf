"""Builds the inputs that fuzzing begins with, from the golden vectors of the packages.

    python tests-integration/faults/fuzz/corpus.py

writes ``corpus/<target>/<name>`` and removes what it did not write, but for names that
begin with ``found-``: inputs that once broke a promise, kept for ever.
"""

from __future__ import annotations

import datetime as dt
import http
import io
import json
import pickle
import re
import struct
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import hostile
import numpy as np
from capture_targets import FORMAT_NAMES
from judging import joined
from targets import TARGETS

from group_ports import _etcd_messages, _zeroconf_records
from mxl_sockets._status_document import encode_document
from mxl_sockets.status import HubStatus, Loss, ReplyTimes
from udp_multicast import ArrayReadout
from wireframe import aggregate, datagram, echo, group, ipi
from wireframe._capture.files import read_packets
from wireframe._capture.packets import PacketReader
from wireframe._capture.streams import Stream
from wireframe.echo._number import _blanks

HERE = Path(__file__).resolve().parent
PACKAGES = HERE.parents[2] / "packages"
CORPUS = HERE / "corpus"
CAPTURES = sorted((PACKAGES / "wireframe/tests/decode/captures").iterdir())
#: Bytes of the longest input: longer ones teach nothing more, and cost time.
LONGEST = 16384

Corpus = dict[str, dict[str, bytes]]


def vectors(package: str, name: str) -> Any:
    """Return a file of golden vectors."""
    return json.loads((PACKAGES / package / "tests/vectors" / name).read_text(encoding="utf-8"))


def named(prefix: str, inputs: Iterable[bytes]) -> dict[str, bytes]:
    """Number inputs, each once."""
    kept = [one for one in dict.fromkeys(inputs) if len(one) <= LONGEST]
    return {f"{prefix}-{number:03}": one for number, one in enumerate(kept)}


def slug(name: str) -> str:
    """Return a name for a file, the same on every system."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def texts(values: Iterable[Any]) -> dict[str, bytes]:
    """Return JSON texts: these, and hostile ones."""
    return named("json", (json.dumps(one).encode() for one in values)) | named("hostile", hostile.TEXTS)


def mxl(corpus: Corpus) -> None:
    """Both directions of i-PI and of the aggregate frames."""
    known = {
        slug(one["name"]): bytes.fromhex(one["bytes"])
        for one in vectors("mxl-sockets", "mxl-sockets.json")["vectors"]
        if "bytes" in one
    }
    server, driver, batch = (corpus[f"ipi-{name}"] for name in ("from-server", "from-driver", "batch"))
    hub, bridge = corpus["aggregate-from-hub"], corpus["aggregate-from-bridge"]
    for name, data in known.items():
        if "batch2" in name:
            batch[name] = data
        elif name.startswith("agg-"):
            (bridge if name.startswith(("agg-hello", "agg-result")) else hub)[name] = data
        elif name.startswith(("reply-", "driver-")) or "forceready" in name:
            driver[name] = data
        elif name.startswith(("request-", "init-", "hub-session-", "ase-", "ipi-")):
            server[name] = data
    hub["agg-ready-stop"] = bridge["agg-ready-bye"] = b"".join(
        map(ipi.encode_header, (aggregate.AGGREADY, aggregate.STOP, aggregate.BYE))
    )
    batch["forceready"] = ipi.encode_forceready_batch(
        [bytes(24)] * 2, (1.0, 2.0), [bytes(72)] * 2, [b"{}", b""]
    )
    parameters = [{"molecule_id": 3, "dt_au": 0.5, "state": {"t": 1.5}}, [1], None]
    corpus["mxl-init"] = texts(parameters)
    bridge_entry = {"idx": 0, "group_id": "node-0", "unixsocket": "node-0", "n_molecules": 2}
    manifest = {"version": 1, "hub_host": "192.0.2.1", "hub_port": 31415, "timeout": 60.0, "latency": 1e-3}
    manifest |= {"unix_prefix": "node-", "molecules_per_bridge": 2, "bridges": [bridge_entry]}
    corpus["mxl-manifest"] = texts([manifest, manifest | {"bridges": []}])
    status = HubStatus(
        address=("127.0.0.1", 31415), bound={0: "127.0.0.1:5001", 1: "127.0.0.1:5002"}, missing=[4],
        waiting=["127.0.0.1:5003"], late={1: 2.5}, paused=False, steps=12, dropped=1, last_error="",
        reply_times=ReplyTimes(24, 0.001, 0.5, {0.001024: 20, 1.048576: 4}), orphaned=[4], steps_per_s=3.5,
        losses=[Loss(60.0, "127.0.0.1:5000: closed")],
    )  # fmt: skip
    corpus["mxl-status"] = {"status": encode_document(status, 0.25, 4242)} | texts([{"format": 1}])


def lenjson(corpus: Corpus) -> None:
    """Frames of JSON, both ways."""
    known = vectors("wireframe", "json-socket.json")
    inputs = [one["hex"] for one in known["encode"] + known["decode"]]
    inputs += [one[side] for one in known["commands"] for side in ("client_bytes", "server_bytes")]
    corpus["lenjson"] = named("vector", map(bytes.fromhex, inputs))


def lcm(corpus: Corpus) -> None:
    """Datagrams, their fragments from several senders, and a log."""
    known = vectors("wireframe", "lcm.json")
    datagrams = [
        bytes.fromhex(one["hex"]) for each in known["messages"] for one in each["datagrams"] if "hex" in one
    ]
    fragments = [
        [b"".join(parts) for parts in datagram.encode_fragments(sequence, "ADC", bytes(range(200)), 88)]
        for sequence in (7, 8)
    ]
    corpus["datagram"] = named("vector", [*datagrams, *fragments[0]])
    both = [one for pair in zip(*fragments, strict=True) for one in pair]
    orders = {
        "in-order": [(0, 1, one) for one in both],
        "backwards": [(0, 1, one) for one in reversed(both)],
        "two-senders": [(number % 2, 1, one) for number, one in enumerate(both)],
        "contradictions": [
            (0, 1, one[:8] + b"\0\0\0\xd0" + one[12:] if at % 4 > 1 else one) for at, one in enumerate(both)
        ],
        "twice": [(0, 0, one) for one in fragments[0] * 2],
        "too-late": [(0, 100, one) for one in both],
        "unfinished": [(sender, 1, one[0]) for sender in range(4) for one in fragments],
        "mixed": [(number % 4, 3, one) for number, one in enumerate([*datagrams, *both])],
    }
    for target in ("reassembly", "channels"):
        corpus[target] = {
            name: joined([bytes((sender, wait)) + one for sender, wait, one in order])
            for name, order in orders.items()
        }
    log = bytes.fromhex(known["log"]["first_600_bytes_hex"])
    damaged = log[:40] + b"noise" + log[80:300] + log[310:]
    corpus["eventlog"] = {"log": log, "cut": log[:150], "damaged": damaged}


def echoes(corpus: Corpus) -> None:
    """Experiment messages, alone, in a stream, and with numbers."""
    known = vectors("echo-rig", "echo-rig.json")
    messages = list(dict.fromkeys(bytes.fromhex(one["hex"]) for one in known["messages"]))
    inputs = [one["input"].encode() for one in known["tables"]["decode"]]
    corpus["echo-text"] = named("vector", messages) | named("decode", inputs) | texts([])
    stream = b"".join(messages[:12])
    corpus["echo-split"] = named("vector", [*messages[::8], *inputs, stream]) | texts(["a" * 100, [{}, "]"]])
    number = echo.Number(0xC0FFEE, 7, 5)
    notes = [
        echo.add_clock_request(b"[32]", echo.ClockRequest(1)),
        echo.add_clock_answer(b"[32]", echo.ClockAnswer(1, 2, 3)),
    ]
    numbered = [echo.add_number(one, number) for one in (b"[32]", b"[1, null]", *notes)]
    odd = [b"[32]" + _blanks(struct.pack(">BIIH", 0xA5, *one)) for one in ((0, 7, 2), (1, 0, 0), (1, 7, 7))]
    corpus["echo-number"] = named("odd", odd) | named("number", [*numbered, *notes, numbered[0][:-1]])
    corpus["echo-split"] |= named("number", [numbered[1] * 2, numbered[2]])


def groups(corpus: Corpus) -> None:
    """Multiparts, bodies, votes, and the fourth frame."""
    known = vectors("group-ports", "group-ports.json")
    extension = group.encode_extension(group.Extension(7, b"0123456789abcdef", b"ABCDEFGHIJKLMNOP"))
    messages = [list(map(bytes.fromhex, one["frames"])) for one in known["frames"] + known["rejects"]]
    stamped = [[*one, extension] for one in messages if len(one) == 3 and len(one[2]) == 8]
    corpus["group-frames"] = named("vector", map(joined, messages + stamped))
    corpus["group-body"] = named("vector", (one[0] + one[1] for one in messages if len(one) > 1))
    votes = [one[1] for one in messages if len(one) > 1 and one[0] in (b"rcm", b"rfv", b"rtc", b"ann")]
    corpus["group-vote"] = named(
        "vector", votes + [bytes.fromhex(one["bytes"]) for one in known["odd_votes"]]
    )
    corpus["group-extension"] = {"plain": extension, "longer": extension + b"later", "cut": extension[:-1]}
    name = _zeroconf_records.name_of("m@rack.a", b"0123456789abcdef")
    properties = _zeroconf_records.properties_of("m@rack.a", b"0123456789abcdef")
    entries = [f"{key}={value}".encode() for key, value in properties.items()]
    record = joined([name.encode(), *entries, bytes((192, 0, 2, 1)) + b"\x00\x00\x14\xe9"])
    bare = joined([name.encode(), *(one.partition(b"=")[0] for one in entries), b"\0\0"])
    corpus["zeroconf"] = {"record": record, "no-place": record[:-8], "no-values": bare}
    member = _etcd_messages.value_of(bytes(16), ("192.0.2.1", 5000))
    kv = {"key": "Z3JvdXA=", "value": _etcd_messages.encode(member), "create_revision": "7", "lease": "9"}
    answers = [
        {"ID": "12", "TTL": "5"},
        {"result": {"TTL": "5"}},
        {"kv": kv},
        {"error": "election: no leader"},
    ]
    answers += [{"kv": kv | {"value": "bm9uZQ=="}}, {"kv": kv | {"create_revision": "-1"}}]
    said = (_etcd_messages.encode(json.dumps(one)) for one in hostile.LEADERS)
    corpus["etcd"] = texts([*answers, *({"kv": kv | {"value": one}} for one in said)])


def captures(corpus: Corpus) -> None:
    """Recorded connections as files, packets, segments and streams; and what the command reads."""
    for path in CAPTURES:
        data = path.read_bytes()
        name = slug(path.name)
        corpus["capture-file"][name] = data
        form = FORMAT_NAMES.index(path.stem)
        corpus["decode-command"][f"capture-{name}"] = bytes((form,)) + data
        packets = list(read_packets(io.BytesIO(data)))
        corpus["capture-packets"][name] = joined(
            [bytes((one.link & 255,)) + one.data for one in packets[:12]]
        )
        segments = list(filter(None, map(PacketReader().read, packets)))
        for number, source in enumerate(
            dict.fromkeys(one.source for one in segments if one.protocol == "tcp")
        ):
            sent = [one for one in segments if one.source == source]
            row = [struct.pack(">BI", one.opens * 2 + one.closes, one.sequence) + one.data for one in sent]
            row = row[:20]
            swapped = [row[min(at ^ 1, len(row) - 1)] for at in range(1, len(row))]
            for order, one in {"": row, "-back": row[::-1], "-swapped": [row[0], *swapped]}.items():
                corpus["capture-stream"][f"{name}-{number}{order}"] = joined(one)
            stream = Stream()
            if path.stem == "group":
                corpus["zmtp"][f"{name}-{number}"] = b"".join(map(stream.add, sent))
    streams = {
        "lenjson": "lenjson",
        "ipi": "ipi-from-driver",
        "aggregate": "aggregate-from-hub",
        "echo": "echo-split",
    }
    streams |= {"datagram": "datagram", "readout": "datagram", "eventlog": "eventlog", "group": "zmtp"}
    for name, target in streams.items():
        for key, data in list(corpus[target].items())[::6]:
            corpus["decode-command"][f"{name}-{key}"] = bytes((FORMAT_NAMES.index(name),)) + data
    for key, data in corpus["lenjson"].items():
        if key.startswith("hostile"):
            corpus["decode-command"][f"lenjson-{key}"] = bytes((FORMAT_NAMES.index("lenjson"),)) + data


def _pickles() -> Iterator[bytes]:
    shared = ["a", (1, (2, 3))]
    values = [
        None, True, 7, -(1 << 70), 2.5, 1j, "text", b"bytes", bytearray(b"abc"), [1, [2]], {"a": {"b": 1}},
        {1, 2}, frozenset((3,)), [shared, shared], uuid.UUID(int=7),
        dt.timedelta(1, 2), http.HTTPStatus.OK,
    ]  # fmt: skip
    for value in values:
        for protocol in (0, 2, 5):
            yield pickle.dumps(value, protocol)
    for array in (np.arange(6, dtype="<f8").reshape(2, 3), np.float64(2.5), np.array(["ab", "c"])):
        # As NumPy 2 writes it, whichever is here; only in this protocol do names have no length.
        text = pickle.dumps(array, 2).replace(b"numpy._core.", b"numpy.core.")
        yield text
        yield text.replace(b"numpy.core.", b"numpy._core.")
    yield pickle.dumps(print, 2)


def packages(corpus: Corpus) -> None:
    """Pickles and readouts."""
    corpus["objects"] = named("pickle", _pickles())
    arrays = [np.arange(6, dtype="<i2").reshape(2, 3), np.zeros((2, 0)), np.array(True), np.array([1 + 2j])]
    whole = [ArrayReadout(one).to_bytes() for one in arrays]
    corpus["readout-array"] = named(
        "array",
        [*whole, whole[0][-12:], whole[0][:-1]],
    )
    corpus["readout-json"] = texts([{"run": 7, "temperature_k": 4.2, "on": [True, None, "\u00b5m"]}])


def build() -> Corpus:
    """Return all inputs, by target and name."""
    corpus: Corpus = {name: {} for name in TARGETS}
    for add in (mxl, lenjson, lcm, echoes, groups, packages):
        add(corpus)
    for target, inputs in hostile.inputs().items():
        corpus[target] |= inputs
    captures(corpus)
    return corpus


def main() -> None:
    """Write the inputs, and remove the others."""
    for target, inputs in build().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name not in inputs and not path.name.startswith("found-"):
                path.unlink()
        for name, data in inputs.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
