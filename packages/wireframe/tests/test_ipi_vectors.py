"""The i-PI codec against bytes that real peers wrote.

The vectors were recorded from MaxwellLink 0.5.0, i-PI 3.3.1 and ASE 3.29.0.
Those of the aggregate frames (``agg/``) belong to another codec.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from wireframe import NEED_DATA, BadHeader, TruncatedFrame, ipi

VECTORS = {
    one["name"]: one
    for one in json.loads(
        Path(__file__).with_name("vectors").joinpath("mxl-sockets.json").read_text(encoding="utf-8")
    )["vectors"]
}


def family(*prefixes):
    return [name for name in VECTORS if name.startswith(prefixes)]


INTS = family("int32/")
STRINGS = family("lenbytes/")
TRANSCRIPTS = ["driver/transcript"]
AGG_HEADERS = family("header/AGG")
HEADERS = [name for name in family("header/") if name not in AGG_HEADERS]
SHORT = ["hub-session/stop", "ase/exit"]
INITS = [*family("init/", "ipi/init-"), "hub-session/init", "ase/init"]
REQUESTS = family("request/")
POSDATAS = family("ipi/posdata-nat", "ase/posdata-")
WITH_GETFORCE = family("ipi/posdata+getforce-")
BATCHES = ["ipi/posdata-batch2-nat1"]
REPLIES = family("reply/", "ipi/forceready-", "ase/forceready-", "driver/forceready")


def test_every_vector_but_the_aggregate_ones_is_tested():
    tested = [
        *INTS,
        *STRINGS,
        *TRANSCRIPTS,
        *AGG_HEADERS,
        *HEADERS,
        *SHORT,
        *INITS,
        *REQUESTS,
        *POSDATAS,
        *WITH_GETFORCE,
        *BATCHES,
        *REPLIES,
    ]
    assert len(tested) == len(set(tested))
    assert set(tested) == {name for name in VECTORS if not name.startswith("agg/")}


def golden(name):
    data = bytes.fromhex(VECTORS[name]["bytes"])
    assert len(data) == VECTORS[name]["len"]
    return data


def meaning(name, *keys):
    """The first of the keys that the vector's meaning has; reals as floats with all their bits."""

    def bits(value):
        if isinstance(value, list):
            return [bits(one) for one in value]
        if isinstance(value, dict):
            return struct.unpack("<d", bytes.fromhex(value["f64"]))[0]
        return value

    found = VECTORS[name]["meaning"]
    return next(bits(found[key]) for key in keys if key in found)


def text_of(name):
    found = VECTORS[name]["meaning"]
    for key in ("extra_hex", "payload_hex"):
        if key in found:
            return bytes.fromhex(found[key])
    return next(found[key] for key in ("extra_text", "json_text", "text") if key in found).encode()


def encode_again(event):
    """The bytes of a decoded message, batches excepted."""
    match event:
        case bytes():
            return ipi.encode_header(event)
        case ipi.Init(bead, text):
            return ipi.encode_init(bead, text)
        case ipi.PosData(cell, inverse_cell, positions):
            return ipi.encode_posdata(positions, cell, inverse_cell)
        case ipi.ForceReady(energy, forces, virial, extra):
            return ipi.encode_forceready(forces, energy, virial, extra)


def decode_one(data, **options):
    decoder = ipi.Decoder(**options)
    decoder.feed(data)
    event = decoder.next_event()
    assert decoder.next_event() is NEED_DATA
    assert decoder.buffered == 0
    return event


@pytest.mark.parametrize("name", HEADERS + SHORT)
def test_header(name, check_stream):
    data, header = golden(name), meaning(name, "header").encode()
    assert ipi.encode_header(header) == data
    if header not in {ipi.INIT, ipi.POSDATA, ipi.FORCEREADY}:
        assert decode_one(data) == header
        check_stream(ipi.Decoder, [data, data], [header, header])
        return
    decoder = ipi.Decoder()
    decoder.feed(data)
    decoder.feed_eof()
    with pytest.raises(TruncatedFrame):
        decoder.next_event()


@pytest.mark.parametrize("name", AGG_HEADERS)
def test_aggregate_headers_are_written_but_not_taken_for_messages_of_a_driver(name):
    data = golden(name)
    assert ipi.encode_header(meaning(name, "header").encode()) == data
    with pytest.raises(BadHeader) as caught:
        decode_one(data)
    assert caught.value.excerpt == data


@pytest.mark.parametrize("name", INTS)
def test_int32(name):
    data, number = golden(name), meaning(name, "int32")
    message = ipi.encode_init(number)
    assert message == ipi.encode_header(ipi.INIT) + data + bytes(4)
    assert decode_one(message) == ipi.Init(number, b"")


@pytest.mark.parametrize("name", STRINGS)
def test_byte_string(name):
    data, payload = golden(name), text_of(name)
    init = ipi.encode_init(0, payload)
    assert init[16:] == data
    assert decode_one(init) == ipi.Init(0, payload)
    reply = ipi.encode_forceready((0, 0, 0), extra=payload)
    assert reply[120:] == data
    assert decode_one(reply).extra == payload


