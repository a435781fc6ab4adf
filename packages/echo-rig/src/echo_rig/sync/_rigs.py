"""Several rigs as one, for programs that wait."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Self

from echo_rig._rigs_by_name import RigsByName
from echo_rig._round import Report
from echo_rig.service import AlyxClient, Service
from echo_rig.sync._endpoint import DEFAULT_TIMEOUT, Endpoint
from echo_rig.sync._loop import Loop
from echo_rig.sync._opening import connect
from echo_rig.sync._question import Question
from wireframe.echo import ExpMessage, ExpStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from echo_rig.uri import IPAddress

__all__ = ["Rigs"]


class Rigs(RigsByName[Endpoint]):
    """Rigs by name, and operations that go to all of them at once.

    Each operation sends to every rig and waits until each has sent a message of
    the same event, as `echo_rig.Services` does, with the same results and
    errors. What a rig sent before the operation is no answer to it.

    From now on a wait for one of the rigs serves all of them, and they are used by
    one thread together.

    Parameters
    ----------
    rigs : iterable of Endpoint
        Clients, in the order in which they are asked; `stop` and `cleanup` go the other way.
    timeout : float
        Seconds to wait for the response of a rig, from its echo on. The echo itself
        has the time limit of the rig.

    Attributes
    ----------
    timings : dict of str to float
        Seconds from asking each rig to its response, in the last round.

    Raises
    ------
    TypeError
        Something else than an `Endpoint` is among the rigs.
    ValueError
        Two rigs have the same name; a server is among them; one is in another `Rigs`.
    """

    __slots__ = ("_loop", "timeout")

    def __init__(self, rigs: Iterable[Endpoint], timeout: float = DEFAULT_TIMEOUT) -> None:
        super().__init__("rigs", _clients(rigs))
        self.timeout = timeout
        self._loop = Loop()
        try:
            for rig in self.values():
                rig.move(self._loop)
        finally:
            if not self._loop.members:
                self._loop.selector.close()

    @classmethod
    def connect(
        cls,
        uris: Mapping[str, str | IPAddress],
        *,
        numbering: bool | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Self:
        """Connect to rigs by name; see `echo_rig.sync.connect` for `numbering` and what is raised."""
        with contextlib.ExitStack() as stack:
            rigs = [
                stack.enter_context(connect(uri, name, numbering=numbering)) for name, uri in uris.items()
            ]
            found = cls(rigs, timeout)
            stack.pop_all()
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all rigs; safe to call twice. In a forked child nothing is done."""
        if self._loop.is_foreign:
            return
        with self._loop:
            super().close()

    def init(self, data: Any = None, concurrent: bool = True) -> dict[str, list[Any]]:
        """Prepare all rigs for an experiment; `concurrent` as for `ask`."""
        return self.ask(Service.init(self, data), concurrent=concurrent)

    def start(self, exp_ref: Any, data: Any = None, concurrent: bool = True) -> dict[str, list[Any]]:
        """Start an experiment at all rigs; `exp_ref` as for `Service.start`."""
        return self.ask(Service.start(self, exp_ref, data), concurrent=concurrent)

    def stop(
        self, data: Any = None, immediately: bool = False, concurrent: bool = True
    ) -> dict[str, list[Any]]:
        """End the experiment at all rigs, the last one first."""
        return self.ask(Service.stop(self, data, immediately), concurrent=concurrent, reverse=True)

    def status(self, status: ExpStatus | int | str, concurrent: bool = True) -> dict[str, list[Any]]:
        """Tell or ask all rigs a state."""
        return self.ask(Service.status(self, status), concurrent=concurrent)

    def info(
        self, status: ExpStatus | int | str, data: Any = None, concurrent: bool = True
    ) -> dict[str, list[Any]]:
        """Tell or ask all rigs a state and more."""
        return self.ask(Service.info(self, status, data), concurrent=concurrent)

    def cleanup(self, data: Any = None, concurrent: bool = True) -> dict[str, list[Any]]:
        """Tidy up behind an experiment at all rigs, the last one first."""
        return self.ask(Service.cleanup(self, data), concurrent=concurrent, reverse=True)

    def alyx(self, alyx: AlyxClient | None) -> None:
        """Hand a token to one rig after the other.

        Raises
        ------
        RigsSilent, RigsFailed
            Some rigs did not get it. All the others did.
        """
        report = Report()
        with self._loop:
            for name, rig in self.items():
                try:
                    rig.alyx(alyx)
                except Exception as error:  # noqa: BLE001 - it is one rig's, and is told in the end
                    report.failures[name] = error
                else:
                    report.results[name] = []
        report.require_all("ALYX", list(self))

    def ask(
        self, message: tuple[Any, ...], *, concurrent: bool = True, reverse: bool = False
    ) -> dict[str, list[Any]]:
        """Send a message to each rig and wait for its response.

        Parameters
        ----------
        message : tuple
            Event and data, as the operations of `Service` return it.
        concurrent : bool
            All rigs at once; otherwise one after the other, each after the
            response of the one before, or its failure.
        reverse : bool
            The last rig first.

        Returns
        -------
        dict of str to list
            Data of the responses by name of the rig, in the order of arrival.

        Raises
        ------
        RigsSilent, RigsFailed
            Some rigs did not respond. All of them were asked.
        """
        return self._round(ExpMessage.validate(message[0]), message, concurrent=concurrent, reverse=reverse)

    def wait_for(self, event: ExpMessage | int | str) -> dict[str, list[Any]]:
        """Wait until an event came from each rig, or has come and was not asked for yet.

        Returns and raises as `ask`.
        """
        return self._round(ExpMessage.validate(event), None, concurrent=True, reverse=False)

    def _round(
        self, event: ExpMessage, message: tuple[Any, ...] | None, *, concurrent: bool, reverse: bool
    ) -> dict[str, list[Any]]:
        report = Report()
        self.timings = report.timings
        names = list(reversed(list(self))) if reverse else list(self)
        with self._loop:
            for some in [names] if concurrent else [[name] for name in names]:
                self._ask_some(event, message, some, report)
        report.require_all(event.name or str(event.value), list(self))
        return report.results

    def _ask_some(
        self, event: ExpMessage, message: tuple[Any, ...] | None, names: list[str], report: Report
    ) -> None:
        asked: dict[str, Question] = {}

        def collect(is_late: bool = False) -> bool:
            for name, question in tuple(asked.items()):
                try:
                    data = question.answer(is_late)
                except Exception as error:  # noqa: BLE001 - it is one rig's, and the round tells it
                    report.failures[name] = error
                else:
                    if data is None:
                        continue
                    report.results[name] = data
                    report.timings[name] = time.monotonic() - question.began
                asked.pop(name).close()
            return not asked

        try:
            for name in names:
                question = asked[name] = Question(self[name], event, self.timeout)
                try:
                    question.ask(message)
                except Exception as error:  # noqa: BLE001 - it is one rig's, and the round tells it
                    report.failures[name] = error
                    del asked[name]
            while asked:
                if not self._loop.wait_until(collect, min(one.deadline for one in asked.values())):
                    collect(is_late=True)
        finally:
            for question in asked.values():
                question.close()


def _clients(rigs: Iterable[Endpoint]) -> Iterator[Endpoint]:
    for rig in rigs:
        if not isinstance(rig, Endpoint):
            raise TypeError(f"a rig is an Endpoint, not {type(rig).__name__}")
        if rig.role != "client":
            raise ValueError(f"{rig.name!r} is a server, which has no rig of its own")
        yield rig
