"""Taking datagrams from an inlet, as many as a call brings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from udp_multicast import _options
from udp_multicast._batch import cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from udp_multicast._inlet import Inlet
    from udp_multicast.channels._message import Address, Arrived

#: Bytes. Datagrams up to here are quicker to read as bytes than as a view.
COPIED: Final = 4096


class Assembly(Protocol):
    """Where the fragments of large messages belong; see `wireframe.datagram.Reassembler`."""

    def room(self, most: int, /) -> memoryview | None:
        """Return where the payloads of the next fragments belong."""
        ...

    def enter(self, heads: Sequence[bytes], sender: Address, /) -> int:
        """Take those that are in `room`; return how many."""
        ...


class Slots(Protocol):
    """Where datagrams are taken. The turn of the inlet is needed."""

    def fetch(self, flags: int, /) -> list[Arrived]:
        """Return the next datagrams, in order of arrival.

        None if those that came are in their place already. Views are good
        until the next call.

        Parameters
        ----------
        flags : int
            Of the inlet: whether to wait for the first one.

        Raises
        ------
        BlockingIOError
            There is none.
        OSError
            As ``recvfrom`` of the socket.
        """
        ...


class OneSlot:
    """One datagram a call, on every system, or several that arrived together."""

    def __init__(self, inlet: Inlet) -> None:
        self._inlet = inlet
        self._buffer = inlet.buffer

    def fetch(self, flags: int, /) -> list[Arrived]:
        """Return the next datagram, or batch, see `Slots`."""
        if self._inlet.has_gro:
            length, size, sender = self._inlet.fill(flags)
            if size:
                return [(part, sender) for part in cut(self._buffer[:length].tobytes(), size)]
        else:
            length, sender = self._inlet.take(self._buffer, 0, flags)
        data = self._buffer[:length]
        return [(data.tobytes() if length <= COPIED else data, sender)]


def open_slots(inlet: Inlet, assembly: Assembly, *, ipv6: bool) -> Slots:
    """Return the quickest slots that this system has.

    Parameters
    ----------
    inlet : Inlet
        Where datagrams come from.
    assembly : Assembly
        Where fragments belong.
    ipv6 : bool
        Whether their senders have addresses of IPv6.
    """
    if _options.LINUX:
        # Imported where it is needed: ctypes takes longer than all the rest of the package.
        try:
            from udp_multicast.channels import _mmsg, _recvmmsg
        except ImportError:  # a Python that was built without ctypes
            return OneSlot(inlet)
        call = _mmsg.find("recvmmsg")
        if call is not None:
            return _recvmmsg.ManySlots(inlet, call, assembly, ipv6=ipv6)
    return OneSlot(inlet)
