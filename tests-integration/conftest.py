"""Paths of the tree, its tools as modules, and a toy tree with packages that could be released."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Seconds of a test here that names no limit: its programs may get little of a machine that others use, too.
LIMIT_S = 480.0

# The tools import each other by name, and so does what tests share; last on the path: they hide nothing.
sys.path += [str(ROOT / "tools"), str(ROOT / "tests-integration")]

PROJECT = """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{name}"
description = "A toy"
readme = "README.md"
requires-python = ">=3.11"
license = "BSD-3-Clause"
license-files = ["LICENSE"]
dynamic = ["version"]
dependencies = [{dependencies}]

[project.scripts]
{name} = "{module}.__main__:main"

[tool.hatch.version]
path = "src/{module}/_version.py"

[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]

[tool.hatch.build.targets.sdist]
include = ["/src", "/tests", "/CHANGELOG.md", "/LICENSE", "/README.md"]
"""
COMMAND = '''
import argparse

from {module} import __version__


def main():
    """Show version or help."""
    parser = argparse.ArgumentParser(prog="{name}")
    parser.add_argument("--version", action="version", version=__version__)
    parser.parse_args()


if __name__ == "__main__":
    main()
'''


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder, but for those of folders in it, their limit."""
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.fixture(scope="session", autouse=True)
def interrupts_reach_programs() -> Iterator[None]:
    """Let programs that tests start be interrupted, also if the tests run as a job in the background.

    A shell starts such a job with SIGINT ignored, and ignored signals are inherited.
    """
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the tree."""
    return ROOT


@pytest.fixture(scope="session")
def release_tool() -> ModuleType:
    """``tools/release.py`` as a module."""
    return importlib.import_module("release")


@pytest.fixture(scope="session")
def wheels_tool() -> ModuleType:
    """``tools/wheels.py`` as a module."""
    return importlib.import_module("wheels")


class ToyTree:
    """A tree in git: bench-rig 1.2.0, which could be released, and base-frame 1.0.0, on which it is built."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        (root / "LICENSE").write_text("Do what you like.\n")
        self._add("base-frame", "1.0.0", "", ">>> import base_frame\n>>> base_frame.double(2)\n4\n")
        self.write("base-frame", "src/base_frame/double.py", "def double(number):\n    return 2 * number\n")
        self.append("base-frame", "src/base_frame/__init__.py", "from base_frame.double import double\n")
        example = ">>> import bench_rig\n>>> bench_rig.quadruple(2)\n8\n"
        self._add("bench-rig", "1.2.0", '"base-frame>=1,<2"', example)
        text = (
            "from base_frame import double\n\n\ndef quadruple(number):\n    return double(double(number))\n"
        )
        self.append("bench-rig", "src/bench_rig/__init__.py", text)
        self.git("init", "--quiet")

    def _add(self, name: str, version: str, dependencies: str, readme: str) -> None:
        module = name.replace("-", "_")
        names = {"name": name, "module": module, "dependencies": dependencies}
        files = {
            "pyproject.toml": PROJECT.format(**names),
            "README.md": f"# {name}\n\n{readme}",
            "CHANGELOG.md": f"# Changelog\n\n## [{version}] - 2026-11-21\n\n- A change.\n",
            "LICENSE": (self.root / "LICENSE").read_text(),
            f"src/{module}/__init__.py": f"from {module}._version import __version__\n",
            f"src/{module}/__main__.py": COMMAND.format(**names),
            f"src/{module}/_version.py": f'__version__ = "{version}"\n',
            f"src/{module}/py.typed": "",
            "tests/test_import.py": f"import {module}\n",
        }
        for file, text in files.items():
            self.write(name, file, text)

    def package(self, name: str) -> Path:
        """The directory of a package."""
        return self.root / "packages" / name

    def write(self, name: str, file: str, text: str) -> None:
        """Write a file of a package."""
        path = self.package(name) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def append(self, name: str, file: str, text: str) -> None:
        """Write at the end of a file of a package."""
        self.write(name, file, (self.package(name) / file).read_text() + text)

    def replace(self, name: str, file: str, old: str, new: str) -> None:
        """Replace the one place of a text in a file of a package."""
        text = (self.package(name) / file).read_text()
        assert text.count(old) == 1
        self.write(name, file, text.replace(old, new))

    def git(self, *arguments: str) -> None:
        """Run git in the tree, untouched by the settings of who runs it."""
        settings = {"user.name": "Toy", "user.email": "toy@example.org", "commit.gpgSign": "false"}
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        subprocess.run(["git", *options, *arguments], cwd=self.root, check=True, capture_output=True)

    def tag(self, *tags: str) -> None:
        """Commit the tree as it is, and name the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", tags[0])
        for tag in tags:
            self.git("tag", "--no-sign", tag)


@pytest.fixture
def toy(tmp_path: Path) -> ToyTree:
    """A tree of two packages of which nothing is wrong."""
    return ToyTree(tmp_path / "toy")
