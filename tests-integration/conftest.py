"""Paths of the tree and its freshly built packages."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def interrupts_reach_programs() -> Iterator[None]:
    """Let programs that tests start be interrupted, also if the tests run as a job in the background.

    A shell starts such a job with SIGINT ignored, and ignored signals are inherited.
    """
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the tree."""
    return ROOT


def load_tool(name: str) -> ModuleType:
    """Import ``tools/<name>.py``, which belongs to no package."""
    spec = importlib.util.spec_from_file_location(f"tools_{name}", ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def release_tool() -> ModuleType:
    """``tools/release.py`` as a module."""
    return load_tool("release")


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with wheel and sdist of every package, built from this tree."""
    target = tmp_path_factory.mktemp("distributions")
    wheels = load_tool("wheels")
    for package in wheels.package_directories():
        wheels.build(package, target)
    return target
