"""Captures of real exchanges, in ``captures``: read to the end, and explained where a byte is changed.

Made with dumpcap and tshark on the loopback interface, from MaxwellLink 0.5.0 and our driver (ipi) and bridge
(aggregate), iblutil 1.20.0 over UDP and TCP (echo), LCM 1.5.3 (datagram), and from our own ends: lenjson,
readout, group. Of longer captures only packets of these exchanges were kept.
"""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from wireframe._decode.formats import FORMATS

from .lines import rows

FOLDER = Path(__file__).with_name("captures")
FILES = {path.stem: path for path in sorted(FOLDER.iterdir())}

# How many frames go to each port, which follows from what the ends did: 20 steps, or 5 messages with answers
# (of echo with their echoes, of lenjson with a connection each), between greetings and goodbyes.
FRAMES = {
    "lenjson": {38161: 6, 35636: 1, 35648: 1, 35650: 1, 35652: 1, 35662: 1, 35678: 1},
    "ipi": {38077: 20 + 1, 37070: 2 * 20 + 2},
    "aggregate": {45545: 20 + 3, 47642: 20 + 2},
    "echo": {37894: 2 * 5, 48160: 2 * 5, 55243: 2 * 5, 43726: 2 * 5},
    "datagram": {7667: 4},
    "readout": {47511: 3},
    "group": {44943: 3, 34624: 5 + 2, 39491: 5 + 2, 51904: 5 + 2},
}


class Changed(NamedTuple):
    """A byte that is changed, counted from bytes that the file has, and where that has to be told."""

    form: str
    before: bytes
    occurrence: int
    place: int
    value: int
    packet: int
    told: int
    read: int


# What is not marked by boundaries of its own ends its direction; all other frames are read.
CHANGED = {
    "lenjson": Changed("lenjson", b'0000000034{"command": "double", "number": 3}', 0, 4, 0x78, 32, 4, 11),
    "ipi": Changed("ipi", b"POSDATA     ", 2, 3, 0x58, 18, 444 + 3, 21 + 5),
    "aggregate": Changed("aggregate", b"AGGSTEP     ", 1, 20 + 72 + 4, 9, 15, 369 + 96, 23 + 2),
    "echo over UDP": Changed("echo", b'[1, {"answer": 2}]', 0, 15, 0x78, 14, 15, 39),
    "echo over TCP": Changed("echo", b'[1, {"answer": 2}]', 2, 15, 0x78, 41, 174 + 15, 39),
    "datagram": Changed("datagram", b"FROM-ours", 0, 2, 0xFF, 3, 8 + 2, 3),
    "group": Changed("group", b"\x01\x03mtl", 2, 2, 0xFF, 34, 149 + 2, 23),
}


def test_every_format_but_that_of_files_has_a_capture():
    assert FILES.keys() == FRAMES.keys() == FORMATS.keys() - {"eventlog"}
    assert {one.form for one in CHANGED.values()} == FRAMES.keys() - {"readout"}


@pytest.mark.parametrize("form", FRAMES)
def test_a_capture_is_read_to_its_end(decode, form):
    status, lines, err = decode(form, FILES[form].read_bytes())
    assert status == 0
    found = Counter(int(one.target.rpartition(":")[2]) for one in rows(lines))
    assert found == FRAMES[form]
    assert err == f"{len(lines)} frames\n"


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
def test_a_changed_byte_is_told_at_its_place_in_its_packet(decode, changed):
    data = bytearray(FILES[changed.form].read_bytes())
    at = -1
    for _ in range(changed.occurrence + 1):
        at = data.index(changed.before, at + 1)
    data[at + changed.place] = changed.value
    status, lines, err = decode(changed.form, bytes(data))
    assert status == 1
    (bad,) = [place for place, one in enumerate(rows(lines)) if one.bad]
    assert int(lines[bad].split()[0]) == changed.packet
    assert rows(lines)[bad].at == changed.told
    assert f"[{changed.value:02x}]" in lines[bad]
    assert err == f"{changed.read} frames, and 1 places where something is wrong\n"


def test_a_readout_that_is_cut_short_is_counted_with_its_packet(decode):
    """Of its bytes any are right, but not that there are fewer than announced."""
    data = bytearray(FILES["readout"].read_bytes())
    head = struct.pack(">HH", 47511, 8 + 29)  # the port it goes to, and its length
    data[data.index(head) + 2] = 0x25
    status, lines, err = decode("readout", bytes(data))
    assert (status, len(lines)) == (0, 2)
    assert err == "2 frames\nnot read: 1 packets cut short (first at packet 2)\n"


@pytest.mark.parametrize("form", FRAMES)
def test_a_capture_that_was_cut_anywhere_is_read_up_to_there(decode, form):
    """Packets before the cut are read, and the damage is told; whatever the place."""
    data = FILES[form].read_bytes()
    whole = decode(form, data)[1]
    for end in range(24, len(data), len(data) // 23):
        status, lines, err = decode(form, data[:end])
        assert lines == whole[: len(lines)]
        assert status == ("damaged" in err)
