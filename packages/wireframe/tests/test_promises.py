"""What the README promises: its figures are those of the code, and the exit status of the command."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from wireframe import lenjson
from wireframe.__main__ import _parser, main
from wireframe._capture import streams
from wireframe._decode import captures
from wireframe.echo import _text
from wireframe.group import _votes
from wireframe.json_socket import _address, _guest, _room, _server

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
README = " ".join(TEXT.split())
#: What the README shows to be typed.
COMMANDS = re.findall(r"^(?:\$ )?wireframe ([a-z].*)", TEXT, re.MULTILINE)


@pytest.mark.parametrize(
    ("sentence", "code", "figure"),
    [
        ("a body of more than 9 999 999 999 bytes is refused", lenjson.MAX_LENGTH, 9_999_999_999),
        ("128 connections queue up instead of 1", _address.BACKLOG, 128),
        ("64 KiB for each of `max_connections`", _guest.SMALL_FRAME, 64 << 10),
        ("the oldest body beyond 64 KiB is always read", _guest.SMALL_FRAME, 64 << 10),
        ("`shutdown` waits for it for 1 s", _server.PATIENCE, 1),
        ("those that were silent for a second give way", _room.GRACE, 1),
        ("nested deeper than 64", _text.MAX_DEPTH, 64),
        ("an integer of more than 4300 digits", _text.MAX_DIGITS, 4300),
        ("ids of polls have at most 256 bytes", _votes.MAX_RFV_ID, 256),
        ("Up to 16 MiB wait for a segment that is missing", streams.MAX_AHEAD, 16 << 20),
        ("4096 directions are followed", captures.MAX_STREAMS, 4096),
    ],
)
def test_figures_of_the_readme_are_those_of_the_code(sentence, code, figure):
    assert sentence in README
    assert code == figure


def test_a_body_that_ten_digits_cannot_announce_is_refused(monkeypatch):
    """Ten gigabytes are more than a test can have, so the limit is a small one here."""
    assert "is refused instead of sent with eleven digits" in README
    monkeypatch.setattr(lenjson, "MAX_LENGTH", 9)
    assert lenjson.encode("1234567") == b'0000000009"1234567"'
    with pytest.raises(ValueError, match="a body of 10 bytes does not fit ten digits, the limit is 9"):
        lenjson.encode("12345678")


@pytest.mark.parametrize("kind", ["lenjson", "ipi", "aggregate", "group"])
def test_an_encrypted_connection_is_an_error_at_its_first_byte(tmp_path, capsys, kind):
    """The first bytes of TLS, in the formats of connections."""
    assert "TLS is an error at its first byte" in README
    path = tmp_path / "connection"
    path.write_bytes(bytes.fromhex("16030100c8010000c40303") + bytes(64))
    assert main(["decode", kind, str(path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:3] == ["0", "!", "BadHeader:"]
    assert "around it: [16] 03 01" in line


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_of_the_readme_are_understood(command):
    """All commands and options that it shows there are."""
    assert len(COMMANDS) >= 2
    _parser().parse_args(shlex.split(command, comments=True))  # ends the program otherwise
