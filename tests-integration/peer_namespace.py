"""A network of its own for programs that need multicast routes: a namespace with nothing but a loopback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from namespaces import LIMIT_S, Namespace, Program, network_namespaces, python

__all__ = ["LIMIT_S", "Namespace", "Program", "network_namespace", "python"]


@contextlib.contextmanager
def network_namespace() -> Iterator[Namespace]:
    """Make a namespace whose loopback interface has a route for multicast; if that fails, say why."""
    purpose = "LCM needs a network namespace with a multicast route"
    with network_namespaces(1, "ip route add 224.0.0.0/4 dev lo", purpose) as (made,):
        yield made
