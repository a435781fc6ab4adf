"""What became of the targets in a run: cells of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import targets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Outcome:
    """One target: what is compared, the bar, the medians, and whether it is met."""

    says: str
    bar: str
    figures: str
    result: str


def outcomes(results: Mapping[str, Any]) -> Iterator[Outcome]:
    """Return what became of each target in a run."""
    verdicts = {
        (bench, one["row"], one["core"], verdict["ratio_of"]): verdict
        for bench, rows in results.items()
        if bench != "machine"
        for row in rows
        for one in row.get("entries", ())
        for verdict in one["verdicts"]
    }
    for line in targets.LINES:
        yield _outcome(line, verdicts)


def _outcome(line: targets.Line, verdicts: Mapping[tuple[str, str, str, str], Mapping[str, Any]]) -> Outcome:
    figures, bars = [], []
    labels: dict[str, list[str]] = {"MISSED": [], "too noisy to say": [], "not measured": []}
    for place in line.places:
        label = place.label.strip()
        verdict = verdicts.get((line.bench, place.row, place.core, place.ratio_of))
        if verdict is None:
            labels["not measured"].append(label)
            continue
        bars.append(_bar(line, verdict))
        figures.append(f"{label}: {_shown(line, verdict['ratio']['median'])}".removeprefix(": "))
        labels.setdefault(verdict["word"], []).append(label)
    failures = [
        f"**missed**{_at(names)}" if word == "MISSED" else f"{word}{_at(names)}"
        for word, names in labels.items()
        if word != "met" and names
    ]
    return Outcome(line.says, _joined(bars), "; ".join(figures), "; ".join(failures) or "met")


def _bar(line: targets.Line, verdict: Mapping[str, Any]) -> str:
    is_least = verdict.get("at_least", False) != line.is_times
    return f"{'≥' if is_least else '≤'} {_shown(line, verdict['bound'])}"


def _shown(line: targets.Line, number: float) -> str:
    number = 1 / number if line.is_times else number
    if number >= 1000:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def _at(labels: Sequence[str]) -> str:
    return f" ({'; '.join(labels)})" if any(labels) else ""


def _joined(bars: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(bars))
