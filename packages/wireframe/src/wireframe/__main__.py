"""The command ``wireframe decode FORMAT FILE``; only here are files opened and lines printed."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO, cast

from wireframe._capture.files import is_capture, read_packets
from wireframe._decode.captures import CaptureReader
from wireframe._decode.formats import FORMATS, Format
from wireframe._version import __version__
from wireframe.errors import FrameError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from io import TextIOWrapper

    from wireframe._decode.readers import Line

#: Bytes read from a file at a time, and of the largest datagram.
_PIECE: Final = 1 << 16

_EPILOG: Final = """
FILE is what one direction of a connection carried, or one datagram; or a packet capture (pcap or
pcapng), of which both directions are read. Link types: Ethernet, loopback, raw IP, Linux "any".
Not read: encrypted connections, checksums, IP within IP.

Exit status: 0 if all could be read, 1 if something in it was wrong, 2 if nothing could be begun.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of the process.
    """
    asked = _parser().parse_args(arguments)
    form = FORMATS[asked.format]
    try:
        with _opened(asked.file) as file:
            return _decode(form, asked.format, file, frozenset(asked.port), sys.stdout)
    except BrokenPipeError:
        # Whoever read our lines has seen enough. The interpreter would complain of it at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"wireframe: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wireframe", description="Look at recorded frames.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    formats = "\n".join(f"  {name:<10} {form.summary}" for name, form in FORMATS.items())
    decode = commands.add_parser(
        "decode",
        help="print the frames of a file, one line each, and explain the first bad byte",
        description="Print the frames of a file, one line each, and explain the first bad byte.\n\nformats:\n"
        + formats,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    decode.add_argument("format", choices=FORMATS, metavar="FORMAT", help="see above")
    decode.add_argument("file", metavar="FILE", help="the file, or - for standard input")
    decode.add_argument(
        "--port",
        type=int,
        action="append",
        default=[],
        help="captures: read only what goes to or from this port; may be repeated",
    )
    return parser


def _opened(name: str) -> BinaryIO:
    return open(0, "rb", closefd=False) if name == "-" else open(name, "rb")  # noqa: PTH123


def _decode(form: Format, name: str, file: BinaryIO, ports: frozenset[int], output: TextIO) -> int:
    head = _begin_of(file)
    if is_capture(head):
        return _decode_capture(form, file, head, ports, output)
    if ports:
        print("wireframe: --port is for packet captures, and this is none", file=sys.stderr)
        return 2
    count = bad = 0
    for line in _raw_lines(form, file, head):
        print(_row(line), file=output)
        bad += line.bad
        count += not line.bad
    print(f"{count} frames of {name}" + _and_bad(bad), file=sys.stderr)
    return 1 if bad else 0


def _begin_of(file: BinaryIO) -> bytes:
    head = b""
    while len(head) < 4 and (more := file.read(4 - len(head))):
        head += more
    return head


def _raw_lines(form: Format, file: BinaryIO, head: bytes) -> Iterator[Line]:
    if form.datagram is not None and form.stream is None:
        yield form.datagram(head + file.read(_PIECE))
    if form.stream is None:
        return
    reader = form.stream()
    yield from reader.feed(head)
    while data := file.read(_PIECE):
        yield from reader.feed(data)
    yield from reader.finish()


def _decode_capture(form: Format, file: BinaryIO, head: bytes, ports: frozenset[int], output: TextIO) -> int:
    reader = CaptureReader(form, ports)
    count = bad = 0
    damage = None
    try:
        for packet, time, source, target, line in reader.read(read_packets(file, head)):
            since = "" if time is None else f"{time:.6f}"
            print(f"{packet or '':>6} {since:>12}  {source} > {target}  {_row(line)}", file=output)
            bad += line.bad
            count += not line.bad
    except FrameError as error:
        damage = f"the capture is damaged at byte {error.at}: {error}"
    passed_over = [
        f"{count} {what} (first at packet {reader.packets.first_passed_over[what]})"
        for what, count in reader.packets.passed_over.items()
    ]
    print(f"{count} frames" + _and_bad(bad), file=sys.stderr)
    if passed_over:
        print(f"not read: {', '.join(passed_over)}", file=sys.stderr)
    if damage:
        print(f"wireframe: {damage}", file=sys.stderr)
    return 1 if bad or damage else 0


def _and_bad(bad: int) -> str:
    return f", and {bad} places where something is wrong" if bad else ""


def _row(line: Line) -> str:
    if line.bad:
        return f"{line.at:>8} {'':>7}  {'!':<15}  {line.text}"
    return f"{line.at:>8} {line.size:>7}  {line.direction or '-':<15}  {line.text}"


if __name__ == "__main__":
    # What an output with few characters cannot show is written as escapes.
    cast("TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    sys.exit(main())
