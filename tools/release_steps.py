"""What must hold for one package before it is published, step by step, after its tag has been compared.

The last step is about the packages of this tree that the package is built on: whoever installs it gets their
newest release that it admits, not what lies in the tree, so it must run with that release too.
"""

from __future__ import annotations

import re
import tarfile
import tomllib
from typing import TYPE_CHECKING, Any

from bare_environment import BareEnvironment
from packaging.metadata import Metadata
from packaging.utils import canonicalize_name
from packaging.version import Version
from wheels import (
    DistributionError,
    build,
    check_sdist,
    check_wheel,
    members_of,
    package_directories,
    run,
    sdist_of,
    wheel_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from packaging.requirements import Requirement


def steps(package: Path, version: str, root: Path, scratch: Path) -> Iterator[tuple[str, str]]:
    """Take the steps, and yield for each its name and what was checked.

    Parameters
    ----------
    package
        The directory of the package.
    version
        The version it must have everywhere.
    root
        The top of the tree.
    scratch
        An empty directory; wheel and sdist are built into ``dist`` in there.

    Raises
    ------
    DistributionError
        What does not hold, in one sentence; the steps end there.
    """
    dist = scratch / "dist"
    build(package, dist)
    project = _project(package)
    name = project["name"]
    wheel, sdist = wheel_of(name, dist), sdist_of(name, dist)
    yield "build", f"{wheel.name}, {sdist.name}"
    yield "wheel", check_wheel(wheel, package)
    (scratch / "sdist").mkdir()
    yield "sdist", check_sdist(sdist, package, wheel, scratch / "sdist")
    metadata = check_metadata(wheel, project, version, (package / "README.md").read_text(encoding="utf-8"))
    yield "metadata", f"valid, version {metadata.metadata_version}; README.md is the description"
    needs = required(metadata)
    family = {_project(each)["name"]: each for each in package_directories(root)}
    ours = [family[each] for each in sorted(needs) if each in family]
    for each in ours:
        build(each, scratch / "ours", kinds=["wheel"])
    bare = BareEnvironment(scratch)
    # By path, ours too, so that only third parties are looked up by name.
    bare.install([wheel, *(scratch / "ours").glob("*.whl")])
    yield "install", f"alone in a bare environment: {bare.check_import(name, version, set(needs))}"
    bare.run_readme(package / "README.md")
    yield "readme", "runs there as doctest"
    yield "command", bare.check_commands(name, version, sorted(project.get("scripts", {})))
    for each in ours:
        base = _project(each)["name"]
        found = newest_release(base, needs[base], root)
        if found is None:
            yield "earlier", f"no tag {base}-v* that {needs[base]} admits: no release of it to run with yet"
            continue
        try:
            older = build_release(found, each, root, scratch / found)
            bare.install([older], "--force-reinstall", "--no-deps")
            bare.run_readme(package / "README.md")
        except DistributionError as error:
            raise DistributionError(f"with the release {found}: {error}") from error
        yield "earlier", f"README.md runs with the release {found} too"


def check_metadata(wheel: Path, project: dict[str, Any], version: str, readme: str) -> Metadata:
    """Return the metadata of a wheel.

    Parameters
    ----------
    wheel
        The wheel.
    project
        The table ``project`` of the package's ``pyproject.toml``.
    version, readme
        What must stand there as version and as description.

    Raises
    ------
    DistributionError
        They are not valid, or do not say what the tree says.
    """
    (text,) = (text for file, text in members_of(wheel).items() if file.endswith(".dist-info/METADATA"))
    try:
        metadata = Metadata.from_email(text, validate=True)
    except ExceptionGroup as error:
        raise DistributionError(f"the metadata are not valid: {error.exceptions[0]}") from error
    said = {
        "name": (metadata.name, project["name"]),
        "version": (str(metadata.version), version),
        "description": ((metadata.description or "").strip(), readme.strip()),
        "type of the description": (metadata.description_content_type, "text/markdown"),
        "licence": (metadata.license_expression, project.get("license")),
        "summary": (metadata.summary, project.get("description")),
    }
    for what, (found, wanted) in said.items():
        if found != wanted:
            shown = "not that of README.md" if what == "description" else f"{found!r}, not {wanted!r}"
            raise DistributionError(f"the {what} in the metadata is {shown}")
    return metadata


def required(metadata: Metadata) -> dict[str, Requirement]:
    """Return what a package needs here without any extra, by normalised name."""
    needs = (each for each in metadata.requires_dist or [] if not each.marker or each.marker.evaluate())
    return {canonicalize_name(each.name): each for each in needs}


def newest_release(name: str, requirement: Requirement, root: Path) -> str | None:
    """Return the tag of the newest release of a package that ``requirement`` admits, None if there is none.

    Raises
    ------
    DistributionError
        ``root`` is not the top of a git repository.
    """
    # Also in a checkout of another user, as on CI machines.
    listed = run(["git", "-c", "safe.directory=*", "-C", str(root), "tag", "--list", f"{name}-v*"])
    versions = {}
    for tag in listed.split():
        text = tag.removeprefix(f"{name}-v")
        if re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", text) and requirement.specifier.contains(
            text, prereleases=False
        ):
            versions[Version(text)] = tag
    return versions[max(versions)] if versions else None


def build_release(tag: str, package: Path, root: Path, scratch: Path) -> Path:
    """Return the wheel of a package, built as the tree was at ``tag``.

    Raises
    ------
    DistributionError
        The package does not stand there, or does not build.
    """
    scratch.mkdir()
    place = package.relative_to(root).as_posix()
    archive = scratch / "tree.tar"
    git = ["git", "-c", "safe.directory=*", "-C", str(root)]
    run([*git, "archive", "--format=tar", "--output", str(archive), tag, place])
    with tarfile.open(archive) as files:
        files.extractall(scratch, filter="data")
    build(scratch / place, scratch, kinds=["wheel"])
    return wheel_of(_project(package)["name"], scratch)


def _project(package: Path) -> dict[str, Any]:
    """Return the table ``project`` of a package's ``pyproject.toml``."""
    table = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(table)
