"""Command line: ``mxl-sockets drive package.module:Model --hub HOST:PORT``.

``mxl-sockets bridge --hub HOST:PORT --group NAME`` serves a node of an aggregated hub.
``mxl-sockets watch HOST:PORT`` shows what a hub on this machine is doing.

Exit codes: 0 the hub said stop; 1 the model failed; 2 wrong arguments; 3 no
hub, or it went away; 4 the hub broke the protocol; 128 + n ended by signal n,
which for ``watch`` is no failure: 0.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from mxl_sockets import _bridge_command, _watch_command
from mxl_sockets._command import (
    EXIT_MODEL,
    EXIT_NO_HUB,
    EXIT_PROTOCOL,
    EXIT_SIGNAL,
    EXIT_USAGE,
    fail,
    stopped_by_signals,
)
from mxl_sockets._driver_protocol import End
from mxl_sockets._model import Model, as_model
from mxl_sockets._version import __version__
from mxl_sockets.driver import Driver
from mxl_sockets.errors import HubProtocolError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence


class UsageError(Exception):
    """What was typed cannot be used; the text says why."""


def load_model(name: str, params: dict[str, Any]) -> Any:
    """Find ``package.module:Name`` and make a model of it.

    A class is called with `params`; a function is used as it is, with `params`
    as further keyword arguments; an object takes none.

    Raises
    ------
    UsageError
        There is no such thing, or it is no model.
    """
    module_name, colon, attribute = name.partition(":")
    if not (module_name and colon and attribute):
        raise UsageError(f"{name!r} is not package.module:Model")
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"cannot import {module_name!r}: {error}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise UsageError(f"module {module_name!r} has no {attribute!r}") from error
    made = found
    if isinstance(found, type):
        try:
            made = found(**params)
        except (TypeError, ValueError) as error:
            raise UsageError(f"cannot make a {attribute}: {error}") from error
    elif params and isinstance(found, Model):
        raise UsageError(f"{attribute} is an object already, it takes no --param")
    elif params and callable(found):
        made = functools.partial(found, **params)
    try:
        return as_model(made)
    except TypeError as error:
        raise UsageError(str(error)) from error


def parse_parameter(text: str) -> tuple[str, Any]:
    """Read ``key=value``; the value is JSON if it can be read so, else text.

    Examples
    --------
    >>> parse_parameter("omega=0.1"), parse_parameter("name=water")
    (('omega', 0.1), ('name', 'water'))
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not key=value")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="mxl-sockets",
        description="Couple molecules to a field solver.",
        epilog="exit codes: 0 done; 1 the model failed; 2 wrong arguments; 3 no hub, hub lost, or out of "
        "time; 4 the hub broke the protocol; 128+n ended by signal n (watch: 0)",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    drive = commands.add_parser(
        "drive",
        help="serve one molecule to a hub",
        description="Serve one molecule to a hub until the hub says stop.",
        epilog="exit codes: 0 stopped by the hub; 1 the model failed; 2 wrong arguments; "
        "3 no hub or hub lost; 4 the hub broke the protocol; 128+n ended by signal n",
    )
    drive.set_defaults(command=run_drive)
    drive.add_argument(
        "model",
        metavar="MODULE:NAME",
        help="model class, object or function, or a ForceField for the servers of i-PI and ASE",
    )
    where = drive.add_mutually_exclusive_group()
    where.add_argument("--hub", metavar="HOST:PORT", help="TCP address of the hub (default 127.0.0.1:31415)")
    where.add_argument("--unix", metavar="NAME", help="path of the hub's UNIX socket, or its name")
    drive.add_argument(
        "--param",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        type=parse_parameter,
        help="parameter of the model, JSON or text; may be repeated",
    )
    drive.add_argument(
        "--connect-timeout",
        metavar="S",
        type=float,
        default=600.0,
        help="seconds to wait for the hub (default 600)",
    )
    drive.add_argument(
        "--reconnect-timeout",
        metavar="S",
        type=float,
        default=60.0,
        help="seconds to look for a hub that vanished (default 60, 0 for never)",
    )
    drive.add_argument(
        "--silence-timeout",
        metavar="S",
        type=float,
        help="seconds of silence after which to give up (default never)",
    )
    drive.add_argument("--quiet", "-q", action="store_true", help="report errors only")
    _bridge_command.add_parser(commands)
    _watch_command.add_parser(commands)
    return parser


def run_drive(options: argparse.Namespace) -> int:
    """Run ``drive``; return the exit code."""
    try:
        model = load_model(options.model, dict(options.param))
        driver = Driver(
            model,
            options.hub,
            unixsocket=options.unix,
            connect_timeout=options.connect_timeout,
            reconnect=options.reconnect_timeout > 0,
            reconnect_timeout=options.reconnect_timeout,
            silence_timeout=options.silence_timeout,
        )
    except (UsageError, ValueError) as error:
        return fail(EXIT_USAGE, error)
    with stopped_by_signals(driver) as signals:
        try:
            summary = driver.run()
        except ModelError as error:  # the log has shown the traceback
            return fail(EXIT_MODEL, error)
        except HubProtocolError as error:
            return fail(EXIT_PROTOCOL, error)
        except OSError as error:
            return fail(EXIT_NO_HUB, error)
    if signals:
        return EXIT_SIGNAL + signals[0]
    return EXIT_NO_HUB if summary.reason in (End.LOST, End.IDLE) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = build_parser().parse_args(arguments)
    level = logging.ERROR if options.quiet else logging.INFO
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    code: int = options.command(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
