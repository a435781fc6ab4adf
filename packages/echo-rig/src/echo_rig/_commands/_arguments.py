"""Arguments that the commands share, and what is typed in them."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Any, Final

from echo_rig.uri import SCHEMES, split_uri, validate_uri

if TYPE_CHECKING:
    import argparse

EXIT_TIMEOUT: Final = 3

_NUMBERING: Final = {"auto": None, "on": True, "off": False}


class UsageError(Exception):
    """What was typed cannot be used; the text says why."""


def add_numbering(parser: argparse.ArgumentParser) -> None:
    """Describe the argument that `read_numbering` reads."""
    parser.add_argument(
        "--numbering",
        choices=list(_NUMBERING),
        default="auto",
        help="number messages invisibly: from the first one, never, or once the other end does (auto)",
    )


def read_numbering(options: argparse.Namespace) -> bool | None:
    """Return what `EchoProtocol` takes."""
    return _NUMBERING[options.numbering]


def read_json(text: str) -> Any:
    """Return the JSON value of an argument.

    Raises
    ------
    UsageError
        There is none in it.

    Examples
    --------
    >>> read_json('{"subject": "mouse"}')
    {'subject': 'mouse'}
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {text!r} (text stands in quotes, '\"like this\"')") from error


def require_positive(options: argparse.Namespace, *names: str) -> None:
    """Refuse times that are not above 0 and finite; None is no time.

    Raises
    ------
    UsageError
        One of them is not.
    """
    for name in names:
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"--{name} is more than 0, not {value}")


async def find(uri: str) -> str:
    """Return a full URI with an address in it; a name is looked up without blocking the loop.

    Raises
    ------
    UsageError
        The text is no URI, its name does not resolve, or its scheme has no transport.
    """
    try:
        found = await asyncio.get_running_loop().run_in_executor(None, validate_uri, uri)
    except ValueError as error:
        raise UsageError(f"{uri}: {error}") from error
    scheme = split_uri(found)[0]
    if scheme not in SCHEMES:
        raise UsageError(f"{uri}: no transport for {scheme}://, only for {', '.join(SCHEMES)}")
    return found
