"""Run tox from a private virtual environment in ``.tools``, made on first use.

``python tools/dev.py run`` needs git and Python 3.11 or later, nothing else: tox and tox-uv are installed
into ``.tools``. All arguments are tox's own; without arguments the environments are listed. ``run`` alone
runs the default environments, four more at a time than there are processors, because most tests wait most of
their time; it prints what failed. Remove ``.tools`` and ``.tox`` at any time to start afresh.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"
REQUIREMENTS = ["tox>=4.30,<5", "tox-uv>=1.26,<2"]
OLDEST = (3, 11)


def python_of(home: Path) -> Path:
    """Return the interpreter of the virtual environment ``home``."""
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def usable(home: Path, wanted: str) -> bool:
    """Tell whether ``home`` was finished for ``wanted`` and still starts."""
    try:
        if (home / "stamp.txt").read_text(encoding="utf-8") != wanted:
            return False
        command = [str(python_of(home)), "-I", "-c", "import tox, tox_uv"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:  # no stamp yet, or the interpreter it was made from is gone
        return False


def ensure_venv(environment: dict[str, str]) -> Path:
    """Return the interpreter of the environment that holds tox, made anew if missing, old or broken."""
    home = TOOLS / "tox"
    wanted = "\n".join([sys.version, sys.base_prefix, *REQUIREMENTS])
    if usable(home, wanted):
        return python_of(home)
    try:
        import ensurepip  # noqa: F401  Debian ships venv and ensurepip apart from Python itself
        import venv
    except ImportError as error:
        raise SystemExit(
            f"tools/dev.py: this Python ({sys.executable}) has no {error.name} module. "
            "On Debian and Ubuntu: apt-get install python3-venv"
        ) from error
    # Made beside its final name and renamed when finished: an interrupted first run leaves nothing half-made
    # under that name, and of two first runs at once the later one wins.
    fresh = TOOLS / f"tox-{os.getpid()}"
    print(f"tools/dev.py: installing {', '.join(REQUIREMENTS)} into {home}", file=sys.stderr, flush=True)
    try:
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=os.name != "nt").create(fresh)
        install = ["-I", "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([str(python_of(fresh)), *install, *REQUIREMENTS], check=True, env=environment)
        (fresh / "stamp.txt").write_text(wanted, encoding="utf-8")
        shutil.rmtree(home, ignore_errors=True)
        fresh.replace(home)
    except (subprocess.CalledProcessError, OSError) as error:
        if not usable(home, wanted):  # otherwise another run finished first, and its result serves us too
            raise SystemExit(f"tools/dev.py: could not make {home}: {error}") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return python_of(home)


def show_pyenv_versions(environment: dict[str, str]) -> None:
    """Put every CPython of pyenv at the end of the search path: its shims start only the selected one."""
    pyenv = shutil.which("pyenv")
    if pyenv is None or os.name == "nt":
        return

    def ask(*arguments: str) -> list[str]:
        """Return the words one pyenv command prints, none if it fails."""
        command = [pyenv, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        return done.stdout.split() if done.returncode == 0 else []

    def is_wanted(version: str) -> bool:
        """Tell a plain CPython of a supported version from PyPy, named environments and older ones."""
        match = re.fullmatch(r"3\.(\d+)\.\d+", version)
        return match is not None and (3, int(match[1])) >= OLDEST

    # An empty HOME hides pyenv's own folder from it; its shims, or its programs, lie in there.
    root = Path(pyenv).resolve().parents[1]
    if not environment.get("PYENV_ROOT") and (root / "versions").is_dir():
        environment["PYENV_ROOT"] = str(root)
    versions = [version for version in ask("versions", "--bare") if is_wanted(version)]
    prefixes = [prefix for version in versions for prefix in ask("prefix", version)]
    paths = [str(Path(prefix) / "bin") for prefix in prefixes]
    environment["PATH"] = os.pathsep.join([environment.get("PATH", os.defpath), *paths])


def has_system_certificates() -> bool:
    """Tell whether this machine has a certificate store of its own: slim containers have none."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        return True
    return ssl.create_default_context().cert_store_stats()["x509_ca"] > 0


def child_environment() -> dict[str, str]:
    """Return the environment for pip and tox: a home that can be written, every installed Python seen."""
    environment = dict(os.environ)
    if not environment.get("HOME", "unset"):
        # An empty HOME makes "/.cache" of "~/.cache"; without it the user database answers.
        del environment["HOME"], os.environ["HOME"]
    home = Path("~").expanduser()
    if not (home.is_dir() and os.access(home, os.W_OK)):
        environment["HOME"] = str(TOOLS / "home")
        (TOOLS / "home").mkdir(parents=True, exist_ok=True)
    environment.setdefault("UV_PYTHON_DOWNLOADS", "never")  # a missing interpreter is skipped, not fetched
    if has_system_certificates():
        # As pip does: the store may hold what a company's proxy needs, uv's own list never does.
        environment.setdefault("UV_SYSTEM_CERTS", "1")
    show_pyenv_versions(environment)
    return environment


def main() -> int:
    """Run tox with the arguments of this process and return its exit code."""
    if sys.version_info < OLDEST:  # older Pythons get as far as here, and deserve a sentence
        raise SystemExit(f"tools/dev.py needs Python 3.11 or later; this is {sys.version.split()[0]}")
    environment = child_environment()
    python = ensure_venv(environment)
    arguments = sys.argv[1:] or ["list"]
    if arguments == ["run"]:
        at_once = str((os.cpu_count() or 1) + 3)
        arguments = ["run-parallel", "--parallel", at_once, "--parallel-no-spinner"]
    command = [str(python), "-I", "-m", "tox", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
