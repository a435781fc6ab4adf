"""Plots of the figures of one run: cost against size or count, floor and peers as lines."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

#: Of the lines of a plot, in their order; bare sockets and C are the floor, and look like it.
MARKS: Final = ("o", "s", "^", "v", "d", "x")
FLOORS: Final = frozenset({"bare", "C"})
FLOOR_STYLE: Final = {"color": "0.45", "linestyle": ":"}
PEER_STYLE: Final = {"linestyle": "--"}
INCHES: Final = (6.0, 3.8)
DOTS_PER_INCH: Final = 90


def draw(results: Mapping[str, Any], page: Path) -> dict[str, list[str]]:
    """Draw all pictures beside a page.

    Parameters
    ----------
    results : mapping
        What the bench wrote.
    page : Path
        Without its suffix.

    Returns
    -------
    dict of str to list of str
        Names of the files by bench.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names: dict[str, list[str]] = defaultdict(list)
    for bench, rows in results.items():
        if bench == "machine":
            continue
        for title, entries in _plots(rows).items():
            figure, axes = plt.subplots(figsize=INCHES, layout="constrained")
            _draw_lines(axes, entries)
            axes.set(title=title, ylabel=entries[0]["quantity"])
            _name_places(axes, entries)
            words = "".join(letter if letter.isalnum() else " " for letter in f"{bench} {title}").split()
            name = f"{page.name}-{'-'.join(words)}.png"
            figure.savefig(page.with_name(name), dpi=DOTS_PER_INCH, metadata={"Software": None})
            plt.close(figure)
            names[bench].append(name)
    return names


def _draw_lines(axes: Any, entries: Sequence[Mapping[str, Any]]) -> None:
    """Draw medians, and a band from quartile to quartile, of each side."""
    lines: dict[str, list[tuple[float, Mapping[str, float]]]] = defaultdict(list)
    for one in entries:
        for side, numbers in one["sides"].items():
            lines[side].append((one["at"], numbers))
    for mark, (side, points) in zip(MARKS, lines.items(), strict=False):
        points.sort(key=lambda point: point[0])
        places = [at for at, _ in points]
        medians = [numbers["median"] for _, numbers in points]
        style = FLOOR_STYLE if side in FLOORS else {} if side.startswith("ours") else PEER_STYLE
        (line,) = axes.plot(places, medians, marker=mark, label=side, **style)
        low, high = ([numbers[edge] for _, numbers in points] for edge in ("low", "high"))
        axes.fill_between(places, low, high, alpha=0.15, color=line.get_color())
    axes.set(xscale="log", yscale="log")
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend()


def _name_places(axes: Any, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write the sizes or counts that were measured below the axis, and plain numbers beside the other."""
    from matplotlib.ticker import EngFormatter, NullFormatter

    axis = entries[0]["axis"]
    places = sorted({one["at"] for one in entries})
    named = [_bytes(at) if axis == "bytes" else f"{at:,}" for at in places]
    axes.set_xticks(places, named)
    axes.set_xticks([], minor=True)
    if axis != "bytes":
        axes.set_xlabel(axis)
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    low, high = axes.get_ylim()
    # Where there are few whole decades, those between are named too.
    axes.yaxis.set_minor_formatter(EngFormatter(sep="") if high < 30 * low else NullFormatter())


def _bytes(size: int) -> str:
    for unit, bits in (("MiB", 20), ("KiB", 10)):
        if size >= 1 << bits:
            return f"{size >> bits} {unit}"
    return f"{size} B"


def entries_of(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return all entries (`results.entry`) of a bench."""
    for row in rows:
        yield from row.get("entries", ())


def _plots(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of each picture that has at least two places."""
    plots: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in entries_of(rows):
        if "plot" in one:
            plots[one["plot"]].append(one)
    chosen = {}
    for title, entries in plots.items():
        # Where there is both, what repeats.
        on_one = [one for one in entries if one["core"] == "one"]
        shown, where = (on_one, "on one core") if on_one else (entries, "free")
        if len({one["at"] for one in shown}) > 1:
            chosen[f"{title}, {where}"] = shown
    return chosen
