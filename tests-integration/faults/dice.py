"""What a bad network does to one datagram or frame; the simulator and the relay roll these dice.

The order of the rolls is part of it: a seed that failed has to play the same again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """What happens to a datagram; probabilities, and seconds."""

    loss: float = 0.0
    duplication: float = 0.0
    #: This part of the datagrams is held back by `held_s`, so that later ones overtake them.
    reordering: float = 0.0
    corruption: float = 0.0
    delay_s: float = 0.001
    spread_s: float = 0.0
    held_s: float = 0.005

    @classmethod
    def roll(cls, dice: random.Random) -> Faults:
        """Any mixture, from a perfect network to one that loses half."""
        return cls(
            loss=dice.choice((0.0, 0.01, 0.1, 0.3, 0.5)),
            duplication=dice.choice((0.0, 0.05, 0.3)),
            reordering=dice.choice((0.0, 0.1, 0.5)),
            delay_s=dice.choice((0.0001, 0.001, 0.03)),
            spread_s=dice.choice((0.0, 0.001, 0.02)),
            held_s=dice.choice((0.005, 0.05)),
        )


def copies(
    data: bytes, faults: Faults, dice: random.Random, counts: Counter[str], *, spared: int = 0
) -> Iterator[tuple[float, bytes]]:
    """What arrives of a datagram, and after how many seconds: nothing, it, or it twice.

    One bit of it may be changed, behind the first `spared` bytes; `counts` is told of all that happens.
    """
    if dice.random() < faults.loss:
        counts["lost"] += 1
        return
    times = 1
    if dice.random() < faults.duplication:
        times = 2
        counts["doubled"] += 1
    for _ in range(times):
        delay_s = faults.delay_s + dice.random() * faults.spread_s
        if dice.random() < faults.reordering:
            counts["held"] += 1
            delay_s += faults.held_s
        copy = data
        if data and dice.random() < faults.corruption:
            counts["corrupted"] += 1
            copy = _with_one_bit_changed(data, spared, dice)
        yield delay_s, copy


def _with_one_bit_changed(data: bytes, spared: int, dice: random.Random) -> bytes:
    changed = bytearray(data)
    changed[dice.randrange(spared, len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)
