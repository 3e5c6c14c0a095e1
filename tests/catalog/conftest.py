"""What the tests of the embedded catalog share."""

import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from arraylake_core.catalog import Catalog, catalog_from_uri


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lake" / "catalog.db"


@pytest.fixture
async def file_catalog(path: Path) -> AsyncIterator[Catalog]:
    catalog = catalog_from_uri(f"sqlite:///{path}")
    yield catalog
    await catalog.close()


@pytest.fixture
def execute() -> Callable[[Path, str], list[tuple[object, ...]]]:
    """Run one statement of SQL behind the catalog's back."""

    def execute(path: Path, statement: str) -> list[tuple[object, ...]]:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    return execute


@pytest.fixture
def run_python() -> Callable[..., None]:
    """Run a script in a process of its own, with warnings as errors; it must end well and print nothing on its standard error."""

    def run(script: str, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    return run
