"""All that a port can be asked for. Each kind of port does what is its trade and refuses the rest."""

# ruff: noqa: N802 - the names are those of the original
from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from group_ports.errors import OperationError

if TYPE_CHECKING:
    import zmq
    from typing_extensions import Buffer


class Operations:
    """Refuses every operation with `OperationError`, until a kind of port overrides it."""

    def update(self, host: str | None = None, port: int | None = None) -> None:
        """Connect to a publisher or a leader."""
        self._refuse("update")

    def send(self, payload: Buffer) -> bool:
        """Send bytes."""
        self._refuse("send")

    def recv(self) -> bytes:
        """Return the bytes of the next message of the application."""
        self._refuse("recv")

    def send_pyobj(self, thing: Any) -> bool:
        """Send an object, pickled."""
        self._refuse("send_pyobj")

    def recv_pyobj(self) -> Any:
        """Return the object of the next message of the application."""
        self._refuse("recv_pyobj")

    def sendGroup(self, tag: bytes, payload: Buffer) -> bool:
        """Publish a message."""
        self._refuse("sendGroup")

    def recvGroup(self) -> list[bytes]:
        """Return the next published message."""
        self._refuse("recvGroup")

    def sendToLeader(self, tag: bytes, payload: Buffer) -> bool:
        """Send a message to the leader."""
        self._refuse("sendToLeader")

    def recvFromLeader(self) -> list[bytes]:
        """Return the next message of the leader."""
        self._refuse("recvFromLeader")

    def sendToMember(self, tag: bytes, payload: Buffer) -> bool:
        """Send a message to one member."""
        self._refuse("sendToMember")

    def recvFromMember(self) -> list[bytes]:
        """Return the next message of a member."""
        self._refuse("recvFromMember")

    def get_identity(self) -> bytes | None:
        """Return the member that `sendToMember` writes to."""
        self._refuse("get_identity")

    def set_identity(self, identity: bytes) -> None:
        """Choose the member that `sendToMember` writes to."""
        self._refuse("set_identity")

    def getPortNumber(self) -> int | None:
        """Return the TCP port."""
        self._refuse("getPortNumber")

    def updatePoller(self, poller: zmq.Poller | None = None) -> None:
        """Bind to a new TCP port."""
        self._refuse("updatePoller")

    def send_capnp(self, message: Any) -> bool:
        """Refuse: the original only logs that this is gone."""
        self._refuse("send_capnp")

    def recv_capnp(self) -> Any:
        """Refuse: the original only logs that this is gone."""
        self._refuse("recv_capnp")

    def _refuse(self, operation: str) -> NoReturn:
        raise OperationError(f"a {type(self).__name__} does not do {operation}")
