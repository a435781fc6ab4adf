"""A virtual environment with nothing in it, not even pip: there a package is alone with what it declares."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING

from dev import python_of
from wheels import CommandFailed, DistributionError, module_of, pip_install, run

if TYPE_CHECKING:
    from collections.abc import Iterator

# Run inside: the module's version, where it lies, and everything that is installed there.
REPORT = """
import importlib, importlib.metadata, json, re, sys
module = importlib.import_module(sys.argv[1])
print(json.dumps({
    "version": module.__version__,
    "file": module.__file__,
    "installed": {
        re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower(): each.version
        for each in importlib.metadata.distributions()
    },
}))
"""
DOCTEST = ["-m", "doctest", "-o", "ELLIPSIS", "-o", "NORMALIZE_WHITESPACE"]


#: Whoever holds it runs a README; that of echo-rig listens at fixed ports, and its tests run it too.
TURN = ("127.0.0.1", 14480)
TURN_S = 120.0


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Wait until no other process of this computer runs a README."""
    with socket.socket() as turn:
        deadline = time.monotonic() + TURN_S
        while True:
            try:
                turn.bind(TURN)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                break
        yield


class BareEnvironment:
    """A new virtual environment in the empty directory ``home``.

    Python runs isolated in there: neither the directory it is started in nor ``PYTHONPATH`` is searched.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(home / "venv")
        self._python = python_of(home / "venv")
        # Examples write here, if they write at all.
        self._scratch = home / "scratch"
        self._scratch.mkdir()

    def _run(self, *arguments: str) -> str:
        return run([str(self._python), "-I", *arguments], cwd=self._scratch)

    def install(self, wheels: list[Path], *options: str) -> None:
        """Install wheels and what they need; options are those of pip.

        Raises
        ------
        CommandFailed
            pip refused.
        """
        pip_install(wheels, *options, python=str(self._python))

    def check_import(self, name: str, version: str, declared: set[str]) -> str:
        """Return what is installed, once the package imports and nothing undeclared came with it.

        Parameters
        ----------
        name, version
            The package that was installed, and the version it must show.
        declared
            Names of the packages it declares, in lower case with hyphens.

        Raises
        ------
        DistributionError
            It does not import from there, shows another version, or other packages are there than declared.
        """
        try:
            report = json.loads(self._run("-c", REPORT, module_of(name)))
        except CommandFailed as error:
            raise DistributionError(f"installed alone, it does not import: {error.last_line}") from error
        if report["version"] != version:
            raise DistributionError(
                f"installed, the package shows version {report['version']}, not {version}"
            )
        if not Path(report["file"]).is_relative_to(self._home):
            raise DistributionError(f"imported from {report['file']}, not from the bare environment")
        installed = report["installed"]
        if installed.keys() != {name} | declared:
            found, wanted = ", ".join(sorted(installed)), ", ".join(sorted({name} | declared))
            raise DistributionError(f"installed are {found}; declared are {wanted}")
        return ", ".join(f"{each} {found}" for each, found in sorted(installed.items()))

    def run_readme(self, readme: Path) -> None:
        """Run the examples of a README.

        Raises
        ------
        DistributionError
            One of them does not do what it says; the line is named.
        """
        try:
            with _turn():
                self._run(*DOCTEST, str(readme.resolve()))
        except CommandFailed as error:
            # Rows of stars stand between failures; the later ones mostly follow from the first.
            first = (*re.split(r"^\*{20,}$", error.output, maxsplit=2, flags=re.MULTILINE), "")[1]
            where = re.match(r"\s*File .*, (line \d+), in", first)
            errors = re.findall(r"^ *(\w+(?:Error|Exception): .*)$", first, re.MULTILINE)
            what = f"{where[1]} fails" if where else str(error)
            why = f": {errors[-1]}" if errors else ""
            raise DistributionError(f"README.md does not run in a bare environment: {what}{why}") from error

    def check_commands(self, name: str, version: str, scripts: list[str]) -> str:
        """Return the commands that show version and help: ``python -m``, if there is one, and the scripts.

        Raises
        ------
        DistributionError
            One fails, shows another version or no usage.
        """
        module = module_of(name)
        commands = {script: [self._script(script)] for script in scripts}
        found = f"import importlib.util; print(importlib.util.find_spec('{module}.__main__') is not None)"
        if self._run("-c", found).strip() == "True":
            commands[f"python -m {module}"] = [str(self._python), "-I", "-m", module]
        for shown, command in commands.items():
            said = run([*command, "--version"], cwd=self._scratch).strip()
            if version not in said.split():
                raise DistributionError(f"{shown} --version says {said!r}, not {version}")
            if not run([*command, "--help"], cwd=self._scratch).startswith("usage:"):
                raise DistributionError(f"{shown} --help shows no usage")
        if not commands:
            return "none declared"
        return " and ".join(f"{shown} --version, --help" for shown in commands)

    def _script(self, script: str) -> str:
        path = shutil.which(script, path=str(self._python.parent))
        if path is None:
            raise DistributionError(f"the command {script} was not installed")
        return path
