"""What all four ports have in common."""

# ruff: noqa: N802, N803 - the names are those of the original
from __future__ import annotations

import pickle
import secrets
from hashlib import blake2s
from typing import TYPE_CHECKING, Any, ClassVar, Self

from group_ports._objects import loads
from group_ports._parent import StandaloneParent
from group_ports._port_settings import PortSettings
from group_ports._statistics import PortStatistics
from group_ports._traffic import Traffic
from group_ports.errors import ObjectRefused, PortTimeout
from group_ports.port_info import PortInfo, PortScope
from wireframe.group import MEMBER_LENGTH

if TYPE_CHECKING:
    from collections.abc import Mapping

    from group_ports._parent import Parent
    from group_ports._reception import Arrival


class GroupPort(Traffic):
    """A port without its trade.

    Parameters
    ----------
    parentPart : Parent
        Who owns it: context, interface, keys. `StandaloneParent` if nobody does.
    portName : str
    groupSpec : mapping
        ``timed``: whether messages carry the time when they were sent;
        ``message``: the type of message, for ports that publish and subscribe.
    settings : PortSettings, optional
        What the original does not ask.

    Raises
    ------
    KeyError
        `groupSpec` lacks a key.

    Notes
    -----
    For one thread at a time, as the sockets of ZeroMQ are. In a forked child
    every use raises `PortError`; make ports there. An interrupt (Ctrl-C) leaves
    no half messages behind.
    """

    _IS_INPUT: ClassVar[bool]

    def __init__(
        self,
        parentPart: Parent,
        portName: str,
        groupSpec: Mapping[str, Any],
        *,
        settings: PortSettings | None = None,
    ) -> None:
        settings = PortSettings() if settings is None else settings
        self._group_id = _group_id(settings.group)
        super().__init__(parentPart, portName, settings, timed=bool(groupSpec["timed"]), group=self._group_id)
        self.message_type = self._message_type(groupSpec)
        #: Who this port is to others: 16 bytes.
        self.member_id = settings.member_id or _random_id()
        #: Routing identity of the member heard last, on ports that have many.
        self._sender: bytes | None = None

    @classmethod
    def standalone(
        cls,
        name: str = "",
        *,
        host: str = "127.0.0.1",
        message: str = "",
        timed: bool = False,
        settings: PortSettings | None = None,
    ) -> Self:
        """Make a port that needs no component, and set it up.

        Parameters
        ----------
        name : str
            Of the port; its kind if not given.
        host : str
            Address of the interface where it binds, if it does.
        message : str
            Type of message, for `getInfo`.
        timed : bool
            Whether messages carry the time when they were sent.
        settings : PortSettings, optional
            With ``keys.allowed``, an `AllowList` runs beside the port.

        Returns
        -------
        GroupPort
            Ready; publishers and answer ports are bound. Use it as a context
            manager, or close it.

        Raises
        ------
        PortError
            The address cannot be bound, or the keys are none.
        """
        parent = StandaloneParent(host, settings.keys if settings else None)
        try:
            port = cls(
                parent,
                name or cls._KIND,
                {"message": message or cls._KIND, "timed": timed},
                settings=settings,
            )
            port._own_parent = parent
            port.setupSocket(None)
            port._go_public()
        except BaseException:
            parent.close()
            raise
        return port

    # -- what it is ---------------------------------------------------------------------------------

    def getInfo(self) -> PortInfo | None:
        """Return what the port is and where; None if it has no socket."""
        if self._socket is None:
            return None
        return PortInfo(
            self._KIND,
            PortScope.GLOBAL,
            self.name,
            self.message_type,
            self.getGlobalIface(),
            self._port_number(),
        )

    def inSocket(self) -> bool:
        """Tell whether messages can be received."""
        return self._IS_INPUT

    def getIndex(self) -> None:
        """Return None: ports of groups have no index."""

    def getDeadline(self) -> float | None:
        """Return 0.0: ports of groups have no deadline."""
        return 0.0

    def get_recvTime(self) -> float:
        """Return when the last message came, in seconds since 1970; 0.0 if never, or not timed."""
        return self._reception.recv_time

    def get_sendTime(self) -> float:
        """Return the stamp of the last message that had one, seconds since 1970 of its sender; or 0.0."""
        return self._reception.send_time

    def get_hwm(self) -> int:
        """Return how many messages are kept for each peer that is slow."""
        return self.settings.send_hwm

    def connected(self) -> int:
        """Return how many peers it is connected to; ports that bind do not count."""
        return 0

    @property
    def statistics(self) -> PortStatistics:
        """What was counted so far."""
        reception, losses = self._reception, self._reception.losses
        return PortStatistics(
            sent=self._sent,
            received=reception.received,
            dropped=dict(reception.dropped),
            lost=losses.total,
            lost_by_publisher=losses.lost(),
            handshake_failures=self._handshake_failures(),
        )

    # -- objects ------------------------------------------------------------------------------------

    def take(self, timeout: float = 0.0) -> Arrival | None:
        """Return the next message, read, of whatever tag; None if none came in time.

        Parameters
        ----------
        timeout : float
            Seconds, at the most.

        Raises
        ------
        OperationError
            The port only publishes.
        PortError
            It is closed, or the context ended.
        """
        try:
            good, _ = self._next(None, timeout)
        except PortTimeout:
            return None
        return self._reception.arrival(good, self._sender)

    def _send_object(self, thing: Any) -> bool:
        return self.send(pickle.dumps(thing))

    def _recv_object(self) -> Any:
        payload = self.recv()
        try:
            return loads(
                payload, allowed=self.settings.allowed_classes, max_objects=self.settings.max_objects
            )
        except ObjectRefused as error:
            self._reception.drop("object refused", error)
            raise

    # -- what kinds of ports do differently ---------------------------------------------------------

    def _message_type(self, groupSpec: Mapping[str, Any]) -> str:
        return str(groupSpec["message"])

    def _port_number(self) -> int | None:
        return -1

    def _go_public(self) -> None:
        """Make a standalone port ready to be used."""


def _random_id() -> bytes:
    # ZeroMQ keeps identities that begin with a zero for itself.
    return bytes([1 + secrets.randbelow(255)]) + secrets.token_bytes(MEMBER_LENGTH - 1)


def _group_id(name: str | None) -> bytes | None:
    return None if name is None else blake2s(name.encode(), digest_size=16).digest()
