"""``tools/wheels.py``: what a wheel and a sdist must hold, and what each fault is called."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import ToyTree

# Wheels are built and installed, on a machine that may be busy.
pytestmark = pytest.mark.timeout(600)


def look(tool: ModuleType, toy: ToyTree, scratch: Path) -> tuple[str, str]:
    """Build base-frame and look into its wheel and its sdist."""
    package = toy.package("base-frame")
    tool.build(package, scratch)
    wheel, sdist = tool.wheel_of("base-frame", scratch), tool.sdist_of("base-frame", scratch)
    (scratch / "sdist").mkdir()
    return tool.check_wheel(wheel, package), tool.check_sdist(sdist, package, wheel, scratch / "sdist")


def test_what_is_found_is_told(wheels_tool: ModuleType, toy: ToyTree, tmp_path: Path) -> None:
    """Nothing is wrong, and the line says how much was looked at."""
    assert look(wheels_tool, toy, tmp_path) == (
        "10 files: the sources, py.typed, LICENSE, no tests, nothing else",
        "11 files: the sources, 1 test files, the texts; builds the same wheel",
    )


WHEEL = '[tool.hatch.build.targets.wheel]\npackages = ["src/base_frame"]'
SDIST = '"/README.md"]'
# File of base-frame, its old text (None: a new file) and new text, and what is said of it.
PLANTED = {
    "a note in the wheel": (
        "src/base_frame/notes.txt",
        None,
        "-",
        "does not belong into it: base_frame/notes.txt",
    ),
    "tests beside the module": (
        "pyproject.toml",
        WHEEL,
        WHEEL.replace('["src/base_frame"]', '["src/base_frame", "tests"]'),
        "does not belong into it: tests/conftest.py, tests/test_import.py",
    ),
    "tests in the module": (
        "src/base_frame/test_double.py",
        None,
        "-",
        "the wheel holds tests: base_frame/test_double.py",
    ),
    "a module left out": (
        "pyproject.toml",
        WHEEL,
        WHEEL + '\nexclude = ["double.py"]',
        "the wheel lacks base_frame/double.py",
    ),
    "another licence": ("LICENSE", "Do what", "Do not what", "is not the LICENSE of the tree"),
    "no licence": ("pyproject.toml", '["LICENSE"]', "[]", "dist-info/licenses/LICENSE"),
    "a file beside the sources": (
        "pyproject.toml",
        SDIST,
        '"/README.md", "/notes.txt"]',
        "does not belong into it: notes",
    ),
    "a cache in the tests": (
        "tests/.cache/left.txt",
        None,
        "-",
        "the sdist holds what does not belong into it: tests/.cache/left.txt",
    ),
    "a changelog left out": ("pyproject.toml", '"/CHANGELOG.md", ', "", "the sdist lacks CHANGELOG.md"),
    "tests without a test": (
        "pyproject.toml",
        SDIST,
        '"/README.md"]\nexclude = ["test_*.py"]',
        "the sdist has no test_",
    ),
    "a module left out of the sdist": (
        "pyproject.toml",
        SDIST,
        '"/README.md"]\nexclude = ["double.py"]',
        "the sdist lacks src/base_frame/double.py",
    ),
}


@pytest.mark.parametrize(("file", "old", "new", "complaint"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_named(
    wheels_tool: ModuleType,
    toy: ToyTree,
    tmp_path: Path,
    file: str,
    old: str | None,
    new: str,
    complaint: str,
) -> None:
    """Too much or too little in either file is refused, and the sentence says which."""
    toy.write("base-frame", "notes.txt", "Not for others.\n")
    toy.write("base-frame", "tests/conftest.py", "")
    if old is None:
        toy.write("base-frame", file, new)
    else:
        toy.replace("base-frame", file, old, new)
    with pytest.raises(wheels_tool.DistributionError) as caught:
        look(wheels_tool, toy, tmp_path)
    assert complaint in str(caught.value)


def test_a_sdist_that_builds_another_wheel_is_refused(
    wheels_tool: ModuleType, toy: ToyTree, tmp_path: Path
) -> None:
    """One byte is enough."""
    package = toy.package("base-frame")
    wheels_tool.build(package, tmp_path)
    wheel, sdist = wheels_tool.wheel_of("base-frame", tmp_path), wheels_tool.sdist_of("base-frame", tmp_path)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("base_frame/more.py", " ")
    (tmp_path / "sdist").mkdir()
    with pytest.raises(wheels_tool.DistributionError, match="is not the wheel built from the tree"):
        wheels_tool.check_sdist(sdist, package, wheel, tmp_path / "sdist")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("Version: 1.0.0", "Version: one", "the metadata are not valid: 'one' is invalid for 'version'"),
        ("Version: 1.0.0", "Version: 1.0.1", "the version in the metadata is '1.0.1', not '1.0.0'"),
        ("Name: base-frame", "Name: base", "the name in the metadata is 'base', not 'base-frame'"),
        ("text/markdown", "text/plain", "the type of the description in the metadata is 'text/plain'"),
        ("BSD-3-Clause", "MIT", "the licence in the metadata is 'MIT', not 'BSD-3-Clause'"),
        ("# base-frame", "# Another", "the description in the metadata is not that of README.md"),
    ],
)
def test_wrong_metadata_are_named(
    wheels_tool: ModuleType, toy: ToyTree, tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    """What the index would show or refuse is compared with what the tree says."""
    steps = importlib.import_module("release_steps")
    package = toy.package("base-frame")
    wheels_tool.build(package, tmp_path, kinds=["wheel"])
    members = wheels_tool.members_of(wheels_tool.wheel_of("base-frame", tmp_path))
    (name,) = (name for name in members if name.endswith("METADATA"))
    text = members[name].decode()
    assert text.count(old) == 1
    with zipfile.ZipFile(tmp_path / "wrong.whl", "w") as archive:
        archive.writestr(name, text.replace(old, new))
    project = {"name": "base-frame", "license": "BSD-3-Clause", "description": "A toy"}
    readme = (package / "README.md").read_text()
    with pytest.raises(wheels_tool.DistributionError) as caught:
        steps.check_metadata(tmp_path / "wrong.whl", project, "1.0.0", readme)
    assert complaint in str(caught.value)


def test_what_came_with_a_package_must_be_declared(
    wheels_tool: ModuleType, toy: ToyTree, tmp_path: Path
) -> None:
    """Also a dependency of a dependency, which the package might use by accident."""
    bare = importlib.import_module("bare_environment").BareEnvironment(tmp_path)
    for name in ("base-frame", "bench-rig"):
        wheels_tool.build(toy.package(name), tmp_path, kinds=["wheel"])
    bare.install(list(tmp_path.glob("*.whl")))
    with pytest.raises(wheels_tool.DistributionError) as caught:
        bare.check_import("bench-rig", "1.2.0", set())
    assert str(caught.value) == "installed are base-frame, bench-rig; declared are bench-rig"


def test_the_command_line_builds_all_and_removes_old_ones(root: Path, tmp_path: Path) -> None:
    """What lies in the directory afterwards is this tree and nothing older."""
    (tmp_path / "wireframe-0.0.1-py3-none-any.whl").write_bytes(b"old")
    command = [sys.executable, str(root / "tools" / "wheels.py"), "build", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    packages = sorted(
        file.parent.name.replace("-", "_") for file in (root / "packages").glob("*/pyproject.toml")
    )
    for pattern in ("*.whl", "*.tar.gz"):
        assert sorted(file.name.split("-")[0] for file in tmp_path.glob(pattern)) == packages
    assert not (tmp_path / "wireframe-0.0.1-py3-none-any.whl").exists()


def test_a_command_that_takes_too_long_or_fails_says_so(
    wheels_tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence with the last line of what it wrote; everything it wrote is kept."""
    with pytest.raises(wheels_tool.CommandFailed, match=r"ended with 3 and said: no such thing$") as caught:
        wheels_tool.run([sys.executable, "-c", "import sys; print('first\\nno such thing'); sys.exit(3)"])
    assert caught.value.output == "first\nno such thing\n"
    monkeypatch.setattr(wheels_tool, "TIMEOUT_S", 0.2)
    with pytest.raises(wheels_tool.CommandFailed, match="took longer than 0 s and said: nothing"):
        wheels_tool.run([sys.executable, "-c", "import time; time.sleep(60)"])
