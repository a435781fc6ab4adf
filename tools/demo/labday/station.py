"""The measurement station: a process that runs the cavity whenever it is told to, by JSON commands.

========  ================================================================================
measure   ``setting``, ``cavity_frequency``, ``term``: run the cavity once for this setting
close     ``term``: nothing more is measured; the process ends when the demo lets it
========  ================================================================================

A setting that was measured already is answered from the book of results: a
leader may have died before it heard of one. Commands of a leader whose term
is over are refused: `term` is the fencing token of the group.

For each run the molecules are driver processes behind a `SocketHub`, as in the
cavity act. What came out is multicast, kept in files for the checks, and answered.
"""

from __future__ import annotations

import _thread
import argparse
import dataclasses
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from cavity.analysis import analyse
from cavity.coupling import CouplingError, HubCoupling
from cavity.drivers import TWO_LEVEL_MODEL, DriverProcesses, drive_command
from cavity.experiment import open_hub, parameters_of_model, ring
from cavity.kills import ANY_TIME_STEPS, Kill, Moment, Nemesis
from cavity.solver import Parameters, Trajectory
from readouts.stage import GROUP, INTERFACE
from reporting import end_of_input
from reporting import timed_report as report

from labday.readout import FIELD, SPECTRUM, field_pieces, spectrum_bytes
from udp_multicast import ChannelSender
from wireframe import Socket
from wireframe.eventlog import encode_event

if TYPE_CHECKING:
    from cavity.coupling import Populations

#: One molecule splits the lines by twice as much as in the cavity act: fewer steps resolve them.
PARAMETERS: Final = Parameters(collective_coupling=0.02)
MOLECULES: Final = 4
STEPS: Final = 1000
#: Before which step a driver is killed, if it is to be.
KILL_STEP: Final = STEPS // 2
#: Steps between two reports about a run.
REPORT_STEPS: Final = 50
#: Bytes of a datagram that travels in one frame of Ethernet.
_ONE_FRAME: Final = 1472
#: Nothing may leave this computer.
_TTL: Final = 0


def parameters_at(cavity_frequency: float) -> Parameters:
    """Return the parameters of a setting; molecules and coupling constant are those of `PARAMETERS`."""
    return dataclasses.replace(PARAMETERS, cavity_frequency=cavity_frequency)


