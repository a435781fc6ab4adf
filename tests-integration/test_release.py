"""``tools/release.py``: what must hold before a package is published, and what each fault is called."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import ToyTree

# Wheels are built and installed, on a machine that may be busy.
pytestmark = pytest.mark.timeout(600)

STEPS = ["tag", "build", "wheel", "sdist", "metadata", "install", "readme", "command", "earlier"]

CHANGELOG = (
    "# Changelog\n\n## [1.2.0] - 2026-11-21\n\n- Reads faster.\n\n## [1.1.0] - 2026-10-01\n\n- First.\n"
)


def test_a_fitting_tag_names_package_directory_and_version(release_tool: ModuleType, toy: ToyTree) -> None:
    """Tag, version and newest heading agree: the release is described."""
    assert release_tool.check_tag("bench-rig-v1.2.0", toy.root) == (
        "bench-rig",
        "packages/bench-rig",
        "1.2.0",
    )


@pytest.mark.parametrize(
    "heading", ["## 1.2.0", "## [1.2.0]", "## 1.2.0 (2026-11-21)", "## [Unreleased]\n\n## [1.2.0]"]
)
def test_usual_headings_are_understood(release_tool: ModuleType, toy: ToyTree, heading: str) -> None:
    """Brackets and dates may be there or not, and an empty "Unreleased" may stand above."""
    toy.write("bench-rig", "CHANGELOG.md", f"# Changelog\n\n{heading}\n\n- A change.\n")
    assert release_tool.check_tag("bench-rig-v1.2.0", toy.root).version == "1.2.0"


def test_a_release_candidate_may_be_tagged(release_tool: ModuleType, toy: ToyTree) -> None:
    """Pre-release suffixes belong to the version."""
    toy.write("bench-rig", "src/bench_rig/_version.py", '__version__ = "2.0.0rc1"\n')
    toy.write("bench-rig", "CHANGELOG.md", "## [2.0.0rc1] - 2026-12-01\n")
    assert release_tool.check_tag("bench-rig-v2.0.0rc1", toy.root).version == "2.0.0rc1"


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [
        ("v1.2.0", "not of the form"),
        ("bench-rig-1.2.0", "not of the form"),
        ("bench-rig-v1.2", "not of the form"),
        ("bench-rig-v1.2.0-final", "not of the form"),
        ("bench-rig-v1.2.0\n", "not of the form"),
        ("other-v1.2.0", "no package 'other' in the tree; there are: base-frame, bench-rig"),
        ("bench-rig-v1.3.0", "_version.py says 1.2.0 and CHANGELOG.md says 1.2.0"),
    ],
)
def test_a_wrong_tag_is_refused(release_tool: ModuleType, toy: ToyTree, tag: str, complaint: str) -> None:
    """The refusal says what does not fit."""
    with pytest.raises(release_tool.ReleaseError) as caught:
        release_tool.check_tag(tag, toy.root)
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("src/bench_rig/_version.py", '__version__ = "1.1.9"\n', "_version.py says 1.1.9"),
        ("src/bench_rig/_version.py", "", "has no line"),
        ("src/second/_version.py", '__version__ = "1.2.0"\n', "found 2"),
        ("CHANGELOG.md", CHANGELOG.replace("1.2.0", "1.2.1"), "CHANGELOG.md says 1.2.1"),
        (
            "CHANGELOG.md",
            "## Unreleased\n\n- Not yet.\n\n" + CHANGELOG,
            "still has entries under 'Unreleased'",
        ),
        ("CHANGELOG.md", "# Changelog\n", "no version heading"),
        ("CHANGELOG.md", "## Soon\n\n" + CHANGELOG, "'Soon' has no version"),
    ],
)
def test_a_wrong_tree_is_refused(
    release_tool: ModuleType, toy: ToyTree, file: str, text: str, complaint: str
) -> None:
    """A version or changelog that does not fit the tag stops the release, with the reason."""
    toy.write("bench-rig", file, text)
    with pytest.raises(release_tool.ReleaseError) as caught:
        release_tool.check_tag("bench-rig-v1.2.0", toy.root)
    assert complaint in str(caught.value)


def test_a_missing_changelog_is_refused(release_tool: ModuleType, toy: ToyTree) -> None:
    """A release without a changelog does not happen."""
    (toy.package("bench-rig") / "CHANGELOG.md").unlink()
    with pytest.raises(release_tool.ReleaseError, match=r"no CHANGELOG\.md"):
        release_tool.check_tag("bench-rig-v1.2.0", toy.root)


def test_the_steps_of_a_toy_that_could_be_released(
    release_tool: ModuleType, toy: ToyTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is wrong: each step says what it found, and the files are kept for publishing."""
    assert release_tool.check_all(["bench-rig"], toy.root, tmp_path / "kept")
    said, complaints = capsys.readouterr()
    lines = [line.split(maxsplit=2) for line in said.splitlines()]
    assert [line[:2] for line in lines] == [["bench-rig", step] for step in STEPS]
    found = {step: text for _, step, text in lines}
    assert found["build"] == "bench_rig-1.2.0-py3-none-any.whl, bench_rig-1.2.0.tar.gz"
    assert found["install"].endswith(": base-frame 1.0.0, bench-rig 1.2.0")
    assert found["command"] == "bench-rig --version, --help and python -m bench_rig --version, --help"
    assert found["earlier"].startswith("no tag base-frame-v*")
    assert complaints == ""
    kept = sorted(file.name for file in (tmp_path / "kept").iterdir())
    assert kept == ["bench_rig-1.2.0-py3-none-any.whl", "bench_rig-1.2.0.tar.gz"]


