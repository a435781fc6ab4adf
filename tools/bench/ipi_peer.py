"""i-PI's end, unmodified: its driver in Python, or its server's loop.

Started by the bench with an interpreter that has i-PI, never imported::

    python ipi_peer.py driver PORT
    python ipi_peer.py server

The driver is the script ``i-pi-driver-py`` itself, with atoms on springs; it
serves until its server ends it. The server says ``{"port": ...}``, waits for a
driver and follows the orders of the bench: a step is one request to i-PI's own
view of a driver, in the way that takes fewest messages (positions and
``GETFORCE`` in one, then the reply, then one ``STATUS``). The scheduler above
it, which polls with a latency, and the dynamics are left out.
"""

from __future__ import annotations

import runpy
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import orders

STIFFNESS: Final = 0.1
PLACES: Final = (0.0, 0.1, 0.2, 1.0, -1.0, 0.5)
PATIENCE_S: Final = 60.0
SCRIPT: Final = "i-pi-driver-py"


def run_driver(port: int) -> None:
    """Be i-PI's driver until the end."""
    script = shutil.which(SCRIPT, path=str(Path(sys.executable).parent)) or shutil.which(SCRIPT)
    if script is None:
        raise FileNotFoundError(SCRIPT)
    sys.argv = [script, "-m", "harmonic", "-o", str(STIFFNESS), "-a", "127.0.0.1", "-p", str(port)]
    orders.say(ready=True)
    runpy.run_path(script, run_name="__main__")


def run_server() -> None:
    """Be a server, and follow orders."""
    from ipi.engine.forcefields import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        ForceRequest,
    )
    from ipi.interfaces.sockets import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        Driver,
    )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        listener.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # as i-PI does; who is accepted inherits it
        orders.say(port=listener.getsockname()[1])
        accepted = listener.accept()[0]
    with accepted:
        accepted.settimeout(PATIENCE_S)
        driver: Any = Driver(accepted)  # has a duplicate of the descriptor
    positions = np.array(PLACES)
    everything, cell = np.arange(positions.size), (50 * np.eye(3), np.eye(3) / 50)

    def step() -> None:
        positions[:] += 1e-6
        request = ForceRequest(
            id=0, pars="", pos=positions, active=everything, cell=cell, offset=0.0, status="Queued"
        )
        if not (driver.dispatch_send(request) and driver.dispatch_recv(request)):
            raise ConnectionError("the driver is gone")

    def run(steps: int) -> tuple[int, float, float]:
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(steps):
            step()
        return steps, time.perf_counter() - wall, time.process_time() - cpu

    step()
    orders.say(bound=True)
    orders.follow(run)
    driver.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "driver":
        run_driver(int(sys.argv[2]))
    else:
        run_server()
