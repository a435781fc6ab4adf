"""Which test shows what: the ``fault`` marks of all tests, written into the README beside this.

A test says which faults it plays, on which package, and which pass codes (see `matrix`) it measures::

    @pytest.mark.fault("C4", "mxl-sockets", "LET")

The marks are read from the text of the test files; nothing is imported. Figures are the properties of that
name in the reports that ``--junit-xml`` wrote; see the fixture ``figure``. Without reports those of the last
time stay.

    python tests-integration/faults/table.py            # writes the table
    python tests-integration/faults/table.py --check    # fails if a pair has no test, or the table is stale
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from matrix import FLAWS, PACKAGES, REQUIRED, required_pairs

ROOT = Path(__file__).resolve().parents[2]
README = Path(__file__).with_name("README.md")
#: All before it is written by hand.
HEADING = "## What shows it"
CODES = "LWMTE"
NONE = "-"

INTRODUCTION = f"""{HEADING}

Written by `python tests-integration/faults/table.py`, which fails if a test is missing.
L: nothing is lost or applied twice without a report. W: no wrong value. M: memory, descriptors
and threads stay bounded. T: calls return by their own deadline. E: typed errors or counters that name peer
and reason. A code is shown where a test measures it, and in brackets where none does.
Figures are those of the last run that had some.
"""
FLAWS_HEADING = """### Flaws of the originals

Each was reproduced with the original; the tests show that ours is free of it.
"""


#: Path and name of a test, and a package or "" for all of them: what was measured.
Figures = dict[tuple[str, str, str], str]


@dataclass(frozen=True)
class Mark:
    """One mark of one test; `path` is relative to the top of the tree."""

    row: str
    package: str
    codes: str
    path: str
    test: str


class BadMarkError(Exception):
    """A mark that says what there is not."""


def test_files(root: Path) -> list[Path]:
    """All files with tests, of the packages and of the integration."""
    found = [*root.glob("packages/*/tests/**/test_*.py"), *root.glob("tests-integration/**/test_*.py")]
    return sorted(found)


def marks_in(path: Path, root: Path) -> Iterator[Mark]:
    """Find the marks of one file without importing it."""
    text = path.read_text(encoding="utf-8")
    if "mark.fault(" not in text:
        return
    relative = path.relative_to(root).as_posix()
    for node in ast.walk(ast.parse(text, relative)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
                yield _mark(decorator, relative, node.name)


def _mark(call: ast.Call, path: str, test: str) -> Mark:
    where = f"{path}:{call.lineno}"
    values = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    if call.keywords or len(values) != len(call.args) or len(values) not in (2, 3):
        raise BadMarkError(
            f"{where}: a fault has a number, a package, and pass codes or none, all as plain text"
        )
    row, package = values[:2]
    codes = values[2] if len(values) == 3 else ""
    if row not in REQUIRED and row not in FLAWS:
        raise BadMarkError(f"{where}: there is no fault {row!r} in the catalogue")
    if package not in PACKAGES:
        raise BadMarkError(f"{where}: {package!r} is none of {', '.join(PACKAGES)}")
    if unknown := set(codes) - set(CODES):
        raise BadMarkError(f"{where}: {', '.join(sorted(unknown))} is no pass code")
    return Mark(row, package, codes, path, test)


def collect(root: Path) -> list[Mark]:
    """All marks of the tree."""
    return [mark for path in test_files(root) for mark in marks_in(path, root)]


def missing(marks: Iterable[Mark]) -> list[tuple[str, str]]:
    """Pairs of fault and package that no test shows."""
    shown = {(mark.row, mark.package) for mark in marks}
    return [pair for pair in required_pairs() if pair not in shown]


def figures(reports: Iterable[Path]) -> Figures:
    """What tests measured, from reports of runs.

    A figure that begins with the name of a package, as in ``echo-rig: 3 s``, is of that package alone.
    """
    found: dict[tuple[str, str, str], list[str]] = {}
    for report in reports:
        # Written by our own run, and read on the machine that wrote it.
        for case in ET.parse(report).iter("testcase"):
            name = case.get("name", "").partition("[")[0]
            path = case.get("classname", "").replace(".", "/") + ".py"
            for one in case.iter("property"):
                if one.get("name") == "figure":
                    value = one.get("value", "").replace("|", "/")
                    package, _, rest = value.partition(": ")
                    key = (path, name, package) if package in PACKAGES else (path, name, "")
                    values = found.setdefault(key, [])
                    if (text := rest if key[2] else value) not in values:
                        values.append(text)
    return {key: "; ".join(values) for key, values in found.items()}


def kept_figures(text: str) -> Figures:
    """The figures that a table has already."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) == 5 and (test := re.fullmatch(r"`(.+)::(.+)`", cells[3])) and cells[4] != NONE:
            found[test[1], test[2], cells[1]] = cells[4]
    return found


