"""A wrong byte in a stream of golden frames: each format tells where, from a file and from a capture."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from wireframe._decode.formats import FORMATS

from . import packets as made
from .lines import rows
from .test_zmtp import GREETING, frame

VECTORS = Path(__file__).parents[1] / "vectors"


def recorded(peer):
    return json.loads((VECTORS / f"{peer}.json").read_text(encoding="utf-8"))


def named(peer, *names):
    by_name = {one["name"]: one for one in recorded(peer)["vectors"]}
    return [bytes.fromhex(by_name[name]["bytes"]) for name in names]


def log_events():
    """Three events of a log that LCM wrote."""
    log = recorded("lcm")["log"]
    places = [one["offset"] for one in log["events"]][:4]
    data = bytes.fromhex(log["first_600_bytes_hex"])
    return [data[at:end] for at, end in pairwise(places)]


def multiparts(*names):
    """Messages that members of groups sent, with ZeroMQ's framing around them."""
    by_name = {
        one["name"]: [bytes.fromhex(part) for part in one["frames"]]
        for one in recorded("group-ports")["frames"]
    }
    return [
        b"".join(frame(part, flags=int(at + 1 < len(by_name[name]))) for at, part in enumerate(by_name[name]))
        for name in names
    ]


GOLDEN = {
    "lenjson": [bytes.fromhex(one["hex"]) for one in recorded("json-socket")["encode"]],
    "ipi": named("mxl-sockets", "init/typical", "request/simple", "reply/extra-json", "hub-session/stop"),
    "aggregate": named(
        "mxl-sockets", "agg/hello", "agg/init-two", "agg/step-dedup", "agg/result-mixed", "agg/step-block"
    ),
    "echo": [bytes.fromhex(one["hex"]) for one in recorded("echo-rig")["messages"] if one["utf8"] != "hello"],
    "datagram": [
        bytes.fromhex(one["hex"])
        for message in recorded("lcm")["messages"]
        for one in message["datagrams"]
        if "hex" in one
    ],
    "eventlog": log_events(),
    "group": [GREETING, *multiparts("tic", "vot-yes", "msg", "rfv-value-consensus-1500ms")],
}


class Wrong(NamedTuple):
    """Bytes put into a golden frame, and the place to be told, counted from its first byte."""

    form: str
    frame: int
    place: int
    value: bytes
    told: int


# Of a number of several bytes the first one is told; of what is too short, where it ends.
WRONG = {
    "lenjson, a digit": Wrong("lenjson", 3, 4, b"x", 4),
    "lenjson, a length": Wrong("lenjson", 3, 0, b"9", 0),
    "lenjson, JSON": Wrong("lenjson", 0, 10, b"x", 10),
    "lenjson, UTF-8": Wrong("lenjson", 0, 15, b"\xff", 15),
    "ipi, a header": Wrong("ipi", 1, 3, b"X", 3),
    "ipi, a length": Wrong("ipi", 0, 19, b"\xff", 16),
    "ipi, atoms": Wrong("ipi", 1, 159, b"\x7f", 156),
    "ipi, the header behind": Wrong("ipi", 1, 184, b"X", 184),
    "ipi, an extra": Wrong("ipi", 2, 123, b"\xff", 120),
    "aggregate, a header": Wrong("aggregate", 2, 5, b"X", 5),
    "aggregate, JSON": Wrong("aggregate", 0, 16, b"x", 16),
    "aggregate, UTF-8": Wrong("aggregate", 1, 30, b"\xff", 30),
    "aggregate, a text": Wrong("aggregate", 1, 15, b"\x7f", 12),
    "aggregate, a count": Wrong("aggregate", 2, 15, b"\x7f", 12),
    "aggregate, a position": Wrong("aggregate", 2, 80, b"\x09", 80),
    "aggregate, a molecule": Wrong("aggregate", 2, 84, b"\x03", 84),
    "aggregate, an extra": Wrong("aggregate", 3, 79, b"\xff", 76),
    "echo, UTF-8": Wrong("echo", 2, 8, b"\xff", 8),
    "echo, JSON": Wrong("echo", 1, 4, b"x", 4),
    "datagram, a header": Wrong("datagram", 1, 0, b"X", 0),
    "datagram, a channel": Wrong("datagram", 2, 12, b"\xff", 12),
    "datagram, a size": Wrong("datagram", 3, 8, b"\xff", 8),
    "datagram, an offset": Wrong("datagram", 3, 12, b"\xff", 12),
    "datagram, a fragment": Wrong("datagram", 3, 16, b"\xff", 16),
    "eventlog, a sync word": Wrong("eventlog", 1, 0, b"X", 0),
    "group, a greeting": Wrong("group", 0, 9, b"X", 9),
    "group, flags": Wrong("group", 1, 0, b"X", 0),
    "group, a size": Wrong("group", 3, 0, b"\x03\xff", 1),
    "group, a tag": Wrong("group", 1, 2, b"\xff", 2),
    "group, a vote": Wrong("group", 2, 30, b"\x09", 27),
    "group, a poll": Wrong("group", 4, 10, b"\xff", 7),
}
GOES_ON = {"echo", "datagram", "eventlog"}


