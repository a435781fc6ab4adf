"""Built wheels and sdists: complete, and usable alone with what they declare."""

from __future__ import annotations

import email
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = {
    project["name"]: project
    for file in sorted((ROOT / "packages").glob("*/pyproject.toml"))
    for project in [tomllib.loads(file.read_text(encoding="utf-8"))["project"]]
}

# Run inside the new environment: versions, and everything that is installed there.
REPORT = """
import importlib, importlib.metadata, json, sys
module = importlib.import_module(sys.argv[1])
print(json.dumps({
    "version": module.__version__,
    "file": module.__file__,
    "installed": sorted(each.metadata["Name"] for each in importlib.metadata.distributions()),
}))
"""

every_package = pytest.mark.parametrize("name", PROJECTS)


def module_of(name: str) -> str:
    """The import name, which is also the stem of wheel and sdist."""
    return name.replace("-", "_")


def version_of(name: str) -> str:
    """The version the source says."""
    file = ROOT / "packages" / name / "src" / module_of(name) / "_version.py"
    return file.read_text(encoding="utf-8").split('"')[1]


def wheel_of(name: str, directory: Path) -> Path:
    """The one wheel of a package."""
    (wheel,) = directory.glob(f"{module_of(name)}-*.whl")
    return wheel


def members_of(wheel: Path) -> dict[str, bytes]:
    """All files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@every_package
def test_wheel_carries_version_readme_licence_and_type_marker(name: str, distributions: Path) -> None:
    """Whoever has only the wheel has everything a user needs, and nothing but the package."""
    module, version = module_of(name), version_of(name)
    members = members_of(wheel_of(name, distributions))
    info = f"{module}-{version}.dist-info"
    assert {member.partition("/")[0] for member in members} == {module, info}
    assert f"{module}/py.typed" in members
    licence = (ROOT / "LICENSE").read_bytes()
    assert members[f"{info}/licenses/LICENSE"] == licence
    metadata = email.message_from_bytes(members[f"{info}/METADATA"])
    readme = (ROOT / "packages" / name / "README.md").read_text(encoding="utf-8")
    assert (metadata["Name"], metadata["Version"]) == (name, version)
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert readme.strip() in members[f"{info}/METADATA"].decode("utf-8").replace("\r\n", "\n")


@every_package
def test_sdist_carries_tests_and_builds_the_same_wheel(
    name: str, distributions: Path, tmp_path: Path
) -> None:
    """A distributor can build and test from the sdist alone, and gets the bytes we ship."""
    stem = f"{module_of(name)}-{version_of(name)}"
    with tarfile.open(distributions / f"{stem}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = tmp_path / stem
    for needed in ("README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", "pyproject.toml", "tests"):
        assert (source / needed).exists(), needed
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    assert members_of(wheel_of(name, tmp_path / "dist")) == members_of(wheel_of(name, distributions))


@pytest.mark.timeout(300)
@every_package
def test_wheel_works_alone_with_only_what_it_declares(name: str, distributions: Path, tmp_path: Path) -> None:
    """In a bare environment the package imports and shows its version; nothing undeclared came with it."""
    home = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    declared = {
        re.sub(r"[-_.]+", "-", match[0]).lower()
        for text in PROJECTS[name].get("dependencies", [])
        if (match := re.match(r"[A-Za-z0-9._-]+", text))
    }
    # Ours by path, so that only third parties are looked up by name.
    wheels = {str(wheel_of(each, distributions)) for each in PROJECTS if each == name or each in declared}
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "--disable-pip-version-check",
        "install",
        "--quiet",
    ]
    subprocess.run([*pip, *sorted(wheels)], check=True)
    done = subprocess.run(
        [str(python), "-I", "-c", REPORT, module_of(name)], check=True, capture_output=True, text=True
    )
    report = json.loads(done.stdout)
    assert report["version"] == version_of(name)
    assert Path(report["file"]).is_relative_to(home)
    assert set(report["installed"]) == {name} | declared
