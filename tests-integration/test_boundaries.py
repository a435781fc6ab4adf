"""What a package may import: itself, wireframe, its declared third parties and the standard library.

The checker reads sources and never imports them. It is proved on small trees with one planted violation
each before it is trusted with this one.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CORE = "wireframe"

# The one module of the core that may do I/O (a file or a directory of that name), and who may import it.
CORE_IO = "json_socket"

# All of the standard library that the codecs may use: what computes, and touches no socket, file, process,
# thread, clock, log or chance. Anything else has to be asked for here.
CODEC_MODULES = frozenset({
    "__future__", "abc", "array", "bisect", "collections", "copy", "dataclasses", "enum", "functools",
    "heapq", "ipaddress", "itertools", "json", "math", "operator", "re", "struct", "sys", "types", "typing",
    "zlib",
})  # fmt: skip
# Of sys, which also holds the standard streams and all imported modules.
SYS_NAMES = frozenset({"byteorder", "maxsize"})
# Of the builtins.
BARRED_BUILTINS = frozenset({
    "__builtins__", "__import__", "breakpoint", "compile", "eval", "exec", "input", "open", "print",
})  # fmt: skip

# Who may import modules whose names it does not know: the command line, which is given the user's model.
IMPORTS_BY_VARIABLE = frozenset({"mxl_sockets/__main__.py"})

# Seen by type checkers, which bring it along; never imported when the program runs.
TYPING_ONLY = frozenset({"typing_extensions"})

# Modules that the packages that log have a copy of each: the one thing they share, the core, never logs.
COPIES = ("_quiet_log.py",)

# Where the import name is not the distribution name with "-" turned into "_".
IMPORT_NAMES = {"pyzmq": "zmq"}


@dataclass(frozen=True)
class Package:
    """One package of the tree, as its ``pyproject.toml`` describes it."""

    module: str
    source: Path
    requirements: tuple[Requirement, ...]
    required: frozenset[str]
    optional: frozenset[str]


@dataclass(frozen=True)
class Import:
    """One import: absolute dotted name, line, and when it runs: at once, when a function is called, never."""

    name: str
    line: int
    when: str


def distribution(requirement: Requirement) -> str:
    """The normalised distribution name."""
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def import_name(requirement: Requirement) -> str:
    """The name one imports."""
    name = distribution(requirement)
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def packages_of(root: Path) -> list[Package]:
    """Every package below ``root``."""
    found = []
    for file in sorted((root / "packages").glob("*/pyproject.toml")):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        requirements = tuple(Requirement(text) for text in project.get("dependencies", []))
        extras = project.get("optional-dependencies", {}).values()
        module = project["name"].replace("-", "_")
        found.append(
            Package(
                module=module,
                source=file.parent / "src" / module,
                requirements=requirements,
                required=frozenset(map(import_name, requirements)),
                optional=frozenset(import_name(Requirement(text)) for extra in extras for text in extra),
            )
        )
    return found


def imports_in(tree: ast.AST, parent: str, when: str = "at once") -> Iterator[Import]:
    """All imports below a node; ``parent`` is the package that relative imports start from."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(alias.name, node.lineno, when)
            case ast.ImportFrom():
                names = parent.split(".")
                above = ".".join(names[: len(names) - node.level + 1]) if node.level else ""
                base = ".".join(filter(None, [above, node.module]))
                for alias in node.names:
                    yield Import(f"{base}.{alias.name}", node.lineno, when)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name, node.lineno, when)
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if when == "at once":
                yield from imports_in(node, parent, "when called")
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
                yield from imports_in(ast.Module(body, []), parent, "never")
                yield from imports_in(ast.Module(orelse, []), parent, when)
            case _:
                yield from imports_in(node, parent, when)


def violations_in_file(package: Package, file: Path) -> Iterator[str]:
    """What one source file may not do, one sentence each."""
    place = file.relative_to(package.source.parent)
    parts = place.with_suffix("").parts
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    pure = package.module == CORE and CORE_IO not in parts[:2] and parts != (CORE, "__main__")
    for found in imports_in(tree, ".".join(parts[:-1])):
        top = found.name.partition(".")[0]
        where = f"{place.as_posix()}:{found.line}"
        if top == package.module or top in sys.stdlib_module_names:
            pass  # only the codecs, below, may not have all of it
        elif top in package.optional:
            if found.when == "at once":
                yield f"{where}: extra {top} imported outside a function"
        elif top not in package.required and not (top in TYPING_ONLY and found.when == "never"):
            yield f"{where}: undeclared import of {top}"
    if pure:
        own = {each.stem for each in package.source.iterdir()} - {CORE_IO, "__init__"}
        is_face = parts == (CORE, "__init__")
        for line, complaint in violations_of_codec(tree, ".".join(parts[:-1]), own, is_face=is_face):
            yield f"{place.as_posix()}:{line}: {complaint}"
    elif place.as_posix() not in IMPORTS_BY_VARIABLE:
        for line in imports_by_variable(tree):
            yield f"{place.as_posix()}:{line}: import by a variable"


