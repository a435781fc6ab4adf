"""Several rigs as one: each operation goes to all of them and gathers their responses."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from echo_rig._forked import foreign
from echo_rig._rigs_by_name import RigsByName
from echo_rig._round import Report, Send, ask_all, tell
from echo_rig._with_service import WithService
from echo_rig.callbacks import Callback, require_callback
from echo_rig.communicator import Communicator
from echo_rig.service import AlyxClient, Service
from wireframe.echo import ExpMessage, ExpStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Services"]

#: Seconds to wait for responses. A rig may have to start cameras first.
DEFAULT_TIMEOUT: Final = 10.0


class Services(RigsByName[Communicator]):
    """Rigs by name, and operations that go to all of them.

    Each operation sends to every rig and awaits from each a message of the
    same event. A rig that cannot be reached, is silent or reports an error does
    not keep the message from the others.

    Parameters
    ----------
    remote_rigs : iterable of Communicator
        In the order in which they are asked; `stop` and `cleanup` go the other way.
    timeout : float or None
        Seconds to wait for the response of a rig, from its echo on. None or 0
        for as long as it takes. The echo itself has the time limit of the rig.

    Attributes
    ----------
    timeout : float or None
        As given; may be changed.
    timings : dict of str to float
        Seconds from asking each rig to its response, in the last round.

    Raises
    ------
    TypeError
        Something else than a `Service` is among the rigs.
    ValueError
        Two rigs have the same name.

    Notes
    -----
    The operations return a dict of name to data of the response. They raise
    what is wrong with their arguments before anything is sent; afterwards

    * `RigsSilent`, a `TimeoutError`, if some rigs did not echo or respond in time,
    * `RigsFailed`, a `RuntimeError`, if some failed in any other way.

    Both carry the results of the others. If an operation is cancelled, nothing
    of it goes on.

    ``concurrent=False`` asks one rig after the other, each after the response
    of the one before, or its failure.

    As an asynchronous context manager it closes all rigs in the end:
    ``async with Services(rigs) as services``.

    To be used in the thread of the event loop. In a forked child the operations
    raise `ForeignProcessError`, and closing does nothing.
    """

    __slots__ = ("_process", "server", "timeout")

    #: Slot for a communicator in the role of the server. This class does not use it.
    server: Communicator

    def __init__(self, remote_rigs: Iterable[Communicator], timeout: float | None = DEFAULT_TIMEOUT) -> None:
        super().__init__("services", _communicators(remote_rigs))
        self._process = os.getpid()
        self.timeout = timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *details: object) -> None:
        self.close()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Raise TypeError: rigs can be neither added nor removed."""
        raise TypeError("Services cannot be changed")

    __setitem__ = __delitem__ = pop = popitem = clear = update = setdefault = _refuse

    def assign_callback(
        self, event: ExpMessage | int | str, callback: Callback, return_service: bool = False
    ) -> None:
        """Call a function when an event comes from any rig.

        Parameters
        ----------
        event : ExpMessage, int or str
            One event, several together, or 0 for errors that rigs report.
        callback : callable or Future
            Called as ``callback(data, addr)``, or if there are several events
            as ``callback(data, addr, event)``. A future is set by the first.
        return_service : bool
            Append the communicator to these arguments.

        Raises
        ------
        TypeError
            `callback` is neither callable nor a future, or it is a future with
            `return_service`.
        ValueError
            There is no such event.
        """
        event = ExpMessage.validate(event)
        require_callback(callback)
        if asyncio.isfuture(callback):
            if return_service:
                raise TypeError("a Future cannot be given a service")
            # For the other rigs it is over as well; they should not warn of it.
            callback.add_done_callback(lambda future: self._forget(event, future))
            for rig in self.values():
                rig.assign_callback(event, callback)
            return
        for rig in self.values():
            rig.assign_callback(event, WithService(callback, rig) if return_service else callback)

    def clear_callbacks(
        self, event: ExpMessage | int | str, callback: Callback | None = None
    ) -> dict[str, int]:
        """Forget the callbacks of an event at all rigs, or only one of them.

        Parameters
        ----------
        event : ExpMessage, int or str
        callback : callable or Future, optional
            All by default.

        Returns
        -------
        dict of str to int
            How many were removed, by name of the rig.
        """
        return {name: rig.clear_callbacks(event, callback) for name, rig in self.items()}

    def _forget(self, event: ExpMessage, future: asyncio.Future[Any]) -> None:
        for rig in self.values():
            rig.clear_callbacks(event, future)

    async def await_all(self, event: ExpMessage | int | str) -> dict[str, list[Any]]:
        """Wait until an event came from each rig.

        Parameters
        ----------
        event : ExpMessage, int or str

        Returns
        -------
        dict of str to list
            Data of the event by name of the rig, in the order of arrival.

        Raises
        ------
        RigsSilent
            It did not come from all rigs within `timeout`.
        RigsFailed
            A rig reported an error of this event, or was closed.
        ValueError
            There is no such event.
        """
        return await self._round(event, None, dict(self))

    async def init(self, data: Any = None, concurrent: bool = True) -> dict[str, list[Any]]:
        """Prepare all rigs for an experiment."""
        event, *_ = super().init(data)
        return await self._signal(event, "init", data=data, concurrent=concurrent)

    async def start(self, exp_ref: Any, data: Any = None, concurrent: bool = True) -> dict[str, list[Any]]:
        """Start an experiment at all rigs; `exp_ref` as for `Service.start`."""
        event, *_ = super().start(exp_ref, data)
        return await self._signal(event, "start", exp_ref, data=data, concurrent=concurrent)

    async def stop(self, data: Any = None, immediately: bool = False, **kwargs: Any) -> dict[str, list[Any]]:
        """End the experiment at all rigs, the last one first; `kwargs` as for `_signal`."""
        event, *_ = super().stop(data, immediately)
        return await self._signal(event, "stop", reverse=True, data=data, immediately=immediately, **kwargs)

    async def status(self, status: ExpStatus | int | str, **kwargs: Any) -> dict[str, list[Any]]:
        """Tell or ask all rigs a state; `kwargs` as for `_signal`."""
        event, *_ = super().status(status)
        return await self._signal(event, "status", status, **kwargs)

    async def info(
        self, status: ExpStatus | int | str, data: Any = None, **kwargs: Any
    ) -> dict[str, list[Any]]:
        """Tell or ask all rigs a state and more; `kwargs` as for `_signal`."""
        event, *_ = super().info(status, data)
        return await self._signal(event, "info", status, data=data, **kwargs)

    async def cleanup(self, data: Any = None, concurrent: bool = True) -> dict[str, list[Any]]:
        """Tidy up behind an experiment at all rigs, the last one first."""
        event, *_ = super().cleanup(data)
        return await self._signal(event, "cleanup", reverse=True, data=data, concurrent=concurrent)

    async def alyx(self, alyx: AlyxClient | None) -> None:
        """Hand a token to one rig after the other.

        Parameters
        ----------
        alyx : AlyxClient or None
            As for `Service.alyx`.

        Raises
        ------
        RigsSilent, RigsFailed
            Some rigs did not get it. All the others did.
        """
        self._require_own_process()
        report = Report()
        for name, rig in self.items():
            try:
                await tell(rig, lambda one: one.alyx(alyx))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is one rig's, and is told in the end
                report.failures[name] = error
            else:
                report.results[name] = []
        report.require_all("ALYX", list(self))

    async def _signal(
        self,
        event: ExpMessage | int | str,
        method: str,
        *args: Any,
        concurrent: bool = True,
        reverse: bool = False,
        **kwargs: Any,
    ) -> dict[str, list[Any]]:
        """Call a method of each rig and await its response.

        Parameters
        ----------
        event : ExpMessage, int or str
            The event that the rigs respond with.
        method : str
            A coroutine function of the rigs, ``"confirmed_send"`` for instance.
        *args, **kwargs
            Its arguments.
        concurrent : bool
            All rigs at once; otherwise one after the other.
        reverse : bool
            The last rig first.

        Returns
        -------
        dict of str to list
            Data of the responses by name of the rig; if concurrent, in the order of arrival.

        Raises
        ------
        RigsSilent, RigsFailed
            Some rigs did not respond. All of them were asked.
        """
        names = reversed(list(self)) if reverse else list(self)
        rigs = {name: self[name] for name in names}
        return await self._round(
            event, lambda rig: getattr(rig, method)(*args, **kwargs), rigs, concurrent=concurrent
        )

    def _require_own_process(self) -> None:
        if os.getpid() != self._process:
            raise foreign(self.name)

    async def _round(
        self,
        event: ExpMessage | int | str,
        send: Send | None,
        rigs: dict[str, Communicator],
        *,
        concurrent: bool = True,
    ) -> dict[str, list[Any]]:
        event = ExpMessage.validate(event)
        self._require_own_process()
        report = Report()
        self.timings = report.timings
        together = [rigs] if concurrent else [{name: rig} for name, rig in rigs.items()]
        for some in together:
            await ask_all(some, event, send, timeout=self.timeout or None, report=report)
        report.require_all(event.name or str(event.value), list(self))
        return report.results


def _communicators(rigs: Iterable[Communicator]) -> Iterator[Communicator]:
    for rig in rigs:
        if not isinstance(rig, Service):
            raise TypeError(f"a rig is a communicator, not {type(rig).__name__}")
        yield rig
