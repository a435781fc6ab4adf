"""How messages and errors of others look in the log: short, in one line, and without tokens."""

from __future__ import annotations

from typing import Any, Final

from wireframe.echo import ExpMessage

#: Characters of a message or an error that the log shows.
MAX_SHOWN: Final = 500
#: What is shown instead of anything that could hold a token.
WITHHELD: Final = "(not shown, it may hold a token)"


def elided(text: object) -> str:
    r"""Return text in one line, and not too long.

    Examples
    --------
    >>> print(elided("ValueError: two\nlines"))
    ValueError: two\nlines
    """
    whole = str(text)
    shown = whole[:MAX_SHOWN]
    if not shown.isprintable():
        shown = shown.encode("unicode_escape").decode("ascii")
    return shown if len(whole) <= MAX_SHOWN else f"{shown}..."


def event_name(event: ExpMessage) -> str:
    """Return the name of an event; ``"0"`` for an error."""
    return event.name or "0"


def shown_message(event: ExpMessage, data: bytes) -> str:
    """Return a message without the blanks around it, in quotes.

    Examples
    --------
    >>> print(shown_message(ExpMessage.EXPINIT, b"[1, null]  "))
    '[1, null]'
    """
    if event == ExpMessage.ALYX:
        return f"'[{event:d}, {WITHHELD}]'"
    text = bytes(data).decode("utf-8", "backslashreplace").strip()
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}...")


def shown_remote_error(arguments: list[Any]) -> tuple[str, str]:
    """Return event and text of an error that the other end reports.

    Parameters
    ----------
    arguments : list
        Text and event, of any type: it is the other end that says so.

    Examples
    --------
    >>> shown_remote_error(["ValueError: boom", 1])
    ('EXPINIT', 'ValueError: boom')
    """
    about = arguments[1]
    text = elided(remote_text(arguments))
    try:
        return event_name(ExpMessage.validate(about)), text
    except (TypeError, ValueError):
        return elided(repr(about)), text


def remote_text(arguments: list[Any]) -> str:
    """Return the text of an error that the other end reports, for an error of our own.

    Examples
    --------
    >>> remote_text(["KeyError: 's3cr3t'", 128])
    '(not shown, it may hold a token)'
    """
    text, about = arguments[:2]
    try:
        is_withheld = bool(ExpMessage.validate(about) & ExpMessage.ALYX)
    except (TypeError, ValueError):
        is_withheld = False
    return WITHHELD if is_withheld else str(text)


def text_of(error: BaseException, event: ExpMessage) -> str:
    """Return the text of what a callback of `event` raised."""
    if event == ExpMessage.ALYX:
        return WITHHELD
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - what the user's class does there is unknown
        return "(its text cannot be made)"
