"""The workflow files, ``.ci/run`` and ``tox.ini`` speak of the same environments, packages and steps."""

from __future__ import annotations

import configparser
import itertools
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = {
    file.stem: file.read_text(encoding="utf-8")
    for file in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
CI_RUN = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
#: What the matrix of packages selects by; a workflow names nothing else so.
FACTORS = re.findall(r"environments: (py3\d+(?:-\w+)*)", WORKFLOWS["test"])


def expand(name: str) -> set[str]:
    """All names that a section's name with braces stands for."""
    parts = [part.split(",") for part in re.split(r"[{}]", name)]
    return {"".join(choice) for choice in itertools.product(*parts)}


def environments() -> set[str]:
    """All environments that tox.ini defines."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    names = [name.removeprefix("testenv:") for name in parser if name.startswith("testenv:")]
    return {each for name in names for each in expand(name)}


def named_in_workflows() -> set[str]:
    """All environments that a matrix names."""
    found = re.findall(r"\benvironment: ([\w-]+)[ ,]*(?:\n|\}|debian)", "".join(WORKFLOWS.values()))
    return set(found) - {"release-"}


def with_factors(factors: str) -> set[str]:
    """All environments that ``-f`` with these factors selects."""
    return {name for name in environments() if set(factors.split("-")) <= set(name.split("-"))}


def default_environments() -> list[str]:
    """What tox runs without a name, in this order."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    lines = parser["tox"]["env_list"].split()
    return [name for line in lines for name in expand(line)]


def in_ci_run() -> list[str]:
    """The environments of ``.ci/run``, in the order in which they start."""
    (words,) = re.findall(r"^environments=\(\n([^)]+)\)$", CI_RUN, re.MULTILINE)
    return [name for word in words.split() for name in sorted(expand(word))]


def debian_packages(text: str) -> set[str]:
    """The words behind ``debian:`` in a matrix, or after the options of apt-get."""
    lists = re.findall(r"debian: ([a-z0-9 -]+?) *\}|--no-install-recommends ([a-z0-9 -]+)\n", text)
    return {word for each in lists for words in each for word in words.split()}


def test_the_workflows_name_environments_that_exist() -> None:
    """A renamed environment is renamed there too, and each that proves something is run by one of them."""
    named = named_in_workflows()
    assert named <= environments()
    assert all(with_factors(factors) for factors in FACTORS)
    # The demo is run by the tests of "integration".
    alone = {name for name in environments() if not name.startswith(("py3", "."))} - {"demo"}
    assert alone <= named


def test_ci_run_runs_the_default_list_and_what_needs_more() -> None:
    """One run with all that proves something, each once; what other environments prove too is left out."""
    names = in_ci_run()
    assert len(set(names)) == len(names)
    assert set(names) <= environments()
    assert set(default_environments()) <= set(names)
    alone = {name for name in environments() if not name.startswith(("py3", "."))}
    assert alone - set(names) == {"bench", "demo", "soak"}


def test_what_ci_run_runs_is_run_by_the_workflows() -> None:
    """The one command and the workflows prove the same."""
    in_workflows = set().union(named_in_workflows(), *map(with_factors, FACTORS))
    assert set(in_ci_run()) <= in_workflows


def test_the_workflows_install_the_debian_packages_of_ci_run() -> None:
    """What a test needs and pip cannot bring is installed in both."""
    (names,) = re.findall(r"^debian_packages=\(([a-z0-9 -]+)\)$", CI_RUN, re.MULTILINE)
    assert debian_packages("".join(WORKFLOWS.values())) == set(names.split())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_by_commit(name: str) -> None:
    """A tag can be moved, a commit cannot; the same action has the same commit everywhere."""
    used = re.findall(r"uses: (\S+)@(\S+) # v\d+\.\d+\.\d+$", WORKFLOWS[name], re.MULTILINE)
    assert len(used) == WORKFLOWS[name].count("uses:")
    everywhere = dict(re.findall(r"uses: (\S+)@(\S+)", "".join(WORKFLOWS.values())))
    assert all(len(commit) == 40 and everywhere[action] == commit for action, commit in used)


def test_the_release_workflow_takes_the_steps_of_the_release_tool(release_tool: ModuleType) -> None:
    """What runs before publishing is the tool, with arguments that it knows, and what installs it."""
    commands = [
        shlex.split(line.partition(" > ")[0])
        for line in WORKFLOWS["release"].splitlines()
        if "python " in line and not line.lstrip().startswith(("#", "-"))
    ]
    tools = [words[2:] for words in commands if words[1] == "tools/release.py"]
    parsed = [release_tool.arguments_parser().parse_args(words) for words in tools]
    assert [each.action for each in parsed] == ["tag", "check"]
    # What is uploaded is what was checked.
    assert f"path: {parsed[1].keep}/" in WORKFLOWS["release"]
    others = [words[1:4] for words in commands if words[1] != "tools/release.py"]
    assert others == [["-m", "venv", "tools-venv"], ["-m", "pip", "install"]]


def test_the_reading_of_the_files_sees_what_it_should() -> None:
    """Otherwise the tests above would compare nothing."""
    assert expand("py3{11,12}-{a,b}{,-lowest}") >= {"py311-a", "py312-b-lowest"}
    assert {
        "lint",
        "interop",
        "mpi-mpich",
        "py313-udp",
        "integration",
        "faults",
        "costs",
    } <= named_in_workflows()
    assert {"py311-lowest", "py312", "py314"} <= set(FACTORS)
    assert with_factors("py311-lowest") >= {"py311-wire-lowest", "py311-group-lowest"}
    assert {"py311-udp-lowest", "py314-mxl", "lint"} <= set(default_environments())
    assert {"interop", "py311-wire-lowest", "py313-udp"} <= set(in_ci_run())
    assert debian_packages("x --no-install-recommends a b-c\n { e: f, debian: d e }") == {
        "a",
        "b-c",
        "d",
        "e",
    }
