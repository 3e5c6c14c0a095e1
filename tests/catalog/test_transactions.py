"""Several calls in one transaction, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.home import file_home, postgres_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import AlreadyExistsError, CatalogError, ConflictError
from arraylake_core.testing.catalog_samples import make_repo, names_of, new_bucket, new_repo


@pytest.fixture(params=["sqlite", "postgres"])
async def catalogs(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[tuple[SqlCatalog, SqlCatalog]]:
    """One that is worked with, and another one that looks on."""
    if request.param == "sqlite":
        pair = SqlCatalog(file_home(path)), SqlCatalog(file_home(path))
    else:
        uri = request.getfixturevalue("postgres_uri")
        pair = SqlCatalog(postgres_home(Dsn(uri))), SqlCatalog(postgres_home(Dsn(uri)))
    yield pair
    for catalog in pair:
        await catalog.close()


async def names(catalog: SqlCatalog) -> list[str]:
    return [org.name for org in await catalog.list_orgs()]


@pytest.mark.parametrize("exclusive", [True, False])
async def test_all_of_it_happens_at_once(catalogs: tuple[SqlCatalog, SqlCatalog], exclusive: bool) -> None:
    catalog, other = catalogs
    async with catalog.transaction(exclusive=exclusive) as connection:
        repo = await make_repo(catalog)
        await catalog.coordination(repo.id).put_ref("branch/main", 1, expected=None)
        async with catalog.transaction() as again:
            assert again is connection
            await catalog.create_org("inner")
        assert await names(catalog) == ["inner", "me"]
        assert await names_of(catalog) == ["ocean"]
        assert await names(other) == ["me"]
    assert await names(other) == ["inner", "me"]
    assert await other.coordination(repo.id).get_ref("branch/main") is not None


async def test_or_nothing_of_it_does(catalogs: tuple[SqlCatalog, SqlCatalog]) -> None:
    catalog, other = catalogs
    with suppress(KeyError):
        async with catalog.transaction():
            await catalog.create_bucket("me", new_bucket())
            async with catalog.transaction():
                await catalog.create_org("inner")
            raise KeyError
    assert await names(other) == ["me"]
    assert len(await other.list_buckets("me")) == 1
    await catalog.create_org("inner")


async def test_what_was_refused_and_caught_leaves_the_rest(catalogs: tuple[SqlCatalog, SqlCatalog]) -> None:
    catalog, other = catalogs
    repo = await make_repo(catalog, "taken", "a/b")
    assert repo.bucket is not None
    async with catalog.transaction():
        await catalog.create_org("first")
        with pytest.raises(AlreadyExistsError):
            await catalog.create_org("first")
        with pytest.raises(AlreadyExistsError, match="me/taken"):
            await catalog.create_repo("me", new_repo(repo.bucket.id, "overlapping", "a"))
        with pytest.raises(ConflictError):
            await catalog.coordination(repo.id).put_ref("name", 1, expected=7)
        with suppress(KeyError):
            async with catalog.transaction():
                await catalog.create_org("undone")
                raise KeyError
        await catalog.create_org("second")
    assert await names(other) == ["first", "me", "second"]
    assert await names_of(other) == ["taken"]


async def test_another_catalog_and_another_task_do_not_join(catalogs: tuple[SqlCatalog, SqlCatalog]) -> None:
    catalog, other = catalogs
    with suppress(KeyError):
        async with catalog.transaction():
            await catalog.create_org("undone")
            assert await names(other) == ["me"]
            assert await asyncio.create_task(names(catalog)) == ["me"]
            raise KeyError
    await asyncio.gather(*(catalog.create_org(f"org-{number}") for number in range(4)))
    assert len(await names(catalog)) == 5


async def test_reads_see_one_state(catalogs: tuple[SqlCatalog, SqlCatalog]) -> None:
    catalog, other = catalogs
    async with catalog.read_transaction() as connection:
        assert await names(catalog) == ["me"]
        await other.create_org("meanwhile")
        assert await names(catalog) == ["me"]
        async with catalog.read_transaction() as again:
            assert again is connection
        await catalog.create_org("apart")
        assert await names(catalog) == ["me"]
    assert await names(catalog) == ["apart", "me", "meanwhile"]
    async with catalog.transaction():
        await catalog.create_org("written")
        async with catalog.read_transaction():
            assert "written" in await names(catalog)
            await catalog.create_org("too")
    assert "too" in await names(other)


async def test_exclusive_transactions_wait_for_one_another(catalogs: tuple[SqlCatalog, SqlCatalog]) -> None:
    """Check, then act: right for all that ask for it."""

    async def make_one_more(catalog: SqlCatalog) -> None:
        async with catalog.transaction():
            count = len(await names(catalog))
            await asyncio.sleep(0.01)
            await catalog.create_org(f"org-{count}")

    await asyncio.gather(*(make_one_more(catalog) for catalog in catalogs * 4))
    assert await names(catalogs[0]) == ["me", *(f"org-{number}" for number in range(1, 9))]


async def test_p22_a_swallowed_error_of_the_database_undoes_all(postgres_uri: str) -> None:
    catalog = SqlCatalog(postgres_home(Dsn(postgres_uri)))

    async def swallow() -> None:
        async with catalog.transaction() as connection:
            await catalog.create_org("lost")
            with suppress(DBAPIError):
                await connection.exec_driver_sql("SELECT 1 / 0")

    with pytest.raises(CatalogError, match="nothing was changed"):
        await swallow()
    assert await names(catalog) == ["me"]
    await catalog.close()
