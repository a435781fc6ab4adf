"""Check a release: ``tag TAG`` before, ``check`` at any time, without publishing.

``python tools/release.py tag wireframe-v1.2.0`` compares the tag with ``_version.py`` and the newest heading
of the changelog, and prints ``package=``, ``directory=`` and ``version=`` lines for the release workflow.

``python tools/release.py check [PACKAGE ...]`` does what the workflow does up to publishing, for the named
packages or all, and prints one line per step. hatchling, packaging and pip must be installed; third-party
dependencies come from an index, packages of this tree never.

Both say in one sentence what does not fit, and exit with 1.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from wheels import ROOT, DistributionError, package_directories

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


def check_tag(tag: str, root: Path = ROOT) -> Release:
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


def check(package: str, root: Path = ROOT, keep: Path | None = None) -> Iterator[tuple[str, str]]:
    """Take all steps of a release of ``package`` but publishing; yield each one's name and what was checked.

    Parameters
    ----------
    package
        Its name.
    root
        The top of the tree.
    keep
        Where wheel and sdist are put once all steps are taken; nowhere by default.

    Raises
    ------
    ReleaseError, DistributionError
        What does not fit, in one sentence; the steps end there.
    """
    from release_steps import steps  # needs packaging, which "tag" can do without

    directory = find_directory(root, package)
    version = declared_version(directory)
    tag = f"{package}-v{version}"
    check_tag(tag, root)
    yield "tag", f"{tag} would equal _version.py and the newest heading of CHANGELOG.md"
    with tempfile.TemporaryDirectory(prefix="release-", ignore_cleanup_errors=True) as scratch:
        yield from steps(directory, version, root, Path(scratch).resolve())
        if keep is not None:
            shutil.copytree(Path(scratch) / "dist", keep, dirs_exist_ok=True)


def arguments_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    tag = actions.add_parser("tag", help="compare a tag with version and changelog")
    tag.add_argument("tag")
    dry_run = actions.add_parser("check", help="all steps of a release but publishing")
    dry_run.add_argument("packages", metavar="PACKAGE", nargs="*", help="all if none is named")
    dry_run.add_argument("--keep", metavar="DIRECTORY", type=Path, help="where checked wheels and sdists go")
    return parser


def main() -> None:
    """Do what the command line says."""
    arguments = arguments_parser().parse_args()
    if arguments.action == "tag":
        try:
            release = check_tag(arguments.tag)
        except ReleaseError as error:
            raise SystemExit(f"tools/release.py: {error}") from error
        for name, value in release._asdict().items():
            print(f"{name}={value}")
        return
    packages = arguments.packages or [directory.name for directory in package_directories()]
    if not check_all(packages, keep=arguments.keep):
        raise SystemExit(1)


def check_all(packages: Iterable[str], root: Path = ROOT, keep: Path | None = None) -> bool:
    """Check packages one after the other, printing a line per step; return whether all went through.

    The first failure of a package is told in one sentence on standard error, and the next package is taken.
    """
    fine = True
    for package in packages:
        try:
            for step, found in check(package, root, keep):
                print(f"{package:<14} {step:<9} {found}", flush=True)
        except (ReleaseError, DistributionError) as error:
            print(f"tools/release.py: {package}: {error}", file=sys.stderr, flush=True)
            fine = False
    return fine


if __name__ == "__main__":
    main()
