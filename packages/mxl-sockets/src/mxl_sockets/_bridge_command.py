"""The command ``bridge``: one node of an aggregated hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mxl_sockets._command import EXIT_NO_HUB, EXIT_PROTOCOL, EXIT_SIGNAL, EXIT_USAGE, fail, stopped_by_signals
from mxl_sockets._driver_protocol import End
from mxl_sockets.bridge import Bridge
from mxl_sockets.errors import HubProtocolError
from mxl_sockets.manifest import read_manifest

if TYPE_CHECKING:
    import argparse


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command line."""
    bridge = commands.add_parser(
        "bridge",
        help="stand for the molecules of one node towards an aggregated hub",
        description="Stand for the molecules of one node towards an aggregated hub until it says stop. "
        "Drivers connect to the bridge as to any hub.",
        epilog="exit codes: 0 stopped by the hub; 2 wrong arguments, or the drivers' address is taken; "
        "3 no hub or hub lost; 4 the hub broke the protocol; 128+n ended by signal n",
    )
    bridge.set_defaults(command=run_bridge)
    bridge.add_argument("--hub", metavar="HOST:PORT", help="address of the hub (default 127.0.0.1:31415)")
    bridge.add_argument("--group", metavar="NAME", help="the molecules' aggregate_group")
    bridge.add_argument("--manifest", metavar="FILE", help="take hub, group and UNIX socket from there")
    bridge.add_argument("--index", metavar="K", type=int, default=0, help="which bridge of it (default 0)")
    where = bridge.add_mutually_exclusive_group()
    where.add_argument("--unix", metavar="NAME", help="UNIX socket for the drivers, a path or a name")
    where.add_argument("--port", metavar="P", type=int, help="TCP port for the drivers (default a free one)")
    bridge.add_argument("--host", help="address for the drivers (default 127.0.0.1)")
    bridge.add_argument(
        "--allow",
        metavar="NETWORK",
        action="append",
        help="network drivers may come from; may be repeated",
    )
    bridge.add_argument(
        "--silence-timeout", metavar="S", type=float, help="seconds after which a silent driver is replaced"
    )
    bridge.add_argument(
        "--handshake",
        choices=["init", "status", "init+status"],
        default="init",
        help="what drivers are told first; with init+status, who does not answer is dropped (default init)",
    )
    bridge.add_argument("--resume", action="store_true", help="give a molecule's last state to a new driver")
    bridge.add_argument(
        "--restart",
        choices=["init", "reconnect"],
        default="init",
        help="start drivers again by another INIT, or by closing their connections (default init)",
    )
    bridge.add_argument(
        "--connect-timeout",
        metavar="S",
        type=float,
        default=600.0,
        help="seconds to wait for the hub (default 600)",
    )
    bridge.add_argument(
        "--reconnect-timeout",
        metavar="S",
        type=float,
        default=60.0,
        help="seconds to look for a hub that vanished (default 60, 0 for never)",
    )
    bridge.add_argument("--quiet", "-q", action="store_true", help="report errors only")


def make_bridge(options: argparse.Namespace) -> Bridge:
    """Make the bridge that the options describe.

    Raises
    ------
    OSError, RuntimeError
        The manifest cannot be read, or the drivers' address cannot be bound.
    ValueError
        The options do not fit together.
    """
    settings: dict[str, Any] = {
        "host": options.host,
        "allow": options.allow,
        "silence_timeout": options.silence_timeout,
        "handshake": options.handshake,
        "port": options.port or 0,
        "unixsocket": options.unix,
        "resume": options.resume,
        "restart": options.restart,
        "connect_timeout": options.connect_timeout,
        "reconnect": options.reconnect_timeout > 0,
        "reconnect_timeout": options.reconnect_timeout,
    }
    if options.manifest is None:
        if options.group is None:
            raise ValueError("a bridge needs --group NAME, or --manifest FILE")
        return Bridge(options.group, options.hub, **settings)
    manifest = read_manifest(options.manifest)
    spec = manifest.bridge(options.index)
    if options.unix is None and options.port is None and options.host is None:
        settings["unixsocket"] = spec.unixsocket
    hub = options.hub or (manifest.hub_host, manifest.hub_port)
    return Bridge(options.group or spec.group_id, hub, **settings)


def run_bridge(options: argparse.Namespace) -> int:
    """Run ``bridge``; return the exit code."""
    try:
        bridge = make_bridge(options)
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        return fail(EXIT_USAGE, error)
    with bridge, stopped_by_signals(bridge) as signals:
        try:
            summary = bridge.run()
        except HubProtocolError as error:
            return fail(EXIT_PROTOCOL, error)
        except OSError as error:
            return fail(EXIT_NO_HUB, error)
    if signals:
        return EXIT_SIGNAL + signals[0]
    return EXIT_NO_HUB if summary.reason is End.LOST else 0
