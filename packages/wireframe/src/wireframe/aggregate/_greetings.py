"""The two messages in JSON that a conversation begins with: ``AGGHELLO`` and ``AGGINIT``.

====== ====================================
bytes  content
====== ====================================
0-11   header
12-15  length of the text, int32
16-    the text: one JSON object, UTF-8
====== ====================================
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from wireframe._json_text import place_in
from wireframe.aggregate._messages import AGGHELLO, AGGINIT, VERSION, GroupInit, Hello
from wireframe.ipi import HEADER_LENGTH, encode_header
from wireframe.ipi._primitives import byte_string, int32

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wireframe.errors import BadPayload

    #: ``bad(message, at)``: the error that says what is wrong, and where in the frame.
    Bad = Callable[[str, int], BadPayload]

#: Where the text stands, bytes.
TEXT_AT: Final = HEADER_LENGTH + 4

_HELLO_HEAD: Final = encode_header(AGGHELLO)
_INIT_HEAD: Final = encode_header(AGGINIT)
_INT_MIN, _INT_MAX = -(1 << 31), (1 << 31) - 1

#: Compact, keys sorted, UTF-8 as it is: the form that MaxwellLink 0.5.0 writes.
_JSON: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

#: Halves of characters, which UTF-8 cannot carry and JSON can, in escapes.
_LONE: Final = re.compile("[\ud800-\udfff]")
_JSON_ASCII: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def encode_hello(group_id: str) -> bytes:
    r"""Return an ``AGGHELLO``.

    Parameters
    ----------
    group_id : str
        Which group the bridge stands for.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        The name is empty or has blanks around it.

    Examples
    --------
    >>> encode_hello("node-0")
    b'AGGHELLO    !\x00\x00\x00{"group_id":"node-0","version":1}'
    """
    return _frame(_HELLO_HEAD, {"group_id": _checked_group(group_id), "version": VERSION}, "hello")


def encode_init(group_id: str, payloads: Mapping[int, Mapping[str, Any]], *, resume: bool = False) -> bytes:
    """Return an ``AGGINIT``.

    Parameters
    ----------
    group_id : str
        The group of the bridge it goes to.
    payloads : mapping of int to mapping
        INIT parameters of each molecule, for JSON; they are sent as they are.
    resume : bool
        See `GroupInit`. Said only if it is True.

    Returns
    -------
    bytes

    Raises
    ------
    TypeError
        A payload holds something that JSON cannot carry.
    ValueError
        An id is not a signed 32-bit number, or a payload refers to itself.
    """
    ids = list(payloads)
    for molecule_id in ids:
        int32(molecule_id, "molecule id")
    said: dict[str, Any] = {
        "group_id": _checked_group(group_id),
        "init_payloads": {str(molecule_id): dict(payload) for molecule_id, payload in payloads.items()},
        "molecule_ids": ids,
    }
    if resume:
        said["resume"] = True
    return _frame(_INIT_HEAD, said, "INIT parameters")


def _checked_group(group_id: str) -> str:
    if not group_id or group_id != group_id.strip():
        raise ValueError(f"{group_id!r} is no name of a group: it is empty or has blanks around it")
    return group_id


def _frame(header: bytes, value: dict[str, Any], what: str) -> bytes:
    """Return header, length and JSON text."""
    try:
        text = _JSON.encode(value)
    except RecursionError as error:
        raise ValueError(f"{what} are nested too deeply for JSON") from error
    if not text.isascii() and _LONE.search(text):
        text = _JSON_ASCII.encode(value)
    return b"".join((header, *byte_string(text.encode(), what)))


def object_in(data: bytes, bad: Bad) -> dict[str, Any]:
    """Return the object of a text; what is wrong with it is raised as `bad` makes it."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise bad(f"the text is not UTF-8: {error}", TEXT_AT + error.start) from error
    del data  # of a long one there are text and value soon
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        at = TEXT_AT + place_in(text, error)
        raise bad(f"the text is no JSON: {error}"[:200], at) from error
    if not isinstance(value, dict):
        raise bad(f"the text is a JSON {type(value).__name__}, not an object", TEXT_AT)
    return value


def hello_of(said: dict[str, Any], bad: Bad) -> Hello:
    """Return what an ``AGGHELLO`` says; what is wrong with it is raised as `bad` makes it."""
    version = said.get("version", VERSION)
    if version != VERSION:
        raise bad(f"version is {version!r:.80}, not {VERSION}", TEXT_AT)
    return Hello(_group(said, bad))


def init_of(said: dict[str, Any], bad: Bad) -> GroupInit:
    """Return what an ``AGGINIT`` says; what is wrong with it is raised as `bad` makes it."""
    ids, payloads = said.get("molecule_ids"), said.get("init_payloads")
    if not isinstance(ids, list) or not isinstance(payloads, dict):
        raise bad("molecule_ids or init_payloads are missing", TEXT_AT)
    found: dict[int, dict[str, Any]] = {}
    for one in ids:
        if type(one) is not int or not _INT_MIN <= one <= _INT_MAX or one in found:
            raise bad(f"molecule_ids hold {one!r:.80}, which is no id or stands twice", TEXT_AT)
        payload = payloads.get(str(one))
        if not isinstance(payload, dict):
            raise bad(f"init_payloads has no object for molecule {one}", TEXT_AT)
        found[one] = payload
    if len(payloads) != len(found):
        raise bad("init_payloads names molecules that molecule_ids does not", TEXT_AT)
    return GroupInit(_group(said, bad), found, said.get("resume") is True)


def _group(said: dict[str, Any], bad: Bad) -> str:
    group_id = said.get("group_id")
    if not isinstance(group_id, str) or not group_id.strip():
        raise bad(f"group_id is {group_id!r:.80}, not a name", TEXT_AT)
    return group_id.strip()
