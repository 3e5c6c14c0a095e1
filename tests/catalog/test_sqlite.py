"""The embedded catalog: what every catalog does, in a file and in memory, and what is SQLite's own."""

import asyncio
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import event

from arraylake_core.catalog import Catalog, catalog_from_uri
from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.catalog.sqlite import translated
from arraylake_core.errors import AlreadyExistsError, CatalogError, InvalidOptionError, StorageError
from arraylake_core.testing.catalog import CatalogTests
from arraylake_core.testing.catalog_samples import make_repo, names_of, new_bucket, new_repo

type Execute = Callable[[Path, str], list[tuple[object, ...]]]
type RunPython = Callable[..., None]


class TestFile(CatalogTests):
    @pytest.fixture
    def catalog(self, file_catalog: Catalog) -> Catalog:
        return file_catalog


class TestMemory(CatalogTests):
    @pytest.fixture
    async def catalog(self) -> AsyncIterator[Catalog]:
        catalog = catalog_from_uri("memory://")
        yield catalog
        await catalog.close()


# The start


async def test_the_first_use_makes_private_files(file_catalog: Catalog, path: Path) -> None:
    assert file_catalog.uri == f"sqlite:///{path}"
    assert not path.parent.exists()
    bucket = await file_catalog.get_bucket("me", None)
    assert (bucket.platform, bucket.name) == ("file", str(path.parent / "data"))
    modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in (path.parent, *path.parent.iterdir())}
    assert modes == {"lake": 0o700, "data": 0o700, "catalog.db": 0o600, "catalog.key": 0o600, "catalog.db.lock": 0o600}


async def test_the_default_bucket_is_known_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    await catalog_from_uri(f"sqlite:///{tmp_path / 'link' / 'catalog.db'}").list_orgs()
    with sqlite3.connect(tmp_path / "real" / "catalog.db") as connection:
        place = connection.execute("SELECT store, path FROM buckets").fetchone()
    connection.close()
    assert place == ("file://", f"{tmp_path}/real/data".removeprefix("/"))


async def test_other_names_are_files_of_their_own(tmp_path: Path) -> None:
    one, other = (catalog_from_uri(f"sqlite:///{tmp_path / name}") for name in ("a b?#%41.db", "other.db"))
    await make_repo(one)
    await other.list_orgs()
    assert {"a b?#%41.db", "a b?#%41.key", "other.db", "other.key"} <= {found.name for found in tmp_path.iterdir()}
    assert await names_of(other) == []


async def test_a_pickled_catalog_opens_the_same_file(file_catalog: Catalog) -> None:
    await make_repo(file_catalog)
    assert await names_of(pickle.loads(pickle.dumps(file_catalog))) == ["ocean"]


async def test_a_memory_catalog_is_shared_by_name_until_its_last_user_closes_it() -> None:
    first = catalog_from_uri("memory://shared")
    second = catalog_from_uri(first.uri)
    other = catalog_from_uri("memory://")
    await make_repo(first)
    assert await names_of(second) == ["ocean"]
    assert await names_of(other) == []
    assert other.uri not in ("memory://", catalog_from_uri("memory://").uri)
    await first.close()
    assert await names_of(second) == ["ocean"]
    assert await names_of(first) == ["ocean"]
    for catalog in (first, second, other):
        await catalog.close()
    assert await names_of(first) == []
    await first.close()
    with pytest.raises(InvalidOptionError):
        catalog_from_uri("memory://../up")


