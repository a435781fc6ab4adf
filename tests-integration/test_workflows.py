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


def debian_packages(text: str) -> set[str]:
    """The words behind ``debian:`` in a matrix, or after the options of apt-get."""
    lists = re.findall(r"debian: ([a-z0-9 -]+?) *\}|--no-install-recommends ([a-z0-9 -]+)\n", text)
    return {word for each in lists for words in each for word in words.split()}


def test_the_workflows_name_environments_that_exist() -> None:
    """A renamed environment is renamed there too, and each that proves something is run by one of them."""
    named = named_in_workflows()
    assert named <= environments()
    for factor in re.findall(r"environments: (py3\d+)", WORKFLOWS["test"]):
        assert any(name.startswith(f"{factor}-") for name in environments())
    # The demo is run by the tests of "integration".
    alone = {name for name in environments() if not name.startswith(("py3", "."))} - {"demo"}
    assert alone <= named


def test_what_ci_run_runs_is_run_by_the_workflows() -> None:
    """The one command and the workflows prove the same."""
    (runs,) = re.findall(r"for arguments in (.+); do", CI_RUN)
    words = {word for run in shlex.split(runs) for word in run.replace(",", " ").split()} - {"run", "-e"}
    assert words
    assert words <= environments() & named_in_workflows()


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
    assert {"lint", "interop", "mpi-mpich", "py313-udp", "integration"} <= named_in_workflows()
    assert debian_packages("x --no-install-recommends a b-c\n { e: f, debian: d e }") == {
        "a",
        "b-c",
        "d",
        "e",
    }
