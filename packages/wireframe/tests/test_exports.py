"""The face of the package: what it promises to export is there, in order and explained."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import wireframe

MODULES = [
    "wireframe",
    *sorted(one.name for one in pkgutil.walk_packages(wireframe.__path__, "wireframe.")),
]
PUBLIC = [
    name
    for name in MODULES
    if not any(part.startswith("_") for part in name.split(".")) and not name.endswith("__main__")
]


def exports(module):
    names = importlib.import_module(module).__all__
    return {name: getattr(importlib.import_module(module), name) for name in names}


def test_the_public_modules_are_found():
    assert {"wireframe", "wireframe.errors", "wireframe.ipi"} <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_as_readers_expect_and_names_nothing_twice(name):
    """CONSTANTS, then Classes, then functions."""

    def order(one):
        return (0 if one.isupper() else 1 if one[0].isupper() else 2, one)

    names = importlib.import_module(name).__all__
    assert names == sorted(set(names), key=order)


@pytest.mark.parametrize("name", PUBLIC)
def test_nothing_public_is_missing_from_all(name):
    """What a module shows without an underscore is promised, or was only imported to be used."""
    module = importlib.import_module(name)
    own = {
        one
        for one, value in vars(module).items()
        if not one.startswith("_") and getattr(value, "__module__", None) == name
    }
    assert own <= set(module.__all__)


def test_the_package_exports_every_error():
    assert set(importlib.import_module("wireframe.errors").__all__) <= set(wireframe.__all__)


def sources():
    return "\n".join(
        path.read_text(encoding="utf-8") for path in sorted(Path(wireframe.__file__).parent.rglob("*.py"))
    )


@pytest.mark.parametrize("module", PUBLIC)
def test_every_export_is_there_and_explained(module):
    """Classes and functions by a docstring, constants by a ``#:`` line or in their module's docstring."""
    for name, value in exports(module).items():
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
        elif name != "__version__":
            comment = re.search(rf"^#: .*\n(?:#: .*\n)*{name}\b", sources(), re.MULTILINE)
            assert comment or f"``{name}``" in importlib.import_module(module).__doc__, name


@pytest.mark.parametrize("module", PUBLIC)
def test_every_parameter_of_an_exported_function_is_explained(module):
    """By its name at the head of a line in the docstring."""
    for name, value in exports(module).items():
        if inspect.isfunction(value):
            for parameter in inspect.signature(value).parameters:
                assert re.search(rf"^ *(\w+, )*{parameter}(, \w+)* : ", value.__doc__, re.MULTILINE), name


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_method_and_property_is_explained(module):
    for name, value in exports(module).items():
        for one, member in inspect.getmembers(value) if inspect.isclass(value) else ():
            function = member.fget if isinstance(member, property) else member
            home = getattr(function, "__module__", None) or ""
            if not one.startswith("_") and home.startswith("wireframe"):
                assert inspect.getdoc(member), f"{name}.{one}"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring_and_its_examples_run(name):
    module = importlib.import_module(name)
    assert module.__doc__ or name.endswith("._version")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, optionflags=flags).failed == 0
