"""What the tests of the embedded catalog share."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arraylake_core import config
from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog import Catalog, NewBucket, catalog_from_uri
from arraylake_core.catalog.keys import Key
from tests.servers.postgres import Postgres


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


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> tuple[str, str]:
    """A PostgreSQL database with a catalog that begins as the embedded ones do, and its key."""
    name, key = postgres.new_database(), Key.generate().text()

    async def make() -> None:
        catalog = catalog_from_uri(postgres.uri(name))
        await begin_as_embedded(catalog)
        await catalog.close()

    # The loop of an asynchronous fixture may be running.
    with config.set({"catalog.key": key}), ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make()).result()
    return name, key


async def begin_as_embedded(catalog: Catalog) -> None:
    """Make the organization ``me`` with its default bucket config, with which an embedded catalog begins."""
    await catalog.create_org("me")
    local = NewBucket(
        nickname="local",
        platform="memory",
        name="lake",
        prefix="",
        extra_config={},
        auth_config={"method": "anonymous"},
        identity=StorageIdentity("memory://", "lake"),
    )
    await catalog.create_bucket("me", local)


@pytest.fixture
def postgres_uri(postgres: Postgres, postgres_template: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of a PostgreSQL database with such a catalog; its key is in the environment, for other processes too."""
    template, key = postgres_template
    monkeypatch.setenv("ARRAYLAKE_CATALOG__KEY", key)
    config.refresh()
    name = postgres.new_database(template)
    yield postgres.uri(name)
    postgres.drop(name)
