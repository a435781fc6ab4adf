"""Damaged multipart messages: whatever comes, a message or a `FrameError`, in bounded memory.

50 000 of them; ``WIREFRAME_FUZZ_MULTIPARTS=1000000`` tries more.
"""

from __future__ import annotations

import json
import os
import random
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from wireframe import FrameError
from wireframe.group import Extension, decode_body, decode_frames, encode_body, encode_frames

COUNT = int(os.environ.get("WIREFRAME_FUZZ_MULTIPARTS", "20000"))
VECTORS = json.loads((Path(__file__).parent / "vectors" / "group-ports.json").read_text(encoding="utf-8"))
EXTENSION = Extension(7, b"0123456789abcdef", b"ABCDEFGHIJKLMNOP")
INTERESTING = (0, 1, 2, 3, 5, 6, 7, 8, 127, 128, 254, 255)


def seeds():
    """All golden frames, with an extension too where they have a stamp."""
    found = []
    for case in VECTORS["frames"]:
        frames = [bytes.fromhex(one) for one in case["frames"]]
        found.append(frames)
        if "sent" in case["decoded"] and "identity" not in case["decoded"]:
            found.append(encode_frames(*frames[:2], stamp=case["decoded"]["sent"], extension=EXTENSION))
    return found


def damaged(frame, chance):
    """One frame with a few octets, words or its length changed."""
    octets = bytearray(frame)
    for _ in range(chance.randint(1, 3)):
        size = len(octets)
        match chance.randrange(6) if size >= 8 else 5:
            case 0 | 1:
                # Heads hold what decides, so they are hit most.
                at = chance.randrange(min(size, chance.choice((8, 64, size))))
                octets[at] = chance.choice(INTERESTING)
            case 2:
                octets[chance.randrange(size)] ^= 1 << chance.randrange(8)
            case 3:
                source, target = (8 * chance.randrange(size // 8) for _ in range(2))
                octets[target : target + 8] = octets[source : source + 8]
            case 4:
                del octets[chance.randrange(size) :]
            case _:
                octets += chance.randbytes(chance.choice((1, 8, 16)))
    return bytes(octets)


def mutant(frames, every, chance):
    """A message with one or two things wrong, or none."""
    frames = list(frames)
    for _ in range(chance.randint(0, 2)):
        at = chance.randrange(len(frames)) if frames else 0
        match chance.randrange(8) if frames else 0:
            case 0:
                frames.insert(at, chance.choice(chance.choice(every)))
            case 1:
                del frames[at]
            case 2:
                frames[at] = b""
            case 3:
                frames[at] = chance.choice(chance.choice(every))
            case _:
                frames[at] = damaged(frames[at], chance)
    return frames


def refusal(frames):
    """Why a receiver refuses these; None if it takes them, and then they survive a round trip."""
    try:
        message = decode_frames(frames)
        body = decode_body(message.tag, message.payload)
    except FrameError as error:
        return error
    assert encode_frames(message.tag, message.payload, stamp=message.stamp) == list(frames[:3])
    assert decode_body(message.tag, encode_body(body)) == body
    return None


@pytest.mark.fault("C2", "wireframe", "E")
@pytest.mark.timeout(60 + COUNT // 2000)
def test_nothing_but_frame_errors_comes_from_damaged_messages(figure):
    """From a fixed seed, so that what fails once fails again."""
    chance = random.Random(20261121)
    every = seeds()
    taken, kinds = 0, Counter()
    for _ in range(COUNT):
        frames = mutant(chance.choice(every), every, chance)
        error = refusal(frames)
        if error is None:
            taken += 1
            continue
        assert len(error.excerpt) <= 32
        assert len(str(error)) < 300
        kinds[type(error).__name__] += 1
    assert COUNT // 10 < taken < COUNT
    assert kinds.keys() == {"BadHeader", "BadPayload", "FrameTooLarge", "TruncatedFrame"}
    refused = ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items()))
    figure(f"{COUNT} damaged messages: {taken} readable, {refused}")


@pytest.mark.fault("C2", "wireframe", "M")
def test_damaged_messages_leave_no_memory_behind_and_take_little():
    """What they announce is never allocated: the peak is that of a few messages."""
    chance = random.Random(20261122)
    every = seeds()
    longest = max(sum(map(len, frames)) for frames in every)
    batch = [mutant(chance.choice(every), every, chance) for _ in range(2000)]

    def run():
        for frames in batch:
            try:
                message = decode_frames(frames)
                decode_body(message.tag, message.payload)
            except FrameError:
                pass

    run()
    tracemalloc.start()
    try:
        run()
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left < longest
    assert peak < 10 * longest