def violations_of_codec(
    tree: ast.Module, parent: str, own: set[str], *, is_face: bool
) -> Iterator[tuple[int, str]]:
    """What a module outside of the one I/O module may not do; ``own`` are the core's other modules.

    The package itself, its face, holds the I/O module, and sys holds everything. So both are used by their
    harmless attributes only.
    """
    members = {"sys": SYS_NAMES} if is_face else {"sys": SYS_NAMES, CORE: own}
    for found in imports_in(tree, parent):
        top, *rest = found.name.split(".")
        if top in sys.stdlib_module_names and top not in CODEC_MODULES:
            yield found.line, f"standard module {top} outside {CORE_IO}"
        elif found.name != "sys" and top in members and not members[top].issuperset(rest[:1] or ["*"]):
            yield found.line, f"a codec imports {found.name}"
    bases = set()
    for node in ast.walk(tree):  # breadth first: an attribute comes before its base
        match node:
            case ast.Import(names=names) if any(each.name == "sys" and each.asname for each in names):
                yield node.lineno, "sys under another name"
            case ast.Attribute(value=ast.Name(id=name) as base, attr=attribute) if name in members:
                bases.add(base)
                if attribute not in members[name]:
                    yield node.lineno, f"{name}.{attribute} outside {CORE_IO}"
            case ast.Name(id=name) if name in BARRED_BUILTINS or (name in members and node not in bases):
                yield node.lineno, f"{name} outside {CORE_IO}"


def imports_by_variable(tree: ast.Module) -> Iterator[int]:
    """Lines that import what the source does not name."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(), *_],
            ):
                pass  # seen by its name
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module")
            ):
                yield node.lineno
            case ast.ImportFrom(module="importlib", names=names) if any(each.asname for each in names):
                yield node.lineno


def violations(root: Path) -> list[str]:
    """Everything that breaks the boundaries below ``root``."""
    found = []
    packages = packages_of(root)
    for package in packages:
        siblings = (package.required | package.optional) & {each.module for each in packages} - {CORE}
        found.extend(f"{package.module}: declares its sibling {sibling}" for sibling in sorted(siblings))
        for file in sorted(package.source.rglob("*.py")):
            found.extend(violations_in_file(package, file))
    return found


def test_the_tree_keeps_its_boundaries(root: Path) -> None:
    """No source file imports a sibling or an undeclared distribution, and the codecs do no I/O."""
    assert violations(root) == []


def test_every_package_is_seen(root: Path) -> None:
    """The checker looks at every directory below packages, and finds sources there."""
    packages = packages_of(root)
    assert len(packages) == len([path for path in (root / "packages").iterdir() if path.is_dir()])
    for package in packages:
        assert (package.source / "__init__.py").is_file()


def test_every_wireframe_specifier_admits_the_version_of_the_tree(root: Path) -> None:
    """Each package depends on wireframe, with a range that has an upper end and holds the tree's version."""
    text = (root / "packages" / CORE / "src" / CORE / "_version.py").read_text(encoding="utf-8")
    version = text.split('"')[1]
    for package in packages_of(root):
        if package.module == CORE:
            assert package.requirements == (), "wireframe has no runtime dependency"
            continue
        (requirement,) = [each for each in package.requirements if distribution(each) == CORE]
        assert requirement.specifier.contains(version, prereleases=True), f"{package.module}: {requirement}"
        assert any(each.operator == "<" for each in requirement.specifier), f"{package.module}: no upper end"


def different_copies(root: Path) -> list[str]:
    """Modules that several packages have a copy of each, and that are no longer the same, byte for byte."""
    kinds: dict[str, set[bytes]] = {}
    for package in packages_of(root):
        for name in COPIES:
            for file in package.source.rglob(name):
                kinds.setdefault(name, set()).add(file.read_bytes())
    return sorted(name for name, contents in kinds.items() if len(contents) > 1)


