"""The names of the original module ``iblutil.io.net.app``: write ``from echo_rig import app``.

``python -m echo_rig.app {server,client} [-H HOST] [-v]`` does what it did there.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys

from echo_rig import base
from echo_rig._example import main
from echo_rig.protocol import EchoProtocol
from echo_rig.services import Services
from echo_rig.uri import hostname2ip

__all__ = ["EchoProtocol", "Services", "asyncio", "base", "main", "socket"]


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m echo_rig.app", description="Serve, or start an example experiment."
    )
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("-H", "--host", help="URI of the server (default: this computer)")
    parser.add_argument("-v", "--verbose", action="store_true", help="log everything to standard error")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.INFO)
    try:
        asyncio.run(main(options.role, options.host or hostname2ip()))
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1:]))
