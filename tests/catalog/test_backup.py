"""Backup and restore: one state of the whole catalog in a file, and a catalog made of it again, in a database of either kind."""

import asyncio
import json
import stat
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import zarr
from sqlalchemy import insert, inspect, select

from arraylake_core import Client, config
from arraylake_core.catalog.acting import acting
from arraylake_core.catalog.backup_file import BackupReader
from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.engine import ConstraintError
from arraylake_core.catalog.home import Home, file_home, postgres_home
from arraylake_core.catalog.keys import Key
from arraylake_core.catalog.sealing import associated_answer, associated_webhook
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.catalog.sql_idempotency import KeptAnswer
from arraylake_core.catalog.tables import metadata, webhooks
from arraylake_core.errors import AlreadyExistsError, ArraylakeError, CatalogError, StorageError
from arraylake_core.models import utc_now
from arraylake_core.people import Login, NewToken, Role
from arraylake_core.secret import Secret
from arraylake_core.testing.catalog_samples import CANARY, make_repo, new_bucket
from tests.servers.postgres import Postgres

ADA, BO = "ada@example.org", "bo@example.org"

type Execute = Callable[[Path, str], list[tuple[object, ...]]]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of every catalog here, but where a test says otherwise."""
    text = Key.generate().text()
    monkeypatch.setenv("ARRAYLAKE_CATALOG__KEY", text)
    config.refresh()
    return text


@pytest.fixture
def home(request: pytest.FixtureRequest, path: Path) -> Home:
    """Where the catalog is that is backed up: in SQLite, or what the test asks for."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return file_home(path)
    return postgres_home(Dsn(request.getfixturevalue("postgres_uri")))


@pytest.fixture
async def catalog(home: Home) -> AsyncIterator[SqlCatalog]:
    catalog = SqlCatalog(home)
    yield catalog
    await catalog.close()


