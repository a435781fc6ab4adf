"""``keygen``: key pairs for a group and its members."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import zmq.auth

if TYPE_CHECKING:
    import argparse

#: Files that are made here are for their owner only.
_PRIVATE: Final = 0o077


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "keygen",
        help="make key pairs for a group and its members",
        description="Make a key pair for the group, if there is none yet, and one for each member. Give each "
        "machine group.key_secret, its own .key_secret and all .key files. Existing keys are kept.",
    )
    parser.add_argument("directory", metavar="DIRECTORY", type=Path, help="where the keys are, or are to be")
    parser.add_argument("member", metavar="MEMBER", nargs="+", type=_name, help="name of a member")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Make the keys and say where; return the exit code."""
    members = options.directory / "members"
    before = os.umask(_PRIVATE)
    try:
        members.mkdir(parents=True, exist_ok=True)
        for directory, name in [(options.directory, "group"), *((members, name) for name in options.member)]:
            if (directory / f"{name}.key_secret").exists():
                _say(f"kept {directory / name}.key_secret")
                continue
            public, secret = zmq.auth.create_certificates(directory, name)
            _say(f"made {secret} and {public}")
    finally:
        os.umask(before)
    return 0


def _say(line: str) -> None:
    print(line)


def _name(text: str) -> str:
    """Check the name of a member, which becomes the name of a file."""
    if not text or not all(sign.isalnum() or sign in "-_." for sign in text) or text.startswith("."):
        raise ValueError(text)
    return text
