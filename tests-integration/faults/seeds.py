"""Seeds of random tests: how many are played, and the line that plays one again.

Environment: ``FAULTS_SEEDS`` says how many seeds each test takes, ``FAULTS_SEED`` that it is this one alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

COUNT = 500


def seeds(most: int = COUNT) -> list[int]:
    """Which seeds a test has to play; `most` of them, unless the user says how many."""
    if "FAULTS_SEED" in os.environ:
        return [int(os.environ["FAULTS_SEED"])]
    return list(range(int(os.environ.get("FAULTS_SEEDS", most))))


@contextlib.contextmanager
def replayable(seed: int, file: str, test: str) -> Iterator[None]:
    """Let a failure tell, in one line, how to see it again; `file` is the name of the test's file."""
    try:
        yield
    except BaseException as error:
        error.add_note(
            f"replay: FAULTS_SEED={seed} "
            f"python -m pytest -c tox.ini --rootdir=. tests-integration/faults/{file} -k '{test}'"
        )
        raise
