"""Secrets at rest: what is in the file, whose keys open it, and how the keys change."""

import asyncio
import base64
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from arraylake_core import config
from arraylake_core.catalog import Catalog, catalog_from_uri
from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.keys import Key, write_private
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import CatalogError, InvalidOptionError
from arraylake_core.models import AuthConfig
from arraylake_core.secret import Secret
from arraylake_core.testing.catalog_samples import CANARY, new_bucket

type Execute = Callable[[Path, str], list[tuple[object, ...]]]

AUTH: AuthConfig = {"method": "hmac", "access_key_id": "AKIA", "secret_access_key": Secret(CANARY)}


def some_key() -> str:
    return Key.generate().text()


def reopened(path: Path) -> SqlCatalog:
    return SqlCatalog(file_home(path))


async def test_p9_no_piece_of_a_secret_is_in_the_files(path: Path, file_catalog: Catalog) -> None:
    await file_catalog.create_bucket("me", new_bucket(auth=AUTH))
    for catalog in (file_catalog, reopened(path)):
        assert (await catalog.get_bucket("me", "ocean-data")).auth_config == AUTH
    holder = sqlite3.connect(path)
    holder.execute("SELECT count(*) FROM buckets")
    await file_catalog.modify_bucket("me", "ocean-data", auth_config={**AUTH, "access_key_id": "AKIB"})
    everything = b"".join(found.read_bytes() for found in path.parent.iterdir() if found.is_file())
    holder.close()
    assert b"AKIB" in everything
    pieces = {CANARY[start : start + 12].encode() for start in range(len(CANARY) - 11)}
    assert not [piece for piece in pieces if piece in everything or base64.b64encode(piece)[:12] in everything]


async def test_p9_a_ciphertext_moved_to_another_row_fails(path: Path, file_catalog: Catalog, execute: Execute) -> None:
    await file_catalog.create_bucket("me", new_bucket("theirs", name="theirs", auth=AUTH))
    await file_catalog.create_bucket("me", new_bucket("mine", name="mine", auth=AUTH))
    copied = "UPDATE buckets SET secrets = (SELECT secrets FROM buckets WHERE nickname = 'theirs') WHERE nickname = 'mine'"
    execute(path, copied)
    with pytest.raises(CatalogError, match="'mine' are damaged or were moved"):
        await file_catalog.get_bucket("me", "mine")
    assert (await file_catalog.get_bucket("me", "theirs")).auth_config == AUTH
    await file_catalog.modify_bucket("me", "mine", auth_config=AUTH)
    await file_catalog.create_org("other")
    execute(path, "UPDATE buckets SET org_id = (SELECT id FROM orgs WHERE name = 'other') WHERE nickname = 'mine'")
    with pytest.raises(CatalogError, match="moved"):
        await file_catalog.get_bucket("other", "mine")


async def test_p9_a_changed_ciphertext_fails(path: Path, file_catalog: Catalog, execute: Execute) -> None:
    await file_catalog.create_bucket("me", new_bucket(auth=AUTH))
    for broken in ("substr(secrets, 1, 20)", "zeroblob(40)", "x''"):
        execute(path, f"UPDATE buckets SET secrets = {broken} WHERE secrets IS NOT NULL")
        with pytest.raises(CatalogError, match="damaged"):
            await file_catalog.list_buckets("me")


@pytest.mark.parametrize("secret", [False, True], ids=["unused", "used"])
async def test_p9_no_key_no_start(path: Path, file_catalog: Catalog, secret: bool) -> None:
    if secret:
        await file_catalog.create_bucket("me", new_bucket(auth=AUTH))
    await file_catalog.list_orgs()
    key = path.with_suffix(".key")
    kept = key.read_bytes()
    key.unlink()
    before = path.read_bytes()
    with pytest.raises(CatalogError, match=f"{key}, which does not exist.*ARRAYLAKE_CATALOG__KEY"):
        await reopened(path).list_orgs()
    assert not key.exists()
    assert path.read_bytes() == before

    write_private(key, f"{some_key()}\n".encode(), replace=True)
    with pytest.raises(CatalogError, match="which is not in the key file"):
        await reopened(path).list_orgs()
    with config.set({"catalog.key": some_key()}), pytest.raises(CatalogError, match=r"the setting catalog\.key"):
        await reopened(path).list_orgs()
    with config.set({"catalog.key": kept.decode().strip()}):
        assert await reopened(path).list_orgs()
    write_private(key, kept, replace=True)
    assert await reopened(path).list_orgs()


async def test_p9_a_key_file_that_others_can_read_is_refused(path: Path, file_catalog: Catalog) -> None:
    await file_catalog.list_orgs()
    path.with_suffix(".key").chmod(0o640)
    with pytest.raises(CatalogError, match="chmod 600"):
        await reopened(path).list_orgs()


