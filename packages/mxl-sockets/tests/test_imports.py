"""What importing the package brings along, and that its face gives every name all the same."""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import mxl_sockets

#: Slow to import, and not needed by who only makes a hub or a driver.
HEAVY = {
    *("argparse", "asyncio", "email", "hashlib", "http", "ipaddress", "multiprocessing", "pathlib", "random"),
    *("secrets", "shutil", "ssl", "subprocess", "tempfile", "urllib.parse", "uuid", "mpi4py", "zmq"),
    *("wireframe.aggregate", "wireframe.json_socket", "mxl_sockets.compat", "mxl_sockets.mpi"),
    *(
        "mxl_sockets.aggregated",
        "mxl_sockets.bridge",
        "mxl_sockets._status_socket",
        "mxl_sockets._step_watch",
    ),
}

PROGRAM = """
import sys
import {given}
before = set(sys.modules)
{statement}
print(*sorted(set(sys.modules) - before))
"""


def loaded_by(statement, given="sys"):
    """Names of the modules that a statement loads in a fresh interpreter, beside those of a module."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(given=given, statement=statement)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return set(done.stdout.split())


def face():
    """Name and home of everything that the package shows to type checkers."""
    tree = ast.parse(Path(mxl_sockets.__file__).read_text(encoding="utf-8"))
    return [
        (alias.name, node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mxl_sockets.")
        for alias in node.names
    ]


def test_importing_the_package_loads_no_more_than_its_face():
    """Neither numpy nor any module of its own."""
    loaded = loaded_by("import mxl_sockets")
    assert {name for name in loaded if name.startswith("mxl_sockets")} == {
        "mxl_sockets",
        "mxl_sockets._version",
    }
    assert loaded & (HEAVY | {"numpy", "wireframe", "logging", "socket"}) == set()


@pytest.mark.parametrize("name", ["SocketHub", "Driver", "StepTimeout"])
def test_what_most_programs_ask_for_loads_nothing_heavy(name):
    """Beside numpy, whose versions load some of it themselves."""
    loaded = loaded_by(f"from mxl_sockets import {name}", given="numpy")
    assert "mxl_sockets.errors" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(("name", "home"), face())
def test_a_name_is_what_its_module_has(name, home):
    """What type checkers are told is what a program gets."""
    assert getattr(mxl_sockets, name) is getattr(importlib.import_module(home), name)


@pytest.mark.parametrize("name", sorted({home for _, home in face() if "._" not in home}))
def test_a_public_module_is_there_without_an_import_of_its_own(name):
    loaded = loaded_by(f"import mxl_sockets; {name}")
    assert name in loaded


def test_all_names_are_those_shown_to_type_checkers():
    """But for those with an underscore, which are there for old programs only."""
    shown = {name for name, _ in face() if not name.startswith("_")}
    assert set(mxl_sockets.__all__) == shown | {"__version__"}
    assert set(mxl_sockets.__all__) <= set(dir(mxl_sockets))


def test_a_star_import_binds_all_names():
    names = {}
    exec("from mxl_sockets import *", names)
    assert set(mxl_sockets.__all__) <= set(names)


def test_a_name_that_there_is_not_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'SokcetHub'"):
        _ = mxl_sockets.SokcetHub
    with pytest.raises(ImportError, match="SokcetHub"):
        exec("from mxl_sockets import SokcetHub")


@pytest.mark.parametrize("name", ["SocketHub", "Driver", "End", "StepTimeout", "am_master"])
def test_names_of_the_package_are_pickled_by_reference(name):
    value = getattr(mxl_sockets, name)
    assert pickle.loads(pickle.dumps(value)) is value
