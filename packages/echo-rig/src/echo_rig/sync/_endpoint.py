"""`Endpoint`: one end of the wire for programs that wait."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, Any, Final

from echo_rig.service import Service
from echo_rig.sync._end import End
from echo_rig.sync._polled_link import Outcome
from wireframe.echo import ExpMessage

if TYPE_CHECKING:
    from echo_rig._link import Address
    from echo_rig.events import Event
    from echo_rig.service import AlyxClient
    from wireframe.echo import ExpStatus

__all__ = ["Endpoint"]

#: Seconds to wait for an event. A rig may have to start cameras first.
DEFAULT_TIMEOUT: Final = 10.0
ANY_EVENT: Final = ExpMessage.any()


class Endpoint(End):
    """One end of the wire: sends messages that the other end confirms, and tells callbacks what comes.

    Made by `echo_rig.sync.connect` and `echo_rig.sync.listen`. A server hears from any number of clients
    and must name the address for every message; a client has one server.

    Attributes
    ----------
    default_echo_timeout : float
        Seconds to wait for an echo.
    max_message_size : int
        An echo of exactly so many bytes may be the beginning of what was sent.
    server_address : tuple of (str, int)
        IP address and port of the server, at both ends.
    is_datagram : bool
        Whether messages travel as UDP datagrams.
    strangers : int
        What came from addresses that are not allowed.

    Notes
    -----
    Messages are echoed and callbacks run while the program is inside a call that
    waits (`confirmed_send` and the operations, `wait_for`, `poll`, `serve`), in the
    thread of that call. Callbacks may send and wait too; what arrives meanwhile
    is echoed, and its callbacks run when the present one is over. They are plain functions.

    One thread at a time: a call while another thread is inside one raises RuntimeError. In a forked
    child calls raise `ForeignProcessError`, and closing does nothing: the sockets are the parent's.

    ``Ctrl-C`` interrupts any wait and leaves the end as it is. If it hits the
    microseconds in which a message is taken or written, the other messages of that
    conversation fail, and a TCP connection is closed.

    A send that fails, whatever the reason, leaves the others and the end itself as they are.
    """

    def init(self, data: Any = None, addr: Address | None = None) -> None:
        """Ask to prepare for an experiment. See `confirmed_send` for `addr` and what is raised."""
        self.confirmed_send(Service.init(self, data), addr)

    def start(self, exp_ref: Any, data: Any = None, addr: Address | None = None) -> None:
        """Ask to start an experiment; `exp_ref` as in `Service.start`."""
        self.confirmed_send(Service.start(self, exp_ref, data), addr)

    def stop(self, data: Any = None, immediately: bool = False, addr: Address | None = None) -> None:
        """Ask to end an experiment, or to interrupt it immediately."""
        self.confirmed_send(Service.stop(self, data, immediately=immediately), addr)

    def status(self, status: ExpStatus | int | str, addr: Address | None = None) -> None:
        """Tell or ask a state; `status` as in `Service.status`."""
        self.confirmed_send(Service.status(self, status), addr)

    def info(self, status: ExpStatus | int | str, data: Any = None, addr: Address | None = None) -> None:
        """Tell or ask a state and more."""
        self.confirmed_send(Service.info(self, status, data), addr)

    def cleanup(self, data: Any = None, addr: Address | None = None) -> None:
        """Ask to tidy up behind an experiment."""
        self.confirmed_send(Service.cleanup(self, data), addr)

    def alyx(
        self, alyx: AlyxClient | None = None, addr: Address | None = None, timeout: float = DEFAULT_TIMEOUT
    ) -> list[Any] | None:
        """Hand on an Alyx token, or ask the other end for one.

        Parameters
        ----------
        alyx : AlyxClient, optional
            If it is logged in, its token is sent. Otherwise, and without one, a
            token is asked for.
        addr : tuple of (str, int), optional
            See `confirmed_send`.
        timeout : float
            Seconds to wait for the token that was asked for.

        Returns
        -------
        list or None
            ``[base_url, {user: token}]`` if a token was asked for.

        Raises
        ------
        TimeoutError
            No echo, or no token within `timeout`.
        RemoteError
            The other end reports that it failed to answer.
        """
        message = Service.alyx(self, alyx)
        if all(message):
            self.confirmed_send(message, addr)
            return None
        with self.loop:
            self._mailbox.forget(ExpMessage.ALYX)
            self.confirmed_send(message, addr)
            return self.wait_for(ExpMessage.ALYX, timeout)

    def send(self, data: Any, addr: Address | None = None) -> None:
        """Send a message and do not wait for its echo.

        Parameters
        ----------
        data : bytes, str or JSON value
            Bytes and text go out as they are, anything else as JSON.
        addr : tuple of (str, int), optional
            As for `confirmed_send`.

        Raises
        ------
        TypeError, ValueError, ConnectionError
            As `confirmed_send`.
        TimeoutError
            The other end of a stream has not read for a while.
        """
        address = self._checked_address(addr)
        message = self._encoded(data)
        with self.loop:
            deadline = time.monotonic() + self.default_echo_timeout
            self.link_with_room(address, deadline).send(message, confirm=False)

    def confirmed_send(self, data: Any, addr: Address | None = None, timeout: float | None = None) -> None:
        """Send a message and wait until the other end has echoed it.

        Parameters
        ----------
        data : bytes, str or JSON value
            As for `send`.
        addr : tuple of (str, int), optional
            Where to; needed in the server role, and of no use in the client role.
        timeout : float, optional
            Seconds to wait for the echo; `default_echo_timeout` by default.

        Raises
        ------
        TypeError
            Server role and no address.
        ValueError
            Client role and another address than the server's; a timeout that is
            not above 0; a message that does not fit a datagram.
        TimeoutError
            The echo did not come. Whether the message arrived is not known.
        RuntimeError
            Something came instead of the echo that is no message at all; or
            another thread is using this.
        ConnectionError
            This end is closed, the other end has closed the connection, or
            nobody listens there.
        """
        address = self._checked_address(addr)
        timeout = self._checked_timeout(timeout)
        message = self._encoded(data)
        with self.loop:
            deadline = time.monotonic() + timeout
            link = self.link_with_room(address, deadline)
            outcome = Outcome()
            sending = link.send(message, confirm=True, context=outcome)
            try:
                if not self.loop.wait_until(lambda: outcome.is_done, deadline):
                    raise self._no_echo(address, timeout)
                self.require_echo(outcome, address)
            finally:
                if sending.round_trip_s is None:
                    link.give_up(sending)

    def wait_for(self, event: ExpMessage | int | str, timeout: float = DEFAULT_TIMEOUT) -> list[Any]:
        """Wait for an event and return its data; see `next_event`."""
        return self.next_event(event, timeout).data

    def next_event(
        self, event: ExpMessage | int | str = ANY_EVENT, timeout: float = DEFAULT_TIMEOUT
    ) -> Event:
        """Return the oldest event that came and was not returned before; wait for one if there is none.

        Also an event that came before this call is returned, such as a response
        that was quicker than the echo of the next message. The last 256 are kept.

        Parameters
        ----------
        event : ExpMessage, int or str
            One event, several together, or 0 for errors that the other end reports.
        timeout : float
            Seconds to wait; `math.inf` for as long as it takes.

        Returns
        -------
        Event

        Raises
        ------
        TimeoutError
            It did not come.
        RemoteError
            The other end reports that its callback for the event has failed.
        ConnectionError
            The end is closed, by the other one or by a callback.
        ValueError
            There is no such event.
        """
        wanted = ExpMessage.validate(event)
        found: Event | None = None

        def is_found() -> bool:
            nonlocal found
            found = self._mailbox.take(wanted)
            return found is not None or self._carrier.failure is not None

        with self.loop:
            self.loop.wait_until(is_found, time.monotonic() + timeout)
            if found is None:
                self.require_open()
                raise TimeoutError(f"{self.name}: no {wanted.name or 'error'} within {timeout:g} s")
            return found

    def forget_events(self, event: ExpMessage | int | str = ANY_EVENT) -> None:
        """Forget events that came before, so that `wait_for` returns none of them."""
        wanted = ExpMessage.validate(event)
        with self.loop:
            self._mailbox.forget(wanted)

    def poll(self, timeout: float = 0.0) -> int:
        """Take what came, run callbacks, and return how many messages there were.

        Parameters
        ----------
        timeout : float
            Seconds to wait for the first of them; none by default.

        Raises
        ------
        ConnectionError
            The end is closed.
        """
        with self.loop:
            self.require_open()
            before = self._mailbox.count
            if self.loop.wait_until(
                lambda: self._mailbox.count != before or not self.is_connected, time.monotonic() + timeout
            ):
                # The rest of a burst, but not for ever.
                now = time.monotonic()
                self.loop.wait_until(lambda: not self.is_connected, now)
            return self._mailbox.count - before

    def serve(self, timeout: float = inf) -> None:
        """Serve until this end is closed, by a callback or by the other end.

        Parameters
        ----------
        timeout : float
            Seconds after which to return in any case.

        Raises
        ------
        ConnectionError
            The end is closed already.
        """
        with self.loop:
            self.require_open()
            self.loop.wait_until(lambda: not self.is_connected, time.monotonic() + timeout)
