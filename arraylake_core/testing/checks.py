"""What several kits look at: what an import loads, and what blocks an event loop."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from blockbuster import BlockBuster

__all__ = ["CANARY", "HEAVY", "SAID_OF_EVERY_STORE", "heavy_imports", "nothing_blocks", "opened_at_home"]

CANARY = "CANARY-of-the-kit"
"""The value for a secret field: wherever it shows, a secret has leaked."""

SAID_OF_EVERY_STORE = (
    "ignore:Consolidated metadata is currently not part:UserWarning",
    "ignore:The data type .* does not have a Zarr V3 specification",
)
"""What zarr and xarray warn of on every store: nothing of it is about the store."""

# What a plugin may not import before it is used: each costs every start of every program.
HEAVY = (
    "adlfs",
    "aiobotocore",
    "aiohttp",
    "asyncssh",
    "azure",
    "botocore",
    "fsspec",
    "gcsfs",
    "google",
    "httpx",
    "icechunk",
    "numpy",
    "obstore",
    "pandas",
    "paramiko",
    "requests",
    "s3fs",
    "sqlalchemy",
    "xarray",
    "zarr",
)

_SCRIPT = """
import importlib, sys
module = importlib.import_module({module!r})
for hook in ("arraylake_storage_platforms", "arraylake_auth_methods", "arraylake_repo_kinds"):
    getattr(module, hook, list)()
print(*sorted(set({heavy!r}).intersection(sys.modules)))
"""


def heavy_imports(backend: object) -> list[str]:
    """Return what of HEAVY a new process has loaded after it imported the package of a backend, and asked it for its backends."""
    script = _SCRIPT.format(module=type(backend).__module__.partition(".")[0], heavy=HEAVY)
    command = [sys.executable, "-W", "error", "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the line above
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@contextmanager
def nothing_blocks() -> Iterator[None]:
    """Let whatever sleeps or waits for a connection on a running event loop raise ``blockbuster.BlockingError``."""
    detector = BlockBuster()
    functions = [
        function
        for name, function in detector.functions.items()
        if name.startswith(("time.", "socket.", "ssl.", "builtins.input"))
    ]
    for function in functions:
        function.activate()
    try:
        yield
    finally:
        for function in functions:
            function.deactivate()


@contextmanager
def opened_at_home() -> Iterator[list[str]]:
    """Collect the files below the home directory that anything in this process opens meanwhile, but for code."""
    paths: list[str] = []
    code = [Path(place).resolve() for place in {sys.prefix, sys.base_prefix, *sys.path} if place]
    home = Path.home().resolve()
    with _watching:
        _listeners().append(paths)
        try:
            found: list[str] = []
            yield found
        finally:
            _listeners().remove(paths)
        resolved = {Path(one).resolve() for one in paths}
        found.extend(
            str(path)
            for path in sorted(resolved)
            if path.is_relative_to(home) and not any(path.is_relative_to(place) for place in code)
        )


_watching = threading.Lock()


@cache
def _listeners() -> list[list[str]]:
    """Return the lists that every opened path is added to; what listens to Python's audit events stays for good, so that there is one."""
    listeners: list[list[str]] = []

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and listeners and isinstance(path := arguments[0], str | bytes):
            for paths in listeners:
                paths.append(os.fsdecode(path))

    sys.addaudithook(heard)
    return listeners
