"""A page of the targets and figures of one run, and its plots.

    python tools/dev.py run -e bench -- --json RESULTS.json
    .tox/bench/bin/python tools/bench/report.py RESULTS.json tools/docs/pages/speed

writes ``speed.md`` and pictures ``speed-*.png`` beside it, in place of those of
the run before. What stands below `REASONS` is written by hand, and stays.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from outcomes import outcomes
from pictures import draw, entries_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

INTRODUCTION: Final = """# Speed

What our packages cost, beside bare sockets (the floor), beside the originals and beside what else one would
take; from one run of `python tools/dev.py run -e bench`. A line is a comparison of programs that took turns,
so its ratios hold on other machines too, and its absolute figures do not. On *one* core all programs of a
line share a core, which repeats within a few per cent; *free*, the system places them, which is what a user
sees, and scatters. A target is judged by the quartiles of the ratio, which stand in parentheses: if the bar
lies between them, the machine was too noisy to say. A line is *noisy* where the CPU time of one of its sides
scatters by more than the machine should make it. A *peer* is the original: `maxwelllink` beside mxl-sockets,
`iblutil` beside echo-rig.
"""
#: What follows is written by hand, and stays.
REASONS: Final = "## Missed, and why"
MILLION: Final = 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page and its pictures; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, help="what the bench wrote")
    parser.add_argument("page", type=Path, help="without its suffix")
    options = parser.parse_args(arguments)
    results = json.loads(options.results.read_text(encoding="utf-8"))
    for old in options.page.parent.glob(f"{options.page.name}-*.png"):
        old.unlink()
    pictures = draw(results, options.page)
    page = options.page.with_suffix(".md")
    before = page.read_text(encoding="utf-8") if page.exists() else ""
    reasons = REASONS + before.partition(REASONS)[2]
    parts = (_about(results["machine"]), _targets(results), _sections(results, pictures))
    text = "\n".join([INTRODUCTION, *(line for part in parts for line in part), reasons])
    page.write_text(text.rstrip() + "\n", encoding="utf-8")
    return 0


def _about(machine: Mapping[str, Any]) -> Iterator[str]:
    yield "| measured on | |"
    yield "|---|---|"
    for key, value in machine.items():
        yield f"| {key.replace('_', ' ')} | {value} |"
    yield ""


def _targets(results: Mapping[str, Any]) -> Iterator[str]:
    yield "## Targets\n"
    yield "Medians; bars that name times or shares of the other side are the reciprocals of those below.\n"
    if "noise" in results["machine"]:
        yield "**The machine was too busy to judge**: what is missed may be so because others were at work.\n"
    yield "| target | bar | figures | |"
    yield "|---|---|---|---|"
    for outcome in outcomes(results):
        yield f"| {outcome.says} | {outcome.bar} | {outcome.figures} | {outcome.result} |"
    yield ""


def _sections(results: Mapping[str, Any], pictures: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for bench, rows in results.items():
        if bench == "machine":
            continue
        yield f"## {bench}\n"
        if not rows:
            yield "Not measured.\n"
            continue
        yield "| comparison | core | what | figures (spread) | ratio | target | |"
        yield "|---|---|---|---|---|---|---|"
        for one in entries_of(rows):
            yield from _lines(one)
        yield ""
        for picture in pictures.get(bench, ()):
            yield f"![{picture}]({picture})\n"


def _lines(one: Mapping[str, Any]) -> Iterator[str]:
    figures = ", ".join(f"{side} {_number(figure)}" for side, figure in one["sides"].items())
    start = f"| {one['row']} | {one['core']} | {one['quantity']} | {figures} "
    noisy = "noisy" if one["noisy"] else ""
    if not one["verdicts"]:
        yield f"{start}| | | {noisy} |"
    for verdict in one["verdicts"]:
        ratio = verdict["ratio"]
        low, median, high = (_plain(ratio[key]) for key in ("low", "median", "high"))
        said = f"{verdict['ratio_of']}: {median} ({low} to {high})"
        word = {"MISSED": "**missed**"}.get(verdict["word"], verdict["word"]) + ", noisy" * one["noisy"]
        sign = "≥" if verdict.get("at_least") else "≤"
        yield f"{start}| {said} | {sign} {_plain(verdict['bound'])} | {word} |"
        start = "| | | | "


def _plain(number: float) -> str:
    return f"{number:.2f}" if number < 1000 else f"{number:,.0f}"


def _number(figure: Mapping[str, float]) -> str:
    median = figure["median"]
    spread = f"±{50 * (figure['high'] - figure['low']) / median:.0f} %"
    if median >= MILLION:
        return f"{median / MILLION:.2f} million {spread}"
    return f"{median:,.0f} {spread}" if median >= 1000 else f"{median:.3g} {spread}"


if __name__ == "__main__":
    raise SystemExit(main())
