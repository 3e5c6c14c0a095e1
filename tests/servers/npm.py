"""Servers that come from npm, installed once for all runs and workers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock
from platformdirs import user_cache_path

__all__ = ["npm_package", "require_npm"]

# Looked up now: a server that a test starts has a home of its own, where everything would be installed again.
_CACHE = user_cache_path("arraylake-core-tests") / "npm"


def require_npm() -> None:
    """Fail in CI, and skip elsewhere, where there is no Node."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        message = "Node is missing, which runs the OpenID provider and Azurite: install Node 20 or later"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def npm_package(name: str, version: str, *more: str) -> Path:
    """Return the directory whose ``node_modules`` has a package, which is installed there where it is not yet.

    Parameters
    ----------
    name, version
        The package.
    more
        What must be beside it, as in ``other@1.0``.
    """
    place = _CACHE / f"{name.replace('/', '-')}-{version}"
    place.parent.mkdir(parents=True, exist_ok=True)
    done = place / "installed"
    with FileLock(f"{place}.lock"):
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            command = [
                "npm",
                "install",
                "--prefix",
                str(place),
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
                f"{name}@{version}",
                *more,
            ]
            found = subprocess.run(command, capture_output=True, text=True, timeout=300)
            if found.returncode:
                raise RuntimeError(f"npm could not install {name} {version}: {found.stderr[-2000:]}")
            done.touch()
    return place