# What is planted in bench-rig (file, old text, new text), and what is said of it.
PLANTED = {
    "version and changelog differ": ("CHANGELOG.md", "1.2.0", "1.2.1", "CHANGELOG.md says 1.2.1"),
    "does not build": (
        "pyproject.toml",
        "_version.py",
        "_versio.py",
        "hatchling build .* ended with 1 and said: .",
    ),
    "type marker is not shipped": (
        "pyproject.toml",
        "wheel]",
        'wheel]\nexclude = ["py.typed"]',
        "lacks bench_rig/py.typed",
    ),
    "sdist without tests": ("pyproject.toml", '"/tests", ', "", "the sdist lacks tests"),
    "description is not the README": (
        "pyproject.toml",
        'readme = "README.md"',
        'readme = { text = "Short.", content-type = "text/markdown" }',
        "the description in the metadata is not that of README.md",
    ),
    "another licence in the metadata": (
        "pyproject.toml",
        'license = "BSD-3-Clause"\nlicense-files = ["LICENSE"]',
        'license = { text = "ours" }',
        "the licence in the metadata is None",
    ),
    "needs what it does not declare": (
        "src/bench_rig/__init__.py",
        "from base_frame",
        "import hatchling\nfrom base_frame",
        "installed alone, it does not import: ModuleNotFoundError: No module named 'hatchling'$",
    ),
    "shows another version": (
        "src/bench_rig/__init__.py",
        "from base_frame",
        "__version__ = '9.0.0'\nfrom base_frame",
        "the package shows version 9.0.0, not 1.2.0",
    ),
    "README is wrong": ("README.md", "\n8\n", "\n9\n", "README.md does not run .*: line 4 fails$"),
    "README needs more than is declared": (
        "README.md",
        ">>> import bench_rig\n",
        ">>> import bench_rig, hatchling\n",
        "line 3 fails: ModuleNotFoundError: No module named 'hatchling'",
    ),
    "command shows another version": (
        "src/bench_rig/__main__.py",
        "version=__version__",
        "version='1.2'",
        "bench-rig --version says '1.2', not 1.2.0",
    ),
    "command shows no help": (
        "src/bench_rig/__main__.py",
        'prog="bench-rig"',
        "usage=argparse.SUPPRESS",
        "bench-rig --help shows no usage",
    ),
}