@pytest.fixture
def target(request: pytest.FixtureRequest, second: Path) -> Iterator[Home]:
    """Where another catalog can be."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield file_home(second)
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = server.new_database()
    yield postgres_home(Dsn(server.uri(name)))
    server.drop(name)


BOTH = ["sqlite", "postgres"]
each_kind = pytest.mark.parametrize("home", BOTH, indirect=True)
each_way = pytest.mark.parametrize(("home", "target"), [(one, other) for one in BOTH for other in BOTH], indirect=True)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    (tmp_path / "saved").mkdir()
    return tmp_path / "saved" / "catalog.zip"


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return tmp_path / "second" / "catalog.db"


async def fill(catalog: SqlCatalog) -> str:
    """Put something into every table, and return a token."""
    await catalog.create_bucket("me", new_bucket(auth={"method": "hmac", "secret_access_key": Secret(CANARY)}))
    repo = await make_repo(catalog, metadata={"ocean": "arctic", "levels": [1, 2.5, None, True, "\u00e5"]})
    deleted = await make_repo(catalog, "gone")
    await catalog.delete_repo("me", "gone")
    assert deleted.id
    coordination = catalog.coordination(repo.id)
    await coordination.put_ref("branch/main", {"commit": "abc", "none": None}, expected=None)
    await coordination.append_journal("session", b"\x00\xff" * 1000, expires=utc_now() + timedelta(days=1))
    for email, role in ((ADA, Role.Admin), (BO, None)):
        await catalog.set_member("me", email, role)
    await catalog.log_in(BO, login=Login(issuer="https://login.example.org", subject="bo"), issued=utc_now(), roles={})
    await catalog.set_grant("me", "ocean", BO, Role.Writer)
    issued = await catalog.create_token(
        "me", NewToken(name="parent", repos=["ocean"], expires=utc_now() + timedelta(days=1)), email=ADA
    )
    principal = await catalog.authenticate(issued.token.reveal())
    assert principal is not None
    before = acting.set(principal)
    for number in range(5):
        new = NewToken(name=f"child {number}", repos=["ocean"], role=Role.Reader, expires=utc_now() + timedelta(hours=1))
        await catalog.create_token("me", new)
    acting.reset(before)
    await catalog.add_audit(principal, "me", "delete_repo", "me/gone", "request")
    async with catalog.transaction():
        assert await catalog.claim_request(principal.id, "k" * 32, "digest") is None
        await catalog.keep_answer(principal.id, "k" * 32, KeptAnswer(201, b'{"token":"x"}'))
    async with catalog._write() as connection:
        org_id = await catalog._org_id(connection, "me")
        key = catalog._vault.source.load().active
        values = {
            "id": "w" * 36,
            "org_id": org_id,
            "url": "https://example.org",
            "events": ["repo.created"],
            "secret": key.seal(b"whsec", associated_webhook(org_id, "w" * 36)),
            "key_id": key.id,
            "created": utc_now(),
        }
        await connection.execute(insert(webhooks).values(values))
        delivery = {
            "id": "d" * 36,
            "webhook_id": "w" * 36,
            "event": {"a": [None]},
            "created": utc_now(),
            "attempts": 0,
            "due": utc_now(),
        }
        await connection.execute(insert(metadata.tables["deliveries"]).values(delivery))
    return issued.token.reveal()


async def contents(catalog: SqlCatalog) -> dict[str, list[tuple[object, ...]]]:
    found: dict[str, list[tuple[object, ...]]] = {}
    async with catalog._read() as connection:
        for table in metadata.sorted_tables:
            found[table.name] = [
                tuple(row) for row in (await connection.execute(select(table).order_by(*table.primary_key))).all()
            ]
    return found


@each_way
async def test_a_restored_catalog_is_the_same_in_every_row(catalog: SqlCatalog, saved: Path, target: Home) -> None:
    token = await fill(catalog)
    before = await contents(catalog)
    assert all(before.values()), [name for name, rows in before.items() if not rows]
    manifest = await catalog.backup(saved)
    assert {table.name: table.rows for table in manifest.tables} == {name: len(rows) for name, rows in before.items()}
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    restored = SqlCatalog(target)
    assert await restored.restore(saved) == manifest
    assert await contents(restored) == before
    assert (await restored.get_bucket("me", "ocean-data")).auth_config["secret_access_key"] == Secret(CANARY)
    principal = await restored.authenticate(token)
    assert principal is not None
    # It goes on from there: numbers that the database gives are new, constraints hold.
    await restored.add_audit(principal, "me", "create_repo", "me/new")
    assert [entry.id for entry in (await restored.list_audit("me")).items] == [3, 2]
    assert (await restored.list_repos("me", filter_metadata={"ocean": "arctic"})).total == 1
    with pytest.raises(AlreadyExistsError):
        await make_repo(restored, "again", "data/ocean")
    await restored.restore_repo("me", "gone")
    with pytest.raises(CatalogError, match="not empty"):
        await restored.restore(saved)
    assert (await restored.list_repos("me")).total == 2
    await restored.close()


@each_kind
async def test_secrets_stay_sealed(catalog: SqlCatalog, saved: Path) -> None:
    await fill(catalog)
    await catalog.backup(saved)
    keys = [one.text() for one in catalog._vault.source.load().keys]
    with zipfile.ZipFile(saved) as archive:
        for name in archive.namelist():
            content = archive.read(name).decode()
            assert not any(secret in content for secret in (CANARY, "whsec", '{"token":"x"}', *keys))


@each_kind
async def test_a_backup_is_one_state_while_others_write(catalog: SqlCatalog, home: Home, saved: Path) -> None:
    """Each step leaves exactly one default bucket config, and as many repos as are counted; a backup never has more or fewer."""
    for number in range(300):
        await make_repo(catalog, f"repo-{number}")
    other = SqlCatalog(home)
    done = asyncio.Event()

    async def work() -> None:
        number = 0
        while not done.is_set():
            await catalog.delete_repo("me", f"repo-{number % 300}")
            await catalog.restore_repo("me", f"repo-{number % 300}")
            await catalog.set_member("me", f"person-{number}@example.org", Role.Reader)
            number += 1

    working = asyncio.create_task(work())
    for number in range(3):
        await other.backup(saved.with_name(f"{number}.zip"))
    done.set()
    await working
    for number in range(3):
        with BackupReader(saved.with_name(f"{number}.zip")) as reader:
            reader.verify()
            rows = {table.name: list(reader.rows(table)) for table in reader.manifest.tables}
        (org,) = rows["orgs"]
        assert org["live_repos"] == sum(repo["deleted_at"] is None for repo in rows["repos"])
        assert {member["user_id"] for member in rows["members"]} <= {user["id"] for user in rows["users"]}
        assert len(rows["members"]) == len(rows["users"])
    await other.close()


async def test_p9_rotation_seals_all_of_it_anew(
    catalog: SqlCatalog, path: Path, execute: Execute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ARRAYLAKE_CATALOG__KEY")
    config.refresh()
    token = await fill(catalog)
    ((principal_id,),) = execute(path, "SELECT principal_id FROM idempotency")
    assert await catalog.rotate_key() == 4
    for table in ("buckets", "catalog_secrets", "webhooks", "idempotency"):
        assert execute(path, f"SELECT DISTINCT key_id FROM {table} WHERE key_id IS NOT NULL") == execute(
            path, "SELECT id FROM encryption_keys"
        )
    path.with_suffix(".key").write_text(path.with_suffix(".key").read_text().splitlines()[0])
    fresh = SqlCatalog(file_home(path))
    assert await fresh.authenticate(token) is not None
    assert (await fresh.get_bucket("me", "ocean-data")).auth_config["secret_access_key"] == Secret(CANARY)
    async with fresh.transaction():
        assert await fresh.claim_request(str(principal_id), "k" * 32, "digest") == KeptAnswer(201, b'{"token":"x"}')
    key = fresh._vault.source.load().active
    ((answer,),) = execute(path, "SELECT answer FROM idempotency")
    assert key.open(answer, associated_answer(str(principal_id), "k" * 32)) == b'{"token":"x"}'  # type: ignore[arg-type]
    ((org_id, secret),) = execute(path, "SELECT org_id, secret FROM webhooks")
    assert key.open(secret, associated_webhook(str(org_id), "w" * 36)) == b"whsec"  # type: ignore[arg-type]
    await fresh.close()


# What is refused, before anything is written


async def test_without_the_key_nothing_is_written(catalog: SqlCatalog, saved: Path, second: Path) -> None:
    await catalog.backup(saved)
    with config.set({"catalog.key": None}), pytest.raises(CatalogError, match=r"the backup .* was encrypted with the key"):
        await SqlCatalog(file_home(second)).restore(saved)
    with config.set({"catalog.key": Key.generate().text()}), pytest.raises(CatalogError, match="was encrypted with the key"):
        await SqlCatalog(file_home(second)).restore(saved)
    assert not second.parent.exists()


@each_kind
async def test_only_an_empty_database_takes_a_backup(catalog: SqlCatalog, saved: Path) -> None:
    await catalog.backup(saved)
    before = await contents(catalog)
    with pytest.raises(CatalogError, match="not empty"):
        await catalog.restore(saved)
    assert await contents(catalog) == before


@each_kind
async def test_no_backup_is_overwritten(catalog: SqlCatalog, saved: Path) -> None:
    saved.write_text("precious")
    with pytest.raises(AlreadyExistsError, match="name another file"):
        await catalog.backup(saved)
    assert saved.read_text() == "precious"
    for missing in (saved.parent / "nowhere" / "catalog.zip",):
        with pytest.raises(ArraylakeError):
            await catalog.backup(missing)
        with pytest.raises(ArraylakeError):
            await catalog.restore(missing)
    assert sorted(found.name for found in saved.parent.iterdir() if "catalog" in found.name) == ["catalog.zip"]


def changed(saved: Path, name: str, change: Callable[[bytes], bytes | None]) -> None:
    with zipfile.ZipFile(saved) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    entries[name] = change(entries[name])  # type: ignore[assignment]
    with zipfile.ZipFile(saved, "w") as archive:
        for entry, content in entries.items():
            if content is not None:
                archive.writestr(entry, content)


def with_manifest(**fields: object) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps(json.loads(content) | fields).encode()


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("orgs.jsonl", lambda content: content.replace(b"me", b"ma"), "damaged"),
        ("orgs.jsonl", lambda content: content + content, "damaged"),
        ("orgs.jsonl", lambda content: b"", "damaged"),
        ("orgs.jsonl", lambda content: None, "damaged"),
        ("manifest.json", lambda content: None, "damaged"),
        ("manifest.json", lambda content: b"{", "damaged"),
        ("manifest.json", lambda content: b"[]", "damaged"),
        ("manifest.json", with_manifest(tables=[{"name": "orgs"}]), "damaged"),
        ("manifest.json", with_manifest(format=2), "upgrade arraylake-core"),
        ("manifest.json", with_manifest(revision="0999"), "newer release"),
        ("manifest.json", with_manifest(revision="0000"), "newer release|no revision"),
    ],
)
async def test_a_damaged_backup_is_refused(
    catalog: SqlCatalog, saved: Path, second: Path, name: str, change: Callable[[bytes], bytes | None], message: str
) -> None:
    await catalog.backup(saved)
    changed(saved, name, change)
    with pytest.raises(CatalogError, match=message):
        await SqlCatalog(file_home(second)).restore(saved)
    assert not second.exists()


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -30])
async def test_half_a_backup_is_refused(catalog: SqlCatalog, saved: Path, second: Path, cut: int) -> None:
    await catalog.backup(saved)
    saved.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(CatalogError, match="backup"):
        await SqlCatalog(file_home(second)).restore(saved)
    assert not second.exists()


async def test_any_flipped_byte_is_found_or_harmless(catalog: SqlCatalog, saved: Path, second: Path) -> None:
    await fill(catalog)
    await catalog.backup(saved)
    before = await contents(catalog)
    whole = saved.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        saved.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        restored = SqlCatalog(file_home(second))
        try:
            await restored.restore(saved)
        except CatalogError:
            assert not second.exists()
        else:
            assert await contents(restored) == before
            await restored.close()
            second.unlink()


@each_kind
async def test_a_backup_that_breaks_off_leaves_nothing(catalog: SqlCatalog, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await catalog.list_orgs()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("arraylake_core.catalog.backup_file.os.fsync", full)
        with pytest.raises(StorageError, match="no space left"):
            await catalog.backup(saved)
    assert not [found for found in saved.parent.iterdir() if "catalog" in found.name]
    await catalog.backup(saved)


async def test_rows_that_break_a_constraint_make_no_catalog(catalog: SqlCatalog, saved: Path, second: Path) -> None:
    """A backup whose digests fit, but which no catalog wrote."""
    import hashlib

    await catalog.backup(saved)
    with zipfile.ZipFile(saved) as archive:
        twice = archive.read("orgs.jsonl") * 2
        manifest = json.loads(archive.read("manifest.json"))
    for table in manifest["tables"]:
        if table["name"] == "orgs":
            table |= {"rows": 2, "sha256": hashlib.sha256(twice).hexdigest()}
    changed(saved, "orgs.jsonl", lambda content: twice)
    changed(saved, "manifest.json", lambda content: json.dumps(manifest).encode())
    with pytest.raises((ConstraintError, CatalogError)):
        await SqlCatalog(file_home(second)).restore(saved)
    assert not second.exists()


# Older releases


@pytest.mark.parametrize("target", BOTH, indirect=True)
async def test_p24_a_backup_of_the_first_revision_is_restored_and_migrated(path: Path, saved: Path, target: Home) -> None:
    await first_revision_backup(path, saved)
    restored = SqlCatalog(target)
    manifest = await restored.restore(saved)
    assert manifest.revision == "0001"
    assert (await restored.list_repos("me")).total == 1
    assert (await restored.get_repo("me", "ocean")).visibility == "PRIVATE"
    await restored.set_member("me", ADA, Role.Admin)
    await restored.close()


async def first_revision_backup(path: Path, saved: Path) -> None:
    """Write what release 0001 would have written, had it had backups: today's, without what came since."""
    catalog = SqlCatalog(file_home(path))
    await make_repo(catalog)
    await catalog.backup(saved)
    await catalog.close()
    since = {
        "users",
        "members",
        "logins",
        "identities",
        "grants",
        "tokens",
        "token_repos",
        "catalog_secrets",
        "idempotency",
        "audit",
        "webhooks",
        "deliveries",
    }
    columns = {"live_repos", "visibility", "optimization_config"}
    import hashlib

    with zipfile.ZipFile(saved) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        tables = {table["name"]: archive.read(f"{table['name']}.jsonl") for table in manifest["tables"]}
    manifest["revision"] = "0001"
    manifest["tables"] = [table for table in manifest["tables"] if table["name"] not in since]
    with zipfile.ZipFile(saved, "w") as archive:
        for table in manifest["tables"]:
            kept = [place for place, column in enumerate(table["columns"]) if column["name"] not in columns]
            rows = [json.loads(line) for line in tables[table["name"]].splitlines()]
            content = b"".join(json.dumps([row[place] for place in kept]).encode() + b"\n" for row in rows)
            table["columns"] = [table["columns"][place] for place in kept]
            table["sha256"] = hashlib.sha256(content).hexdigest()
            archive.writestr(f"{table['name']}.jsonl", content)
        archive.writestr("manifest.json", json.dumps(manifest))


