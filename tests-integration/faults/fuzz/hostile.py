"""Inputs that no honest peer sends: announcements without their bytes, contradictions, endless nesting."""

from __future__ import annotations

import struct

from wireframe import aggregate, ipi

#: Texts that every reader of JSON gets from somebody.
TEXTS = (
    b"[" * 40 + b"]" * 40,
    b'{"a":' * 1200 + b"1" + b"}" * 1200,
    b"[" * 70 + b"]" * 70,
    b"[" * 3000,
    b"1" * 4301,
    b"NaN",
    b"1e999",
    b'"\\ud800"',
    b'"\xed\xa0\x80"',
    b"\xef\xbb\xbf[1]",
    b'{"a":1,"a":2}',
    b"-0",
    b"[1,]",
    b"",
)
#: Target, message, and the 32-bit numbers behind its header: limits announced, and numbers that cannot be.
_FRAMES = (
    ("ipi-from-server", ipi.INIT, (7, 16 << 20)),
    ("ipi-from-server", ipi.POSDATA, (*[0] * 36, 1 << 20)),
    ("ipi-from-driver", ipi.FORCEREADY, (0, 0, 1 << 20)),
    ("ipi-from-driver", ipi.FORCEREADY, (0, 0, 0, *[0] * 18, 16 << 20)),
    ("ipi-batch", ipi.POSDATA, (1 << 19,)),
    ("ipi-batch", ipi.FORCEREADY, (0, 0, 0, 0, 0, *[0] * 36, 16 << 20)),
    ("aggregate-from-hub", aggregate.AGGINIT, (16 << 20,)),
    ("aggregate-from-hub", aggregate.AGGSTEP, (1 << 20, 1 << 20)),
    ("aggregate-from-hub", aggregate.AGGSTEP, (1, 1, *[0] * 6, 7, -1)),
    ("aggregate-from-hub", aggregate.AGGSTEP, (1, 1, *[0] * 6, 7, 1)),
    ("aggregate-from-hub", aggregate.AGGSTEP, (2, 1, *[0] * 6, 7, 0, 7, 0)),
    ("aggregate-from-bridge", aggregate.AGGHELLO, (4096,)),
    ("aggregate-from-bridge", aggregate.AGGRESULT, (1 << 20,)),
    ("aggregate-from-bridge", aggregate.AGGRESULT, (1, 7, *[0] * 6, 16 << 20)),
    ("aggregate-from-bridge", aggregate.AGGRESULT, (2, 7, *[0] * 7, 7, *[0] * 7)),
    ("aggregate-from-bridge", aggregate.AGGRESULT, (2, 7, *[0] * 6, -1, 8, *[0] * 6, 1)),
)
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(48)
_OTHERS = {
    "lenjson": [b"0200000000[1, 2", b"0268435457", b"+000000001", b"GET / HTTP"],
    "datagram": [
        b"LC03" + struct.pack(">IIIHH", 1, (1 << 28) - 1, 0, 0, 65535) + b"ADC\0",
        b"LC03" + struct.pack(">IIIHH", 1, 10, 9, 1, 2) + b"abc",
    ],
    "eventlog": [b"\xed\xa1\xda\x01" + struct.pack(">QQII", 1, 1, 1, (1 << 28) - 1) + b"A"],
    "zmtp": [
        _GREETING + b"\x01\x00" * 70,
        _GREETING + b"\x02" + struct.pack(">Q", 3) + b"abc\x04\x06\x05READY",
        _GREETING + b"\x04\x00",
        _GREETING + b"\x02" + struct.pack(">Q", 60 << 20) + b"abc",
    ],
    "capture-file": [
        b"\xd4\xc3\xb2\xa1" + struct.pack("<HHIIIIIIII", 2, 4, 0, 0, 65535, 1, 0, 0, 16 << 20, 9),
        b"\x0a\x0d\x0d\x0a" + struct.pack("<III", 16 << 20, 0x1A2B3C4D, 1),
    ],
    "objects": [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04)" + b"\x85" * 60 + b".",
        b"]q\x00" + b"h\x00a" * 5 + b".",
        b"\x80\x04B\xff\xff\xff\x7f.",
        b"\x80\x04)" + b"2\x86" * 200 + b".",
    ],
    "readout-array": [
        b"\x03<f8\x03" + b"\xff" * 12,
        b"\x03|O8\x00",
        b"\x03<f3\x01\0\0\0\0",
        b"\x03<f8\x05" + bytes(4) + b"\xff" * 16,
    ],
}  # fmt: skip
#: What somebody who wants to lead may say of itself.
LEADERS: tuple[object, ...] = (
    [],
    7,
    {"id": 5},
    {"id": "00"},
    {"id": "00" * 16, "host": 1, "port": "x"},
    {"host": "a"},
    None,
    "host",
)


def inputs() -> dict[str, dict[str, bytes]]:
    """Return them, by target and name."""
    found: dict[str, list[bytes]] = {target: list(others) for target, others in _OTHERS.items()}
    for target, name, numbers in _FRAMES:
        frame = ipi.encode_header(name) + struct.pack(f"<{len(numbers)}i", *numbers)
        found.setdefault(target, []).append(frame)
    for text in TEXTS:
        length = struct.pack("<i", len(text))
        found["lenjson"].append(b"%010d" % len(text) + text)
        found["ipi-from-server"].append(ipi.encode_header(ipi.INIT) + struct.pack("<i", 7) + length + text)
        found["aggregate-from-hub"].append(ipi.encode_header(aggregate.AGGINIT) + length + text)
        found["aggregate-from-bridge"].append(ipi.encode_header(aggregate.AGGHELLO) + length + text)
    return {
        target: {f"hostile-{number:03}": one for number, one in enumerate(row)}
        for target, row in found.items()
    }
