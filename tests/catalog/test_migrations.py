"""The migrations make what tables.py says, once, and whole or not at all."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from arraylake_core.catalog import Catalog
from arraylake_core.catalog import schema as schema_module
from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.schema import HEAD, MIGRATIONS
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.catalog.tables import metadata
from arraylake_core.testing.catalog_samples import make_repo, names_of

type Execute = Callable[[Path, str], list[tuple[object, ...]]]

SCHEMA = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name <> 'arraylake_version' ORDER BY name"


def test_p24_the_head_is_the_one_of_the_scripts() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == HEAD


async def test_p24_the_migrations_make_the_tables(path: Path, tmp_path: Path, file_catalog: Catalog, execute: Execute) -> None:
    await file_catalog.list_orgs()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "arraylake_version"})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
    # Alembic compares neither checks nor the conditions of indexes, so the text of SQLite's own is compared as well.
    other = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    metadata.create_all(other)
    other.dispose()
    made, declared = (
        {name: (kind, _parts(str(sql))) for kind, name, sql in execute(where, SCHEMA)} for where in (path, tmp_path / "other.db")
    )
    assert made == declared


def _parts(sql: str) -> list[str]:
    """Return what lies between the commas of a statement, whatever its order: a column that was added later comes last."""
    pieces = re.split(r",\s(?![^(]*\))", re.sub(r"\s+", " ", sql.replace(" = 1", "")).replace("( ", "(", 1))
    head, _, first = pieces[0].partition("(")
    return sorted(part.strip(" )") for part in (head, first, *pieces[1:]))


@pytest.fixture
def later_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release with one more revision; the file that is returned, if it is there, makes that revision fail."""
    scripts, trap = tmp_path / "migrations", tmp_path / "trap"
    shutil.copytree(MIGRATIONS, scripts)
    (scripts / "versions" / "0004_more.py").write_text(
        "from pathlib import Path\n"
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        "revision, down_revision, branch_labels, depends_on = '0004', '0003', None, None\n"
        "def upgrade():\n"
        "    op.add_column('repos', sa.Column('colour', sa.Text()))\n"
        "    op.create_table('more', sa.Column('id', sa.Integer, primary_key=True))\n"
        f"    assert not Path({str(trap)!r}).exists(), 'interrupted'\n"
    )
    monkeypatch.setattr(schema_module, "MIGRATIONS", scripts)
    monkeypatch.setattr(schema_module, "HEAD", "0004")
    return trap


async def _made_by_this_release(path: Path) -> None:
    catalog = SqlCatalog(file_home(path))
    await make_repo(catalog)
    await catalog.close()


async def test_p24_an_old_catalog_is_brought_up_to_date(path: Path, request: pytest.FixtureRequest, execute: Execute) -> None:
    await _made_by_this_release(path)
    request.getfixturevalue("later_release")
    for _ in range(2):
        assert await names_of(SqlCatalog(file_home(path))) == ["ocean"]
    assert execute(path, "SELECT version_num FROM arraylake_version") == [("0004",)]
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
    assert execute(path, "SELECT version_num FROM arraylake_version") == [("0003",)]
    trap.unlink()
    assert await names_of(SqlCatalog(file_home(path))) == ["ocean"]


async def test_p24_an_interrupted_first_start_does_no_harm(path: Path, later_release: Path) -> None:
    later_release.touch()
    with pytest.raises(AssertionError, match="interrupted"):
        await SqlCatalog(file_home(path)).list_orgs()
    assert {found.name for found in path.parent.iterdir()} == {"catalog.db.lock", "data"}
    later_release.unlink()
    assert await names_of(SqlCatalog(file_home(path))) == []
