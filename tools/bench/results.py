"""What is kept of a row, the same for all benches, for the page of figures and its plots (`report`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from harness import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness import Measurement, Verdict

#: Microseconds of CPU time of one unit: a message, or a molecule in a step.
CPU: Final = "CPU, microseconds"
#: Microseconds until one step is done.
TIME: Final = "time, microseconds"
#: Units per second of wall time.
RATE: Final = "per second"


def figures(measurement: Measurement, quantity: str) -> dict[str, Figure]:
    """Return this quantity of all sides."""
    if quantity == CPU:
        return {side: measurement.cpu_us(side) for side in measurement.samples}
    rates = {side: measurement.steps_per_second(side) for side in measurement.samples}
    if quantity == TIME:
        return {side: Figure(1e6 / f.median, 1e6 / f.high, 1e6 / f.low) for side, f in rates.items()}
    units = measurement.units
    return {side: Figure(units * f.median, units * f.low, units * f.high) for side, f in rates.items()}


def entry(
    row: str,
    core: str,
    measurement: Measurement,
    quantity: str,
    verdicts: Sequence[Verdict] = (),
    *,
    plot: str = "",
    at: tuple[float, str] | None = None,
) -> dict[str, Any]:
    """Return what is kept of a row.

    Parameters
    ----------
    row : str
        Its name, with its size.
    core : str
        ``one`` for all processes on one core, ``free`` for any.
    measurement : Measurement
        All sides.
    quantity : str
        `CPU`, `TIME` or `RATE`.
    verdicts : sequence of Verdict
        What was judged.
    plot : str, optional
        Name of the picture that shows it.
    at : tuple of float and str, optional
        Where in that picture: a number, and what it counts.
    """
    return entry_of(
        row,
        core,
        quantity,
        figures(measurement, quantity),
        verdicts,
        noisy=measurement.noisy,
        plot=plot,
        at=at,
    )


def entry_of(
    row: str,
    core: str,
    quantity: str,
    sides: Mapping[str, Figure],
    verdicts: Sequence[Verdict] = (),
    *,
    noisy: bool = False,
    plot: str = "",
    at: tuple[float, str] | None = None,
) -> dict[str, Any]:
    """Return what is kept of a row of figures, as `entry` does of a measurement."""
    return {
        "row": row,
        "core": core,
        "quantity": quantity,
        "sides": {side: asdict(figure) for side, figure in sides.items()},
        "verdicts": [asdict(verdict) for verdict in verdicts],
        "noisy": noisy,
        **({"plot": plot, "at": at[0], "axis": at[1]} if plot and at else {}),
    }


def columns(measurement: Measurement, width: int, *, wall: bool) -> str:
    """Return the median and spread of all sides: time of a step with `wall`, CPU time of a unit without."""
    found = ""
    for side in measurement.samples:
        figure = measurement.steps_per_second(side) if wall else measurement.cpu_us(side)
        median = 1e6 / figure.median if wall else figure.median
        found += f"{f'{side} {median:.2f} ±{50 * figure.spread:.0f} %':>{width}}"
    return found
