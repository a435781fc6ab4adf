"""Steps of a hub while its drivers, or its bridges, are killed and come back."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from scene import HERE, LIMIT_S, Peer, Scene

from mxl_sockets import AggregatedSocketHub, Driver, SocketHub

_NODE = str(HERE.parents[1] / "node_drivers.py")
#: Drivers of each node.
_EACH = 4
_STEPS = 50


class _Coupling(Scene):
    """What both kinds of hubs do: each answer has to be of its own step, and of its own molecule."""

    hub: SocketHub | AggregatedSocketHub

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.victims: list[Peer] = []
        self._step = 0

    def _bind(self, inits: dict[int, dict[str, object]]) -> None:
        assert self.hub.wait_until_bound(inits, timeout=LIMIT_S)
        self._fields = np.zeros((len(inits), 3))

    def play(self) -> None:
        """Make some steps."""
        for _ in range(_STEPS):
            self._step += 1
            self._fields[:, 0] = self._step
            amplitudes = self.hub.step(self._fields)
            assert (amplitudes[:, 0] == self._step).all(), "an answer of another step"
            own = amplitudes[:, 1] >= 0
            assert (amplitudes[own, 2] == np.flatnonzero(own)).all(), "an answer of another molecule"
            self.checked += len(amplitudes)

    def disturb(self) -> None:
        """Kill one of them."""
        self.random.choice(self.victims).restart()


class Drivers(_Coupling):
    """Two nodes of drivers that are killed, and one driver in this process that goes on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        path = str(folder / "hub")
        self.hub = self.enter_context(SocketHub(unixsocket=path, timeout=LIMIT_S))
        self._driver = Driver(self._answer, unixsocket=path)
        thread = threading.Thread(target=self._driver.run)
        thread.start()
        self.callback(thread.join, LIMIT_S)
        self.callback(self._driver.stop)
        command = ("script", _NODE, path, str(_EACH), str(folder / "diary"))
        self.victims = [self.add(*command) for _ in range(2)]
        self._asked = 0
        self._bind({one: {"dt_au": 1.0} for one in range(2 * _EACH + 1)})

    def _answer(self, field: np.ndarray) -> tuple[float, float, float]:
        # It is never killed, so that it has to see every step once.
        assert field[0] == self._asked + 1, "a step was left out or made twice"
        self._asked += 1
        return field[0], -1.0, 0.0

    def play(self) -> None:
        """As often as the hub has stepped, the driver has."""
        super().play()
        assert self._asked == self._step


class Bridges(_Coupling):
    """Two nodes, of which the bridges are killed and the drivers go on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.hub = self.enter_context(AggregatedSocketHub(port=0, timeout=LIMIT_S))
        for number in range(2):
            path = str(folder / f"node-{number}")
            bridge = ["module", "mxl_sockets", "bridge", "--hub", f"127.0.0.1:{self.hub.address[1]}"]
            group = ["--group", f"node-{number}", "--unix", path, "--quiet"]
            patience = ["--connect-timeout", str(LIMIT_S), "--reconnect-timeout", "0"]
            self.victims.append(self.add(*bridge, *group, *patience))
            self.add("script", _NODE, path, str(_EACH), str(folder / f"diary-{number}"))
        self._bind({one: {"aggregate_group": f"node-{one % 2}"} for one in range(2 * _EACH)})
