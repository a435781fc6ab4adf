r"""How far the clock of another rig is from ours, and how sure that is.

::

    our clock    t1 ----.              .----> t4
                         \            /
    their clock           '-> t2  t3 -'

    offset = ((t2 - t1) + (t3 - t4)) / 2        uncertainty = ((t4 - t1) - (t3 - t2)) / 2

The offset is what must be added to a time of ours to get the time that they read
at that moment. It is exact if both ways take equally long; if all of the time is
spent on one of them it is wrong by the uncertainty, and by no more. Of several
questions the one with the shortest way counts.

Only an end that numbers its messages can answer (`echo_rig._conversation`), which
none but this package does.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from echo_rig.errors import OldPeer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echo_rig._clock_desk import ClockSample
    from echo_rig._link import Address, Link
    from echo_rig.protocol import EchoProtocol

__all__ = ["ClockOffset", "clock_offset"]

#: Seconds between two looks whether the other end has begun to number.
GLANCE_S: Final = 0.005
#: Part of the timeout that one question may take; one lost answer must not cost all others.
PART: Final = 0.25


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What a clock was found to be off by.

    Attributes
    ----------
    offset_s : float
        Their clock minus ours, in seconds.
    uncertainty_s : float
        The true offset is at most this far from `offset_s`, in seconds. How
        finely the other clock counts is not part of it.
    samples : int
        How many questions were answered.
    """

    offset_s: float
    uncertainty_s: float
    samples: int


def best_of(samples: Sequence[ClockSample], resolution_s: float = 0.0) -> ClockOffset:
    """Return what the sample with the shortest round trip says.

    Parameters
    ----------
    samples : sequence of ClockSample
        At least one.
    resolution_s : float
        How finely our clock counts, in seconds.

    Examples
    --------
    >>> from echo_rig._clock_desk import ClockSample
    >>> best_of([ClockSample(900, 600), ClockSample(1000, 200), ClockSample(1200, 800)])
    ClockOffset(offset_s=1e-06, uncertainty_s=1e-07, samples=3)
    """
    best = min(samples, key=lambda sample: sample.round_trip_ns)
    return ClockOffset(best.offset_ns / 1e9, best.round_trip_ns / 2e9 + resolution_s, len(samples))


async def clock_offset(
    end: EchoProtocol, addr: Address | None = None, *, samples: int = 8, timeout: float = 1.0
) -> ClockOffset:
    """Ask another end for its clock.

    Parameters
    ----------
    end : EchoProtocol
        Client or server.
    addr : tuple of (str, int), optional
        Whom to ask; needed in the server role.
    samples : int
        How many questions to ask, one after the other.
    timeout : float
        Seconds for all of it.

    Returns
    -------
    ClockOffset

    Raises
    ------
    OldPeer
        The other end echoes, but does not number its messages.
    TimeoutError
        It is silent, or did not answer a single question in time.
    ConnectionError
        There is no connection, or it was lost.
    TypeError
        Server role and no address.
    ValueError
        This end never numbers (``numbering=False``), a limit is not above 0, or
        it is a client and the address is another than its server's.

    Notes
    -----
    Asking makes both ends number their messages from then on. An old peer
    gets a ping and nothing else.

    Examples
    --------
    >>> import asyncio
    >>> from echo_rig import EchoProtocol
    >>> async def main():
    ...     async with await EchoProtocol.server("udp://127.0.0.1:14475"):
    ...         async with await EchoProtocol.client("udp://127.0.0.1:14475") as pc:
    ...             return await clock_offset(pc)
    >>> clock = asyncio.run(main())
    >>> abs(clock.offset_s) <= clock.uncertainty_s  # both are this computer
    True
    """
    if samples < 1 or not timeout > 0:
        raise ValueError(f"samples and timeout are above 0, not {samples} and {timeout}")
    if end.numbering is False:
        raise ValueError(f"{end.name} was made with numbering=False and cannot ask for a clock")
    address = end._checked_address(addr)
    link = end._link_to(address)
    if link is None:
        raise ConnectionResetError(f"no connection with {address[0]}:{address[1]}")
    deadline = time.monotonic() + timeout
    await _meet(end, link, time.monotonic() + timeout / 2)
    found: list[ClockSample] = []
    while len(found) < samples and (left := deadline - time.monotonic()) > 0:
        _require_connection(end, link)
        try:
            async with asyncio.timeout(min(left, PART * timeout)):
                found.append(await end._clock.ask(link))
        except TimeoutError:
            continue
    if not found:
        raise TimeoutError(f"{end.name}: no answer about the clock from {_text(address)} within {timeout} s")
    return best_of(found, time.get_clock_info("time").resolution)


async def _meet(end: EchoProtocol, link: Link, deadline: float) -> None:
    """Wait until the other end is known to number; show it that we do."""
    if link.conversation.peer_numbers:
        return
    began = time.monotonic()
    link.greet()
    while not link.conversation.peer_numbers:
        _require_connection(end, link)
        if time.monotonic() >= deadline:
            if link.heard_at is not None and link.heard_at >= began:
                raise OldPeer(f"{_text(link.address)} does not number its messages and cannot tell its clock")
            raise TimeoutError(f"{end.name}: {_text(link.address)} is silent")
        await asyncio.sleep(GLANCE_S)


def _require_connection(end: EchoProtocol, link: Link) -> None:
    if end._links.get(link.address) is not link:
        raise ConnectionResetError(f"the connection with {_text(link.address)} was lost")


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
