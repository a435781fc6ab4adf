"""What became of a future."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["is_success"]


def is_success(future: asyncio.Future[Any]) -> bool:
    """Whether a future is done, was not cancelled and holds a result instead of an exception.

    Examples
    --------
    >>> import asyncio
    >>> async def main():
    ...     future = asyncio.get_running_loop().create_future()
    ...     before = is_success(future)
    ...     future.set_result(None)
    ...     return before, is_success(future)
    >>> asyncio.run(main())
    (False, True)
    """
    return future.done() and not future.cancelled() and future.exception() is None
