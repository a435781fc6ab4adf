"""Build wheel and sdist of every package; look into them; install wheels by path.

By path, so that no index can offer a namesake. ``python tools/wheels.py build DIRECTORY`` builds,
``python tools/wheels.py install DIRECTORY`` builds and installs into the running Python. hatchling must be
installed (and pip, to install); nothing is downloaded but third-party dependencies.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[1]

# For one command; a slow index may take minutes.
TIMEOUT_S = 600.0

# What a sdist holds at its top; hatchling adds the last one where git ignores files.
SDIST = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", "src", "tests"}
ADDED = {".gitignore"}


class DistributionError(Exception):
    """A wheel or sdist could not be made or installed, or does not hold what it must."""


class CommandFailed(DistributionError):
    """A command ended with an error, or not in time.

    ``output`` is all that it wrote, ``last_line`` the last line of it.
    """

    def __init__(self, command: Sequence[str], end: str, output: str) -> None:
        self.output = output
        self.last_line = (output.strip().splitlines() or ["nothing"])[-1].strip()
        super().__init__(f"{' '.join(command)} {end} and said: {self.last_line}")


def run(command: Sequence[str], cwd: Path | None = None) -> str:
    """Run a command and return what it wrote to standard output.

    Raises
    ------
    CommandFailed
        It did not end with 0, or not within ``TIMEOUT_S``.
    """
    environment = {**os.environ, "NO_COLOR": "1"}  # what it writes is compared
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(command, f"took longer than {TIMEOUT_S:.0f} s", "") from error
    if done.returncode != 0:
        raise CommandFailed(command, f"ended with {done.returncode}", done.stdout + done.stderr)
    return done.stdout


def package_directories(root: Path = ROOT) -> list[Path]:
    """Return the directories of all packages below ``root``, sorted by name."""
    return sorted(project.parent for project in (root / "packages").glob("*/pyproject.toml"))


def module_of(name: str) -> str:
    """Return the import name of a package, which is also the stem of its wheel and sdist."""
    return name.replace("-", "_")


def build(package: Path, target: Path, kinds: Iterable[str] = ("sdist", "wheel")) -> None:
    """Build wheel and sdist of one package into ``target``, with the hatchling of the running Python.

    Raises
    ------
    CommandFailed
        hatchling is missing, or refused.
    """
    chosen = [word for kind in kinds for word in ("--target", kind)]
    run([sys.executable, "-m", "hatchling", "build", "-d", str(target.resolve()), *chosen], cwd=package)


def pip_install(wheels: Iterable[Path], *options: str, python: str = sys.executable) -> None:
    """Install wheels, and what they need from an index, where ``python`` is; options are those of pip.

    All wheels of this tree that are needed must be given: a name alone would be looked up on an index.

    Raises
    ------
    CommandFailed
        pip is missing, or refused.
    """
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install"]
    run([*pip, "--quiet", *options, *(str(wheel) for wheel in wheels)])


def wheel_of(name: str, directory: Path) -> Path:
    """Return the one wheel of a package in ``directory``.

    Raises
    ------
    DistributionError
        There is none, or more than one.
    """
    return _only(directory, f"{module_of(name)}-*.whl")


def sdist_of(name: str, directory: Path) -> Path:
    """Return the one sdist of a package in ``directory``.

    Raises
    ------
    DistributionError
        There is none, or more than one.
    """
    return _only(directory, f"{module_of(name)}-*.tar.gz")


def _only(directory: Path, pattern: str) -> Path:
    found = list(directory.glob(pattern))
    if len(found) != 1:
        raise DistributionError(f"expected one {pattern}, found {len(found)}")
    return found[0]


def members_of(wheel: Path) -> dict[str, bytes]:
    """Return all files of a wheel: names and contents."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sources_of(package: Path) -> set[str]:
    """Return what belongs into the wheel of a package: its Python files and type markers, below ``src``."""
    source = package / "src"
    files = [*source.rglob("*.py"), *source.rglob("py.typed")]
    return {file.relative_to(source).as_posix() for file in files}


