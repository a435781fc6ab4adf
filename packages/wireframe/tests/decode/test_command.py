"""``python -m wireframe decode``: each format, each kind of file, each thing that may be wrong."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from wireframe import aggregate, datagram, echo, eventlog, group, ipi, lenjson
from wireframe.__main__ import main
from wireframe._decode import excerpts, meanings

from . import packets as made
from .test_zmtp import GREETING, frame

MEMBER = bytes(range(1, 17))


def texts(lines):
    """The parts of lines without offsets and sizes."""
    return [line[17:].strip() for line in lines]


def message(*frames):
    return b"".join(frame(one, flags=int(at + 1 < len(frames))) for at, one in enumerate(frames))


def test_json_frames_have_offset_size_and_value(decode):
    status, lines, err = decode("lenjson", lenjson.encode({"a": [1]}) + lenjson.encode("OK"))
    assert status == 0
    assert [line.split(maxsplit=2) for line in lines] == [
        ["0", "20", '-                {"a": [1]}'],
        ["20", "14", '-                "OK"'],
    ]
    assert err == "2 frames of lenjson\n"


def test_messages_of_drivers_and_hubs_show_who_speaks(decode):
    batch = ipi.encode_header(ipi.STATUS) + ipi.encode_header(ipi.READY) + ipi.encode_init(3, b"\0")
    step = ipi.encode_posdata(bytes(24 * 3), bytes(72), bytes(72)) + ipi.encode_header(ipi.GETFORCE)
    replies = ipi.encode_forceready((1, 2, 3), extra=b'{"a": 1}') + ipi.encode_forceready((1, 2, 3))
    status, lines, _ = decode("ipi", batch + step + replies)
    assert (status, texts(lines)) == (
        0,
        [
            "server > driver  STATUS",
            "driver > server  READY",
            r"server > driver  INIT 3, 1 bytes: 00",
            "server > driver  POSDATA of 3: (0 0 0) (0 0 0) …",
            "server > driver  GETFORCE",
            "driver > server  FORCEREADY energy 0, of 1: (1 2 3), extra '{\"a\": 1}'",
            "driver > server  FORCEREADY energy 0, of 1: (1 2 3)",
        ],
    )


def test_messages_of_bridges_and_aggregated_hubs_show_who_speaks(decode):
    fields = dict.fromkeys(range(7), (1.0, 2.0, 3.0))
    data = [
        aggregate.encode_hello("node-0"),
        aggregate.encode_init("nó", {3: {"a": 1}, 5: {}}, resume=True),
        aggregate.encode_init("nó", {}),
        aggregate.encode_header(aggregate.AGGREADY),
        aggregate.encode_step(fields),
        aggregate.encode_step({}),
        aggregate.encode_result({3: ((4.0, 5.0, 6.0), b"hi"), 5: (bytes(24), b"!")}),
        aggregate.encode_result({3: ((4.0, 5.0, 6.0), b"")}),
        aggregate.encode_header(aggregate.STOP) + aggregate.encode_header(aggregate.BYE),
    ]
    status, lines, _ = decode("aggregate", b"".join(data))
    assert (status, texts(lines)) == (
        0,
        [
            'bridge > hub     AGGHELLO of group "node-0"',
            'hub > bridge     AGGINIT of group "nó", molecules (2: 3 5), to resume, the first gets {"a": 1}',
            'hub > bridge     AGGINIT of group "nó", molecules (none)',
            "bridge > hub     AGGREADY",
            "hub > bridge     AGGSTEP of molecules (7: 0 1 2 3 4 5 …), 1 fields: (1 2 3)",
            "hub > bridge     AGGSTEP of molecules (none), 0 fields: nothing",
            "bridge > hub     AGGRESULT of molecules (2: 3 5): (4 5 6) (0 0 0), extras 'hi!'",
            "bridge > hub     AGGRESULT of molecules (1: 3): (4 5 6)",
            "hub > bridge     STOP",
            "bridge > hub     BYE",
        ],
    )


def test_batches_are_named():
    """Only decoders that were told of them find any, so no stream here has them."""
    batch = ipi.PosDataBatch(bytes(144), bytes(24), 1)
    assert meanings.of_ipi(batch).text == "PosDataBatch"


def test_experiment_messages_hide_credentials_and_show_numbers(decode):
    numbered = echo.add_number(echo.encode([1, "subject"]), echo.Number(0xABCDEF01, 7, 7))
    data = b"".join(
        [
            numbered,
            echo.encode([128, "https://x", {"token": "secret"}]),
            b"[32]",
            echo.encode([0, "ValueError: boom", 1]),
            echo.encode({"a": 1}),
            echo.encode(["who", 1]),
            echo.add_number(echo.add_clock_request(b"[32]", echo.ClockRequest(5)), echo.Number(1, 2, 2)),
        ]
    )
    status, lines, err = decode("echo", data)
    assert status == 0
    assert texts(lines) == [
        '-                EXPINIT: ["subject"]  number 7 of session abcdef01',
        "-                ALYX: 2 arguments, not shown: among them are credentials",
        "-                EXPSTATUS, a ping",
        '-                error of the other end: ["ValueError: boom", 1]',
        '-                no event: {"a": 1}',
        '-                no event: ["who", 1]',
        "-                EXPSTATUS, a ping  number 2 of session 00000001  with a ClockRequest",
    ]
    assert "secret" not in "".join(lines) + err


def test_an_experiment_message_that_is_too_long_costs_its_own_line(decode):
    long = b'"' + b"a" * (1 << 20) + b'"'
    status, lines, _ = decode("echo", b"[32]" + long + b"[32]")
    assert status == 0
    assert texts(lines) == [
        "-                EXPSTATUS, a ping",
        f"-                a message of {len(long)} bytes, too long to be read",
        "-                EXPSTATUS, a ping",
    ]
    assert [line.split()[:2] for line in lines] == [
        ["0", "4"],
        ["4", str(len(long))],
        [str(4 + len(long)), "4"],
    ]


def test_json_that_cannot_be_written_as_deep_as_it_was_read_is_not_shown(monkeypatch):
    monkeypatch.setattr(excerpts.json, "dumps", too_deep)
    assert excerpts.short_json([[]]) == "too deeply nested to be shown"


def too_deep(*_, **__):
    """What the standard library does, at a depth that depends on the version."""
    raise RecursionError


def test_a_bad_experiment_message_costs_its_own_line(decode):
    status, lines, err = decode("echo", b'[1, "\\q"][2, "x", 3]  ')
    assert status == 1
    assert lines[0].split()[:2] == ["5", "!"]
    assert "[5c]" in lines[0]
    assert "EXPSTART" in lines[1]
    assert err == "1 frames of echo, and 1 places where something is wrong\n"
    assert decode("echo", b" \n ")[1][0].endswith("white space")


def test_the_long_and_the_unprintable_are_cut(decode):
    _, lines, _ = decode("lenjson", lenjson.encode("x" * 500) + lenjson.encode("\x1b[31m\u2028"))
    assert len(lines[0]) < 150
    assert lines[0].endswith("…")
    assert "\x1b" not in lines[1]
    assert "\u2028" not in lines[1]


def test_datagrams_of_channels_are_explained(decode):
    status, lines, _ = decode("datagram", b"".join(datagram.encode_small(7, "ADC", b"hello")))
    assert (status, texts(lines)) == (0, ["-                channel 'ADC', message 7, 5 bytes: 'hello'"])
    first, second = (b"".join(one) for one in datagram.encode_fragments(8, "ADC", bytes(300), 200))
    _, lines, _ = decode("datagram", first)
    assert "channel 'ADC', message 8, fragment 0 of 2, at 0 of 300" in lines[0]
    _, lines, _ = decode("datagram", second)
    assert "-                message 8, fragment 1 of 2" in lines[0]
    assert decode("datagram", b"LC99....")[0] == 1


def test_readouts_are_shown_as_bytes(decode):
    assert texts(decode("readout", b"\xff" * 30)[1]) == ["-                " + "ffffffff " * 6 + "…"]
    assert texts(decode("readout", b"")[1]) == ["-                nothing"]


def test_a_log_is_read_past_its_damage(decode):
    events = [b"".join(eventlog.encode_event(number, 1_500_000, "ADC", b"hello")) for number in range(2)]
    status, lines, err = decode("eventlog", events[0] + b"noise" + events[1] + b"rest")
    size = len(events[0])
    assert status == 1
    assert texts([lines[0]]) == ["-                event 0 at 1.500000 s, channel 'ADC', 5 bytes: 'hello'"]
    assert [line.split()[0] for line in lines] == ["0", str(size), str(size + 5), str(2 * size + 5)]
    assert "damage: 5 bytes" in lines[1]
    assert "damage: 4 bytes" in lines[3]
    assert err.startswith("2 frames of eventlog, and 2 places")


GROUP = [
    (message(b"\1"), "subscriber > publisher  subscribe to everything"),
    (frame(b"\x09SUBSCRIBEmsg", 4), "subscriber > publisher  subscribe to 'msg'"),
    (frame(b"\6CANCEL", 4), "subscriber > publisher  unsubscribe from everything"),
    (message(b"\0msg"), "subscriber > publisher  unsubscribe from 'msg'"),
    (frame(b"\5READY\1\2\3", 4), "-                command READY, 3 bytes: 010203"),
    (frame(b"\4PING", 4), "-                command PING, 0 bytes"),
    (frame(b"\7MESSAGE" + bytes(40), 4), "-                command MESSAGE, 40 bytes: encrypted"),
    (message(b"msg", b"hello"), "member > all     msg 5 bytes: 'hello'"),
    (
        message(b"req", group.encode_body(group.Request(5, MEMBER)), struct.pack("<d", 1.5)),
        "member > all     req Request: term 5, candidate 01020304  sent 1.500000",
    ),
    (message(b"mtl", b"x"), "member > leader  mtl 1 bytes: 'x'"),
    (message(b"mfl", b"x"), "leader > member  mfl 1 bytes: 'x'"),
    (message(b"xyz", b"x"), "-                xyz, a kind not known here, 1 bytes"),
    (
        message(b"rfv", group.encode_body(group.RequestForVote("ABCDEFGH", b"valve"))),
        (
            "member > leader  rfv RequestForVote: rfv_id abcdefgh, topic 'valve', kind majority, "
            "subject value, release 0.0, started 0.0, timeout 0.0"
        ),
    ),
    (
        message(
            b"msg",
            b"hi",
            struct.pack("<d", 1.0),
            group.encode_extension(group.Extension(9, MEMBER, MEMBER)),
        ),
        "member > all     msg 2 bytes: 'hi'  sent 1.000000  sequence 9 of 01020304",
    ),
]


@pytest.mark.parametrize(("data", "text"), GROUP)
def test_messages_of_groups_are_explained(decode, data, text):
    status, lines, _ = decode("group", GREETING + data)
    assert (status, texts(lines)) == (0, ["-                greeting, ZMTP 3.1, NULL", text])


@pytest.mark.parametrize(
    ("frames", "part", "inside"),
    [
        ([b"vot", struct.pack(">I16sI16s", 1, MEMBER, 9, MEMBER)], 1, 20),
        ([b"m\xffg", b"x"], 0, 0),
        ([b"msg", b"x", bytes(7)], 2, 0),
        ([b"msg", b"x", struct.pack("<d", 1.0), b"none"], 3, 0),
        (
            [b"msg", b"x", struct.pack("<d", 1.0), group.EXTENSION_MAGIC + b"short"],
            3,
            len(group.EXTENSION_MAGIC) + 5,
        ),
        ([b"msg"], 0, 0),
    ],
)
def test_a_bad_message_of_a_group_is_explained_at_its_byte_and_the_next_is_read(decode, frames, part, inside):
    """Offsets are of the stream: flags and sizes of frames count."""
    status, lines, _ = decode("group", GREETING + message(*frames) + message(b"msg", b"next"))
    begin = len(GREETING) + sum(2 + len(one) for one in frames[:part]) + 2
    assert status == 1
    assert lines[1].split()[:2] == [str(begin + inside), "!"]
    assert lines[2].endswith("'next'")


BAD = {
    "digit": ("lenjson", lenjson.encode(1) + b"00000x0001", 11 + 5),
    "JSON": ("lenjson", b"0000000006" + b'"\xc3\xa9" x', 10 + 5),
    "UTF-8": ("lenjson", b'0000000004"\xff\xff"', 10 + 1),
    "other JSON error": ("lenjson", b"0000005001" + b"1" * 5001, 10),
    "header": ("ipi", ipi.encode_header(ipi.STATUS) + b"POSDATX     ", 12 + 6),
    "atoms": ("ipi", ipi.encode_posdata(bytes(24))[:156] + b"\xff" * 4, 156),
    "extra": ("ipi", ipi.encode_forceready((1, 2, 3))[:120] + b"\xff" * 4, 120),
    "text": ("ipi", ipi.encode_init(0, b"")[:16] + b"\xff" * 4, 16),
    "end": ("ipi", ipi.encode_header(ipi.STATUS) + b"POSD", 16),
    "mark and JSON": ("echo", b"\xef\xbb\xbf[1, x]", 7),
    "datagram": ("datagram", b"LC02", 4),
    "greeting": ("group", b"\xff" + bytes(8) + b"\x7e" + bytes(54), 9),
}


@pytest.mark.parametrize(("form", "data", "at"), BAD.values(), ids=BAD)
def test_the_first_bad_byte_is_named(decode, form, data, at):
    status, lines, _ = decode(form, data)
    assert status == 1
    assert lines[-1].split()[:2] == [str(at), "!"]


def test_nothing_behind_a_broken_frame_is_guessed(decode):
    status, lines, _ = decode("lenjson", b"garbage at" + lenjson.encode(1) * 20_000)
    assert (status, len(lines)) == (1, 1)


def capture(*packets):
    return made.pcap([(100 + at, 0, one) for at, one in enumerate(packets)])


def segment(data, sequence, *, flags=0x10, back=False, port=5000):
    ports = (port, 40000) if back else (40000, port)
    return made.ipv4(made.tcp(data, *ports, sequence=sequence, flags=flags), made.TCP)


def test_both_directions_of_a_captured_connection_are_read(decode):
    asked, answered = lenjson.encode("ready"), lenjson.encode("OK")
    file = capture(
        segment(b"", 9, flags=2),
        segment(b"", 99, flags=0x12, back=True),
        segment(asked[:4], 10),
        segment(asked[4:], 14),
        segment(answered, 100, back=True),
        segment(b"", 10 + len(asked), flags=0x11),
        made.ipv4(b"", 1),
        segment(b"other", 1, port=22),
    )
    status, lines, err = decode("lenjson", file, "--port", "5000")
    assert status == 0
    assert [" ".join(line.split()) for line in lines] == [
        '4 3.000000 10.0.0.1:40000 > 10.0.0.2:5000 0 17 - "ready"',
        '5 4.000000 10.0.0.1:5000 > 10.0.0.2:40000 0 14 - "OK"',
    ]
    assert err == "2 frames\nnot read: 1 packets of IP protocol 1 (first at packet 7)\n"


def test_a_connection_that_ends_inside_a_frame_is_told(decode):
    file = capture(segment(b"0000000010", 10), segment(b"", 20, flags=0x11), segment(b"", 20, flags=0x11))
    status, lines, _ = decode("lenjson", file)
    assert status == 1
    assert len(lines) == 1
    assert "TruncatedFrame" in lines[0]


def test_a_capture_that_ends_inside_a_frame_is_no_error(decode):
    assert decode("lenjson", capture(segment(b"0000000010", 10)))[0] == 0


def test_bytes_that_a_capture_lacks_end_their_direction(decode):
    frames = lenjson.encode("OK")
    status, lines, _ = decode("lenjson", capture(segment(frames, 10), segment(frames, 60)))
    assert status == 1
    assert "lacks 36 bytes" in lines[1]


def test_ports_that_are_used_again_begin_a_new_connection(decode):
    frames = lenjson.encode("OK")
    one = [segment(b"", 9, flags=2), segment(frames, 10, flags=0x11)]
    other = [segment(b"", 5009, flags=2), segment(frames, 5010, flags=0x11)]
    _, lines, _ = decode("lenjson", capture(*one, *other))
    assert [line.split()[0] for line in lines] == ["2", "4"]


def test_acknowledgements_alone_begin_nothing(decode):
    assert decode("lenjson", capture(segment(b"", 9)))[1] == []


def test_the_directions_that_are_followed_are_bounded(decode, monkeypatch):
    monkeypatch.setattr("wireframe._decode.captures.MAX_STREAMS", 1)
    frames = lenjson.encode("OK")
    file = capture(segment(frames[:5], 10), segment(frames, 10, port=6000), segment(frames[5:] * 2, 15))
    status, lines, _ = decode("lenjson", file)
    assert status == 1
    assert '"OK"' in lines[0]
    assert "BadHeader" in lines[1]  # its first half was forgotten


def test_datagrams_of_a_capture_are_read_one_by_one(decode):
    good = b"".join(datagram.encode_small(7, "ADC", b"hello"))
    file = capture(made.ipv4(made.udp(good)), made.ipv4(made.udp(b"LC99")), made.ipv4(made.udp(good)))
    status, lines, _ = decode("datagram", file)
    assert status == 1
    assert [("!" in line, line.split()[0]) for line in lines] == [(False, "1"), (True, "2"), (False, "3")]
    assert decode("datagram", capture(segment(good, 1)))[1] == []
    assert decode("lenjson", file)[1] == []
    assert "EXPINIT" in decode("echo", capture(made.ipv4(made.udp(b"[1, 2]"))))[1][0]


def test_a_damaged_capture_is_read_up_to_the_damage(decode):
    file = capture(made.ipv4(made.udp(b"[1, 2]")))
    status, lines, err = decode("echo", file + b"\0")
    assert (status, len(lines)) == (1, 1)
    assert f"the capture is damaged at byte {len(file) + 1}" in err


def test_a_capture_without_clock_has_no_times(decode):
    data = made.ipv4(made.udp(b"[1, 2]"))
    file = made.section() + made.interface() + made.block(3, struct.pack("<I", len(data)) + data)
    status, lines, _ = decode("echo", file)
    assert status == 0
    assert lines[0].split()[1] == "10.0.0.1:40000"


def test_ports_are_for_captures_alone(decode):
    status, lines, err = decode("echo", b"[1, 2]", "--port", "5")
    assert (status, lines) == (2, [])
    assert "--port is for packet captures" in err


def test_a_file_that_is_not_there_is_named(capsys):
    assert main(["decode", "echo", "/nowhere/at all"]) == 2
    assert "/nowhere/at all" in capsys.readouterr().err


def test_an_empty_file_holds_no_frames(decode):
    assert decode("lenjson", b"")[0] == 0
    assert decode("eventlog", b"")[0] == 0


@pytest.mark.parametrize("arguments", [[], ["decode"], ["decode", "morse", "-"]])
def test_wrong_arguments_are_explained(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def run(*arguments, **options):
    command = [sys.executable, "-m", "wireframe", "decode", *arguments]
    return subprocess.run(command, check=False, capture_output=True, timeout=60, **options)


def test_standard_input_is_read():
    done = run("lenjson", "-", input=lenjson.encode("OK"))
    assert (done.returncode, done.stdout.split()[-1]) == (0, b'"OK"')


def test_an_output_with_few_characters_gets_escapes():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = run("lenjson", "-", input=lenjson.encode("€" * 200), env=environment)
    assert (done.returncode, done.stderr.strip()) == (0, b"1 frames of lenjson")
    assert done.stdout.rstrip().endswith(rb"\u20ac\u2026")


def test_a_reader_who_has_seen_enough_ends_it_quietly(tmp_path):
    path = Path(tmp_path / "many")
    path.write_bytes(lenjson.encode(1) * 50_000)
    command = [sys.executable, "-m", "wireframe", "decode", "lenjson", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_all_recorded_frames_of_drivers_and_hubs_decode(decode):
    vectors = json.loads((Path(__file__).parent.parent / "vectors" / "mxl-sockets.json").read_text())[
        "vectors"
    ]
    kinds = ("init/", "request/", "reply/", "hub-session/")
    data = b"".join(bytes.fromhex(one["bytes"]) for one in vectors if one["name"].startswith(kinds))
    status, lines, _ = decode("ipi", data)
    assert status == 0
    assert int(lines[-1].split()[0]) + int(lines[-1].split()[1]) == len(data)
