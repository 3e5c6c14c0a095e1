"""The catalog on PostgreSQL: what every catalog does, and what is PostgreSQL's own."""

import asyncio
import multiprocessing
import pickle
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import asyncpg
import pytest
from sqlalchemy import Engine, event, insert
from sqlalchemy.exc import SQLAlchemyError

from arraylake_core import config
from arraylake_core.catalog import Catalog, catalog_from_uri
from arraylake_core.catalog import postgres as postgres_module
from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.home import postgres_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.catalog.tables import orgs
from arraylake_core.errors import AlreadyExistsError, ArraylakeError, CatalogError, ConflictError, InvalidOptionError
from arraylake_core.models import RepoModel, utc_now
from arraylake_core.testing.catalog import CatalogTests
from arraylake_core.testing.catalog_samples import make_repo, names_of, new_bucket, new_repo
from tests.servers.postgres import GUARDED, Postgres


@pytest.fixture
async def catalog(postgres_uri: str) -> AsyncIterator[Catalog]:
    catalog = catalog_from_uri(postgres_uri)
    yield catalog
    await catalog.close()


class TestPostgres(CatalogTests):
    pass


@pytest.fixture
async def replicas(postgres_uri: str) -> AsyncIterator[tuple[SqlCatalog, SqlCatalog]]:
    """Two catalogs with connections of their own, as two replicas of the service have."""
    pair = SqlCatalog(postgres_home(Dsn(postgres_uri))), SqlCatalog(postgres_home(Dsn(postgres_uri)))
    yield pair
    for catalog in pair:
        await catalog.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is sent to the server: each is a round trip."""
    statements: list[str] = []
    execute, fetch = asyncpg.Connection.execute, asyncpg.Connection.fetch

    async def executed(self: asyncpg.Connection, query: str, *arguments: object, **options: object) -> object:
        statements.append(query)
        return await execute(self, query, *arguments, **options)

    async def fetched(self: asyncpg.Connection, query: str, *arguments: object, **options: object) -> object:
        statements.append(query)
        return await fetch(self, query, *arguments, **options)

    def on_execute(*call: object) -> None:
        statements.append(str(call[2]))

    monkeypatch.setattr(asyncpg.Connection, "execute", executed)
    monkeypatch.setattr(asyncpg.Connection, "fetch", fetched)
    event.listen(Engine, "before_cursor_execute", on_execute)
    yield statements
    event.remove(Engine, "before_cursor_execute", on_execute)


async def test_opening_and_getting_a_repo_take_a_round_trip_or_two(
    sent: list[str], replicas: tuple[SqlCatalog, SqlCatalog]
) -> None:
    catalog = replicas[0]
    await catalog.create_bucket("me", new_bucket())
    repo = await make_repo(catalog, "plain")
    await make_repo(catalog, "virtual", virtual_chunk_containers={"s3://ocean/": "ocean-data"})
    await catalog.coordination(repo.id).put_ref("branch/main", 1, expected=None)
    counts = []
    for call in (
        lambda: catalog.get_repo("me", "plain"),
        lambda: catalog.open_repo("me", "plain"),
        lambda: catalog.open_repo("me", "virtual"),
        lambda: catalog.coordination(repo.id).get_ref("branch/main"),
        lambda: catalog.coordination(repo.id).append_journal("log", b"x"),
        lambda: catalog.modify_repo("me", "plain", description="x"),
    ):
        await call()
        sent.clear()
        await call()
        counts.append(len(sent))
    assert counts == [1, 1, 2, 1, 4, 5], sent


async def test_a_renamed_bucket_of_virtual_chunks_is_never_missed(replicas: tuple[SqlCatalog, SqlCatalog]) -> None:
    reading, writing = replicas
    await writing.create_bucket("me", new_bucket("name-0"))
    await make_repo(writing, virtual_chunk_containers={"s3://ocean/": "name-0"})
    stop = asyncio.Event()

    async def rename() -> None:
        for number in range(15):
            await writing.modify_bucket("me", f"name-{number}", new_nickname=f"name-{number + 1}")
        stop.set()

    async def read() -> None:
        while not stop.is_set():
            opened = await reading.open_repo("me", "ocean")
            assert set(opened.virtual_buckets) == set(opened.repo.virtual_chunk_containers.values())

    await asyncio.gather(rename(), read(), read())


# Many writers


async def create(catalog: SqlCatalog, name: str, path: str) -> RepoModel:
    bucket = await catalog.get_bucket("me", None)
    return await catalog.create_repo("me", new_repo(bucket.id, name, path))


@pytest.mark.parametrize("locked", [True, False], ids=["locked", "constraints alone"])
async def test_p14_overlap_is_refused_by_a_constraint(
    replicas: tuple[SqlCatalog, SqlCatalog], locked: bool, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, postgres_uri: str
) -> None:
    if not locked:
        monkeypatch.setattr(postgres_module, "_LOCK", "SELECT 1")
    paths = ["x", "x/y", "x/y/z", "x", "x/y", "x/y/z", "x/w", "x/y/v"]
    for round_ in range(4):
        made = await asyncio.gather(
            *(create(replicas[index % 2], f"repo-{round_}-{index}", f"r{round_}/{path}") for index, path in enumerate(paths)),
            return_exceptions=True,
        )
        won = [repo.prefix for repo in made if isinstance(repo, RepoModel)]
        assert all(isinstance(other, AlreadyExistsError | ConflictError) for other in made if not isinstance(other, RepoModel))
        assert won
        for one in won:
            assert not [other for other in won if other != one and f"{other}/".startswith(f"{one}/")]
        assert len(won) == len(set(won))


async def test_p21_no_update_of_a_ref_is_lost(postgres_uri: str, replicas: tuple[SqlCatalog, SqlCatalog]) -> None:
    repo = await make_repo(replicas[0])
    failures: list[BaseException] = []

    async def count(catalog: SqlCatalog) -> None:
        refs = catalog.coordination(repo.id)
        for _ in range(10):
            while True:
                found = await refs.get_ref("counter")
                number = 0 if found is None else found.value
                assert isinstance(number, int)
                try:
                    await refs.put_ref("counter", number + 1, expected=None if found is None else found.version)
                except ConflictError:
                    continue
                break

    def in_a_thread(catalog: SqlCatalog) -> None:
        try:
            asyncio.run(count(catalog))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=in_a_thread, args=(catalog,)) for catalog in replicas * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert not failures
    final = await replicas[0].coordination(repo.id).get_ref("counter")
    assert final is not None
    assert (final.value, final.version) == (40, 40)


async def test_p21_a_version_never_comes_twice_whoever_deletes_meanwhile(replicas: tuple[SqlCatalog, SqlCatalog]) -> None:
    repo = await make_repo(replicas[0])
    versions: list[int] = []

    async def work(catalog: SqlCatalog) -> None:
        refs = catalog.coordination(repo.id)
        for _ in range(15):
            try:
                made = await refs.put_ref("name", 1, expected=None)
            except ConflictError:
                continue
            versions.append(made.version)
            await refs.delete_ref("name", expected=made.version)

    await asyncio.gather(*(work(catalog) for catalog in replicas * 3))
    assert len(versions) == len(set(versions)) > 0


async def test_p21_journals_have_no_gaps_and_no_deadlocks(replicas: tuple[SqlCatalog, SqlCatalog]) -> None:
    from datetime import timedelta

    from arraylake_core.models import utc_now

    repo = await make_repo(replicas[0])
    names = [f"log-{index}" for index in range(3)]

    async def append(catalog: SqlCatalog) -> None:
        journals = catalog.coordination(repo.id)
        for index in range(8):
            for name in names:
                await journals.append_journal(name, b"x")
            await journals.append_journal(f"short-{index % 3}", b"x", expires=utc_now() - timedelta(seconds=1))
            await journals.read_journal(f"short-{(index + 1) % 3}")

    await asyncio.gather(*(append(catalog) for catalog in replicas * 3))
    for name in names:
        entries = await replicas[0].coordination(repo.id).read_journal(name)
        assert [entry.sequence for entry in entries] == list(range(1, 49))


async def test_p21_a_purge_beside_writers_leaves_nothing_and_nobody_hangs(replicas: tuple[SqlCatalog, SqlCatalog]) -> None:
    repo = await make_repo(replicas[0])
    await replicas[0].delete_repo("me", "ocean")
    done = False

    async def write(number: int) -> None:
        data = replicas[1].coordination(repo.id)
        while not done:
            try:
                ref = await data.put_ref(f"ref-{number}", 1, expected=None)
                await data.append_journal(f"log-{number}", b"x")
                await data.delete_ref(f"ref-{number}", expected=ref.version)
            except ArraylakeError as error:
                assert done or "purged" in str(error), error
                return

    writers = [asyncio.ensure_future(write(number)) for number in range(4)]
    await asyncio.sleep(0.1)
    await replicas[0].purge_repo(repo.id)
    await asyncio.sleep(0.05)
    done = True
    await asyncio.gather(*writers)


# Connections


@pytest.fixture
def own_key() -> Iterator[None]:
    from arraylake_core.catalog.keys import Key

    with config.set({"catalog.key": Key.generate().text()}):
        yield


@pytest.mark.parametrize("how", ["restart", "kill9"])
async def test_a_restarted_database_is_survived(mortal_postgres: Postgres, own_key: None, how: str) -> None:
    catalog = SqlCatalog(postgres_home(Dsn(mortal_postgres.uri(mortal_postgres.new_database()))))
    await catalog.create_org("me")

    async def several() -> None:
        await asyncio.gather(*(catalog.list_orgs() for _ in range(5)))

    async def end_the_server() -> None:
        if how == "restart":
            mortal_postgres.restart()
        else:
            mortal_postgres.kill9()
            mortal_postgres.start()

    await several()
    # While the loop stands still, so that nobody has noticed when the next statement is sent.
    await end_the_server()
    await several()
    await end_the_server()
    await catalog.create_org("other")
    await several()
    await end_the_server()
    await catalog.list_buckets("me")
    mortal_postgres.stop()
    with pytest.raises(CatalogError, match="can't be reached"):
        await catalog.list_orgs()
    mortal_postgres.start()
    assert [org.name for org in await catalog.list_orgs()] == ["me", "other"]
    await catalog.close()


async def test_an_idle_connection_is_looked_at_before_it_is_used(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    await catalog.close()
    await catalog.get_org("me")
    sent.clear()
    await catalog.get_org("me")
    assert len(sent) == 1
    monkeypatch.setattr(postgres_module, "IDLE_SECONDS", 0)
    await catalog.get_org("me")
    assert sent[1:] == ["SELECT 1", sent[0]]


async def test_connections_end_with_their_loop_and_with_close(catalog: Catalog, postgres: Postgres, postgres_uri: str) -> None:
    name = postgres.name_of(postgres_uri)

    def connections() -> int:
        ((count,),) = postgres.execute(f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'")
        return int(count)

    async def several() -> None:
        await asyncio.gather(*(catalog.list_orgs() for _ in range(3)))

    await asyncio.to_thread(asyncio.run, several())
    await _until(lambda: connections() == 0)
    await several()
    assert connections() == 3
    await catalog.close()
    await _until(lambda: connections() == 0)


async def _until(condition) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about")


async def test_a_pool_that_is_used_up_makes_others_wait(postgres_uri: str) -> None:
    catalog = SqlCatalog(postgres_home(Dsn(f"{postgres_uri}&pool_size=1")))
    answers = await asyncio.gather(*(catalog.get_org("me") for _ in range(20)))
    assert {org.name for org in answers} == {"me"}
    await catalog.close()


async def test_a_pool_that_stays_used_up_is_told(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "POOL_SECONDS", 0.1)
    catalog = SqlCatalog(postgres_home(Dsn(f"{postgres_uri}&pool_size=1")))
    async with catalog.transaction():
        with pytest.raises(CatalogError, match="pool_size"):
            await asyncio.create_task(catalog.list_orgs())
    # What goes beside the pool needs none of it.
    async with catalog.transaction(), catalog._home.database.alone():
        await catalog.create_org("other")
    await catalog.close()


async def test_p22_nothing_goes_on_outside_a_transaction_that_was_cut(postgres: Postgres, postgres_uri: str) -> None:
    """Whenever its end is noticed: what was to be one transaction is never written in parts."""
    catalog = SqlCatalog(postgres_home(Dsn(postgres_uri)))

    async def cut(after: int, wait: float) -> None:
        async with catalog.transaction() as connection:
            if after:
                await catalog.create_org("first")
            pid = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar() if after else None
            ended = f"= {pid}" if pid else "IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
            postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid {ended}")
            await asyncio.sleep(wait)
            for org in ("second", "third"):
                with suppress(ArraylakeError, SQLAlchemyError):
                    await catalog.create_org(org)
                with suppress(SQLAlchemyError):
                    await connection.execute(
                        insert(orgs).values(id=org, name=org, display_name="", created=utc_now(), status="x")
                    )

    name = postgres.name_of(postgres_uri)
    for after in (0, 1):
        for wait in (0.0, 0.1):
            with pytest.raises(CatalogError, match="was cut"):
                await cut(after, wait)
            assert [org.name for org in await catalog.list_orgs()] == ["me"]
    await catalog.close()


async def test_a_cancelled_call_leaves_the_connection_usable(postgres_uri: str) -> None:
    catalog = SqlCatalog(postgres_home(Dsn(f"{postgres_uri}&pool_size=1")))
    await catalog.list_orgs()

    async def slow() -> None:
        async with catalog.transaction() as connection:
            await catalog.create_org("lost")
            await connection.exec_driver_sql("SELECT pg_sleep(30)")

    for call in (slow, lambda: catalog.list_buckets("me"), lambda: catalog.get_org("me"), lambda: catalog.create_org("maybe")):
        for delay in (0.0, 0.001, 0.003, 0.1):
            task = asyncio.ensure_future(call())
            await asyncio.sleep(delay)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert "lost" not in [org.name for org in await catalog.list_orgs()]
    await catalog.create_org("found")
    await catalog.close()


def _in_a_child(uri: str, answers: "multiprocessing.SimpleQueue[list[str]]") -> None:
    answers.put([org.name for org in asyncio.run(catalog_from_uri(uri).list_orgs())])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_p27_a_forked_child_opens_connections_of_its_own(postgres_uri: str) -> None:
    catalog = catalog_from_uri(postgres_uri)
    await catalog.list_orgs()
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.SimpleQueue[list[str]] = context.SimpleQueue()
    process = context.Process(target=_in_a_child, args=(postgres_uri, answers))
    process.start()
    await asyncio.to_thread(process.join, 60)
    assert process.exitcode == 0
    assert answers.get() == ["me"]
    assert [org.name for org in await catalog.list_orgs()] == ["me"]
    await catalog.close()


# Secrets


@pytest.fixture
def guarded(postgres: Postgres, postgres_uri: str) -> str:
    """A URI with a password, and the one without it that is shown."""
    user, password = GUARDED
    name = postgres.name_of(postgres_uri)
    postgres.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {user}", name)
    return postgres.uri(name, user, password)


async def test_p11_a_password_is_neither_shown_nor_pickled(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    password = GUARDED[1]
    catalog = catalog_from_uri(guarded)
    pickled = pickle.dumps([catalog, catalog.coordination("x")])
    assert password not in f"{catalog!r} {catalog.uri} {Dsn(guarded)!r} {vars(catalog)}"
    assert password.encode() not in pickled
    # In this process it is known.
    assert [org.name for org in await pickle.loads(pickled)[0].list_orgs()] == ["me"]
    await catalog.close()
    # In another one it comes from a setting or the environment, or is missed.
    from arraylake_core.catalog import dsn

    monkeypatch.setattr(dsn, "_remembered", {})
    with pytest.raises(CatalogError, match=r"refused the login.*PGPASSWORD.*ARRAYLAKE_SERVICE__DATABASE") as refused:
        await pickle.loads(pickled)[0].list_orgs()
    for name in ("service.uri", "service.database"):
        with config.set({name: guarded}):
            assert await pickle.loads(pickled)[0].list_orgs()
            await catalog.close()
    monkeypatch.setenv("PGPASSWORD", password)
    assert await pickle.loads(pickled)[0].list_orgs()
    await catalog.close()
    assert password not in "".join(traceback.format_exception(refused.value))


async def test_p10_errors_say_what_to_do_and_show_no_secret(postgres: Postgres, guarded: str, own_key: None) -> None:
    user, password = GUARDED
    wrong, socket = f"{password}-wrong", guarded.rpartition("=")[2]
    postgres.execute("DROP ROLE IF EXISTS nobody_special")
    for uri, says in (
        (f"postgresql://{user}:{wrong}@/lake?host={socket}", "refused the login"),
        (f"postgresql://nobody_special@/postgres?host={socket}", "refused the login"),
        (f"postgresql://{user}:{password}@/not_there?host={socket}", "does not exist: make it with `createdb`"),
        (f"postgresql://{user}:{password}@no-host.invalid/lake", "the host is unknown"),
        (f"postgresql://{user}:{password}@127.0.0.1:1/lake", "the connection was refused"),
        (f"postgresql://{user}:{password}@/lake?host={socket}/nowhere", "can't be reached"),
        (f"postgresql://{user}:{password}@127.0.0.1/lake?sslmode=bogus", "can't be used"),
        (f"postgresql://{user}:{password}@/postgres?host={socket}", "lacks the rights"),
    ):
        catalog = catalog_from_uri(uri)
        with pytest.raises(ArraylakeError, match=says) as caught:
            await catalog.list_orgs()
        await catalog.close()
        stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        text = "".join(stack.format())
        # The test's own variables are no leak.
        for line in [
            line for frame in stack.stack if "/arraylake_core/" in frame.filename for line in (frame.locals or {}).values()
        ]:
            assert password not in line
        assert password not in str(caught.value)
        assert "During handling" not in text
        assert stack.__cause__ is None


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://h/x?=",
        "postgresql://h/d?pool_size=0",
        "postgresql://h/d?pool_size=x",
        "postgresql://h/d#x",
        "postgresql://h/\nd",
    ],
)
def test_uris_that_are_none_are_refused(uri: str) -> None:
    with pytest.raises(InvalidOptionError):
        catalog_from_uri(uri)


def test_uris_are_read_as_postgresql_reads_them() -> None:
    for text, uri, name in (
        ("postgres://h/d", "postgresql://h/d", "postgresql-h-5432-d"),
        ("postgresql://a:b%40c@h:6000/d?password=x&sslpassword=y", "postgresql://a@h:6000/d", "postgresql-h-6000-d"),
        ("postgresql://a:@/d?host=/tmp/x y", None, None),
        ("postgresql://a:@/d?host=/tmp/x", "postgresql://a@/d?host=/tmp/x", "postgresql-tmp-x-5432-d"),
        ("postgresql://h1:1,h2:2/d?target_session_attrs=primary", "postgresql://h1:1,h2:2/d?target_session_attrs=primary", None),
    ):
        dsn = Dsn(text)
        assert uri is None or dsn.uri == uri
        assert name is None or dsn.file_name == name
    assert Dsn("postgresql://a:b%40c@h/d").connection()[1] == "b@c"


async def test_text_that_postgresql_cannot_keep_is_refused(catalog: Catalog) -> None:
    with pytest.raises(InvalidOptionError, match="NUL"):
        await catalog.create_org("nul", description="a\0b")
    assert await names_of(catalog) == []


async def test_a_read_only_database_is_told(catalog: Catalog, postgres: Postgres, postgres_uri: str) -> None:
    name = postgres.name_of(postgres_uri)
    await catalog.close()
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert await catalog.list_orgs()
    with pytest.raises(CatalogError, match="read-only"):
        await catalog.create_org("other")


async def test_a_lock_that_is_never_let_go_is_told(
    replicas: tuple[SqlCatalog, SqlCatalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres_module.LIMITS, "lock_timeout", "200ms")
    await replicas[1].list_orgs()
    async with replicas[0].transaction():
        with pytest.raises(CatalogError, match="locked"):
            await replicas[1].create_org("other")
    await replicas[1].create_org("other")