# Repos


@each_way
def test_a_restored_catalog_opens_every_repo(home: Home, target: Home, saved: Path, tmp_path: Path) -> None:
    with Client(home.uri) as client:
        client.create_bucket_config(org="me", nickname="disk", uri=f"file://{tmp_path}/disk")
        ocean = client.create_repo("me/ocean", bucket_config_nickname="disk")
        session = ocean.writable_session("main")
        zarr.create_group(session.store).create_array("temperature", shape=(4,), dtype="f4")[:] = 2
        session.commit("Four temperatures")
        old = client.create_repo("me/old", kind="v1", bucket_config_nickname="disk")
        old.root_group.create_array("temperature", shape=(4,), chunks=(2,), dtype="f4")[:] = 1
        old.commit("Four temperatures")
    asyncio.run(_copy(home, saved, target))
    with Client(target.uri) as client:
        assert [repo.name for repo in client.list_repos("me")] == ["ocean", "old"]
        store = client.get_repo("me/ocean").readonly_session("main").store
        assert zarr.open_group(store, mode="r")["temperature"][:].tolist() == [2, 2, 2, 2]
        old = client.get_repo("me/old")
        assert old.root_group["temperature"][:].tolist() == [1, 1, 1, 1]
        # And takes commits: the refs of V1 repos are in the catalog.
        old.root_group["temperature"][:] = 3
        old.commit("Four others")


