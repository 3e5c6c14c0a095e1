"""The migrations make what tables.py says, once, and whole or not at all."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from arraylake_core.catalog import Catalog
from arraylake_core.catalog import schema as schema_module
from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.schema import DECLARED, DECLARED_COMPATIBLE_FROM, HEAD, MIGRATIONS, REVISIONS, upgrade_tables
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.catalog.sqlite import SqliteDatabase
from arraylake_core.catalog.tables import metadata
from arraylake_core.errors import CatalogError
from arraylake_core.testing.catalog_samples import make_repo, names_of
from tests.later_release import LATER, be_later, later_migrations

EARLIER, COMPATIBLE = schema_module.HEAD, "0003"

type Execute = Callable[[Path, str], list[tuple[object, ...]]]

SCHEMA = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name <> 'arraylake_version' ORDER BY name"


def test_p24_the_head_is_the_one_of_the_scripts() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_current_head() == HEAD
    assert tuple(found.revision for found in scripts.walk_revisions())[::-1] == REVISIONS
    assert DECLARED == HEAD, "tables.py describes the head: say so in schema.py"
    head = scripts.get_revision(HEAD)
    assert getattr(head.module, "compatible_from", HEAD) == DECLARED_COMPATIBLE_FROM


async def test_p24_the_migrations_make_the_tables(path: Path, tmp_path: Path, file_catalog: Catalog, execute: Execute) -> None:
    """Those of a new file, which is made without them."""
    await file_catalog.list_orgs()
    migrated = SqliteDatabase(tmp_path / "migrated.db")
    await migrated.prepare(upgrade_tables)
    engine = create_engine(f"sqlite:///{migrated.path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "arraylake_version"})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    # Alembic compares neither checks nor the conditions of indexes, so the text of SQLite's own is compared as well.
    made, declared = (
        {name: (kind, _parts(str(sql))) for kind, name, sql in execute(where, SCHEMA)} for where in (migrated.path, path)
    )
    assert made == declared
    found, wanted = (execute(where, "SELECT * FROM arraylake_version") for where in (path, migrated.path))
    assert found == wanted


def _parts(sql: str) -> list[str]:
    """Return what lies between the commas of a statement, whatever its order: a column that was added later comes last."""
    pieces = re.split(r",\s(?![^(]*\))", re.sub(r"\s+", " ", sql.replace(" = 1", "")).replace("( ", "(", 1))
    head, _, first = pieces[0].partition("(")
    return sorted(part.strip(" )") for part in (head, first, *pieces[1:]))


@pytest.fixture
def later_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release with one more revision; the file that is returned, if it is there, makes that revision fail."""
    be_later(monkeypatch, later_migrations(tmp_path))
    return tmp_path / "trap"


async def _made_by_this_release(path: Path) -> None:
    catalog = SqlCatalog(file_home(path))
    await make_repo(catalog)
    await catalog.close()


async def test_p24_an_old_catalog_is_brought_up_to_date(path: Path, request: pytest.FixtureRequest, execute: Execute) -> None:
    await _made_by_this_release(path)
    request.getfixturevalue("later_release")
    for _ in range(2):
        assert await names_of(SqlCatalog(file_home(path))) == ["ocean"]
    assert execute(path, "SELECT version_num, compatible_from FROM arraylake_version") == [(LATER, EARLIER)]
    assert execute(path, "SELECT colour FROM repos") == [(None,)]


async def test_p24_an_interrupted_migration_does_no_harm(path: Path, request: pytest.FixtureRequest, execute: Execute) -> None:
    await _made_by_this_release(path)
    before = execute(path, SCHEMA)
    trap = request.getfixturevalue("later_release")
    trap.touch()
    for _ in range(2):
        with pytest.raises(AssertionError, match="interrupted"):
            await SqlCatalog(file_home(path)).list_orgs()
    assert execute(path, SCHEMA) == before
    assert execute(path, "SELECT version_num, compatible_from FROM arraylake_version") == [(EARLIER, COMPATIBLE)]
    trap.unlink()
    assert await names_of(SqlCatalog(file_home(path))) == ["ocean"]


