"""What a member of a group can be asked to do."""

# ruff: noqa: N802 - the names are those of the original
from __future__ import annotations

import pickle
import time
from typing import TYPE_CHECKING, Any

from group_ports._events import Message, MessageKind
from group_ports._group_votes import GroupVotes
from group_ports._letters import Letter
from group_ports._port_settings import milliseconds
from group_ports.errors import PortError, PortTimeout

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Buffer

    from group_ports._inbox import Inbox

#: Seconds between two attempts while a slow subscriber holds a publisher up.
_RETRY_S = 0.002


class GroupCalls(GroupVotes):
    """Sends and votes; the part of `Group` that its worker carries out.

    Notes
    -----
    Safe for any number of threads. Nothing here waits longer than the send
    timeout of the settings (10 s if that is None) and, if the worker is held up,
    10 s more. After `Group.leave` everything raises `PortError` (ECLOSED).
    """

    _inbox: Inbox
    #: Who wrote to the leader last, as `recv` returned it.
    _sender: bytes | None = None

    def send(self, payload: Buffer) -> bool:
        """Send bytes to the group.

        Parameters
        ----------
        payload : bytes-like

        Returns
        -------
        bool
            True. Without ``back_pressure`` that says nothing of slow members.

        Raises
        ------
        PortTimeout
            With ``back_pressure``: a member has no room.
        PortError
            The member has left.
        TypeError, ValueError
            Not bytes-like, or longer than ``max_size``.
        """
        data = _bytes(payload)
        deadline = time.monotonic() + self._send_wait_s
        while True:
            try:
                return self._call(lambda: self._worker.ports.publisher.send(data))
            except PortTimeout:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_RETRY_S)

    def send_pyobj(self, thing: Any) -> bool:
        """Send an object to the group, pickled; see `send`."""
        return self.send(pickle.dumps(thing))

    def sendToLeader(self, payload: Buffer) -> bool:
        """Send bytes to the leader.

        The leader's own come back to it with an empty sender.

        Parameters
        ----------
        payload : bytes-like

        Returns
        -------
        bool
            False if there is no leader; nothing was sent. True: it was handed to
            the connection to the leader. Only an answer tells that it arrived.

        Raises
        ------
        PortTimeout
            The leader was not reached in time.
        PortError
            The member has left.
        TypeError, ValueError
            Not bytes-like, or longer than ``max_size``.
        """
        data = _bytes(payload)
        if len(data) > self._settings.max_size:
            raise ValueError(f"{len(data)} bytes, and at most {self._settings.max_size} are accepted")
        wait_s = self._send_wait_s

        def post(future: Future[bool]) -> None:
            if self._worker.member.is_leader:
                if future.set_running_or_notify_cancel():
                    self._inbox.put(Message(MessageKind.TO_LEADER, data, b""))
                    future.set_result(True)
                return
            now = time.monotonic()
            self._worker.letters.post(Letter(b"mtl", data, now + wait_s, future), now)

        self._check_process()
        return self._worker.calls.post(post, wait_s + milliseconds(None) / 1000)

    def sendToLeader_pyobj(self, thing: Any) -> bool:
        """Send an object to the leader, pickled; see `sendToLeader`."""
        return self.sendToLeader(pickle.dumps(thing))

    def sendToMember(self, msg: Buffer, identity: bytes | None = None) -> bool:
        """Send bytes to one member, as the leader.

        Parameters
        ----------
        msg : bytes-like
        identity : bytes, optional
            `Message.sender` of a message to the leader; members of this package
            have their id there. Empty: this member itself. The sender of the
            message to the leader received last if not given.

        Returns
        -------
        bool
            True: the member is connected and its queue has taken the message.

        Raises
        ------
        PortError
            EROUTE: this member does not lead, or that one is not connected.
            ECLOSED: it has left.
        PortTimeout
            That member does not read.
        TypeError, ValueError
            Not bytes-like, or longer than ``max_size``; an impossible identity.
        """
        data = _bytes(msg)
        receiver = self._sender if identity is None else identity
        if receiver is None:
            raise PortError("send error: no member has written to the leader yet", PortError.EROUTE)

        def send() -> bool:
            if receiver == b"":
                if not self._worker.member.is_leader:
                    raise PortError("send error: only the leader writes to one member", PortError.EROUTE)
                self._inbox.put(Message(MessageKind.FROM_LEADER, data))
                return True
            return self._worker.ports.send_to_member(receiver, data)

        return self._call(send)

    def sendToMember_pyobj(self, msg: Any, identity: bytes | None = None) -> bool:
        """Send an object to one member, pickled; see `sendToMember`."""
        return self.sendToMember(pickle.dumps(msg), identity)

    def update(self, host: str, port: int) -> None:
        """Follow a publisher of the group; one that is followed already is no news."""
        self._call(lambda: self._worker.ports.follow(host, port))

    def forget(self, host: str, port: int) -> None:
        """Follow a publisher no more."""
        self._call(lambda: self._worker.ports.subscriber.forget(host, port))

    @property
    def _send_wait_s(self) -> float:
        return milliseconds(self._settings.send_timeout) / 1000


def _bytes(payload: Buffer) -> bytes:
    return payload if type(payload) is bytes else memoryview(payload).tobytes()
