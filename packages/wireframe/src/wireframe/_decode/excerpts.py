"""Values and bytes as text short enough for a line."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any, Final

from wireframe.ipi import reals

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

#: Characters of the longest excerpt.
MAX_TEXT: Final = 100
#: Bytes shown of those that are no text, vectors of a block, and numbers of a row.
MAX_BYTES: Final = 24
MAX_VECTORS: Final = 2
MAX_NUMBERS: Final = 6


def short(text: str) -> str:
    """Return a text, cut if it is long, on one line."""
    safe = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text[: MAX_TEXT + 1])
    return safe if len(safe) <= MAX_TEXT else safe[: MAX_TEXT - 1] + "…"


def short_json(value: Any) -> str:
    """Return a JSON value as text."""
    try:
        return short(json.dumps(value, ensure_ascii=False))
    except (
        RecursionError
    ):  # before Python 3.12, what was read at one depth may be too deep to be written here
        return "too deeply nested to be shown"


def short_bytes(data: bytes) -> str:
    """Return bytes as text if they are text, else their first ones as hexadecimal digits."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if text and all(one.isprintable() or one.isspace() for one in text):
        return short(repr(text))
    digits = data[:MAX_BYTES].hex(" ", -4)
    return (digits + " …" if len(data) > MAX_BYTES else digits) or "nothing"


def numbers(row: Collection[int]) -> str:
    """Return how many numbers a row has, and the first of them."""
    shown = " ".join(str(one) for one in itertools.islice(row, MAX_NUMBERS))
    more = " …" if len(row) > MAX_NUMBERS else ""
    return f"({len(row)}: {shown}{more})" if row else "(none)"


def vectors(block: bytes) -> str:
    """Return the first vectors of a block of float64."""
    values: Sequence[float] = reals(block[: 24 * MAX_VECTORS])
    shown = " ".join("({:.6g} {:.6g} {:.6g})".format(*values[at : at + 3]) for at in range(0, len(values), 3))
    return shown + (" …" if len(block) > 24 * MAX_VECTORS else "") or "nothing"
