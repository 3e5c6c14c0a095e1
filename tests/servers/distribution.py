"""Distributions that are not installed, put where Python finds them, with their entry points: as `pip install --editable` does, in no time."""

import os
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from arraylake_core.plugins import default_registry

__all__ = ["described", "installed", "module_from", "path_with"]


def module_from(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def described(project: Path, site: Path) -> Path:
    """Write into a directory what an installer would write of a project, and return the directory."""
    about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    info = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    lines = [f"{name} = {value}" for name, value in about["entry-points"]["arraylake"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[arraylake]", *lines, ""]))
    return site


def path_with(*directories: Path) -> str:
    """Return a PYTHONPATH with directories before what it has."""
    return os.pathsep.join(filter(None, [*map(str, directories), os.environ.get("PYTHONPATH")]))


@contextmanager
def installed(project: Path, site: Path) -> Iterator[Path]:
    """Have a project installed, here and in processes that are started from here."""
    described(project, site)
    with pytest.MonkeyPatch.context() as patch:
        for directory in (project, site):
            patch.syspath_prepend(directory)
        patch.setenv("PYTHONPATH", path_with(project, site))
        default_registry.cache_clear()
        yield project
    default_registry.cache_clear()