def figure_of(mark: Mark, fresh: Figures, kept: Figures) -> str:
    """The newest figure for a mark."""
    own, shared = (mark.path, mark.test, mark.package), (mark.path, mark.test, "")
    return fresh.get(own) or fresh.get(shared) or kept.get(own) or NONE


def render(marks: list[Mark], fresh: Figures, kept: Figures) -> str:
    """The part of the README that is written here."""
    lines = [INTRODUCTION, _head("number", "package", "codes", "test", "figure")]
    by_pair: dict[tuple[str, str], list[Mark]] = {}
    for mark in marks:
        by_pair.setdefault((mark.row, mark.package), []).append(mark)
    pairs = required_pairs()
    # Tests may show more than they have to.
    for row in REQUIRED:
        wanted = [package for one, package in pairs if one == row]
        more = [package for package in PACKAGES if package not in wanted and (row, package) in by_pair]
        for package in [*wanted, *more]:
            needed = REQUIRED[row][1] if package in wanted else ""
            lines += _rows(row, package, needed, by_pair.get((row, package), []), fresh, kept)
    lines += ["", FLAWS_HEADING, _head("number", "package", "flaw", "test", "figure")]
    for flaw, (package, text) in FLAWS.items():
        for mark in by_pair.get((flaw, package), []):
            lines.append(_line(flaw, package, text, _name(mark), figure_of(mark, fresh, kept)))
    return "\n".join(lines) + "\n"


def _rows(
    row: str, package: str, needed: str, marks: list[Mark], fresh: Figures, kept: Figures
) -> Iterator[str]:
    """One line for each test; what none of them measures stands in the first."""
    open_codes = [code for code in CODES if code in needed and not any(code in mark.codes for mark in marks)]
    for number, mark in enumerate(marks):
        codes = " ".join(code for code in CODES if code in mark.codes)
        rest = f"({' '.join(open_codes)})" if open_codes and not number else ""
        figure = figure_of(mark, fresh, kept)
        yield _line(row, package, f"{codes} {rest}".strip() or NONE, _name(mark), figure)


def _name(mark: Mark) -> str:
    return f"`{mark.path}::{mark.test}`"


def _head(*names: str) -> str:
    return _line(*names) + "\n" + _line(*["---"] * len(names))


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def without_figures(text: str) -> str:
    """The table as far as it has to be up to date."""
    cut = [line.rsplit(" | ", 1)[0] if "::test_" in line else line for line in text.splitlines()]
    return "\n".join(cut)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the table; the exit status is 1 if something is missing or stale."""
    parser = argparse.ArgumentParser(description="The table of faults and the tests that play them.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if it would have to be")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree whose tests are read")
    parser.add_argument("--readme", type=Path, default=README, help="the file that has the table")
    parser.add_argument(
        "reports", nargs="*", type=Path, help="files of --junit-xml (default: those below .tox, if any)"
    )
    options = parser.parse_args(arguments)
    try:
        marks = collect(options.root)
    except BadMarkError as error:
        print(error, file=sys.stderr)
        return 1
    lacking = missing(marks)
    for row, package in lacking:
        print(f"no test plays {row} on {package}", file=sys.stderr)
    text = options.readme.read_text(encoding="utf-8")
    head = text.partition(HEADING)[0].rstrip() + "\n\n"
    if options.check:
        stale = without_figures(text) != without_figures(head + render(marks, {}, {}))
        if stale:
            print(f"{options.readme.name} is stale: run tests-integration/faults/table.py", file=sys.stderr)
        return 1 if lacking or stale else 0
    reports = options.reports or sorted(options.root.glob(".tox/*/tests.xml"))
    table = render(marks, figures(reports), kept_figures(text))
    options.readme.write_text(head + table, encoding="utf-8")
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
