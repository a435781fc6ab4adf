"""One round: a message to several rigs, and the response of each.

::

    listen to all rigs  ->  send to all, in order  ->  echo and response of each  ->  stop listening

A rig answers by sending the same event back. If it reports an error of this
event instead, it has failed, and nobody waits for it any longer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from echo_rig._log_text import remote_text
from echo_rig.errors import RemoteError, RigsFailed, RigsSilent
from wireframe.echo import ExpMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echo_rig.communicator import Communicator

__all__ = ["Report", "Send", "ask_all", "tell"]

#: Sends the message of a round to one rig.
Send: TypeAlias = Callable[["Communicator"], Awaitable[Any]]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Report:
    """What came of a round.

    Attributes
    ----------
    results : dict of str to list
        Data of the responses by name of the rig, in the order of arrival.
    failures : dict of str to Exception
        Why there is no response, for each rig that is missing.
    timings : dict of str to float
        Seconds from asking a rig to its response.
    """

    results: dict[str, list[Any]] = field(default_factory=dict)
    failures: dict[str, Exception] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def require_all(self, what: str, names: list[str]) -> None:
        """Raise if a rig failed or is silent.

        Parameters
        ----------
        what : str
            What the round was about.
        names : list of str
            All rigs that were asked; the error tells of them in this order.

        Raises
        ------
        RigsSilent
            All that failed were silent.
        RigsFailed
            At least one failed in another way.
        """
        if self.failures:
            self._fail(what, {name: self.failures[name] for name in names if name in self.failures})

    def _fail(self, what: str, failures: dict[str, Exception]) -> NoReturn:
        silent = all(isinstance(error, TimeoutError) for error in failures.values())
        reasons = "; ".join(
            f"{name}: {str(error) or type(error).__name__}" for name, error in failures.items()
        )
        raise (RigsSilent if silent else RigsFailed)(
            f"{what}: {len(failures)} of {len(self.results) + len(failures)} rigs did not answer ({reasons})",
            results=self.results,
            failures=failures,
            timings=self.timings,
        ) from next(iter(failures.values()))


class _Listening:
    """Waits for the response of one rig, or for the error it reports."""

    def __init__(self, rig: Communicator, event: ExpMessage) -> None:
        self._rig = rig
        self._event = event
        # A communicator has to be asked like this: what stands in for one in a test has no callbacks.
        self.response: asyncio.Future[Any] = asyncio.ensure_future(rig.on_event(event))
        self._error: asyncio.Future[RemoteError] = asyncio.get_running_loop().create_future()
        rig.assign_callback(0, self._on_error)

    def _on_error(self, data: list[Any], address: Any) -> None:
        try:
            concerned = bool(ExpMessage.validate(data[1]) & self._event)
        except (TypeError, ValueError):
            return
        if concerned and not self._error.done():
            self._error.set_result(RemoteError(remote_text(data), address))

    async def outcome(self, timeout: float | None) -> Any:
        """Return what `on_event` returned, or raise why it did not."""
        await asyncio.wait({self.response, self._error}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._error.done():
            raise self._error.result()
        if not self.response.done():
            raise TimeoutError(f"no response within {timeout:g} s")
        if self.response.cancelled():
            raise ConnectionAbortedError("closed while its response was awaited")
        return self.response.result()

    def close(self) -> None:
        """Stop listening; `response` is over in the next turn of the loop."""
        self.response.cancel()
        self._rig.clear_callbacks(0, self._on_error)


async def tell(rig: Communicator, send: Send) -> None:
    """Send to one rig.

    Raises
    ------
    ConnectionAbortedError
        Its communicator was closed meanwhile.
    """
    try:
        await send(rig)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise  # It is we who are cancelled.
        raise ConnectionAbortedError("closed while sending") from error


async def ask_all(
    rigs: Mapping[str, Communicator],
    event: ExpMessage,
    send: Send | None,
    *,
    timeout: float | None,
    report: Report,
) -> None:
    """Send to all rigs at once, in their order, and await their responses.

    Parameters
    ----------
    rigs : mapping of str to Communicator
    event : ExpMessage
        The event that the rigs respond with.
    send : callable, optional
        Called with each rig; what it returns is awaited. Nothing is sent by default.
    timeout : float or None
        Seconds to wait for the response of a rig, from the end of `send` on.
    report : Report
        Gets what comes, also of those before an exception or a cancellation.
        A rig that fails does not disturb the others.
    """
    listening: dict[str, _Listening] = {}
    try:
        for name, rig in rigs.items():
            listening[name] = _Listening(rig, event)
        # The tasks that listen have to begin before a response can come.
        await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            for name, rig in rigs.items():
                group.create_task(_ask(name, rig, listening[name], send, timeout, report))
    finally:
        for one in listening.values():
            one.close()
        await asyncio.gather(*(one.response for one in listening.values()), return_exceptions=True)


async def _ask(
    name: str,
    rig: Communicator,
    listening: _Listening,
    send: Send | None,
    timeout: float | None,
    report: Report,
) -> None:
    began = time.monotonic()
    try:
        if send is not None:
            await tell(rig, send)
        response = await listening.outcome(timeout)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is one rig's, and the round tells it
        report.failures[name] = error
        return
    if isinstance(response, tuple) and len(response) >= 2:
        report.results[name] = response[0]
        report.timings[name] = time.monotonic() - began
    else:
        # Only something that stands in for a communicator can do that.
        _log.warning("%s: on_event returned no pair but %s", name, type(response).__name__)
