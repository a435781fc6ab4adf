"""All scenarios, by package."""

from __future__ import annotations

import costs_of_codecs
import costs_of_groups
import costs_of_json_socket
import costs_of_molecules
import costs_of_multicast
import costs_of_rigs
from cost_meters import Scenario

BY_PACKAGE: dict[str, list[Scenario]] = {
    "wireframe": costs_of_json_socket.SCENARIOS + costs_of_codecs.SCENARIOS,
    "mxl-sockets": costs_of_molecules.SCENARIOS,
    "udp-multicast": costs_of_multicast.SCENARIOS,
    "echo-rig": costs_of_rigs.SCENARIOS,
    "group-ports": costs_of_groups.SCENARIOS,
}
