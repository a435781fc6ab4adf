"""What goes on for a long time: exchanges that are checked, and peers of which one dies every second."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import measure

HERE = Path(__file__).parent

#: Seconds; more than anything here takes on a busy machine.
LIMIT_S = 60.0
#: Seconds from one death to the next.
PERIOD_S = 1.0
#: Part of the time that is left out: memory for what is bounded is being filled.
WARM_UP = 1 / 3


class Peer:
    """A program on the other end, ``peers.py KIND ...``, that is killed sooner or later."""

    def __init__(self, *arguments: object) -> None:
        self._command = [sys.executable, str(HERE / "peers.py"), *map(str, arguments)]
        self.start()

    def start(self) -> None:
        """Start it, and wait until it says so."""
        self._program = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self.line()
        assert line == "ready", f"{self._command} said {line!r}"

    def line(self) -> str:
        """What it says next; "" if it has ended."""
        assert self._program.stdout is not None
        return self._program.stdout.readline().rstrip("\n")

    def tell(self, line: str) -> None:
        """Write it a line."""
        assert self._program.stdin is not None
        self._program.stdin.write(line + "\n")
        self._program.stdin.flush()

    @property
    def process_id(self) -> int:
        """By which it may call itself."""
        return self._program.pid

    def kill(self) -> None:
        """Kill it; it must not have ended before by itself, which is how it tells that something is wrong."""
        code = self._program.poll()
        self._program.kill()
        # Also closes the pipes.
        self._program.communicate(timeout=LIMIT_S)
        assert code is None, f"{self._command} has ended with {code}"

    def restart(self) -> None:
        """Kill it, and start another one in its place."""
        self.kill()
        self.start()


class Scene(contextlib.ExitStack):
    """One package's exchange: `play` makes some of it; `disturb` lets a peer die and come back meanwhile."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.random = random.Random(type(self).__name__)
        #: Messages, steps or readouts that were right.
        self.checked = 0
        self.peers: list[Peer] = []

    def add(self, *arguments: object) -> Peer:
        """Start a peer, which ends with the scene."""
        peer = Peer(*arguments)
        self.peers.append(peer)
        self.callback(peer.kill)
        return peer

    def play(self) -> None:
        """Exchange a few messages and check each; add to `checked`."""
        raise NotImplementedError

    def disturb(self) -> None:
        """Let one of the peers die and come back; in a thread, beside `play`."""
        self.random.choice(self.peers).restart()

    def mend(self) -> None:
        """Do what only the thread of `play` can, after a peer has come back."""


@dataclass
class Report:
    """What one run has found; memory in KiB."""

    package: str
    seconds: float
    checked: int
    deaths: int
    memory_kib: tuple[int, int]
    growth_kib: float
    descriptors: tuple[int, int]
    threads: tuple[int, int]
    failures: list[str] = field(default_factory=list)


def soak(package: str, scene: Scene, seconds: float, most_growth_kib: float) -> Report:
    """Play a scene for so long, with a death every second; judge what the process holds afterwards.

    `growth_kib` is the slope of the memory after the warm-up, times the whole time.
    """
    deaths, began = 0, time.monotonic()
    samples: list[tuple[float, float]] = []
    held: list[tuple[int, int]] = []
    while True:
        errors: list[BaseException] = []
        dying = threading.Thread(target=_guarded, args=(scene.disturb, errors))
        turn, delay_s = time.monotonic(), scene.random.random() * PERIOD_S
        while time.monotonic() - turn < delay_s:
            scene.play()
        dying.start()
        deaths += 1
        while dying.is_alive() or time.monotonic() - turn < PERIOD_S:
            scene.play()
        dying.join()
        if errors:
            raise errors[0]
        scene.mend()
        scene.play()
        elapsed = time.monotonic() - began
        held.append((measure.open_descriptors(), measure.running_threads()))
        if elapsed >= WARM_UP * seconds:
            samples.append((elapsed, measure.resident_bytes() / 1024))
        if elapsed >= seconds and len(samples) >= 3:
            break
    before = min(one for one, _ in held), min(one for _, one in held)
    settled = _settled(scene, before)
    report = Report(
        package,
        round(elapsed, 1),
        scene.checked,
        deaths,
        (round(samples[0][1]), round(samples[-1][1])),
        round(slope(samples) * elapsed, 1),
        (before[0], settled[0]),
        (before[1], settled[1]),
    )
    report.failures = failures(report, most_growth_kib)
    return report


def failures(report: Report, most_growth_kib: float) -> list[str]:
    """What is wrong about a run, as sentences: nothing, if nothing is."""
    found = []
    if report.growth_kib > most_growth_kib:
        found.append(f"memory grows by {report.growth_kib:.0f} KiB in a run")
    for name, (before, after) in (("descriptors", report.descriptors), ("threads", report.threads)):
        if after > before:
            found.append(f"{before} {name} became {after}")
    if not report.checked:
        found.append("nothing was checked")
    return found


def _guarded(run: Callable[[], None], errors: list[BaseException]) -> None:
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked for it
        errors.append(error)


def _settled(scene: Scene, wanted: tuple[int, int]) -> tuple[int, int]:
    """Descriptors and threads, when there are no more than wanted or as they are a long time later.

    It goes on playing: some ends notice only then that others are gone.
    """
    deadline = time.monotonic() + LIMIT_S / 2
    while True:
        found = measure.open_descriptors(), measure.running_threads()
        if (found[0] <= wanted[0] and found[1] <= wanted[1]) or time.monotonic() > deadline:
            return found
        scene.play()


def slope(samples: list[tuple[float, float]]) -> float:
    """The slope of the line that fits best."""
    middle = sum(x for x, _ in samples) / len(samples)
    spread = sum((x - middle) ** 2 for x, _ in samples)
    return sum((x - middle) * y for x, y in samples) / spread


def as_words(report: Report) -> str:
    """One line for people."""
    one = asdict(report)
    return (
        "{package}: {seconds} s, {checked} checked, {deaths} deaths; memory {memory_kib[0]} .. "
        "{memory_kib[1]} KiB, slope {growth_kib:+} KiB per run; descriptors {descriptors[0]} .. "
        "{descriptors[1]}, threads {threads[0]} .. {threads[1]}"
    ).format(**one) + "".join(f"; FAILED: {failure}" for failure in report.failures)
