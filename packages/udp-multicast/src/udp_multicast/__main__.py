"""Command line: ``udp-multicast send|listen|record|replay``, also ``python -m udp_multicast``.

Exit codes: 0 done, for `listen` and `record` also when ended by a signal; 1 the
network or a file failed; 2 wrong arguments; 3 `listen` or `record` got fewer
readouts than ``--count`` in their time; 128 + n `send` or `replay` ended early
by signal n.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import TYPE_CHECKING, Final

from udp_multicast._commands import listen, record, replay, send
from udp_multicast._commands._place import UsageError
from udp_multicast._commands._stopping import Stop
from udp_multicast._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

_PROGRAM: Final = "udp-multicast"
_EXIT_CODES: Final = (
    "exit codes: 0 done; 1 the network or a file failed; 2 wrong arguments; "
    "3 fewer readouts than --count; 128+n send or replay ended early by signal n"
)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Readouts over UDP multicast: send, watch, record and replay them.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (send, listen, record, replay):
        command.add_parser(commands)
    for one in commands.choices.values():
        one.epilog = _EXIT_CODES
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s")
    stop = Stop()
    try:
        with stop.at_signals():
            code: int = options.command(options, stop)
    except UsageError as error:
        return _fail(EXIT_USAGE, error)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError) as error:
        return _fail(EXIT_FAILED, error)
    return code


def _fail(code: int, error: Exception) -> int:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    sys.stderr.write(f"{_PROGRAM}: {error}{notes}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
