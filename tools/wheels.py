"""Build wheel and sdist of every package; install the wheels by path, so that no index can offer a namesake.

``python tools/wheels.py build DIRECTORY`` builds, ``python tools/wheels.py install DIRECTORY`` builds and
installs into the running Python. hatchling must be installed (and pip, to install); nothing is downloaded
but third-party dependencies.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def package_directories(root: Path = ROOT) -> list[Path]:
    """Return the directories of all packages below ``root``, sorted by name."""
    return sorted(project.parent for project in (root / "packages").glob("*/pyproject.toml"))


def build(package: Path, target: Path) -> None:
    """Build wheel and sdist of one package into ``target``, with the hatchling of the running Python."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(target.resolve())]
    subprocess.run(command, cwd=package, check=True)


def install(wheels: list[Path]) -> None:
    """Install the wheels and what they need; the wheels always replace what is there."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    paths = [str(wheel) for wheel in wheels]
    # The same version may hold other code than last time, so the wheels are forced in; their dependencies
    # follow. All paths stand in both commands: a name alone would be looked up on an index.
    subprocess.run([*pip, "--force-reinstall", "--no-deps", *paths], check=True)
    subprocess.run([*pip, *paths], check=True)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["build", "install"])
    parser.add_argument("directory", type=Path, help="where wheels and sdists go; old ones there are removed")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    for old in [*arguments.directory.glob("*.whl"), *arguments.directory.glob("*.tar.gz")]:
        old.unlink()
    try:
        for package in package_directories():
            build(package, arguments.directory)
        if arguments.action == "install":
            install(sorted(arguments.directory.glob("*.whl")))
    except subprocess.CalledProcessError as error:  # what failed has said why
        raise SystemExit(f"tools/wheels.py: {' '.join(error.cmd)} ended with {error.returncode}") from None


if __name__ == "__main__":
    main()
