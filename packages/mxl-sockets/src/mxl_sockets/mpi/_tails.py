"""Extras of all molecules of a rank in one message: n lengths (int64), then the bytes; no MPI."""

from __future__ import annotations

import itertools

import numpy as np


def encode_extras(extras: list[bytes]) -> bytes:
    """Join extras.

    Examples
    --------
    >>> decode_extras(encode_extras([b"ab", b"", b"c"]), 3)
    [b'ab', b'', b'c']
    """
    return np.array([len(extra) for extra in extras], np.int64).tobytes() + b"".join(extras)


def decode_extras(tail: bytes, count: int) -> list[bytes]:
    """Part `count` extras; an empty tail is for none at all.

    Raises
    ------
    ValueError
        The lengths do not fit.
    """
    if not tail:
        return [b""] * count
    begin = 8 * count
    lengths = np.frombuffer(tail, np.int64, count).tolist() if len(tail) >= begin else []
    if min(lengths, default=-1) < 0 or begin + sum(lengths) != len(tail):
        raise ValueError(f"{len(tail)} bytes are no {count} extras")
    ends = [*itertools.accumulate(lengths, initial=begin)]
    return [tail[start:end] for start, end in itertools.pairwise(ends)]
