"""The oldest and the newest dependencies: declared bounds, constraints and environments say the same."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "tools" / "constraints-lowest.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")

# Not ours, and held down because something that is ours cannot live with newer ones.
COMPANIONS = {"pyparsing"}


def projects() -> list[dict]:
    return [
        tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        for file in sorted((ROOT / "packages").glob("*/pyproject.toml"))
    ]


def declared() -> list[tuple[str, Requirement]]:
    """Each package's third parties, extras included."""
    ours = {project["name"] for project in projects()}
    found = []
    for project in projects():
        extras = project.get("optional-dependencies", {}).values()
        for text in [*project.get("dependencies", []), *(text for extra in extras for text in extra)]:
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) not in ours:
                found.append((project["name"], requirement))
    return found


def constraints() -> list[Requirement]:
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pin(requirement: Requirement) -> Version:
    (specifier,) = requirement.specifier
    assert specifier.operator == "==", requirement
    return Version(specifier.version)


def applies(requirement: Requirement, python: str) -> bool:
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.0"}
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize(
    ("package", "requirement"), [pytest.param(*each, id=f"{each[0]}: {each[1]}") for each in declared()]
)
def test_the_lowest_environment_installs_the_declared_lower_bound(
    package: str, requirement: Requirement
) -> None:
    """What a package promises to work with at least is what is tested, neither older nor newer."""
    bounds = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
    assert len(bounds) == 1, f"{package} declares no lower bound for {requirement.name}"
    pins = [each for each in constraints() if each.name == requirement.name]
    assert pins, f"{CONSTRAINTS.name} has no line for {requirement.name}"
    assert pin(pins[0]) == bounds[0]
    assert all(requirement.specifier.contains(pin(each)) for each in pins)


@pytest.mark.parametrize("python", PYTHONS)
def test_on_every_python_each_dependency_has_one_lowest_version(python: str) -> None:
    """No Python is forgotten, and none gets two answers; newer Pythons get no older versions."""
    names = {requirement.name for _, requirement in declared()}
    active = [each for each in constraints() if applies(each, python)]
    assert sorted(each.name for each in active if each.name not in COMPANIONS) == sorted(names)
    older = [each for each in constraints() if applies(each, PYTHONS[0])]
    for each in active:
        assert all(pin(each) >= pin(other) for other in older if other.name == each.name)


def test_the_constraints_hold_nothing_down_that_no_package_declares() -> None:
    """A dependency that went away leaves no line behind."""
    names = {requirement.name for _, requirement in declared()}
    assert {each.name for each in constraints()} <= names | COMPANIONS


def environments() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(
        interpolation=None, comment_prefixes=("#",), inline_comment_prefixes=None
    )
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return parser


def test_only_the_lowest_environments_are_constrained() -> None:
    """All others take the newest versions that the index has."""
    found = {
        (section, line)
        for section, settings in environments().items()
        for line in settings.get("constraints", "").splitlines()
        if line.strip()
    }
    file = "{tox_root}/tools/constraints-lowest.txt"
    # Of the two environments with MPI, one has the oldest mpi4py.
    mpi = ("testenv:mpi-{openmpi,mpich}", f"mpich: {file}")
    assert mpi in found
    assert all(line == f"lowest: {file}" for _, line in found - {mpi})
    assert len(found) > 1, "the environments of each package have a -lowest variant"
    assert "constraint" not in "".join(
        settings.get("set_env", "").lower() for settings in environments().values()
    )


def test_no_environment_holds_a_dependency_of_a_package_down() -> None:
    """Names and lower bounds only, so that the newest version is installed."""
    names = {requirement.name for _, requirement in declared()}
    seen = set()
    for section, settings in environments().items():
        for line in settings.get("deps", "").splitlines():
            text = re.sub(r"^[a-z!,]+: ", "", line.strip())
            if not re.match(r"[A-Za-z]", text) or Requirement(text).name not in names:
                continue
            seen.add(Requirement(text).name)
            operators = {each.operator for each in Requirement(text).specifier}
            assert operators <= {">="}, f"[{section}] {line}"
    assert seen >= {"numpy", "matplotlib", "zeroconf"}
