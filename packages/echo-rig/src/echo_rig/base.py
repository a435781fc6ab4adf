"""The names of the original module ``iblutil.io.net.base``: write ``from echo_rig import base``."""

from __future__ import annotations

from echo_rig.communicator import Communicator
from echo_rig.futures import is_success
from echo_rig.service import Service
from echo_rig.uri import external_ip, hostname2ip, is_valid_ip, validate_uri
from wireframe.echo import LISTEN_PORT, PROTOCOL_VERSION, ExpMessage, ExpStatus

__all__ = [
    "LISTEN_PORT",
    "PROTOCOL_VERSION",
    "Communicator",
    "ExpMessage",
    "ExpStatus",
    "Service",
    "external_ip",
    "hostname2ip",
    "is_success",
    "is_valid_ip",
    "validate_uri",
]