def test_a_memory_catalog_leaves_no_files(tmp_path: Path, run_python: RunPython) -> None:
    script = "import asyncio; from arraylake_core.catalog import catalog_from_uri; asyncio.run(catalog_from_uri('memory://').list_orgs())"
    run_python(script, TMPDIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_does_not_take_the_memory_catalog_along(tmp_path: Path, run_python: RunPython) -> None:
    run_python(
        """
        import asyncio, os, sys
        from arraylake_core.catalog import catalog_from_uri
        catalog = catalog_from_uri('memory://')
        asyncio.run(catalog.create_org('before'))
        child = os.fork()
        if not child:
            asyncio.run(catalog.create_org('inside'))
            sys.exit()
        assert os.waitpid(child, 0)[1] == 0
        assert [org.name for org in asyncio.run(catalog.list_orgs())] == ['before', 'inside', 'me']
        """,
        TMPDIR=str(tmp_path),
    )
    assert list(tmp_path.iterdir()) == []


def test_nothing_heavy_is_imported_before_it_is_needed(path: Path, run_python: RunPython) -> None:
    run_python(
        f"""
        import asyncio, sys
        import arraylake_core
        from arraylake_core.catalog import catalog_from_uri
        catalogs = catalog_from_uri('sqlite:///{path}'), catalog_from_uri('memory://')
        assert not {{'sqlalchemy', 'alembic', 'cryptography', 'aiosqlite'}} & set(sys.modules)
        asyncio.run(catalogs[0].list_orgs())
        """
    )
    run_python(
        f"""
        import asyncio, sys
        from arraylake_core.catalog import catalog_from_uri
        asyncio.run(catalog_from_uri('sqlite:///{path}').list_repos('me'))
        assert not {{'alembic', 'cryptography'}} & set(sys.modules)
        """
    )


async def test_open_repo_takes_two_statements_at_most(path: Path) -> None:
    home = file_home(path)
    catalog = SqlCatalog(home)
    await catalog.create_bucket("me", new_bucket())
    await make_repo(catalog, "plain")
    await make_repo(catalog, "virtual", virtual_chunk_containers={"s3://ocean/": "ocean-data"})
    statements: list[str] = []
    for engine in ((await home.database._engines.current()).sync_engine, home.database._direct):  # type: ignore[attr-defined]
        event.listen(engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    counts = []
    for name in ("plain", "virtual"):
        statements.clear()
        await catalog.open_repo("me", name)
        counts.append(sum(statement.startswith("SELECT") for statement in statements))
    assert counts == [1, 2]


# Files that are no catalog, or can't be used


@pytest.mark.parametrize("content", [b"this is no database, but a text " * 100, b"\0" * 5000], ids=["text", "zeros"])
async def test_a_file_that_is_not_sqlite_is_refused(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(CatalogError, match="is not a SQLite database"):
        await catalog_from_uri(f"sqlite:///{path}").list_orgs()
    assert path.read_bytes() == content
    assert not path.with_suffix(".key").exists()


async def test_an_empty_file_becomes_a_catalog(path: Path, file_catalog: Catalog) -> None:
    path.parent.mkdir()
    path.touch()
    assert await names_of(file_catalog) == []


async def test_anothers_database_is_refused(path: Path, file_catalog: Catalog, execute: Execute) -> None:
    path.parent.mkdir()
    execute(path, "CREATE TABLE theirs (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(CatalogError, match="something else"):
        await file_catalog.list_orgs()
    assert path.read_bytes() == before


async def test_a_catalog_whose_file_has_gone_says_so(path: Path, file_catalog: Catalog) -> None:
    await file_catalog.list_orgs()
    path.unlink()
    with pytest.raises(CatalogError, match="check that the file is there"):
        await file_catalog.list_orgs()
    assert not path.exists()


async def test_a_damaged_file_says_so(path: Path, file_catalog: Catalog) -> None:
    for index in range(20):
        await make_repo(file_catalog, f"repo-{index}")
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match="damaged"):
        await file_catalog.list_repos("me")


async def test_a_file_in_the_way_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="can't be used"):
        await catalog_from_uri(f"sqlite:///{tmp_path / 'file' / 'catalog.db'}").list_orgs()


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX")
def test_what_may_not_be_written_says_so(run_python: RunPython) -> None:
    script = """
        import asyncio, os, sys, pathlib
        from arraylake_core.catalog import catalog_from_uri
        from arraylake_core.errors import CatalogError
        lake = pathlib.Path(sys.argv[1])
        asyncio.run(catalog_from_uri(f"sqlite:///{lake / 'catalog.db'}").list_orgs())
        (lake / "fresh").mkdir()
        for found in (lake / "catalog.key", lake):
            os.chown(found, 65534, 65534)
        for found, mode in ((lake, 0o755), (lake / "catalog.db", 0o444), (lake / "fresh", 0o555)):
            found.chmod(mode)
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)

        async def refused(path, call):
            try:
                await call(catalog_from_uri(f"sqlite:///{lake / path}"))
            except CatalogError as error:
                assert "writable" in str(error), error
                assert error.__cause__ is None
            else:
                raise AssertionError(f"{path} was written")

        assert (lake / "catalog.db").read_bytes()
        assert asyncio.run(catalog_from_uri(f"sqlite:///{lake / 'catalog.db'}").list_orgs())
        asyncio.run(refused("catalog.db", lambda catalog: catalog.create_org("other")))
        asyncio.run(refused("fresh/catalog.db", lambda catalog: catalog.list_orgs()))
        """
    # Not pytest's own directory, which an unprivileged user can't walk down to.
    with tempfile.TemporaryDirectory() as lake:
        run_python(script, lake)


def test_a_full_disk_says_so(path: Path, run_python: RunPython) -> None:
    asyncio.run(catalog_from_uri(f"sqlite:///{path}").list_orgs())
    run_python(
        """
        import asyncio, resource, sys
        from arraylake_core.catalog import catalog_from_uri
        from arraylake_core.errors import StorageError
        catalog = catalog_from_uri(f"sqlite:///{sys.argv[1]}")
        repo = asyncio.run(catalog.create_org("before"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (160_000, 160_000))
        try:
            for index in range(1000):
                asyncio.run(catalog.create_org(f"org-{index}", description="x" * 200))
        except StorageError as error:
            assert "nothing was changed" in str(error)
        else:
            raise AssertionError
        """,
        str(path),
    )
    names = [org.name for org in asyncio.run(catalog_from_uri(f"sqlite:///{path}").list_orgs())]
    assert "before" in names
    assert sorted(f"org-{index}" for index in range(len(names) - 2)) == sorted(set(names) - {"me", "before"})


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's own")
def test_a_disk_without_any_room_says_so_to_all_and_loses_nothing(tmp_path: Path) -> None:
    """On a file system of 3 MB, in a mount namespace of its own: there is no room for what SQLite needs to read, either."""
    script = """
        import asyncio, os
        from pathlib import Path
        from arraylake_core.catalog import catalog_from_uri
        from arraylake_core.errors import StorageError
        catalog = catalog_from_uri(f"sqlite:///{os.getcwd()}/catalog.db")
        asyncio.run(catalog.create_org("before"))
        fill = Path("fill").open("wb", buffering=0)
        try:
            while fill.write(bytes(512)):
                pass
        except OSError:
            fill.close()
        for call in (lambda: catalog.create_org("during"), catalog.list_orgs):
            try:
                asyncio.run(call())
                print("done")
            except StorageError as error:
                print("no space left" in str(error))
        os.unlink("fill")
        asyncio.run(catalog.create_org("after"))
        print(*[org.name for org in asyncio.run(catalog.list_orgs())])
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    (tmp_path / "small").mkdir()
    mount = (
        f"mount -t tmpfs -o size=3m tmpfs {tmp_path}/small && cd {tmp_path}/small && exec {sys.executable} {tmp_path}/script.py"
    )
    run = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount], capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines() == ["True", "True", "after before me"], run.stderr


def test_a_full_database_says_so(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "small.db")
    connection.execute("PRAGMA max_page_count = 2")
    with pytest.raises(StorageError, match="no space left"), translated(tmp_path / "small.db"):
        connection.executescript("CREATE TABLE one (a); CREATE TABLE two (a);")
    connection.close()


async def test_a_lock_that_is_never_released_says_so(path: Path, file_catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arraylake_core.catalog.sqlite.BUSY_SECONDS", 0)
    await file_catalog.list_orgs()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(CatalogError, match="another process has kept"):
        await file_catalog.create_org("other")
    assert [org.name for org in await file_catalog.list_orgs()] == ["me"]
    holder.execute("ROLLBACK")
    holder.close()
    await file_catalog.create_org("other")


async def test_p10_no_error_of_the_driver_gets_out(path: Path, file_catalog: Catalog) -> None:
    await file_catalog.create_org("first")
    with pytest.raises(AlreadyExistsError) as caught:
        await file_catalog.create_org("first", description="very private")
    error: BaseException | None = caught.value
    assert "private" not in str(error)
    assert error is not None
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_a_cancelled_call_leaves_nothing_open(path: Path, file_catalog: Catalog) -> None:
    await file_catalog.list_orgs()
    for steps in range(60):
        task = asyncio.create_task(file_catalog.create_org(f"org-{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await file_catalog.create_org("after")
    descriptors = [str(found.readlink()) for found in Path("/proc/self/fd").iterdir() if found.is_symlink()]
    assert not [found for found in descriptors if found.startswith(str(path))]


# P14, by SQL alone


async def test_p14_the_database_itself_refuses_overlaps(path: Path, file_catalog: Catalog) -> None:
    bucket = await file_catalog.get_bucket("me", None)
    for name, where in (("aa", "x/y"), ("bb", "other")):
        await file_catalog.create_repo("me", new_repo(bucket.id, name, where))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys=ON")
    ((other,),) = connection.execute("SELECT id FROM repos WHERE name = 'bb'").fetchall()
    claim = "INSERT INTO place_claims (repo_id, store, path, role) VALUES (?, 'test://', ?, ?)"
    place = "INSERT INTO places (store, path, role) VALUES ('test://', ?, ?)"
    for where, role in (("x/y", "owner"), ("x", "owner"), ("", "owner"), ("x/y", "passage")):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(claim, (other, where, role))
        if (where, role) != ("x/y", "owner"):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(place, (where, role))
    for statement in (
        "UPDATE places SET role = 'owner' WHERE path = 'x'",
        "UPDATE places SET role = 'passage' WHERE path = 'x/y'",
        "DELETE FROM places WHERE path = 'x'",
        "UPDATE place_claims SET path = 'x/y' WHERE path = 'other'",
        "INSERT INTO places (store, path, role) VALUES ('test://', 'z', 'guest')",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.execute(claim, (other, "x", "passage"))
    connection.close()


async def test_p14_a_purged_repo_leaves_no_places(path: Path, file_catalog: Catalog, execute: Execute) -> None:
    for name, where in (("one", "a/b/c"), ("two", "a/x")):
        await make_repo(file_catalog, name, where)
    for name, left in (("one", ["", "a", "a/x"]), ("two", [])):
        await file_catalog.purge_repo((await file_catalog.delete_repo("me", name)).id)
        assert [where for (where,) in execute(path, "SELECT path FROM places ORDER BY path")] == left
    assert execute(path, "SELECT count(*) FROM place_claims") == [(0,)]


# Revisions


async def test_p24_a_newer_catalog_is_left_alone(path: Path, file_catalog: Catalog, execute: Execute) -> None:
    await file_catalog.list_orgs()
    execute(path, "UPDATE arraylake_version SET version_num = '9999', compatible_from = '9998'")
    before = path.read_bytes()
    with pytest.raises(CatalogError, match=r"newer release \(revision 9999.*upgrade arraylake-core"):
        await catalog_from_uri(file_catalog.uri).list_orgs()
    assert path.read_bytes() == before