@pytest.mark.parametrize("name", INITS)
def test_init(name, check_stream):
    data, text = golden(name), text_of(name)
    number = meaning(name, "molecule_id", "bead")
    assert ipi.encode_init(number, text) == data
    assert decode_one(data) == ipi.Init(number, text)
    check_stream(ipi.Decoder, [data], [data], encode_again)


@pytest.mark.parametrize("name", REQUESTS)
def test_request(name, check_stream):
    data, field = golden(name), meaning(name, "field")
    assert ipi.encode_request(field) == data
    assert ipi.encode_request(data[160:184]) == data
    assert ipi.encode_posdata(field) + ipi.encode_header(ipi.GETFORCE) == data
    decoder = ipi.Decoder(accept=ipi.FROM_SERVER, nat=1)
    decoder.feed(data)
    assert decoder.next_event() == ipi.PosData(ipi.IDENTITY, ipi.IDENTITY, data[160:184])
    assert decoder.next_event() == ipi.GETFORCE
    frames = [data[:184], data[184:]]
    check_stream(ipi.Decoder, frames, frames, encode_again)


@pytest.mark.parametrize("name", POSDATAS + WITH_GETFORCE)
def test_posdata(name, check_stream):
    data = golden(name)
    nat = meaning(name, "nat")
    positions = meaning(name, "positions", "positions_on_wire")
    # Where a vector does not tell its cells, its twin does: the same peer, the same system.
    twin = name.replace("+getforce", "")
    cell = meaning(twin, "cell_on_wire", "cell_row_major")
    inverse = data[84:156] if name.startswith("ase/") else meaning(twin, "icell_row_major")
    frames = [data[: 160 + 24 * nat]]
    if name in WITH_GETFORCE:
        frames.append(ipi.encode_header(ipi.GETFORCE))
    assert ipi.encode_posdata(positions, cell, inverse) == frames[0]
    assert b"".join(frames) == data
    event = decode_one(frames[0], nat=nat)
    assert ipi.reals(event.positions) == tuple(positions)
    assert ipi.reals(event.cell) == tuple(cell)
    check_stream(ipi.Decoder, frames, frames, encode_again)


@pytest.mark.parametrize("name", BATCHES)
def test_posdata_of_a_batch(name, check_stream):
    data = golden(name)
    pair = (meaning("ipi/posdata-nat1", "cell_row_major"), meaning("ipi/posdata-nat1", "icell_row_major"))
    positions = [(1, 2, 3), (-1, -2, -3)]
    getforce = ipi.encode_header(ipi.GETFORCE)
    frame = data[: -len(getforce)]
    assert ipi.encode_posdata_batch(positions, [pair, pair]) + getforce == data
    assert meaning(name, "batch") == 2

    def see(event):
        if event == ipi.GETFORCE:
            return getforce
        cells = [event.cells[i : i + 72] for i in range(0, len(event.cells), 72)]
        blocks = [event.positions[:24], event.positions[24:]]
        return ipi.encode_posdata_batch(blocks, list(zip(cells[::2], cells[1::2], strict=True)))

    event = decode_one(frame, batch_size=2)
    assert (event.nat, ipi.reals(event.positions)) == (1, (1, 2, 3, -1, -2, -3))
    check_stream(lambda: ipi.Decoder(batch_size=2), [frame, getforce], [frame, getforce], see)


@pytest.mark.parametrize("name", REPLIES)
def test_reply(name, check_stream):
    data, extra = golden(name), text_of(name)
    found = VECTORS[name]["meaning"]
    nat = found["nat"]
    forces = meaning(name, "forces", "forces_on_wire")
    # The one vector that tells no energy and no virial has zeros.
    energy = 0.0 if name == "driver/forceready" else meaning(name, "energy", "energy_on_wire")
    virial = ipi.ZEROS if name == "driver/forceready" else meaning(name, "virial_on_wire")
    assert ipi.encode_forceready(forces, energy, virial, extra) == data
    event = decode_one(data, accept=ipi.FROM_DRIVER, nat=nat)
    assert event.forces == struct.pack(f"<{3 * nat}d", *forces)
    assert (event.energy, event.extra) == (energy, extra)
    check_stream(ipi.Decoder, [data], [data], encode_again)
    assert ipi.split_reply(data, len(data)) == ((event.forces, extra) if nat == 1 else None)


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_dialogue_with_the_real_driver(name, feed_all, check_stream):
    turns = VECTORS[name]["transcript"]
    for direction, accept, names in [
        (
            "to_driver",
            ipi.FROM_SERVER,
            {ipi.STATUS, ipi.STOP, ipi.GETFORCE, ipi.Init, ipi.PosData},
        ),
        (
            "from_driver",
            ipi.FROM_DRIVER,
            {ipi.NEEDINIT, ipi.READY, ipi.HAVEDATA, ipi.BYE, ipi.ForceReady},
        ),
    ]:
        stream = b"".join(bytes.fromhex(turn[direction]) for turn in turns)
        events = feed_all(ipi.Decoder(accept=accept), [stream])
        assert {event if type(event) is bytes else type(event) for event in events} == names
        frames = [encode_again(event) for event in events]
        assert b"".join(frames) == stream
        check_stream(lambda accept=accept: ipi.Decoder(accept=accept), frames, frames, encode_again)
