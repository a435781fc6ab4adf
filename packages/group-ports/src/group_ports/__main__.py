"""Command line: ``group-ports keygen`` and ``member``.

Exit codes: 0 done; 1 a file or the network failed; 2 wrong arguments, or a wrong
configuration. A signal ends `member` as it ends any program: 128 + n for a shell.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, Final

from group_ports._commands import keygen, member
from group_ports._commands._member_config import ConfigError
from group_ports._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROGRAM: Final = "group-ports"
_EXIT_FAILED: Final = 1
_EXIT_WRONG: Final = 2
_EXIT_CODES: Final = (
    "exit codes: 0 done; 1 a file or the network failed; 2 wrong arguments, or a wrong configuration; "
    "128+n ended by signal n"
)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM, description="Groups of processes over ZeroMQ.", epilog=_EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (keygen, member):
        command.add_parser(commands)
    for one in commands.choices.values():
        one.epilog = _EXIT_CODES
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{_PROGRAM}: {error}\n")
        return _EXIT_WRONG if isinstance(error, ConfigError) else _EXIT_FAILED
    except KeyboardInterrupt:
        # What was open is closed; the signal does the rest, so that a shell sees it, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        raise
    return code


if __name__ == "__main__":
    sys.exit(main())
