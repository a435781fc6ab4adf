"""``tools/release.py``: a tag is released only if version and changelog say the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CHANGELOG = (
    "# Changelog\n\n## [1.2.0] - 2026-11-21\n\n- Reads faster.\n\n## [1.1.0] - 2026-10-01\n\n- First.\n"
)


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A tree with one package, bench-rig 1.2.0."""
    package = tmp_path / "packages" / "bench-rig"
    (package / "src" / "bench_rig").mkdir(parents=True)
    (package / "pyproject.toml").write_text('[project]\nname = "bench-rig"\n')
    (package / "src" / "bench_rig" / "_version.py").write_text('__version__ = "1.2.0"\n')
    (package / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_a_fitting_tag_names_package_directory_and_version(release_tool: ModuleType, toy: Path) -> None:
    """Tag, version and newest heading agree: the release is described."""
    assert release_tool.check("bench-rig-v1.2.0", toy) == ("bench-rig", "packages/bench-rig", "1.2.0")


@pytest.mark.parametrize(
    "heading", ["## 1.2.0", "## [1.2.0]", "## 1.2.0 (2026-11-21)", "## [Unreleased]\n\n## [1.2.0]"]
)
def test_usual_headings_are_understood(release_tool: ModuleType, toy: Path, heading: str) -> None:
    """Brackets and dates may be there or not, and an empty "Unreleased" may stand above."""
    (toy / "packages" / "bench-rig" / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n\n- A change.\n")
    assert release_tool.check("bench-rig-v1.2.0", toy).version == "1.2.0"


def test_a_release_candidate_may_be_tagged(release_tool: ModuleType, toy: Path) -> None:
    """Pre-release suffixes belong to the version."""
    package = toy / "packages" / "bench-rig"
    (package / "src" / "bench_rig" / "_version.py").write_text('__version__ = "2.0.0rc1"\n')
    (package / "CHANGELOG.md").write_text("## [2.0.0rc1] - 2026-12-01\n")
    assert release_tool.check("bench-rig-v2.0.0rc1", toy).version == "2.0.0rc1"


@pytest.mark.parametrize(
    ("tag", "complaint"),
    [
        ("v1.2.0", "not of the form"),
        ("bench-rig-1.2.0", "not of the form"),
        ("bench-rig-v1.2", "not of the form"),
        ("bench-rig-v1.2.0-final", "not of the form"),
        ("bench-rig-v1.2.0\n", "not of the form"),
        ("other-v1.2.0", "no package 'other' in the tree; there are: bench-rig"),
        ("bench-rig-v1.3.0", "_version.py says 1.2.0 and CHANGELOG.md says 1.2.0"),
    ],
)
def test_a_wrong_tag_is_refused(release_tool: ModuleType, toy: Path, tag: str, complaint: str) -> None:
    """The refusal says what does not fit."""
    with pytest.raises(release_tool.ReleaseError) as caught:
        release_tool.check(tag, toy)
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
    release_tool: ModuleType, toy: Path, file: str, text: str, complaint: str
) -> None:
    """A version or changelog that does not fit the tag stops the release, with the reason."""
    path = toy / "packages" / "bench-rig" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(release_tool.ReleaseError) as caught:
        release_tool.check("bench-rig-v1.2.0", toy)
    assert complaint in str(caught.value)


def test_a_missing_changelog_is_refused(release_tool: ModuleType, toy: Path) -> None:
    """A release without a changelog does not happen."""
    (toy / "packages" / "bench-rig" / "CHANGELOG.md").unlink()
    with pytest.raises(release_tool.ReleaseError, match=r"no CHANGELOG\.md"):
        release_tool.check("bench-rig-v1.2.0", toy)


def test_every_package_of_the_tree_could_be_tagged_with_its_version(
    release_tool: ModuleType, root: Path
) -> None:
    """Version and newest changelog heading of each package agree at any time, not only on release day."""
    for project in sorted((root / "packages").glob("*/pyproject.toml")):
        name = project.parent.name
        version = release_tool.declared_version(project.parent)
        assert release_tool.check(f"{name}-v{version}").directory == f"packages/{name}"


def test_the_command_line_prints_outputs_or_fails_with_one_sentence(root: Path) -> None:
    """The workflow reads key=value lines; a wrong tag ends with 1 and no traceback."""
    command = [sys.executable, str(root / "tools" / "release.py")]
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
