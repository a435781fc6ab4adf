"""Datagrams that somebody with bad intentions, or a bad cable, might send; the same seed makes the same ones.

Environment: ``UDP_MULTICAST_FUZZ_DATAGRAMS`` says how many, ``UDP_MULTICAST_FUZZ_SEED`` which ones.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
from pathlib import Path

#: Hostile datagrams of each run.
COUNT = int(os.environ.get("UDP_MULTICAST_FUZZ_DATAGRAMS", "50000"))
SEED = int(os.environ.get("UDP_MULTICAST_FUZZ_SEED", "1"))
#: Bytes of the largest datagram.
LARGEST = 65507
#: One hostile datagram in so many may be of any size; the others are of the size of honest ones.
_LARGE_EVERY = 1000

_NUMBERS = (0, 1, 2, 3, 127, 128, 255, 256, 1023, 32767, 32768, 65535, 65536, 1 << 28, (1 << 28) + 1)
_EXTREMES = (*_NUMBERS, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


@contextlib.contextmanager
def replayable(test, progress):
    """Let a failure tell, in one line, how to see it again; `progress()` is how many datagrams it took."""
    try:
        yield
    except Exception as error:
        error.add_note(
            f"replay: UDP_MULTICAST_FUZZ_SEED={SEED} UDP_MULTICAST_FUZZ_DATAGRAMS={progress()} "
            f"python -m pytest -c tox.ini --rootdir=. packages/udp-multicast/tests/test_fuzz.py -k '{test}'"
        )
        raise


def resident_bytes():
    """Memory of this process; 0 where the system does not tell in a file."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class Hostile:
    """Makes hostile datagrams without end.

    Parameters
    ----------
    good : sequence of bytes
        Honest datagrams, to be mutated.
    special : callable, optional
        Given the generator of random numbers, returns a datagram that is bad in ways of its own format.
    """

    def __init__(self, good, special=None):
        self.random = random.Random(SEED)
        self._good = good
        self._special = special
        self._longest = max(map(len, good))

    def next(self):
        chance = self.random
        if not chance.randrange(_LARGE_EVERY):
            return chance.randbytes(chance.randrange(LARGEST + 1))
        if self._special is not None and chance.random() < 0.5:
            return self._special(chance)
        if chance.random() < 0.25:
            return chance.randbytes(chance.randrange(2 * self._longest))
        data = chance.choice(self._good)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            data = chance.choice(_MUTATIONS)(chance, data, chance.choice(self._good))
        return data[:LARGEST]


def _cut(chance, data, _other):
    return data[: chance.randrange(len(data) + 1)]


def _cut_in_front(chance, data, _other):
    return data[chance.randrange(len(data) + 1) :]


def _extended(chance, data, _other):
    return data + chance.randbytes(chance.randrange(1, 40))


def _spliced(chance, data, other):
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def _repeated(chance, data, _other):
    start, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    return data[:end] + data[start:]


def _overwritten(chance, data, _other):
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 9) if data else 0):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _flipped(chance, data, _other):
    changed = bytearray(data)
    if data:
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _with_number(chance, data, _other):
    number = chance.choice(_EXTREMES)
    size = chance.choice((1, 2, 4))
    order = chance.choice(("big", "little"))
    at = chance.randrange(len(data) + 1)
    return data[:at] + (number % (1 << 8 * size)).to_bytes(size, order) + data[at + size :]


_MUTATIONS = (_cut, _cut_in_front, _extended, _spliced, _repeated, _overwritten, _flipped, _with_number)


def special_json(chance):
    """Texts at the edge of JSON: deep, long, not a number, half a character."""
    return chance.choice(
        (
            lambda: b"[" * chance.randrange(3000),
            lambda: b"[" * 1100 + b"]" * 1100,
            lambda: b'{"a":' * 1100 + b"1" + b"}" * 1100,
            lambda: chance.choice(
                (b"NaN", b"[NaN]", b"-Infinity", b'{"id":Infinity}', b"1e999", b'{"id":1e999}')
            ),
            lambda: b'{"id":' + b"9" * chance.randrange(1, 5000) + b"}",
            lambda: b'{"id":%d.5}' % chance.randrange(100),
            lambda: b'{"id":"7"}',
            lambda: b'{"id":[7]}',
            lambda: b'"\\ud800"',
            lambda: b'"\xed\xa0\x80"',
            lambda: b"\xef\xbb\xbf{}",
            lambda: b"{}" + b" " * chance.randrange(9) + b"{}",
            lambda: b" \t\r\n",
        )
    )()


def special_array(chance):
    """Headers of arrays that promise too much, or what no array is."""
    dtypes = (
        b"<u4",
        b"<f8",
        b"|O8",
        b"<M8",
        b"<f3",
        b"|b1",
        b"<c16",
        b"<i0",
        b"<U9",
        b"<f8,<f8",
        b"(9,9)f8",
        b"",
    )
    dtype = chance.choice((*dtypes, chance.randbytes(chance.randrange(6))))
    lengths = [
        chance.choice(_EXTREMES) & 0xFFFFFFFF for _ in range(chance.choice((0, 1, 1, 2, 3, 32, 33, 255)))
    ]
    if chance.random() < 0.5:
        lengths[:] = [chance.randrange(4) for _ in lengths]
    head = bytes([len(dtype)]) + dtype + bytes([len(lengths)]) + struct.pack(f"<{len(lengths)}I", *lengths)
    return head + bytes(chance.randrange(64))


def special_channel(chance):
    """Headers of LCM that contradict each other, hoards of fragments that never become a message."""
    return chance.choice((_small, _fragment, _hoard, _hoard, _tiny))(chance)


def _name(chance):
    return chance.choice((b"ADC\0", b"\0", b"X" * 63 + b"\0", b"X" * 64 + b"\0", b"ADC", b"\xff\xfe\0"))


def _small(chance):
    # Numbers that leave every second one out, begin anew far behind, or are anything.
    number = chance.choice(
        (2 * chance.randrange(1000), 1 << 20, (1 << 20) + 1, chance.getrandbits(32), 0, 0xFFFFFFFF)
    )
    return b"LC02" + number.to_bytes(4, "big") + _name(chance) + chance.randbytes(chance.randrange(100))


def _fragment(chance):
    count = chance.choice((0, 1, 2, 3, 65535))
    number = chance.choice((0, 0, 1, 2, count, 65535))
    size = chance.choice((*_EXTREMES, 100, 2000))
    offset = chance.choice((0, 0, 100, 1000, size, chance.getrandbits(32)))
    head = struct.pack(">4sIIIHH", b"LC03", chance.randrange(8), size, offset, number, count)
    return head + _name(chance) + chance.randbytes(chance.randrange(1400))


def _hoard(chance):
    """A piece of a message that could be real, of which hardly ever all pieces come."""
    count, length = chance.choice(((3, 8000), (4, 2000), (40, 1400), (300, 100)))
    number = chance.randrange(1, count)
    head = struct.pack(
        ">4sIIIHH", b"LC03", chance.getrandbits(12), count * length, number * length, number, count
    )
    return head + bytes(length)


def _tiny(chance):
    """Fragments without payload, which are free for the sender."""
    return struct.pack(">4sIIIHH", b"LC03", chance.randrange(64), 9, 0, chance.randrange(1, 65535), 65535)