async def test_p10_no_secret_is_in_the_locals_of_a_traceback(path: Path, file_catalog: Catalog) -> None:
    broken = new_bucket(auth={"method": "hmac", "secret_access_key": Secret(f"{CANARY}\ud800")})
    await file_catalog.list_orgs()
    key = path.with_suffix(".key").read_text().strip()
    with pytest.raises(InvalidOptionError, match="Unicode") as unencodable:
        await file_catalog.create_bucket("me", broken)
    with config.set({"catalog.key": f"{key},{CANARY}"}), pytest.raises(CatalogError) as unparsable:
        await reopened(path).list_orgs()
    for caught in (unencodable, unparsable):
        stack = traceback.TracebackException.from_exception(caught.value, capture_locals=True).stack
        own = [frame for frame in stack if "/arraylake_core/" in frame.filename]
        assert own
        assert not [frame for frame in own for value in (frame.locals or {}).values() if CANARY in value or key in value]


@pytest.mark.parametrize("text", ["not base64!", "c2hvcnQ=", "é"])
async def test_p9_a_broken_key_is_refused_and_not_shown(path: Path, text: str) -> None:
    with config.set({"catalog.key": text}), pytest.raises(CatalogError, match="no key") as caught:
        await reopened(path).list_orgs()
    assert text not in str(caught.value)
    assert not path.exists()
    write_private(path.with_suffix(".key"), text.encode(), replace=True)
    with pytest.raises(CatalogError, match="no key"):
        await reopened(path).list_orgs()
    assert not path.exists()


async def test_p9_the_setting_makes_no_key_file(path: Path) -> None:
    with config.set({"catalog.key": f"{some_key()}, {some_key()}"}):
        await reopened(path).create_bucket("me", new_bucket(auth=AUTH))
        assert (await reopened(path).get_bucket("me", "ocean-data")).auth_config == AUTH
    assert not path.with_suffix(".key").exists()


async def test_p9_keys_of_the_setting_rotate(path: Path) -> None:
    old, new = some_key(), some_key()
    with config.set({"catalog.key": old}):
        await reopened(path).create_bucket("me", new_bucket(auth=AUTH))
        with pytest.raises(CatalogError, match="put a new one in front"):
            await reopened(path).rotate_key()
    with config.set({"catalog.key": f"{new},{old}"}):
        assert await reopened(path).rotate_key() == 1
    with config.set({"catalog.key": new}):
        assert (await reopened(path).get_bucket("me", "ocean-data")).auth_config == AUTH
    with config.set({"catalog.key": old}), pytest.raises(CatalogError):
        await reopened(path).list_orgs()


async def test_p9_rotation_while_others_work(path: Path, execute: Execute) -> None:
    rotating, working = reopened(path), reopened(path)
    for index in range(8):
        await rotating.create_bucket("me", new_bucket(f"bucket-{index}", name=f"bucket-{index}", auth=AUTH))
    ((before,),) = execute(path, "SELECT DISTINCT key_id FROM buckets WHERE key_id IS NOT NULL")

    async def work() -> None:
        for index in range(8):
            assert all(bucket.auth_config == AUTH for bucket in await working.list_buckets("me") if bucket.nickname != "local")
            await working.modify_bucket("me", f"bucket-{index}", auth_config=AUTH)

    count, _ = await asyncio.gather(rotating.rotate_key(), work())
    assert 0 < count <= 8
    assert path.with_suffix(".key").read_text().count("\n") == 2
    ((after,),) = execute(path, "SELECT DISTINCT key_id FROM buckets WHERE key_id IS NOT NULL")
    assert after != before
    assert execute(path, "SELECT id FROM encryption_keys") == [(after,)]
    assert (await reopened(path).get_bucket("me", "bucket-3")).auth_config == AUTH


async def test_p9_an_interrupted_rotation_goes_on(path: Path, execute: Execute) -> None:
    catalog = reopened(path)
    for name in ("one", "two"):
        await catalog.create_bucket("me", new_bucket(name, name=name, auth=AUTH))
    key = path.with_suffix(".key")
    write_private(key, f"{some_key()}\n{key.read_text()}".encode(), replace=True)
    await reopened(path).modify_bucket("me", "one", auth_config=AUTH)
    assert len(execute(path, "SELECT id FROM encryption_keys")) == 2
    assert await reopened(path).rotate_key() == 2
    assert len(execute(path, "SELECT id FROM encryption_keys")) == 1
    for name in ("one", "two"):
        assert (await reopened(path).get_bucket("me", name)).auth_config == AUTH


async def test_p9_keys_of_a_memory_catalog_rotate_too() -> None:
    catalog = catalog_from_uri("memory://")
    await catalog.create_bucket("me", new_bucket(auth=AUTH))
    assert await catalog.rotate_key() == 1  # type: ignore[attr-defined]
    assert (await catalog.get_bucket("me", "ocean-data")).auth_config == AUTH
    await catalog.close()


def test_p10_a_key_shows_its_id_only() -> None:
    key = Key.generate()
    assert repr(key) == f"<key {key.id}>"
    assert key.text() not in f"{key} {[key]}"


def test_a_private_file_is_never_replaced_by_accident(tmp_path: Path) -> None:
    for data in (b"first", b"second"):
        write_private(tmp_path / "key", data, replace=False)
    assert (tmp_path / "key").read_bytes() == b"first"
    assert [found.name for found in tmp_path.iterdir()] == ["key"]
