"""Command line: ``echo-rig serve|send|watch``, also ``python -m echo_rig``.

Exit codes: 0 done, for `serve` and `watch` also when ended by a signal; 1 the
network failed; 2 wrong arguments; 3 out of time: `send` got no echo or no
response, `serve` fewer events than ``--count``, `watch` does not see all rigs
live after ``--duration``; 4 the rig answered `send` with an error; 128 + n `send`
was ended by signal n.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import logging
import os
import sys
import textwrap
import warnings
from typing import TYPE_CHECKING, Final

from echo_rig._commands import send, serve, watch
from echo_rig._commands._arguments import UsageError
from echo_rig._commands._stopping import cancelled_by_signals
from echo_rig._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_SIGNAL: Final = 128

_PROGRAM: Final = "echo-rig"
_EXIT_CODES: Final = (
    "exit codes: 0 done; 1 the network failed; 2 wrong arguments; 3 out of time: no echo or "
    "response, fewer events than --count, or not all rigs live after --duration; 4 the rig reported an "
    "error; 128+n send was ended by signal n"
)


def build_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Experiment messages: be a rig, talk to one, or watch several.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (serve, send, watch):
        command.add_parser(commands)
    for one in commands.choices.values():
        # Lines of a command's own are shown as they are, so these are cut to their length.
        own = one.epilog and f"{one.epilog}\n{textwrap.fill(_EXIT_CODES, 78)}"
        one.epilog = own or _EXIT_CODES
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=options.log_level, stream=sys.stderr, format="%(levelname)s %(message)s")
    # The log says the same.
    warnings.filterwarnings("ignore", "Expected list", RuntimeWarning)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal cannot show must not end the program.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return asyncio.run(_run(options))
    except UsageError as error:
        return _fail(EXIT_USAGE, error)
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, RuntimeError, ValueError) as error:
        return _fail(EXIT_FAILED, error)


async def _run(options: argparse.Namespace) -> int:
    task: asyncio.Task[int] = asyncio.ensure_future(options.command(options))
    with cancelled_by_signals(task) as came:
        try:
            return await task
        except asyncio.CancelledError:
            if not came:
                raise
            return 0 if options.ends_by_signal else EXIT_SIGNAL + came[0]


def _fail(code: int, error: Exception) -> int:
    sys.stderr.write(f"{_PROGRAM}: {error}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
