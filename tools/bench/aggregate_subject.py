"""An aggregated hub in a process of its own: ours by dictionaries, ours by arrays, or the peer's.

Started by the bench, never imported::

    python aggregate_subject.py (dict | block | peer) MOLECULES BRIDGES

It talks as told in `orders`; the address and ``{"bound": true}`` come first.
Every molecule gets another field in every step.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from orders import follow, say

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_S = 120.0


def open_hub(kind: str) -> tuple[Any, str]:
    """Open a hub; return it and its address."""
    if kind == "peer":
        from maxwelllink.sockets import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
            AggregatedSocketHub as PeersHub,
        )

        with socket.create_server(("127.0.0.1", 0)) as probe:  # it cannot choose a port itself
            port = probe.getsockname()[1]
        return PeersHub(host="127.0.0.1", port=port, timeout=TIMEOUT_S), f"127.0.0.1:{port}"
    from mxl_sockets import AggregatedSocketHub

    hub = AggregatedSocketHub(port=0, timeout=TIMEOUT_S)
    return hub, "{}:{}".format(*(hub.address or ()))


def main() -> None:
    """Bind the bridges, then follow the orders of the bench."""
    kind, molecules, bridges = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    hub, address = open_hub(kind)
    try:
        say(address=address)
        share = -(-molecules // bridges)
        inits = {one: {"dt_au": 1.0, "aggregate_group": f"bench-{one // share}"} for one in range(molecules)}
        if not hub.wait_until_bound(inits, timeout=TIMEOUT_S):
            raise TimeoutError(f"{bridges} bridges were not bound in {TIMEOUT_S} s")
        fields = np.random.default_rng(1).normal(size=(molecules, 3))
        requests = {one: {"efield_au": fields[one]} for one in range(molecules)}

        def step_block() -> None:
            hub.step(fields, timeout=TIMEOUT_S)

        def step_dict() -> None:
            if len(hub.step_barrier(requests, timeout=TIMEOUT_S)) != molecules:
                raise TimeoutError("a step was not completed")

        step: Callable[[], None] = step_block if kind == "block" else step_dict

        def run(steps: int) -> tuple[int, float, float]:
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(steps):
                fields[...] += 1e-6
                step()
            return steps, time.perf_counter() - wall, time.process_time() - cpu

        say(bound=True)
        follow(run)
    finally:
        hub.stop()


if __name__ == "__main__":
    main()
