"""Where the text of a JSON value stops being one."""

from __future__ import annotations

import json


def place_in(text: str, error: Exception) -> int:
    """Return at which byte of a UTF-8 text its reader stopped.

    Parameters
    ----------
    text : str
        What was read.
    error : Exception
        What the reader raised; errors that name no place count from the start.
    """
    if not isinstance(error, json.JSONDecodeError):
        return 0
    return len(text[: error.pos].encode("utf-8", "surrogatepass"))
