"""The operations of `EchoProtocol`: each is a message, sent and confirmed."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from echo_rig._exchange import Exchange
from echo_rig.service import Service
from wireframe.echo import ExpMessage

if TYPE_CHECKING:
    from echo_rig._link import Address
    from echo_rig.service import AlyxClient
    from wireframe.echo import ExpStatus


class Operations(Exchange):
    """What can be asked of a rig, in an event loop."""

    @abstractmethod
    async def confirmed_send(
        self, data: Any, addr: Address | None = None, timeout: float | None = None
    ) -> None:
        """Send a message and wait until the other end has echoed it."""

    async def init(self, data: Any = None, addr: Address | None = None) -> None:
        """Ask to prepare for an experiment. See `confirmed_send` for `addr` and what is raised."""
        await self.confirmed_send(Service.init(self, data), addr=addr)

    async def start(self, exp_ref: Any, data: Any = None, addr: Address | None = None) -> None:
        """Ask to start an experiment; `exp_ref` as in `Service.start`."""
        await self.confirmed_send(Service.start(self, exp_ref, data), addr=addr)

    async def stop(self, data: Any = None, immediately: bool = False, addr: Address | None = None) -> None:
        """Ask to end an experiment, or to interrupt it immediately."""
        await self.confirmed_send(Service.stop(self, data, immediately=immediately), addr=addr)

    async def status(self, status: ExpStatus | int | str, addr: Address | None = None) -> None:
        """Tell or ask a state; `status` as in `Service.status`."""
        await self.confirmed_send(Service.status(self, status), addr=addr)

    async def info(
        self, status: ExpStatus | int | str, data: Any = None, addr: Address | None = None
    ) -> None:
        """Tell or ask a state and more."""
        await self.confirmed_send(Service.info(self, status, data), addr=addr)

    async def cleanup(self, data: Any = None, addr: Address | None = None) -> None:
        """Ask to tidy up behind an experiment."""
        await self.confirmed_send(Service.cleanup(self, data), addr=addr)

    async def alyx(
        self, alyx: AlyxClient | None = None, addr: Address | None = None, timeout: float | None = None
    ) -> list[Any] | None:
        """Hand on an Alyx token, or ask the other end for one.

        Parameters
        ----------
        alyx : AlyxClient, optional
            If it is logged in, its token is sent. Otherwise, and without one, a
            token is asked for.
        addr : tuple of (str, int), optional
            See `confirmed_send`.
        timeout : float, optional
            Seconds to wait for the token that was asked for; for ever by default.

        Returns
        -------
        list or None
            ``[base_url, {user: token}]`` if a token was asked for.

        Raises
        ------
        TimeoutError
            No echo, or no token within `timeout`.
        ConnectionError
            This end was closed meanwhile, and as for `confirmed_send`.
        """
        message = Service.alyx(self, alyx)
        if all(message):
            await self.confirmed_send(message, addr=addr)
            return None
        address = self._checked_address(addr)
        # Before the question goes out, because the answer may come together with its echo.
        answers = self.events(ExpMessage.ALYX)
        try:
            await self.confirmed_send(message, addr=addr)
            async with asyncio.timeout(timeout):
                async for answer in answers:
                    if answer.address == address:
                        return answer.data
        finally:
            answers.close()
        raise ConnectionAbortedError(f"{self.name} was closed while a token was awaited")