@pytest.mark.parametrize(("file", "old", "new", "complaint"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_told_in_one_sentence(
    release_tool: ModuleType,
    toy: ToyTree,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
    complaint: str,
) -> None:
    """The first fault ends the steps of its package, is named on standard error, and nothing is kept."""
    toy.replace("bench-rig", file, old, new)
    assert not release_tool.check_all(["bench-rig"], toy.root, tmp_path / "kept")
    said, complaints = capsys.readouterr()
    (line,) = complaints.splitlines()
    assert line.startswith("tools/release.py: bench-rig: ")
    assert re.search(complaint, line), line
    assert len(said.splitlines()) < len(STEPS)
    assert not (tmp_path / "kept").exists()


def test_the_other_packages_are_checked_after_a_fault(
    release_tool: ModuleType, toy: ToyTree, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence for each package with a fault, all steps of the others."""
    (toy.package("bench-rig") / "CHANGELOG.md").unlink()
    assert not release_tool.check_all(["bench-rig", "no-such", "base-frame"], toy.root)
    said, complaints = capsys.readouterr()
    # Built on nothing of the tree, so there is no earlier release to run with.
    assert [line.split()[:2] for line in said.splitlines()] == [["base-frame", step] for step in STEPS[:-1]]
    assert [line.split(": ", 1)[1] for line in complaints.splitlines()] == [
        "bench-rig: bench-rig: no CHANGELOG.md",
        "no-such: no package 'no-such' in the tree; there are: base-frame, bench-rig",
    ]


def earlier(release_tool: ModuleType, toy: ToyTree) -> list[str]:
    """What the last step says."""
    return [found for step, found in release_tool.check("bench-rig", toy.root) if step == "earlier"]


def test_a_package_runs_with_the_newest_release_that_it_admits(
    release_tool: ModuleType, toy: ToyTree
) -> None:
    """Tags that are newer than admitted, candidates, or no releases do not count; 1.10 is newer than 1.9."""
    version = "src/base_frame/_version.py"
    toy.replace("base-frame", version, "1.0.0", "1.10.0")
    toy.tag("base-frame-v1.10.0")
    toy.replace("base-frame", version, "1.10.0", "1.9.0")
    toy.write("base-frame", "src/base_frame/double.py", "raise ImportError('not this one')\n")
    toy.tag(
        "base-frame-v1.9.0", "base-frame-v2.0.0", "base-frame-v1.11.0rc1", "base-frame-v1.12", "base-frame-v"
    )
    toy.replace("base-frame", version, "1.9.0", "1.0.0")
    toy.write("base-frame", "src/base_frame/double.py", "def double(number):\n    return 2 * number\n")
    assert earlier(release_tool, toy) == ["README.md runs with the release base-frame-v1.10.0 too"]


def test_a_package_that_needs_more_than_the_release_has_is_refused(
    release_tool: ModuleType, toy: ToyTree
) -> None:
    """It runs with what lies in the tree, but whoever installs it gets the release."""
    toy.replace("base-frame", "src/base_frame/__init__.py", "import double\n", "import double as twice\n")
    toy.tag("base-frame-v1.0.0")
    toy.replace("base-frame", "src/base_frame/__init__.py", "import double as twice\n", "import double\n")
    with pytest.raises(release_tool.DistributionError) as caught:
        earlier(release_tool, toy)
    assert str(caught.value).startswith("with the release base-frame-v1.0.0: README.md does not run")


def test_earlier_releases_that_are_not_admitted_are_told(release_tool: ModuleType, toy: ToyTree) -> None:
    """Then there is nothing yet to run with, and this is said."""
    toy.tag("base-frame-v0.9.0", "base-frame-v2.0.0")
    assert earlier(release_tool, toy) == [
        "no tag base-frame-v* that base-frame<2,>=1 admits: no release of it to run with yet"
    ]


def test_a_tree_without_history_is_refused(
    release_tool: ModuleType, toy: ToyTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without git nobody knows whether there are earlier releases, and this is not taken for none."""
    shutil.rmtree(toy.root / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(toy.root.parent))
    with pytest.raises(release_tool.DistributionError, match="said: fatal: not a git repository"):
        earlier(release_tool, toy)


def test_every_package_of_the_tree_could_be_released(root: Path) -> None:
    """All steps of all packages, from the command line, at any time and not only on release day."""
    command = [sys.executable, str(root / "tools" / "release.py"), "check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    lines = [line.split()[:2] for line in done.stdout.splitlines()]
    packages = sorted(project.parent.name for project in (root / "packages").glob("*/pyproject.toml"))
    # wireframe is built on nothing.
    steps = {package: STEPS[:-1] if package == "wireframe" else STEPS for package in packages}
    assert lines == [[package, step] for package in packages for step in steps[package]]


def test_the_command_line_prints_outputs_or_fails_with_one_sentence(root: Path) -> None:
    """The workflow reads key=value lines; a wrong tag ends with 1 and no traceback."""
    command = [sys.executable, "-S", str(root / "tools" / "release.py"), "tag"]
    wrong = subprocess.run([*command, "wireframe-v99.0.0"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert wrong.stdout == ""
    assert wrong.stderr.startswith(
        "tools/release.py: tag wireframe-v99.0.0 says 99.0.0, but in wireframe _version.py"
    )
    version = (
        (root / "packages/wireframe/src/wireframe/_version.py").read_text(encoding="utf-8").split('"')[1]
    )
    right = subprocess.run([*command, f"wireframe-v{version}"], capture_output=True, text=True, check=False)
    assert (right.returncode, right.stderr) == (0, "")
    assert right.stdout.splitlines() == [
        "package=wireframe",
        "directory=packages/wireframe",
        f"version={version}",
    ]
