"""Check a release tag: ``wireframe-v1.2.0`` must equal ``_version.py`` and the newest changelog heading.

``python tools/release.py TAG`` prints ``package=``, ``directory=`` and ``version=`` lines for the release
workflow, or says what does not fit and exits with 1.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]

# MAJOR.MINOR.PATCH, with the suffixes of PEP 440 for pre-releases and none other.
VERSION = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"


class ReleaseError(Exception):
    """The tag, the version and the changelog do not say the same."""


class Release(NamedTuple):
    """What a checked tag stands for: package name, its directory relative to the root, version."""

    package: str
    directory: str
    version: str


def find_directory(root: Path, package: str) -> Path:
    """Return the directory whose ``pyproject.toml`` has the name ``package``.

    Raises
    ------
    ReleaseError
        No package of that name is in the tree.
    """
    names = []
    for project in sorted((root / "packages").glob("*/pyproject.toml")):
        name = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["name"]
        if name == package:
            return project.parent
        names.append(name)
    raise ReleaseError(f"no package {package!r} in the tree; there are: {', '.join(names)}")


def declared_version(directory: Path) -> str:
    """Return the version in the one ``_version.py`` of a package.

    Raises
    ------
    ReleaseError
        There is no such file, more than one, or no version in it.
    """
    files = list((directory / "src").glob("*/_version.py"))
    if len(files) != 1:
        raise ReleaseError(f"{directory.name}: expected one src/*/_version.py, found {len(files)}")
    match = re.search(r'^__version__ = "([^"]+)"$', files[0].read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        raise ReleaseError(f'{directory.name}: {files[0].name} has no line __version__ = "..."')
    return match[1]


def changelog_version(directory: Path) -> str:
    """Return the version of the newest heading in ``CHANGELOG.md``; an empty "Unreleased" may stand above.

    Raises
    ------
    ReleaseError
        No changelog, no version heading, or entries that are still under "Unreleased".
    """
    changelog = directory / "CHANGELOG.md"
    if not changelog.is_file():
        raise ReleaseError(f"{directory.name}: no CHANGELOG.md")
    sections = re.split(r"^## +", changelog.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for section in sections:
        heading, _, body = section.partition("\n")
        if re.match(r"\[?unreleased\b", heading, re.IGNORECASE):
            if body.strip():
                raise ReleaseError(
                    f"{directory.name}: the changelog still has entries under {heading.strip()!r}"
                )
            continue
        match = re.match(rf"\[?({VERSION})\]?(?:\s|$)", heading)
        if match is None:
            raise ReleaseError(
                f"{directory.name}: the newest changelog heading {heading.strip()!r} has no version"
            )
        return match[1]
    raise ReleaseError(f"{directory.name}: the changelog has no version heading")


def check(tag: str, root: Path = ROOT) -> Release:
    """Return what ``tag`` releases.

    Parameters
    ----------
    tag
        ``<package>-v<version>``, for instance ``mxl-sockets-v0.3.1``.
    root
        The top of the tree.

    Raises
    ------
    ReleaseError
        The tag is not of that form, names no package, or does not equal version and changelog.
    """
    match = re.fullmatch(rf"([a-z][a-z0-9-]*)-v({VERSION})", tag)
    if match is None:
        raise ReleaseError(f"tag {tag!r} is not of the form <package>-v<major>.<minor>.<patch>")
    package, version = match[1], match[2]
    directory = find_directory(root, package)
    found = {"_version.py": declared_version(directory), "CHANGELOG.md": changelog_version(directory)}
    wrong = [f"{name} says {value}" for name, value in found.items() if value != version]
    if wrong:
        raise ReleaseError(f"tag {tag} says {version}, but in {directory.name} {' and '.join(wrong)}")
    return Release(package, directory.relative_to(root).as_posix(), version)


def main() -> None:
    """Check the tag on the command line and print what it releases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tag")
    try:
        release = check(parser.parse_args().tag)
    except ReleaseError as error:
        raise SystemExit(f"tools/release.py: {error}") from error
    for name, value in release._asdict().items():
        print(f"{name}={value}")


if __name__ == "__main__":
    main()