async def _copy(home: Home, saved: Path, target: Home) -> None:
    source, restored = SqlCatalog(home), SqlCatalog(target)
    await source.backup(saved)
    await restored.restore(saved)
    for catalog in (source, restored):
        await catalog.close()


# A crash


@pytest.mark.parametrize("target", BOTH, indirect=True)
async def test_p22_a_restore_that_is_killed_leaves_nothing(catalog: SqlCatalog, target: Home, saved: Path) -> None:
    for number in range(60):
        await make_repo(catalog, f"repo-{number}")
    await catalog.backup(saved)
    before = await contents(catalog)
    script = f"""
import asyncio, sys
from pathlib import Path
from arraylake_core.catalog import catalog_from_uri
catalog = catalog_from_uri({target.uri!r})
print("ready", flush=True)
asyncio.run(catalog.restore(Path(sys.argv[1])))
"""
    killed = 0
    for delay in (0.05, 0.2, 0.35, 0.5, 0.65):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(saved), stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(delay)
        if process.returncode is None:
            process.kill()
            killed += 1
        await process.wait()
        if await _is_restored(target, before):
            break
    else:
        restored = SqlCatalog(target)
        await restored.restore(saved)
        assert await contents(restored) == before
        await restored.close()
    assert killed


async def _is_restored(target: Home, before: dict[str, list[tuple[object, ...]]]) -> bool:
    """Tell whether the catalog is there, and make sure that otherwise none of it is."""
    if not await target.database.exists():
        return False
    async with target.database.read() as connection:
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    if not tables:
        return False
    restored = SqlCatalog(target)
    assert await contents(restored) == before
    await restored.close()
    return True
