"""Several processes on one database: nothing is lost, nobody waits in vain, and a process that is killed leaves a whole catalog."""

import asyncio
import multiprocessing
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from arraylake_core.catalog import catalog_from_uri
from arraylake_core.catalog.open import data_dir
from arraylake_core.testing.catalog_samples import make_repo, names_of
from tests.servers.postgres import Postgres

PROCESSES = 4
EACH = 20


def _create_and_list(uri: str, number: int, barrier: Barrier) -> None:
    async def work() -> None:
        catalog = catalog_from_uri(uri)
        for index in range(EACH):
            name = f"repo-{number}-{index:02}"
            repo = await make_repo(catalog, name)
            await catalog.coordination(repo.id).append_journal("log", b"entry")
            assert name in await names_of(catalog, size=100)

    barrier.wait(60)
    asyncio.run(work())


def _start(uri: str, number: int, barrier: Barrier) -> None:
    barrier.wait(60)
    assert [org.name for org in asyncio.run(catalog_from_uri(uri).list_orgs())] == (["me"] if uri.startswith("sqlite") else [])


def _in_processes(context: SpawnContext, target: Callable[[str, int, Barrier], None], uri: str) -> None:
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=target, args=(uri, number, barrier)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    for process in processes:
        process.close()


@pytest.fixture
def spawn() -> SpawnContext:
    return multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", "postgres"])
def uri(request: pytest.FixtureRequest, path: Path) -> str:
    return f"sqlite:///{path}" if request.param == "sqlite" else request.getfixturevalue("postgres_uri")


def test_p21_processes_lose_nothing(uri: str, spawn: SpawnContext) -> None:
    asyncio.run(catalog_from_uri(uri).list_orgs())
    _in_processes(spawn, _create_and_list, uri)
    expected = [f"repo-{number}-{index:02}" for number in range(PROCESSES) for index in range(EACH)]
    assert asyncio.run(names_of(catalog_from_uri(uri), size=100)) == expected


def test_p24_the_very_first_start_is_one(path: Path, spawn: SpawnContext) -> None:
    _in_processes(spawn, _start, f"sqlite:///{path}")
    assert {found.name for found in path.parent.iterdir()} == {"catalog.db", "catalog.db.lock", "catalog.key", "data"}


def test_p24_the_very_first_start_on_postgresql_is_one(postgres_database: str, spawn: SpawnContext) -> None:
    _in_processes(spawn, _start, postgres_database)
    assert [found.suffix for found in data_dir().iterdir()] == [".key"]


def test_p22_a_killed_process_leaves_a_whole_catalog(uri: str, path: Path, postgres: Postgres) -> None:
    script = textwrap.dedent(
        """
        import asyncio, itertools, sys
        from arraylake_core.catalog import catalog_from_uri
        from arraylake_core.testing.catalog_samples import make_repo

        async def work():
            catalog = catalog_from_uri(sys.argv[1])
            for index in itertools.count(int(sys.argv[2])):
                repo = await make_repo(catalog, f"repo-{index}", metadata={"index": index})
                print(index, flush=True)
                await catalog.coordination(repo.id).append_journal("log", b"x" * 1000)
                await catalog.delete_repo("me", repo.name)
                if index % 2:
                    await catalog.purge_repo(repo.id)

        asyncio.run(work())
        """
    )
    reached = 0
    for kill_after in (0, 3, 7):
        with subprocess.Popen([sys.executable, "-c", script, uri, str(reached)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= reached + kill_after:
                    break
            process.send_signal(signal.SIGKILL)
            made = [int(line), *map(int, process.stdout)]
        reached = made[-1] + 2
        if uri.startswith("sqlite"):
            _check_sqlite(path)
        else:
            _check_whole(lambda statement: postgres.execute(statement, postgres.name_of(uri))[0][0])
    asyncio.run(make_repo(catalog_from_uri(uri), "afterwards"))


def _check_sqlite(path: Path) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    _check_whole(lambda statement: connection.execute(statement).fetchone()[0])
    connection.close()


def _check_whole(scalar: Callable[[str], object]) -> None:
    for rows in (
        "repos WHERE NOT EXISTS (SELECT 1 FROM place_claims WHERE repo_id = repos.id AND role = 'owner')",
        "repos WHERE NOT EXISTS (SELECT 1 FROM metadata_index WHERE repo_id = repos.id)",
        "places p WHERE NOT EXISTS (SELECT 1 FROM place_claims c WHERE c.store = p.store AND c.path = p.path)",
        "journals j WHERE length <> (SELECT count(*) FROM journal_entries e WHERE e.repo_id = j.repo_id AND e.journal = j.name)",
    ):
        assert scalar(f"SELECT count(*) FROM {rows}") in (0, "0")