class StaleTerm(ValueError):
    """A command came from a leader whose term is over."""


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of a run; `killed` drivers were replaced, `statuses` are those of all others."""

    trajectory: Trajectory
    populations: Populations
    killed: int
    statuses: list[int]


class Station:
    """Measures, remembers, multicasts.

    Parameters
    ----------
    sender : ChannelSender
        Of the readouts.
    folder : Path
        For trajectories, and what was sent.
    doomed : int
        The setting in which one driver is killed in the middle.

    Attributes
    ----------
    sent : int
        Readouts so far.
    is_closed : bool
        Whether a leader said that the day is over.
    """

    def __init__(self, sender: ChannelSender, folder: Path, doomed: int) -> None:
        self._sender = sender
        self._folder = folder
        self._doomed = doomed
        self._term = 0
        self._results: dict[int, dict[str, Any]] = {}
        self.sent = 0
        self.is_closed = False

    def measure(self, setting: int, cavity_frequency: float, term: int) -> dict[str, Any]:
        """Measure a setting, or tell what was measured before.

        Raises
        ------
        StaleTerm
            There was a command of a later leader.
        ActBroke, OSError
            The cavity could not be run.
        """
        self._admit(term)
        if setting in self._results:
            report("remembered", setting=setting, term=term)
            return self._results[setting]
        report("begun", setting=setting, cavity_frequency=cavity_frequency, term=term)
        parameters = parameters_at(cavity_frequency)
        outcome = self._run(setting, parameters)
        self._keep(setting, outcome)
        analysis = analyse(parameters, MOLECULES, outcome.trajectory, outcome.populations.total)
        for piece in field_pieces(setting, outcome.trajectory.velocity[1:]):
            self._send(FIELD, piece)
        self._send(SPECTRUM, spectrum_bytes(setting, analysis.spectrum))
        result = {
            "setting": setting,
            "cavity_frequency": cavity_frequency,
            "lower": analysis.found.lower,
            "upper": analysis.found.upper,
            "splitting": analysis.found.splitting,
        }
        self._results[setting] = result
        report(
            "measured",
            **result,
            term=term,
            killed=outcome.killed,
            statuses=outcome.statuses,
            answers=MOLECULES * len(outcome.populations.total),
            sent=self.sent,
        )
        return result

    def close(self, term: int) -> dict[str, Any]:
        """Measure nothing more; tell how much was measured and sent."""
        self._admit(term)
        self.is_closed = True
        report("closed", term=term, settings=len(self._results), sent=self.sent)
        return {"settings": len(self._results), "sent": self.sent}

    def _admit(self, term: int) -> None:
        if term < self._term:
            report("refused", term=term, newest=self._term)
            raise StaleTerm(f"term {term} is over: a leader of term {self._term} commands")
        self._term = term

    def _run(self, setting: int, parameters: Parameters) -> Outcome:
        """Run the cavity with new drivers, one of which may be killed and replaced."""
        planned = [Kill(KILL_STEP, Moment.ANY_TIME)] if setting == self._doomed else []
        with (
            DriverProcesses(self._folder, f"setting-{setting}-driver") as drivers,
            open_hub("tcp", self._folder) as hub,
        ):
            if hub.address is None:
                raise CouplingError("the hub listens nowhere")
            nemesis = Nemesis(drivers, planned)
            command = drive_command(TWO_LEVEL_MODEL, hub.address, parameters_of_model(parameters))

            def recover() -> None:
                for _ in range(drivers.bury()):
                    drivers.start(command)

            for _ in range(MOLECULES):
                drivers.start(command)
            couple = HubCoupling(hub, MOLECULES, parameters.time_step, recover=recover)
            couple.bind()
            trajectory, _ = ring(
                parameters, couple, nemesis, STEPS, after_step=lambda step: self._watch(setting, step)
            )
        # The hub, which is closed first, has told them to stop.
        statuses = [process.returncode for process in drivers.living]
        return Outcome(trajectory, couple.populations, drivers.buried, statuses)

    def _watch(self, setting: int, step: int) -> None:
        if step % REPORT_STEPS == 0:
            report("step", setting=setting, step=step)
        if setting == self._doomed and step == KILL_STEP - 1:
            report("kill", setting=setting)
        if setting == self._doomed and step == KILL_STEP + ANY_TIME_STEPS:
            report("healed", setting=setting)

    def _keep(self, setting: int, outcome: Outcome) -> None:
        np.savez(
            self._folder / f"setting-{setting}.npz",
            coordinate=outcome.trajectory.coordinate,
            velocity=outcome.trajectory.velocity,
            current=outcome.trajectory.current,
            populations=np.array(outcome.populations.total),
        )

    def _send(self, channel: str, data: bytes) -> None:
        self._sender.send(data, channel=channel)
        with (self._folder / "sent.lcmlog").open("ab") as log:
            log.writelines(encode_event(self.sent, round(time.time() * 1e6), channel, data))
        self.sent += 1


def _interrupt_when_input_ends() -> None:
    """Unwind like after a Ctrl-C when the demo is gone or gives up: a killed station would leave drivers."""
    # A background job inherits that interrupts are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    over = end_of_input()
    main_thread = threading.get_ident()

    def wait() -> None:
        over.wait()
        if hasattr(signal, "pthread_kill"):  # which wakes a thread that waits for the network, too
            signal.pthread_kill(main_thread, signal.SIGINT)
        else:
            _thread.interrupt_main()

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int, help="of the readouts")
    parser.add_argument("doomed", type=int, help="the setting in which a driver is killed")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    _interrupt_when_input_ends()
    place = (GROUP, options.port, _TTL)
    with (
        ChannelSender(FIELD, *place, interface=INTERFACE, max_datagram=_ONE_FRAME) as sender,
        Socket("server", port=0) as server,
    ):
        station = Station(sender, options.folder, options.doomed)
        report("listening", port=server.port)
        try:
            server.serve({"measure": station.measure, "close": station.close})
        except KeyboardInterrupt:
            report("end", sent=station.sent)
    raise SystemExit(0 if station.is_closed else 130)


if __name__ == "__main__":
    main()
