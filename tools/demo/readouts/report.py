"""The printed summary: who received what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from readouts.analysis import holes, pace
from readouts.readout import MAP_SIZE

if TYPE_CHECKING:
    from readouts.account import Session


def monitors_table(session: Session) -> str:
    """One line per monitor, as it counted itself."""
    title = f"Readouts: {len(session.sent)} sent"
    rows = [f"{title:<24}first  received    bytes   lost  gaps  at the end  kernel drops    buffer"]
    for monitor in session.monitors:
        end = monitor.end
        missing = holes(monitor.hits["number"], len(session.sent))
        drops = "not told" if end["kernel_drops"] is None else end["kernel_drops"]
        rows.append(
            f"  {monitor.name:<20} {missing.first:6}   {end['received']:7} {end['bytes']:8}  {end['lost']:5}"
            f"  {end['gaps']:4}  {missing.unseen:10}  {drops:>12}  {end['granted_buffer']:8}"
        )
    return "\n".join(rows)


def maps_table(session: Session) -> str:
    """How many maps went where."""
    factor = pace(session.recorded_s, session.replayed_s).factor
    rows = [
        ("sent", len(session.sent_maps), f"{MAP_SIZE} bytes each, in fragments of one Ethernet frame"),
        ("recorded", len(session.recorded), "by udp-multicast record"),
        ("replayed", len(session.replayed), f"by udp-multicast replay, {factor:.2f} times as fast"),
    ]
    return "\n".join(
        ["Maps of all hits", *(f"  {what:<20} {number:6}   {how}" for what, number, how in rows)]
    )
