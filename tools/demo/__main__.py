"""The main job, in acts: real programs of a laboratory on this computer's network, and checks as the judge.

    python tools/demo [ACT ...]

Each act starts processes of its own, disturbs them, and tells what it found:
live progress, tables, checks, a picture. Without names the lab day is played,
in which all packages work together; ``all`` plays every act.

The exit status is 0 if all checks pass, 1 if one fails, 2 if an act broke.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from acts import ACTS, ActBroke, act
from checks import checks_table
from interrupts import interrupt_on_sigterm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Names all acts.
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Ending:
    """How an act ended.

    Attributes
    ----------
    name : str
        Of the act, or of what is summed up.
    duration_s : float
        How long it took, picture included.
    passed, judged : int
        Checks.
    remark : str
        Its picture, or why it broke.
    broke : bool
        Whether it did.
    """

    name: str
    duration_s: float
    passed: int = 0
    judged: int = 0
    remark: str = ""
    broke: bool = False

    def __str__(self) -> str:
        figures = f"{self.passed} of {self.judged} checks passed in {self.duration_s:.0f} s"
        return f"{self.name:<10} {figures}; {self.remark}" if self.remark else f"{self.name:<10} {figures}"


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python tools/demo",
        description=(__doc__ or "").partition("\n")[0],
        epilog="exit status: 0 all checks pass, 1 one fails, 2 an act broke",
    )
    parser.add_argument(
        "acts", nargs="*", metavar="ACT", help=f"of {', '.join(ACTS)}, or {ALL}; default {next(iter(ACTS))}"
    )
    parser.add_argument("--quick", action="store_true", help="shorter acts")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        default=Path("demo-output"),
        help="folder of the pictures (default %(default)s)",
    )
    for name in ACTS:
        act(name).add_arguments(parser.add_argument_group(f"act {name}", act(name).TITLE))
    options = parser.parse_args(arguments)
    unknown = [name for name in options.acts if name not in (*ACTS, ALL)]
    if unknown:
        parser.error(f"no act {', '.join(unknown)}; there are {', '.join(ACTS)}, and {ALL}")
    options.acts = list(ACTS) if ALL in options.acts else options.acts or [next(iter(ACTS))]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the acts; return the exit status."""
    try:
        interrupt_on_sigterm()
        options = parse_arguments(arguments)  # which imports all acts
        endings = [_play(name, options) for name in options.acts]
    except KeyboardInterrupt:
        print("interrupted; all processes ended", file=sys.stderr)
        return 130
    print("\n".join(map(str, [*endings, _sum(endings)] if len(endings) > 1 else endings)))
    if any(ending.broke for ending in endings):
        return 2
    return 0 if all(ending.passed == ending.judged for ending in endings) else 1


def _play(name: str, options: argparse.Namespace) -> Ending:
    begin = time.monotonic()
    print(f"{name}: {act(name).TITLE}", file=sys.stderr, flush=True)
    try:
        result = act(name).play(options)
        for table in (*result.tables, checks_table(result.checks)):
            print(table, end="\n\n", flush=True)
        picture = options.output / result.picture
        result.draw(picture)
    except (ActBroke, OSError) as error:
        print(f"{name} broke: {error}", file=sys.stderr, flush=True)
        return Ending(name, time.monotonic() - begin, remark=f"broke: {error}".partition("\n")[0], broke=True)
    judged = [check for check in result.checks if check.passed is not None]
    passed = sum(check.passed is True for check in judged)
    return Ending(name, time.monotonic() - begin, passed, len(judged), f"picture: {picture}")


def _sum(endings: Iterable[Ending]) -> Ending:
    endings = list(endings)
    return Ending(
        "all acts",
        sum(ending.duration_s for ending in endings),
        sum(ending.passed for ending in endings),
        sum(ending.judged for ending in endings),
    )


if __name__ == "__main__":
    raise SystemExit(main())
