"""A session at the detector: who is started when, and what he is told.

======== ===================================================================
early    monitor, there before the first readout
slow     monitor with a small receive buffer, which draws half of its time
late     monitor, started when the second exposure begins
record   ``udp-multicast record``, of the channel with the maps
daq      exposes whenever it is told to
viewer   takes what ``udp-multicast replay`` sends in the end
======== ===================================================================
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np
from event_logs import read_log

from readouts.account import HIT_TYPE, Monitor, Session
from readouts.daq import READOUTS_PER_MAP
from readouts.readout import MAP_SIZE
from readouts.stage import GROUP, open_stage

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from players import Player
    from progress import Progress

    from readouts.stage import Stage

#: Exposures; the late monitor comes in the second.
EXPOSURES: Final = 4
#: Seconds between them: long enough for slow monitors to catch up, also if the computer is busy.
SHUTTER_CLOSED_S: Final = 0.5
#: Bytes, some 150 hits; and milliseconds of drawing in every 100.
SMALL_BUFFER: Final = 65_536
DRAWING_MS: Final = 50
#: Seconds that the recorder may take after the last map.
RECORDER_PATIENCE_S: Final = 20.0
#: How much faster the replay is than the recording.
SPEED: Final = 2.0


def run(readouts_per_exposure: int, progress: Progress) -> Session:
    """Hold a session.

    Parameters
    ----------
    readouts_per_exposure : int
        A multiple of `daq.READOUTS_PER_MAP`.
    progress : Progress
        Shown meanwhile; its steps are readouts, single hits and maps.

    Raises
    ------
    processes.ProcessError
        A process ended early or was silent for too long.
    OSError
        The loopback interface takes no multicast.
    """
    maps = EXPOSURES * readouts_per_exposure // READOUTS_PER_MAP
    with open_stage() as stage:
        progress.begin_run("exposure 1", readouts_per_exposure)
        daq_place = (GROUP, stage.port, stage.map_port, EXPOSURES, readouts_per_exposure, stage.folder)
        daq = stage.players.start("daq", "readouts.daq", daq_place)
        stage.start_program("record", stage.map_port, "--count", maps)
        stage.start_monitor("early")
        stage.start_monitor("slow", "--buffer", SMALL_BUFFER, "--drawing", DRAWING_MS)
        viewer_place = (GROUP, stage.replay_port, stage.folder / "viewer.maps")
        viewer = stage.players.start("viewer", "readouts.viewer", viewer_place)
        for player in stage.monitors.values():
            player.wait_for("joined")
        stage.await_words("record", "recording")
        daq.wait_for("ready")
        for number in range(EXPOSURES):
            if number > 0:
                progress.begin_run(f"exposure {number + 1}", readouts_per_exposure)
            _expose(stage, daq, number, readouts_per_exposure, progress)
        daq.finish()
        for player in stage.monitors.values():
            player.finish()
        # It knows how many maps to wait for; if it missed one, it has to be told.
        stage.await_end("record", RECORDER_PATIENCE_S)
        _replay(stage, viewer, maps, progress)
        wall_clock = time.time() - time.monotonic()
        recorded = read_log(stage.log)
        return Session(
            sent=_read_hits(stage.folder / "daq.hits"),
            exposures=daq.all("exposed"),
            samples=daq.all("sample"),
            sent_maps=_read_maps(stage.folder / "daq.maps"),
            monitors=[_account(stage, name) for name in ("early", "late", "slow")],
            recorded=recorded,
            recorded_s=np.array([event.timestamp_us * 1e-6 - wall_clock for event in recorded]),
            replayed=_read_maps(stage.folder / "viewer.maps"),
            replayed_s=np.array([report["seconds"] for report in viewer.all("map")]),
            viewer_end=viewer.all("end")[0],
            statuses={
                **{
                    player.name: player.process.returncode
                    for player in (daq, *stage.monitors.values(), viewer)
                },
                **{name: program.returncode for name, program in stage.programs.items()},
            },
        )


def _expose(stage: Stage, daq: Player, number: int, readouts: int, progress: Progress) -> None:
    def watch() -> None:
        samples = daq.all("sample")
        progress(samples[-1]["sent"] - number * readouts if samples else 0)

    late = stage.start_monitor("late") if number == 1 else None
    daq.tell("expose")
    daq.wait_for("exposed", number + 1, watch=watch)
    if late is not None:
        late.wait_for("joined")
    time.sleep(SHUTTER_CLOSED_S)
    progress.end_run(", ".join(_so_far(player) for player in stage.monitors.values()))


def _so_far(player: Player) -> str:
    """Return what a monitor knows when all is quiet."""
    samples = player.all("sample")
    if not samples:
        return f"{player.name} has joined"
    dropped = f" and {drops} dropped" if (drops := samples[-1]["kernel_drops"]) else ""
    return f"{player.name} has {samples[-1]['received']}{dropped}"


def _replay(stage: Stage, viewer: Player, maps: int, progress: Progress) -> None:
    progress.begin_run(f"replay, {SPEED:g} times as fast", maps)
    viewer.wait_for("joined")
    stage.start_program("replay", stage.replay_port, "--ttl", 0, "--speed", SPEED)
    stage.await_end("replay")
    viewer.finish()
    progress.end_run(f"{len(viewer.all('map'))} of {maps} maps")


def _account(stage: Stage, name: str) -> Monitor:
    player = stage.monitors[name]
    return Monitor(
        name, player.all("end")[0], player.all("sample"), _read_hits(stage.folder / f"{name}.hits")
    )


def _read_hits(file: Path) -> NDArray[np.void]:
    return np.frombuffer(file.read_bytes(), HIT_TYPE)


def _read_maps(file: Path) -> list[bytes]:
    data = file.read_bytes()
    return [data[start : start + MAP_SIZE] for start in range(0, len(data), MAP_SIZE)]
