"""A page of the figures of one run, and its plots.

    python tools/bench --json RESULTS.json
    python tools/bench/report.py RESULTS.json tools/docs/pages/speed

writes ``speed.md`` and pictures ``speed-*.png`` beside it.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

INTRODUCTION: Final = """# Speed

What our packages cost, beside bare sockets (the floor), beside the originals and beside what else one would
take; from one run of `python tools/dev.py run -e bench`. A line is a comparison of programs that took turns,
so its ratios hold on other machines too, and its absolute figures do not. On *one* core all programs of a
line share a core, which repeats within a few per cent; *free*, the system places them, which is what a user
sees, and scatters. A target is judged by the quartiles of the ratio.
"""
#: What follows is written by hand, and stays.
REASONS: Final = "## Missed, and why"
#: Of the lines of a plot, in their order.
STYLES: Final = ("o-", "s--", "^--", "v--", "d:", "x:")
MILLION: Final = 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its pictures; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, help="what the bench wrote")
    parser.add_argument("page", type=Path, help="without its suffix")
    options = parser.parse_args(arguments)
    results = json.loads(options.results.read_text(encoding="utf-8"))
    pictures = draw(results, options.page)
    page = options.page.with_suffix(".md")
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    reasons = REASONS + before.partition(REASONS)[2]
    text = "\n".join([INTRODUCTION, *_about(results["machine"]), *_sections(results, pictures), reasons])
    page.write_text(text.rstrip() + "\n", encoding="utf-8")
    return 0


def _about(machine: Mapping[str, Any]) -> Iterator[str]:
    yield "| measured on | |"
    yield "|---|---|"
    for key, value in machine.items():
        yield f"| {key.replace('_', ' ')} | {value} |"
    yield ""


def _sections(results: Mapping[str, Any], pictures: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for bench, rows in results.items():
        if bench == "machine":
            continue
        yield f"## {bench}\n"
        yield "| comparison | core | what | figures (spread) | ratio | target | |"
        yield "|---|---|---|---|---|---|---|"
        for one in _entries(rows):
            yield from _lines(one)
        yield ""
        for picture in pictures.get(bench, ()):
            yield f"![{picture}]({picture})\n"


def _entries(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield from row.get("entries", ())


def _lines(one: Mapping[str, Any]) -> Iterator[str]:
    figures = ", ".join(f"{side} {_number(figure)}" for side, figure in one["sides"].items())
    start = f"| {one['row']} | {one['core']} | {one['quantity']} | {figures} "
    noisy = "noisy" if one["noisy"] else ""
    if not one["verdicts"]:
        yield f"{start}| | | {noisy} |"
    for verdict in one["verdicts"]:
        ratio = verdict["ratio"]
        said = f"{verdict['ratio_of']}: {ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
        word = {"MISSED": "**missed**"}.get(verdict["word"], verdict["word"])
        yield f"{start}| {said} | ≤ {verdict['bound']:.2f} | {word} |"
        start = "| | | | "


def _number(figure: Mapping[str, float]) -> str:
    median = figure["median"]
    spread = f"±{50 * (figure['high'] - figure['low']) / median:.0f} %"
    if median >= MILLION:
        return f"{median / MILLION:.2f} million {spread}"
    return f"{median:.0f} {spread}" if median >= 1000 else f"{median:.3g} {spread}"


def draw(results: Mapping[str, Any], page: Path) -> dict[str, list[str]]:
    """Draw the pictures; return their names by bench."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names: dict[str, list[str]] = defaultdict(list)
    for bench, rows in results.items():
        if bench == "machine":
            continue
        for title, entries in _plots(rows).items():
            figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
            lines: dict[str, list[tuple[float, Mapping[str, float]]]] = defaultdict(list)
            for one in entries:
                for side, numbers in one["sides"].items():
                    lines[side].append((one["at"], numbers))
            for style, (side, points) in zip(STYLES, lines.items(), strict=False):
                points.sort(key=lambda point: point[0])
                places = [at for at, _ in points]
                axes.plot(places, [numbers["median"] for _, numbers in points], style, label=side)
                low, high = ([numbers[edge] for _, numbers in points] for edge in ("low", "high"))
                axes.fill_between(places, low, high, alpha=0.15)
            axes.set(xscale="log", yscale="log", title=title)
            axes.set(xlabel=entries[0]["axis"], ylabel=entries[0]["quantity"])
            axes.grid(visible=True, which="both", alpha=0.2)
            axes.legend()
            words = "".join(letter if letter.isalnum() else " " for letter in f"{bench} {title}").split()
            name = f"{page.name}-{'-'.join(words)}.png"
            figure.savefig(page.with_name(name), dpi=110, metadata={"Software": None})
            plt.close(figure)
            names[bench].append(name)
    return names


def _plots(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of each picture that has at least two places."""
    plots: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in _entries(rows):
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


if __name__ == "__main__":
    raise SystemExit(main())
