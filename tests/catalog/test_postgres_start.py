"""The start of a catalog on PostgreSQL: its tables, its keys, and what other releases left there."""

import asyncio
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from arraylake_core import config
from arraylake_core.catalog import catalog_from_uri
from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.home import postgres_home
from arraylake_core.catalog.keys import Key
from arraylake_core.catalog.open import data_dir
from arraylake_core.catalog.schema import HEAD
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.catalog.tables import metadata
from arraylake_core.errors import CatalogError
from arraylake_core.secret import Secret
from arraylake_core.testing.catalog_samples import CANARY, new_bucket
from tests.later_release import be_later, later_migrations, later_program
from tests.servers.postgres import Postgres


def reopened(uri: str) -> SqlCatalog:
    return SqlCatalog(postgres_home(Dsn(uri)))


def tables(postgres: Postgres, uri: str) -> list[str]:
    return [
        name
        for (name,) in postgres.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1", Postgres.name_of(uri)
        )
    ]


async def test_a_new_catalog_is_empty_and_its_key_private(postgres_database: str) -> None:
    catalog = catalog_from_uri(postgres_database)
    key = data_dir() / f"{Dsn(postgres_database).file_name}.key"
    assert not key.exists()
    assert await catalog.list_orgs() == []
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert Postgres.name_of(postgres_database) in key.name
    await catalog.close()


async def test_p24_the_migrations_make_the_tables(postgres_database: str) -> None:
    catalog = reopened(postgres_database)
    await catalog.list_orgs()

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"version_table": "arraylake_version"})
        return compare_metadata(context, metadata)

    async with catalog._home.database.read() as connection:
        assert await connection.run_sync(differences) == []
    await catalog.close()


async def test_p24_the_very_first_start_is_one(postgres_database: str) -> None:
    catalogs = [reopened(postgres_database) for _ in range(4)]
    with config.set({"catalog.key": Key.generate().text()}):
        assert await asyncio.gather(*(catalog.list_orgs() for catalog in catalogs)) == [[]] * 4
        await catalogs[0].create_org("me")
        assert [org.name for org in await catalogs[3].list_orgs()] == ["me"]
    for catalog in catalogs:
        await catalog.close()


async def test_p9_no_key_no_start(postgres_database: str) -> None:
    catalog = reopened(postgres_database)
    await catalog.create_org("me")
    await catalog.create_bucket("me", new_bucket(auth={"method": "hmac", "secret_access_key": Secret(CANARY)}))
    await catalog.close()
    key = data_dir() / f"{Dsn(postgres_database).file_name}.key"
    kept = key.read_text()
    key.unlink()
    for call in (SqlCatalog.list_orgs, SqlCatalog.migrate):
        with pytest.raises(CatalogError, match=f"{key}, which does not exist.*ARRAYLAKE_CATALOG__KEY"):
            await call(catalog)
        await catalog.close()
    with config.set({"catalog.key": Key.generate().text()}), pytest.raises(CatalogError, match=r"the setting catalog\.key"):
        await catalog.list_orgs()
    with config.set({"catalog.key": kept.strip()}):
        assert (await catalog.get_bucket("me", "ocean-data")).auth_config["secret_access_key"] == Secret(CANARY)
    await catalog.close()


async def test_p9_no_piece_of_a_secret_is_in_the_database(postgres: Postgres, postgres_uri: str) -> None:
    catalog = reopened(postgres_uri)
    await catalog.create_bucket("me", new_bucket(auth={"method": "hmac", "secret_access_key": Secret(CANARY)}))
    everything = str(
        [postgres.execute(f"SELECT * FROM {table}", Postgres.name_of(postgres_uri)) for table in tables(postgres, postgres_uri)]
    )
    assert "ocean-data" in everything
    assert not [start for start in range(len(CANARY) - 11) if CANARY[start : start + 12] in everything]
    assert not [start for start in range(len(CANARY) - 11) if CANARY[start : start + 12].encode().hex() in everything]
    await catalog.close()


async def test_p9_keys_rotate_beside_work(postgres_database: str) -> None:
    rotating, working = reopened(postgres_database), reopened(postgres_database)
    await rotating.create_org("me")
    auth = {"method": "hmac", "secret_access_key": Secret(CANARY)}
    for number in range(4):
        await rotating.create_bucket("me", new_bucket(f"bucket-{number}", name=f"bucket-{number}", auth=auth))

    async def work() -> None:
        for number in range(4):
            assert all(bucket.auth_config == auth for bucket in await working.list_buckets("me"))
            await working.modify_bucket("me", f"bucket-{number}", auth_config=auth)

    count, _ = await asyncio.gather(rotating.rotate_key(), work())
    assert count > 0
    assert all(bucket.auth_config == auth for bucket in await working.list_buckets("me"))
    for catalog in (rotating, working):
        await catalog.close()


async def test_a_database_of_something_else_is_refused(postgres: Postgres, postgres_database: str) -> None:
    postgres.execute("CREATE TABLE ships (id integer)", Postgres.name_of(postgres_database))
    for call in (SqlCatalog.list_orgs, SqlCatalog.migrate):
        catalog = reopened(postgres_database)
        with pytest.raises(CatalogError, match="something else"):
            await call(catalog)
        await catalog.close()
    assert tables(postgres, postgres_database) == ["ships"]


# Other releases


@pytest.fixture
def later_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_later(monkeypatch, later_migrations(tmp_path))


async def test_p24_an_older_catalog_waits_for_its_operator(postgres: Postgres, postgres_uri: str, later_release: None) -> None:
    catalog, others = reopened(postgres_uri), [reopened(postgres_uri) for _ in range(2)]
    with pytest.raises(CatalogError, match=rf"older release \(revision {HEAD}.*arraylake-core admin migrate"):
        await catalog.list_orgs()
    assert "later" not in tables(postgres, postgres_uri)
    # Two at once, and then again.
    await asyncio.gather(*(other.migrate() for other in others))
    await catalog.migrate()
    assert postgres.execute("SELECT version_num, compatible_from FROM arraylake_version", Postgres.name_of(postgres_uri)) == [
        ["later", HEAD]
    ]
    assert [org.name for org in await catalog.list_orgs()] == ["me"]
    for one in (catalog, *others):
        await one.close()


async def test_p24_a_newer_catalog_is_refused(postgres: Postgres, postgres_uri: str) -> None:
    postgres.execute(
        "UPDATE arraylake_version SET version_num = '9999', compatible_from = '9998'", Postgres.name_of(postgres_uri)
    )
    for call in (SqlCatalog.list_orgs, SqlCatalog.migrate):
        catalog = reopened(postgres_uri)
        with pytest.raises(CatalogError, match=rf"newer release \(revision 9999, .*this one knows {HEAD}"):
            await call(catalog)
        await catalog.close()


def test_p24_a_migration_that_is_killed_half_way_did_nothing(postgres: Postgres, postgres_uri: str, tmp_path: Path) -> None:
    command = [*later_program(later_migrations(tmp_path)), "admin", "migrate", "--database", postgres_uri]
    name = Postgres.name_of(postgres_uri)
    busy = (
        f"SELECT pid FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE '%pg_sleep(0.3)%' AND pid <> pg_backend_pid()"
    )
    with subprocess.Popen(command, env=os.environ) as process:
        deadline = time.monotonic() + 60
        while not postgres.execute(busy) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert "later" not in tables(postgres, postgres_uri)
    assert postgres.execute("SELECT version_num FROM arraylake_version", name) == [[HEAD]]
    subprocess.run(command, check=True, timeout=60)
    assert "later" in tables(postgres, postgres_uri)
