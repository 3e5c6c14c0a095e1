"""P24: catalogs that earlier releases made, kept as files, open with all that is in them."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.secret import Secret

DATA = Path(__file__).parent / "data"


@pytest.fixture
def earlier(tmp_path: Path) -> SqlCatalog:
    """The catalog of a release at revision 0001, before there were people in it."""
    connection = sqlite3.connect(tmp_path / "catalog.db")
    connection.executescript((DATA / "revision-0001.sql").read_text())
    connection.close()
    shutil.copyfile(DATA / "revision-0001.key", tmp_path / "catalog.key")
    (tmp_path / "catalog.key").chmod(0o600)
    return SqlCatalog(file_home(tmp_path / "catalog.db"))


async def test_p24_a_catalog_of_revision_0001_opens_with_all_that_is_in_it(earlier: SqlCatalog) -> None:
    bucket = await earlier.get_bucket("me", "ocean-data")
    assert bucket.auth_config["secret_access_key"] == Secret("CANARY-of-revision-0001")
    page = await earlier.list_repos("me")
    assert (page.total, [repo.name for repo in page.items]) == (1, ["ocean"])
    repo = page.items[0]
    assert (repo.description, repo.metadata, repo.visibility) == ("From an earlier release", {"ocean": "arctic"}, "PRIVATE")
    coordination = earlier.coordination(repo.id)
    ref = await coordination.get_ref("branch/main")
    assert ref is not None
    assert (ref.value, ref.version) == ({"commit": "c1"}, 1)
    assert [entry.data for entry in await coordination.read_journal("session/1")] == [b"entry"]
    assert (await earlier.list_repos("me", filter_metadata={"ocean": "arctic"})).total == 1
    await earlier.restore_repo("me", "gone")
    assert (await earlier.list_repos("me")).total == 2
    assert await earlier.list_members("me") == []
    await earlier.close()
