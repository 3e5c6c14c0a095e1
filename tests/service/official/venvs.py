"""Virtual environments with the official client, unmodified, each made once and kept among the temporary files, for all workers and the next run."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

__all__ = ["RELEASES", "Official", "official"]

RELEASES = {"1.7.0": "3.12", "0.33.0": "3.11"}


class Official(NamedTuple):
    """A release of the official client in an environment of its own."""

    release: str
    python: Path

    @property
    def program(self) -> Path:
        """The command ``arraylake``."""
        return self.python.with_name("arraylake")


def official(release: str) -> Official:
    """Return the environment of a release, made where it is not there yet; processes wait for one another."""
    home = Path(tempfile.gettempdir()) / f"arraylake-core-tests-{os.getuid()}" / f"arraylake-{release}"
    home.parent.mkdir(parents=True, exist_ok=True)
    found = Official(release, home / "bin" / "python")
    with FileLock(home.with_suffix(".lock"), timeout=600):
        if not (home / "complete").exists():
            shutil.rmtree(home, ignore_errors=True)
            _uv("venv", "--quiet", "--python", _python(RELEASES[release]), str(home))
            _uv("pip", "install", "--quiet", "--python", str(found.python), f"arraylake=={release}")
            (home / "complete").touch()
    return found


def _uv(*arguments: str) -> str:
    program = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=500)
    if done.returncode:
        raise RuntimeError(f"uv {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def _python(wanted: str) -> str:
    """Return a Python of the wanted version, and where this machine has none, this one: both releases run on 3.12."""
    found = json.loads(_uv("python", "list", "--only-installed", "--output-format", "json", wanted) or "[]")
    return str(found[0]["path"]) if found else sys.executable
