"""C2 for every decoder: kept inputs and changes of them raise what they may, in bounded memory."""

from __future__ import annotations

import json
import random
import struct
import sys
import tracemalloc

import pytest
from capture_targets import FORMAT_NAMES
from corpus import CORPUS, build
from run import main
from targets import TARGETS

#: Changed inputs for each target, the same in every run.
MUTANTS = 200
#: What stands before the length of a JSON text; None where the text stands alone.
JSON_HEADS = {
    "lenjson": b"",
    "decode-command": bytes((FORMAT_NAMES.index("lenjson"),)),
    **dict.fromkeys(("echo-text", "readout-json", "mxl-status", "mxl-manifest", "mxl-init", "etcd")),
}
_NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def kept(target: str) -> list[bytes]:
    """Return the inputs of a target, in the same order everywhere."""
    paths = sorted((CORPUS / target).iterdir())
    return [path.read_bytes() for path in paths]


def mutant(inputs: list[bytes], chance: random.Random) -> bytes:
    """Return one of the inputs with one to three things wrong."""
    octets = bytearray(chance.choice(inputs))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(octets) + 1)
        # Heads hold what decides, so they are hit most.
        at = min(at, chance.choice((16, 64, len(octets))))
        size = chance.choice((1, 2, 4, 8, 30))
        match chance.randrange(7):
            case 0:
                octets[at : at + 1] = bytes((chance.randrange(256),))
            case 1 if octets:
                octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
            case 2:
                order = chance.choice("<>") + chance.choice("HIQ")
                number = chance.choice(_NUMBERS) & (1 << 8 * struct.calcsize(order)) - 1
                octets[at : at + struct.calcsize(order)] = struct.pack(order, number)
            case 3:
                del octets[at : at + size]
            case 4:
                octets[at:at] = octets[at : at + size] * chance.choice((1, 2, 40))
            case 5:
                del octets[at:]
            case _:
                other = chance.choice(inputs)
                begin = chance.randrange(len(other) + 1)
                octets[at : at + size] = other[begin : begin + chance.choice((size, len(other)))]
    return bytes(octets)


@pytest.mark.parametrize("name", TARGETS)
def test_kept_and_changed_inputs_raise_what_they_may_in_bounded_memory(name):
    """Nothing escapes but the errors of the table, every promise holds, and the input bounds the memory."""
    target, inputs, chance = TARGETS[name], kept(name), random.Random(name)
    for data in inputs:
        target(data)  # what is imported or made once is not counted below
    tracemalloc.start()
    try:
        for data in [*inputs, *(mutant(inputs, chance) for _ in range(MUTANTS))]:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            try:
                target(data)
            except Exception as error:
                error.add_note(f"target {name}, input {data.hex()}")
                raise
            grown = tracemalloc.get_traced_memory()[1] - before
            assert grown <= target.slack + target.growth * len(data), (
                f"{grown} bytes for {data[:64]!r} of {len(data)}"
            )
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.refusals])
def test_every_target_reads_some_of_its_inputs_to_the_end(name):
    """A table of inputs that are all refused at once would prove nothing."""
    refused = 0
    for data in kept(name):
        try:
            TARGETS[name].run(data)
        except TARGETS[name].refusals:
            refused += 1
    assert refused < len(kept(name))


def read_depth():
    """Return how many lists inside each other the standard library reads from here."""
    good, bad = 1, 1 << 17
    while bad - good > 1:
        depth = (good + bad) // 2
        try:
            json.loads("[" * depth + "]" * depth)
            good = depth
        except RecursionError:
            bad = depth
    return good


@pytest.mark.parametrize("name", JSON_HEADS)
def test_json_nested_as_deep_as_the_interpreter_just_follows(name):
    """Where a text is still read, nothing that is done with its value may follow it too deep."""
    deepest = read_depth()
    shares = (deepest * share // 8 for share in range(1, 8))
    for depth in (*shares, *range(deepest - 40, deepest + 1)):
        text = (
            b'[{"a":' * (depth // 2) + b"[" * (depth % 2) + b"1" + b"]" * (depth % 2) + b"}]" * (depth // 2)
        )
        head = JSON_HEADS[name]
        TARGETS[name](text if head is None else head + b"%010d" % len(text) + text)


def test_the_command_reads_on_behind_an_experiment_message_beyond_its_limit():
    """More than the mebibyte that it keeps; too long to stand among the kept inputs."""
    TARGETS["decode-command"](
        bytes((FORMAT_NAMES.index("echo"),)) + b'"' + b"a" * (1 << 20) + b'" [1, null] '
    )


def test_the_corpus_is_what_the_golden_vectors_make():
    """Apart from ``found-`` inputs; ``corpus.py`` writes it anew."""
    found = {
        path.name: {one.name: one.read_bytes() for one in path.iterdir() if not one.name.startswith("found-")}
        for path in CORPUS.iterdir()
    }
    assert found == build()


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 1 << 20


def test_the_program_names_what_it_lacks_and_replays_without_it(monkeypatch, capsys, tmp_path):
    """Without atheris it says so, and what to do; unknown targets are named; one input can be read again."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
        return main()

    monkeypatch.setattr("run.find_spec", lambda name: None)
    assert run("lenjson") == 2
    assert "pip install atheris" in capsys.readouterr().err
    assert run("lenjsn") == 2
    assert "no target lenjsn; there are lenjson" in capsys.readouterr().err
    file = tmp_path / "input"
    file.write_bytes(b"0000000004null")
    assert run("--replay", "lenjson", file) == 0
