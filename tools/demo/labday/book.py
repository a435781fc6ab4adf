"""The book of the day, which every controller keeps: what was announced to the group.

An announcement is a dict of JSON values with ``news``:

========  ==================================================================
running   ``rigs``: these were initialised and started
silent    ``rigs``: these did not answer, and are left out until they come back
measured  ``setting``, ``cavity_frequency``, ``splitting``: a setting is done
over      The day is over.
========  ==================================================================

Announcements may come twice, or be one's own: noting one again changes nothing.
"""

from __future__ import annotations

from typing import Any

from labday.optimiser import next_frequency


class Book:
    """What a controller knows of the day.

    Attributes
    ----------
    uris : dict of str to str
        Where each rig listens.
    running : set of str
        Rigs that were started.
    silent : set of str
        Rigs that did not answer.
    released : int
        Settings that may be measured, the first so many.
    over : bool
        Whether the day is over.
    """

    def __init__(self) -> None:
        self.uris: dict[str, str] = {}
        self.running: set[str] = set()
        self.silent: set[str] = set()
        self.released = 0
        self.over = False
        self._results: dict[int, dict[str, Any]] = {}

    def note(self, announcement: dict[str, Any]) -> None:
        """Take down an announcement."""
        match announcement:
            case {"news": "running", "rigs": list(rigs)}:
                self.running |= set(rigs)
                self.silent -= set(rigs)
            case {"news": "silent", "rigs": list(rigs)}:
                self.running -= set(rigs)
                self.silent |= set(rigs)
            case {"news": "measured", "setting": int(setting), **result}:
                self._results[setting] = result
            case {"news": "over"}:
                self.over = True

    def move(self, rig: str, uri: str) -> None:
        """Note that there is a new process for a rig, which was told nothing yet."""
        self.uris[rig] = uri
        self.running.discard(rig)
        self.silent.discard(rig)

    @property
    def next_setting(self) -> int:
        """Number of the first setting that is not known to be done."""
        return next(number for number in range(len(self._results) + 1) if number not in self._results)

    def choose(self, settings: int) -> float | None:
        """Choose the cavity frequency of `next_setting`; None if all `settings` are done."""
        done = [self._results[number] for number in range(self.next_setting)]
        return next_frequency(
            [one["cavity_frequency"] for one in done], [one["splitting"] for one in done], settings
        )