def test_copies_are_the_same_in_every_package(root: Path) -> None:
    """What several packages have a copy of each was changed in all of them, or in none."""
    for name in COPIES:
        assert len([package for package in packages_of(root) if (package.source / name).is_file()]) > 1, name
    assert different_copies(root) == []


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A tree of three clean packages: wireframe and two that depend on it."""
    dependencies = {
        "wireframe": "dependencies = []",
        "left-hand": 'dependencies = ["wireframe>=0.1", "numpy", "PyZMQ>=25"]\n'
        '[project.optional-dependencies]\nmpi = ["mpi4py"]',
        "right-hand": 'dependencies = ["wireframe>=0.1"]',
    }
    for name, lines in dependencies.items():
        source = tmp_path / "packages" / name / "src" / name.replace("-", "_")
        source.mkdir(parents=True)
        (source / "__init__.py").write_text("from __future__ import annotations\n")
        (tmp_path / "packages" / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n{lines}\n')
    return tmp_path


ALLOWED = {
    "wireframe/__init__.py": "from wireframe.json_socket import Socket",
    "wireframe/errors.py": "import struct, json, sys\nfrom . import _buffer\nsys.byteorder",
    "wireframe/ipi/_decode.py": "from .. import errors\nfrom ..errors import FrameError",
    "wireframe/json_socket.py": "import socket, selectors, time, logging",
    "wireframe/__main__.py": "import argparse, sys\nprint(open('x').read(), file=sys.stderr)",
    "wireframe/json_socket/_serve.py": "import threading\nfrom wireframe.json_socket import _wire",
    "wireframe/_buffer.py": "if TYPE_CHECKING:\n    from typing_extensions import Buffer",
    "left_hand/hub.py": "import socket, wireframe.ipi, numpy as np, zmq\nfrom left_hand import _client",
    "wireframe/lenjson.py": "import wireframe.errors\nwireframe.errors",
    "left_hand/model.py": "import importlib\nimportlib.import_module('left_hand.hub')",
    "left_hand/mpi.py": "def world():\n    from mpi4py import MPI\n    return MPI.COMM_WORLD",
}

PLANTED = {
    "sibling": ("right_hand/a.py", "import left_hand", "undeclared import of left_hand"),
    "sibling, from": ("right_hand/a.py", "from left_hand.hub import Hub", "undeclared import of left_hand"),
    "sibling, in a function": (
        "right_hand/a.py",
        "def f():\n    import left_hand",
        "undeclared import of left_hand",
    ),
    "sibling, by name": (
        "right_hand/a.py",
        "import importlib\nimportlib.import_module('left_hand.hub')",
        "undeclared import of left_hand",
    ),
    "sibling, relative": ("right_hand/a.py", "from ..left_hand import hub", "undeclared import of left_hand"),
    "typing only, but run": (
        "right_hand/a.py",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import typing_extensions",
        "undeclared import of typing_extensions",
    ),
    "third party": ("right_hand/a.py", "import numpy", "undeclared import of numpy"),
    "extra at the top": (
        "left_hand/a.py",
        "from mpi4py import MPI",
        "extra mpi4py imported outside a function",
    ),
    "extra in a class": (
        "left_hand/a.py",
        "class A:\n    import mpi4py",
        "extra mpi4py imported outside a function",
    ),
    "third party in the core": ("wireframe/a.py", "import numpy", "undeclared import of numpy"),
    "family in the core": ("wireframe/a.py", "import left_hand", "undeclared import of left_hand"),
    "codec uses the I/O module": (
        "wireframe/a.py",
        "from wireframe import json_socket",
        "a codec imports wireframe.json_socket",
    ),
    "codec uses it, relative": (
        "wireframe/ipi/a.py",
        "from ..json_socket import Socket",
        "a codec imports wireframe.json_socket.Socket",
    ),
    "codec uses it, dotted": (
        "wireframe/a.py",
        "import wireframe.json_socket",
        "a codec imports wireframe.json_socket",
    ),
    "codec uses it, by the face": (
        "wireframe/a.py",
        "from wireframe import Socket",
        "a codec imports wireframe.Socket",
    ),
    "codec uses it, by all of the face": ("wireframe/a.py", "from . import *", "a codec imports wireframe.*"),
    "codec uses the face": ("wireframe/a.py", "import wireframe as w", "a codec imports wireframe"),
    "codec uses it, as attribute": (
        "wireframe/a.py",
        "import wireframe.a\nwireframe.Socket",
        "wireframe.Socket outside json_socket",
    ),
    "codec uses it, by text": (
        "wireframe/a.py",
        "import wireframe.a\ngetattr(wireframe, 'Socket')",
        "wireframe outside json_socket",
    ),
    "codec opens a file": ("wireframe/a.py", "open('x')", "open outside json_socket"),
    "codec prints": ("wireframe/ipi/a.py", "def f():\n    print('x')", "print outside json_socket"),
    "command of a codec prints": ("wireframe/ipi/__main__.py", "print('x')", "print outside json_socket"),
    "codec passes print on": ("wireframe/a.py", "show = print", "print outside json_socket"),
    "codec writes to a stream": (
        "wireframe/a.py",
        "import sys\nsys.stdout.write('x')",
        "sys.stdout outside json_socket",
    ),
    "codec takes a stream": ("wireframe/a.py", "from sys import stderr", "a codec imports sys.stderr"),
    "codec hides sys": ("wireframe/a.py", "import sys as s\ns.stdout.write('x')", "sys under another name"),
    "codec makes an identifier": ("wireframe/a.py", "import uuid\nuuid.uuid1()", "standard module uuid"),
    "codec prints a traceback": (
        "wireframe/a.py",
        "import traceback\ntraceback.print_exc()",
        "standard module traceback",
    ),
    "codec imports by a variable": (
        "wireframe/a.py",
        "import importlib\ndef f(name):\n    return importlib.import_module(name)",
        "standard module importlib",
    ),
    "codec imports by a variable, builtin": (
        "wireframe/a.py",
        "def f(name):\n    return __import__(name)",
        "__import__ outside json_socket",
    ),
    "import by a variable": (
        "right_hand/a.py",
        "import importlib\nimportlib.import_module('left' + '_hand')",
        "import by a variable",
    ),
    "import by a variable, builtin": (
        "right_hand/a.py",
        "__import__('left' + '_hand')",
        "import by a variable",
    ),
    "import function under another name": (
        "right_hand/a.py",
        "from importlib import import_module as f\nf('left_hand')",
        "import by a variable",
    ),
    **{
        f"codec imports {name}": (
            "wireframe/a.py",
            f"import {name}",
            f"standard module {name} outside json_socket",
        )
        for name in (
            *("socket", "select", "selectors", "asyncio", "threading", "ssl", "subprocess", "os", "logging"),
            *("gzip", "zipfile", "tarfile", "linecache", "dbm", "wave", "pty", "getpass", "secrets"),
        )
    },
    "codec reads the clock": ("wireframe/ipi/a.py", "from time import monotonic", "standard module time"),
    "codec, dotted": ("wireframe/a.py", "import os.path", "standard module os"),
}


def plant(root: Path, place: str, text: str) -> None:
    """Write one source file into the toy tree."""
    module = place.partition("/")[0]
    file = root / "packages" / module.replace("_", "-") / "src" / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def test_the_checker_accepts_what_is_allowed(toy: Path) -> None:
    """Own modules, wireframe, declared third parties, deferred extras and the one I/O module pass."""
    for place, text in ALLOWED.items():
        plant(toy, place, text)
    assert violations(toy) == []


@pytest.mark.parametrize(("place", "text", "complaint"), PLANTED.values(), ids=PLANTED)
def test_the_checker_catches_a_planted_violation(toy: Path, place: str, text: str, complaint: str) -> None:
    """One bad line is found, and it alone."""
    plant(toy, place, text)
    found = violations(toy)
    assert len(found) == 1
    assert complaint in found[0]
    assert found[0].startswith(place)


def test_the_checker_catches_a_declared_sibling(toy: Path) -> None:
    """Declaring a sibling does not make it allowed."""
    file = toy / "packages" / "right-hand" / "pyproject.toml"
    file.write_text('[project]\nname = "right-hand"\ndependencies = ["wireframe", "left-hand"]\n')
    assert violations(toy) == ["right_hand: declares its sibling left_hand"]


def test_the_checker_catches_a_copy_that_was_changed(toy: Path) -> None:
    """A copy is compared with the others, and with all of its bytes."""
    for module in ("left_hand", "right_hand"):
        plant(toy, f"{module}/_quiet_log.py", "LIMIT = 1")
    assert different_copies(toy) == []
    plant(toy, "left_hand/_quiet_log.py", "LIMIT = 1 ")
    assert different_copies(toy) == ["_quiet_log.py"]