async def test_p24_an_interrupted_first_start_does_no_harm(path: Path, later_release: Path) -> None:
    later_release.touch()
    with pytest.raises(AssertionError, match="interrupted"):
        await SqlCatalog(file_home(path)).list_orgs()
    assert {found.name for found in path.parent.iterdir()} == {"catalog.db.lock", "data"}
    later_release.unlink()
    assert await names_of(SqlCatalog(file_home(path))) == []


# Releases side by side


def test_p24_every_migration_says_which_releases_can_go_on() -> None:
    """From 0004 on, when releases began to look; what a later one says includes all that came before it."""
    said = [
        found.module.compatible_from
        for found in reversed(list(ScriptDirectory(str(MIGRATIONS)).walk_revisions()))
        if found.revision >= "0004"
    ]
    assert said == sorted(said)
    assert set(said) <= set(REVISIONS)


async def test_p24_what_is_called_compatible_only_adds(tmp_path: Path, execute: Execute) -> None:
    """A release that does not know a migration neither misses a column nor has to fill a new one."""
    tables: dict[str, dict[object, set[tuple[object, ...]]]] = {}
    for revision in REVISIONS:
        database = SqliteDatabase(tmp_path / f"{revision}.db")
        await database.prepare(partial(upgrade_tables, revision=revision))
        names = [name for (name,) in execute(database.path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = 'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_info({!r})'
        tables[revision] = {name: set(execute(database.path, columns.format(name))) for name in names}
    scripts = ScriptDirectory(str(MIGRATIONS))
    for revision in REVISIONS:
        oldest = getattr(scripts.get_revision(revision).module, "compatible_from", revision)
        for name, before in tables[oldest].items():
            added = tables[revision][name] - before
            assert before <= tables[revision][name]
            assert all(not needed or default is not None for _, _, needed, default, _ in added)


@pytest.mark.parametrize("compatible_from", [EARLIER, COMPATIBLE])
async def test_p24_the_former_release_works_on_a_catalog_that_the_next_one_migrated(
    path: Path, execute: Execute, tmp_path: Path, compatible_from: str
) -> None:
    await _made_by_this_release(path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        be_later(monkeypatch, later_migrations(tmp_path, compatible_from))
        assert await SqlCatalog(file_home(path)).migrate() == LATER
    former = SqlCatalog(file_home(path))
    assert await names_of(former) == ["ocean"]
    await former.create_org("another")
    # It can't bring it anywhere, and neither copies nor encrypts what it does not know.
    assert await former.migrate() == LATER
    with pytest.raises(CatalogError, match=f"at the revision later of a newer release.*{EARLIER}.*backup with that release"):
        await former.backup(tmp_path / "lake.backup")
    with pytest.raises(CatalogError, match="rotate its keys with that release"):
        await former.rotate_key()
    assert not (tmp_path / "lake.backup").exists()
    assert execute(path, "SELECT version_num, compatible_from FROM arraylake_version") == [(LATER, compatible_from)]


@pytest.mark.parametrize("compatible_from", [None, LATER, "0003.5"])
async def test_p24_a_catalog_that_is_not_for_the_former_release_is_refused(
    path: Path, execute: Execute, tmp_path: Path, compatible_from: str | None
) -> None:
    await _made_by_this_release(path)
    with pytest.MonkeyPatch.context() as monkeypatch:
        be_later(monkeypatch, later_migrations(tmp_path, compatible_from))
        await SqlCatalog(file_home(path)).migrate()
    before = execute(path, SCHEMA)
    for call in (SqlCatalog.list_orgs, SqlCatalog.migrate):
        with pytest.raises(
            CatalogError, match=rf"newer release \(revision later, .*this one knows {EARLIER}\): upgrade arraylake"
        ):
            await call(SqlCatalog(file_home(path)))
    assert execute(path, SCHEMA) == before
