"""One JSON value.

Broken texts arrive as often as somebody likes to send them, so most of them are
told by their two ends, which costs less than to parse a good one.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn, Self

from wireframe import BadPayload


def _refuse_constant(name: str) -> NoReturn:
    raise BadPayload(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

_BLANKS: Final = " \t\n\r"
_DIGITS: Final = "0123456789"
#: What the last character of a value may be, by its first one.
_LAST: Final = {
    "{": "}",
    "[": "]",
    '"': '"',
    "t": "e",
    "f": "e",
    "n": "l",
    **dict.fromkeys("-" + _DIGITS, _DIGITS),
}


class JsonReadout:
    """One JSON value.

    Parameters
    ----------
    value : object
        What the `json` module can write; no NaN and no infinity, which JSON
        does not have.

    Attributes
    ----------
    value : object
        As given.

    Examples
    --------
    >>> JsonReadout({"run": 7, "temperature_k": 4.2}).to_bytes()
    b'{"run":7,"temperature_k":4.2}'
    """

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def to_bytes(self) -> bytes:
        """Return the value as JSON without blanks, UTF-8.

        Raises
        ------
        TypeError, ValueError
            JSON has nothing for it.
        """
        return _encode(self.value).encode()

    @classmethod
    def from_bytes(cls, data: bytes, /) -> Self:
        """Return the readout of a whole datagram.

        Raises
        ------
        wireframe.BadPayload
            It is not one JSON value, or nested too deeply.
        """
        try:
            text = data.decode().strip(_BLANKS)
        except UnicodeDecodeError as error:
            raise BadPayload("not JSON: not UTF-8", data) from error
        # Nothing has no last character, which would be in any.
        if not text or text[-1] not in _LAST.get(text[0], ""):
            raise BadPayload("not JSON: the ends of no value", data)
        try:
            value, end = _decode(text)
        except BadPayload:
            raise
        except (ValueError, RecursionError) as error:
            raise BadPayload(f"not JSON: {error}", data) from error
        if end != len(text):
            raise BadPayload("not JSON: more than one value", data)
        return cls(value)

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, JsonReadout) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # values are dicts and lists as a rule

    def __repr__(self) -> str:
        return f"JsonReadout({self.value!r})"
