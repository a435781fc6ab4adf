"""The soak, for a few seconds: every package is played, and what goes wrong is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from scene import LIMIT_S, Peer, Report, as_words, failures, slope

HERE = Path(__file__).parent
#: A few deaths of each kind of peer.
SECONDS = 4

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="counts descriptors and pages where Linux tells them"
)


@pytest.mark.fault("C24", "mxl-sockets", "M")
@pytest.mark.fault("C24", "mxl-aggregated", "M")
@pytest.mark.fault("C24", "group-ports", "M")
@pytest.mark.fault("C24", "json-socket", "M")
@pytest.mark.fault("C24", "udp-multicast", "M")
@pytest.mark.fault("C24", "echo-rig", "M")
def test_c24_all_packages_for_a_few_seconds_with_peers_that_die(figure):
    """M: nothing is lost or wrong, and as many descriptors and threads in the end as in the beginning.

    The whole measure: ``python tests-integration/faults/soak 600``.
    """
    done = subprocess.run(
        [sys.executable, str(HERE), str(SECONDS)],
        capture_output=True,
        text=True,
        timeout=280.0,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reports = done.stdout.splitlines()
    assert len(reports) == 6
    for report in reports:
        figure(report)


def report(**changes):
    """Of a run of which nothing is wrong, but for the changes."""
    good = {"package": "echo-rig", "seconds": 600.0, "checked": 10, "deaths": 9, "memory_kib": (9000, 9100)}
    return Report(**{**good, "growth_kib": 100.0, "descriptors": (9, 9), "threads": (2, 1), **changes})


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, []),
        ({"growth_kib": 1025.0}, ["memory grows by 1025 KiB in a run"]),
        ({"descriptors": (9, 10)}, ["9 descriptors became 10"]),
        ({"threads": (2, 3)}, ["2 threads became 3"]),
        ({"checked": 0}, ["nothing was checked"]),
    ],
)
def test_what_grows_is_found(changes, wanted):
    assert failures(report(**changes), 1024.0) == wanted


def test_the_slope_is_that_of_the_line_through_noise():
    samples = [(float(second), 5000.0 + 2.0 * second + (-1) ** second) for second in range(101)]
    assert slope(samples) == pytest.approx(2.0, rel=0.01)


def test_a_peer_that_has_ended_by_itself_is_an_error():
    """So what a peer has found wrong is not lost when it is killed."""
    peer = Peer("script", str(HERE / "conftest.py"))
    peer._program.wait(LIMIT_S)
    with pytest.raises(AssertionError, match="has ended with 0"):
        peer.kill()


def test_a_run_that_fails_says_so():
    done = subprocess.run(
        [sys.executable, str(HERE), "1", "no-such-package"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such package: no-such-package" in done.stderr
    assert as_words(report(failures=["9 threads became 10"])).endswith("; FAILED: 9 threads became 10")