def corrupted(wrong):
    """The golden frames, one of them wrong, and where it begins; of datagrams each begins anew."""
    frames = [bytearray(one) for one in GOLDEN[wrong.form]]
    frames[wrong.frame][wrong.place : wrong.place + len(wrong.value)] = wrong.value
    begin = 0 if wrong.form == "datagram" else sum(map(len, frames[: wrong.frame]))
    return [bytes(one) for one in frames], begin


def segments(stream, size=7):
    """A TCP connection that carries a stream in small segments, which come in pairs in the wrong order."""
    pieces = [(at, stream[at : at + size]) for at in range(0, len(stream), size)]
    swapped = [one for at in range(0, len(pieces), 2) for one in reversed(pieces[at : at + 2])]
    opening = made.tcp(b"", sequence=99, flags=2)
    return [opening, *(made.tcp(data, sequence=100 + at) for at, data in swapped)]


def capture(form, frames):
    """A capture of these frames."""
    if form == "datagram":
        packets = [made.ipv4(made.udp(one)) for one in frames]
    else:
        packets = [made.ipv4(one, made.TCP) for one in segments(b"".join(frames))]
    return made.pcap([(at, 0, one) for at, one in enumerate(packets)])


def test_each_format_that_has_one_is_corrupted_here():
    """Of bare readouts any bytes are right."""
    assert {one.form for one in WRONG.values()} == FORMATS.keys() - {"readout"}


@pytest.mark.parametrize("form", GOLDEN)
def test_golden_frames_are_read_to_the_end(decode, form):
    for data in GOLDEN[form] if form == "datagram" else [b"".join(GOLDEN[form])]:
        assert decode(form, data)[0] == 0
    if form != "eventlog":
        status, lines, _ = decode(form, capture(form, GOLDEN[form]))
        assert (status, any(one.bad for one in rows(lines))) == (0, False)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_byte_in_a_file_is_told_at_its_place(decode, wrong):
    frames, begin = corrupted(wrong)
    status, lines, _ = decode(
        wrong.form, frames[wrong.frame] if wrong.form == "datagram" else b"".join(frames)
    )
    assert status == 1
    assert [one.at for one in rows(lines) if one.bad] == [begin + wrong.told]


@pytest.mark.parametrize(
    "wrong",
    [one for one in WRONG.values() if one.form != "eventlog"],
    ids=[one for one in WRONG if "log" not in one],
)
def test_a_wrong_byte_in_a_capture_is_told_at_the_same_place(decode, wrong):
    """Segments cut the frames anywhere and come in the wrong order."""
    frames, begin = corrupted(wrong)
    status, lines, _ = decode(wrong.form, capture(wrong.form, frames))
    assert status == 1
    (bad,) = [one for one in rows(lines) if one.bad]
    assert (bad.at, bad.source) == (begin + wrong.told, "10.0.0.1:40000")


@pytest.mark.parametrize("wrong", [one for one in WRONG.values() if one.form in GOES_ON], ids=str)
def test_frames_with_boundaries_of_their_own_are_read_behind_the_wrong_one(decode, wrong):
    frames, _ = corrupted(wrong)
    data = b"".join(frames) if wrong.form == "eventlog" else capture(wrong.form, frames)
    found = rows(decode(wrong.form, data)[1])
    assert len(found) == len(frames)
    assert [at for at, one in enumerate(found) if one.bad] == [wrong.frame]
