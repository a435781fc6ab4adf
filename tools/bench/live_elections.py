"""group-ports: how long a group is without a leader whose process is killed, beside pysyncobj.

Five processes each of ours, with the quick times, and of pysyncobj, a Raft,
with its defaults and with connections that stay (`crew_member`). At a random
moment the leader of each is killed (SIGKILL), and the seconds are counted until
the last of the four others names the same new leader; then another process
takes the place of the killed one. Almost all of the time is waiting, of which
the length is chosen at random by design: so all wait at once, the median and
the worst are judged as they are, and there is no figure for one core.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from crew import SIZE, Crew
from harness import Figure, Verdict
from results import TIME, entry_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

ROUNDS: Final = 30
QUICK_ROUNDS: Final = 5

#: Seconds that a restarted member has before the next leader is killed: ours votes after its peer timeout.
REST_S: Final = (0.9, 1.3)
SEED: Final = 3

MEDIAN_BOUND_S: Final = 0.6
WORST_BOUND_S: Final = 1.2


def run(options: argparse.Namespace, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure the one row, show it, and give it for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick``, ``peer_python`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    peer_python: str = options.peer_python or sys.executable
    kinds = {"ours": ("ours", sys.executable)}
    if subprocess.run(
        [peer_python, "-c", "import pysyncobj"], capture_output=True, check=False, timeout=60
    ).returncode:
        show("pysyncobj: skipped, it cannot be imported; --peer-python names an interpreter that has it")
    else:
        kinds |= {"pysyncobj": ("raft", peer_python), "pysyncobj, kept": ("raft-kept", peer_python)}
    chance = random.Random(SEED)
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    with contextlib.ExitStack() as stack:
        crews = {name: stack.enter_context(Crew(*how)) for name, how in kinds.items()}
        for _ in range(QUICK_ROUNDS if options.quick else ROUNDS):
            for crew in crews.values():
                crew.settle()
            time.sleep(chance.uniform(*REST_S))
            for crew in crews.values():
                crew.kill_leader()
            for name, crew in crews.items():
                taken[name].append(crew.elected())
            for crew in crews.values():
                crew.replace()
    show(f"seconds from the death of the leader to a new one, {SIZE} processes, {len(taken['ours'])} times")
    figures, longest = {}, {}
    for name, seconds in taken.items():
        figure = Figure.of(seconds)
        figures[name] = Figure(*(1e6 * value for value in (figure.median, figure.low, figure.high)))
        longest[name] = Figure(*[1e6 * max(seconds)] * 3)
        show(
            f"{name:<17}median {figure.median:.3f} ({figure.low:.3f} to {figure.high:.3f}), "
            f"best {min(seconds):.3f}, worst {max(seconds):.3f}"
        )
    median, worst = Figure.of(taken["ours"]).median, max(taken["ours"])
    verdicts = [
        Verdict.of("ours, median seconds", Figure(median, median, median), MEDIAN_BOUND_S),
        Verdict.of("ours, worst seconds", Figure(worst, worst, worst), WORST_BOUND_S),
    ]
    show("; ".join(map(str, verdicts)))
    name = f"leader killed, {SIZE} processes"
    yield {
        "entries": [
            entry_of(name, "free", TIME, figures, verdicts[:1]),
            entry_of(f"{name}, the worst", "free", TIME, longest, verdicts[1:]),
        ],
        "row": name,
        "seconds": taken,
    }