def check_wheel(wheel: Path, package: Path) -> str:
    """Return what was found in a wheel: the sources of its package, no tests, licence, and nothing else.

    Raises
    ------
    DistributionError
        Something is missing or too much.
    """
    members = members_of(wheel)
    name, version = wheel.name.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    wanted = sources_of(package) | {f"{name}/py.typed", f"{info}/licenses/LICENSE"}
    wanted |= {f"{info}/METADATA", f"{info}/RECORD", f"{info}/WHEEL"}
    # Commands are declared in there; only packages that have some carry it.
    stray = sorted(members.keys() - wanted - {f"{info}/entry_points.txt"})
    if stray:
        raise DistributionError(f"the wheel holds what does not belong into it: {', '.join(stray)}")
    missing = sorted(wanted - members.keys())
    if missing:
        raise DistributionError(f"the wheel lacks {', '.join(missing)}")
    tests = sorted(member for member in members if _is_test(member))
    if tests:
        raise DistributionError(f"the wheel holds tests: {', '.join(tests)}")
    if members[f"{info}/licenses/LICENSE"] != (package.parents[1] / "LICENSE").read_bytes():
        raise DistributionError("the licence in the wheel is not the LICENSE of the tree")
    return f"{len(members)} files: the sources, py.typed, LICENSE, no tests, nothing else"


def _is_test(member: str) -> bool:
    path = PurePosixPath(member)
    return "tests" in path.parts or path.name.startswith("test_") or path.name == "conftest.py"


def check_sdist(sdist: Path, package: Path, wheel: Path, scratch: Path) -> str:
    """Return what was found in a sdist: sources, tests, texts, no leftovers; it builds the same wheel.

    A distributor can build and test from it alone, and gets the bytes of the wheel. ``scratch`` is an empty
    directory.

    Raises
    ------
    DistributionError
        Something is missing or too much, or its wheel is another one.
    """
    stem = sdist.name.removesuffix(".tar.gz")
    with tarfile.open(sdist) as archive:
        members = {PurePosixPath(member.name) for member in archive if member.isfile()}
        archive.extractall(scratch, filter="data")
    inside = {PurePosixPath(*member.parts[1:]) for member in members}
    tops = {member.parts[0] for member in inside}
    stray = sorted(tops - SDIST - ADDED)
    stray += sorted(str(member) for member in inside if _is_leftover(member))
    if stray:
        raise DistributionError(f"the sdist holds what does not belong into it: {', '.join(stray)}")
    wanted = {f"src/{file}" for file in sources_of(package)}
    missing = sorted(SDIST - tops) + sorted(wanted - {str(member) for member in inside})
    if missing:
        raise DistributionError(f"the sdist lacks {', '.join(missing)}")
    tests = [member for member in inside if member.parts[0] == "tests" and member.name.startswith("test_")]
    if not tests:
        raise DistributionError("the sdist has no test_*.py in its tests")
    build(scratch / stem, scratch / "again", kinds=["wheel"])
    if members_of(_only(scratch / "again", "*.whl")) != members_of(wheel):
        raise DistributionError("the wheel built from the sdist is not the wheel built from the tree")
    return f"{len(inside)} files: the sources, {len(tests)} test files, the texts; builds the same wheel"


def _is_leftover(member: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") for part in member.parts) and str(member) not in ADDED
    return hidden or "__pycache__" in member.parts or member.suffix == ".pyc"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["build", "install"])
    parser.add_argument("directory", type=Path, help="where wheels and sdists go; old ones there are removed")
    arguments = parser.parse_args()
    directory = arguments.directory
    directory.mkdir(parents=True, exist_ok=True)
    for old in [*directory.glob("*.whl"), *directory.glob("*.tar.gz")]:
        old.unlink()
    try:
        for package in package_directories():
            build(package, directory)
        if arguments.action == "install":
            wheels = sorted(directory.glob("*.whl"))
            # The same version may hold other code than last time, so the wheels are forced in; their
            # dependencies follow.
            pip_install(wheels, "--force-reinstall", "--no-deps")
            pip_install(wheels)
    except CommandFailed as error:
        sys.stderr.write(error.output)
        raise SystemExit(f"tools/wheels.py: {error}") from None


if __name__ == "__main__":
    main()
