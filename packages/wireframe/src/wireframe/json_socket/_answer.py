"""From a command message to its reply, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wireframe.json_socket._drops import text_of
from wireframe.lenjson import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Characters of an exception's text that a client gets to see.
LONGEST_TEXT: Final = 1000


def command_of(message: Any) -> str | None:
    """Return the command a message names, or None."""
    name = message.get("command") if isinstance(message, dict) else None
    return name if isinstance(name, str) else None


def answer(
    message: Any,
    handlers: Mapping[str, Callable[..., Any]],
    dumps: Callable[[Any], str | bytes] | None,
    report: Callable[[str, Exception], None],
) -> bytes:
    """Call the handler a message asks for and return the frame that answers it.

    Parameters
    ----------
    message : JSON value
        ``{"command": name, ...}``; the other members are keyword arguments.
    handlers : mapping of str to callable
    dumps : callable or None
        As for `wireframe.lenjson.encode`; errors are always standard JSON.
    report : callable
        Gets what a handler raised, besides the client.

    Returns
    -------
    bytes
        The frame of what the handler returned, or of
        ``{"error": {"type": ..., "message": ...}}``.
    """
    name = command_of(message)
    if name is None:
        return _failure("BadMessage", 'a command is an object with a string "command"')
    handler = handlers.get(name)
    if handler is None:
        known = ", ".join(handlers)
        return _failure("UnknownCommand", f"{name[:100]!r} is not a command here; known: {known}")
    arguments = {key: value for key, value in message.items() if key != "command"}
    try:
        return encode(handler(**arguments), dumps=dumps)
    except Exception as error:  # noqa: BLE001 - whatever it is, the server lives on
        report(f"command {name!r}", error)
        return _failure(type(error).__name__, text_of(error))


def _failure(kind: str, text: str) -> bytes:
    return encode({"error": {"type": kind, "message": text[:LONGEST_TEXT]}})
