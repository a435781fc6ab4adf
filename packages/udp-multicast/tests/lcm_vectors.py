"""Datagrams that a real LCM sender sent, rebuilt from the recorded vectors and checked against their sums."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

VECTORS = json.loads(Path(__file__).with_name("vectors").joinpath("lcm.json").read_text(encoding="utf-8"))
_SMALL_HEAD, _FRAGMENT_HEAD = 8, 20


@dataclass
class Recorded:
    """One message: what was published, and the datagrams that were seen."""

    name: str
    channel: str
    payload: bytes
    datagrams: list[bytes]


def pattern(size):
    """The payload of all recorded messages of more than 100 bytes."""
    return bytes((i * 31 + (i >> 8)) & 255 for i in range(size))


def _datagram(recorded, payload, channel):
    """Join the recorded head with the payload it announces; the recorded sum must come out."""
    if "hex" in recorded:
        return bytes.fromhex(recorded["hex"])
    head = bytes.fromhex(recorded["head_hex"])
    if head.startswith(b"LC02"):
        header, offset = head[: _SMALL_HEAD + len(channel) + 1], 0
    else:
        offset = int.from_bytes(head[12:16], "big")
        header = head[: _FRAGMENT_HEAD + (0 if offset else len(channel) + 1)]
    whole = header + payload[offset : offset + recorded["len"] - len(header)]
    assert hashlib.sha256(whole).hexdigest() == recorded["sha256"]
    return whole


def _message(recorded):
    channel, size = recorded["channel"], recorded["payload_len"]
    if size > 100:
        payload = pattern(size)
    else:
        payload = bytes.fromhex(recorded["datagrams"][0]["hex"])[_SMALL_HEAD + len(channel) + 1 :]
    assert hashlib.sha256(payload).hexdigest() == recorded["payload_sha256"]
    datagrams = [_datagram(one, payload, channel) for one in recorded["datagrams"]]
    return Recorded(recorded["name"], channel, payload, datagrams)


def recorded_messages():
    """All messages of the recording in order; their numbers start at 0 and leave nothing out."""
    return [_message(one) for one in VECTORS["messages"]]
