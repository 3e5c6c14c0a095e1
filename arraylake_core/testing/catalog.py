"""The suite that every catalog passes: subclass CatalogTests, and give it a ``catalog`` fixture that yields a new one.

A new catalog has the organization ``me`` with a default bucket config ``local``, as the embedded one has.
"""

# ruff: noqa: D102 - the name of a test says what it holds

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from arraylake_core.catalog.base import Catalog
from arraylake_core.errors import (
    AlreadyExistsError,
    BucketConfigNotFoundError,
    InUseError,
    InvalidNameError,
    InvalidOptionError,
    NotFoundError,
    OrgNotFoundError,
)
from arraylake_core.secret import Secret
from arraylake_core.testing.catalog_repos import RepoTests
from arraylake_core.testing.catalog_samples import CANARY, make_repo, names_of, new_bucket, new_repo
from arraylake_core.testing.coordination import CoordinationTests
from arraylake_core.testing.people import PeopleTests

if TYPE_CHECKING:
    from arraylake_core.models import AuthConfig

__all__ = ["CatalogTests"]


class CatalogTests(RepoTests, CoordinationTests, PeopleTests):
    """What every catalog does."""

    # Organizations

    async def test_a_new_catalog_has_an_org_and_a_default_bucket(self, catalog: Catalog) -> None:
        assert [org.name for org in await catalog.list_orgs()] == ["me"]
        bucket = await catalog.get_bucket("me", None)
        assert bucket.nickname == "local"
        assert bucket.is_default
        assert bucket.auth_config == {"method": "anonymous"}
        assert await catalog.list_buckets("me") == [bucket]
        assert (await catalog.list_repos("me")).items == []

    async def test_orgs(self, catalog: Catalog) -> None:
        made = await catalog.create_org("earthmover", display_name="Earth", description="Cubes")
        assert await catalog.get_org("earthmover") == made
        assert [org.name for org in await catalog.list_orgs()] == ["earthmover", "me"]
        assert await catalog.list_buckets("earthmover") == []
        with pytest.raises(AlreadyExistsError, match="earthmover"):
            await catalog.create_org("earthmover")
        with pytest.raises(InvalidNameError):
            await catalog.create_org("../etc")
        with pytest.raises(InvalidOptionError):
            await catalog.create_org("earth", description="x" * 1000)

    async def test_an_unknown_org_says_which_there_are(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        for call in (
            catalog.get_org("mee"),
            catalog.list_buckets("mee"),
            catalog.get_bucket("mee", None),
            catalog.create_bucket("mee", new_bucket()),
            catalog.modify_bucket("mee", "local", new_nickname="other"),
            catalog.delete_bucket("mee", "local"),
            catalog.set_default_bucket("mee", "local"),
            catalog.list_repos("mee"),
            catalog.get_repo("mee", "ocean"),
            catalog.open_repo("mee", "ocean"),
            catalog.create_repo("mee", new_repo(bucket.id)),
            catalog.modify_repo("mee", "ocean", description=""),
            catalog.rename_repo("mee", "ocean", "sea"),
            catalog.delete_repo("mee", "ocean"),
            catalog.restore_repo("mee", "ocean"),
            catalog.unfinished_repos("mee"),
        ):
            with pytest.raises(OrgNotFoundError, match="did you mean 'me'"):
                await call

    # Bucket configs

    async def test_buckets(self, catalog: Catalog) -> None:
        made = await catalog.create_bucket("me", new_bucket(prefix="team/a"))
        assert (made.uri, made.is_default) == ("s3://ocean/team/a", False)
        assert made.extra_config == {"region_name": "eu-north-1", "use_ssl": True}
        assert await catalog.get_bucket("me", "ocean-data") == made
        assert await catalog.get_bucket_by_id(made.id) == made
        assert [bucket.nickname for bucket in await catalog.list_buckets("me")] == ["local", "ocean-data"]
        with pytest.raises(BucketConfigNotFoundError, match="did you mean 'ocean-data'"):
            await catalog.get_bucket("me", "ocean-dat")
        with pytest.raises(BucketConfigNotFoundError):
            await catalog.get_bucket_by_id("0" * 24)

    async def test_a_nickname_and_a_place_are_taken_once(self, catalog: Catalog) -> None:
        await catalog.create_bucket("me", new_bucket())
        with pytest.raises(AlreadyExistsError, match="'ocean-data' already"):
            await catalog.create_bucket("me", new_bucket(name="other"))
        with pytest.raises(AlreadyExistsError, match=r"s3://ocean is registered.*'ocean-data'"):
            await catalog.create_bucket("me", new_bucket("again"))
        with pytest.raises(AlreadyExistsError, match="'local' already"):
            await catalog.modify_bucket("me", "ocean-data", new_nickname="local")
        await catalog.create_bucket("me", new_bucket("third", name="third"))
        with pytest.raises(AlreadyExistsError, match="'ocean-data'"):
            await catalog.modify_bucket("me", "third", place=new_bucket())
        await catalog.create_org("other")
        await catalog.create_bucket("other", new_bucket())
        for broken in (new_bucket("x"), new_bucket("../up"), new_bucket("fine", prefix="../up")):
            with pytest.raises(InvalidNameError):
                await catalog.create_bucket("me", broken)

    async def test_the_first_bucket_of_an_org_is_its_default(self, catalog: Catalog) -> None:
        await catalog.create_org("team")
        with pytest.raises(BucketConfigNotFoundError, match="no default"):
            await catalog.get_bucket("team", None)
        assert (await catalog.create_bucket("team", new_bucket("first", name="first"))).is_default
        assert not (await catalog.create_bucket("team", new_bucket("second", name="second"))).is_default
        await catalog.set_default_bucket("team", "second")
        await catalog.set_default_bucket("team", "second")
        assert (await catalog.get_bucket("team", None)).nickname == "second"
        assert [bucket.is_default for bucket in await catalog.list_buckets("team")] == [False, True]
        await catalog.delete_bucket("team", "second")
        with pytest.raises(BucketConfigNotFoundError, match="set_default_bucket_config"):
            await catalog.get_bucket("team", None)
        with pytest.raises(BucketConfigNotFoundError):
            await catalog.set_default_bucket("team", "second")

    async def test_modify_bucket(self, catalog: Catalog) -> None:
        made = await catalog.create_bucket("me", new_bucket())
        renamed = await catalog.modify_bucket("me", "ocean-data", new_nickname="sea-data")
        assert (renamed.id, renamed.nickname, renamed.name) == (made.id, "sea-data", "ocean")
        moved = await catalog.modify_bucket("me", "sea-data", place=new_bucket("ignored", name="atlantic", prefix="a"))
        assert (moved.nickname, moved.uri) == ("sea-data", "s3://atlantic/a")
        locked = await catalog.modify_bucket(
            "me", "sea-data", auth_config={"method": "hmac", "secret_access_key": Secret(CANARY)}
        )
        assert locked.auth_config["secret_access_key"] == Secret(CANARY)
        assert await catalog.get_bucket("me", "sea-data") == locked
        assert (await catalog.modify_bucket("me", "sea-data", auth_config={"method": "anonymous"})).auth_config == {
            "method": "anonymous"
        }
        with pytest.raises(InvalidNameError):
            await catalog.modify_bucket("me", "sea-data", new_nickname="a/b")
        with pytest.raises(BucketConfigNotFoundError):
            await catalog.modify_bucket("me", "ocean-data", new_nickname="other")

    async def test_updated_grows_with_every_change_of_a_bucket(self, catalog: Catalog) -> None:
        times = [(await catalog.create_bucket("me", new_bucket())).updated]
        for index in range(20):
            changed = await catalog.modify_bucket("me", "ocean-data", auth_config={"method": "anonymous", "number": index})
            times.append(changed.updated)
        await catalog.set_default_bucket("me", "ocean-data")
        times.append((await catalog.get_bucket("me", None)).updated)
        assert all(earlier < later for earlier, later in pairwise(times))

    async def test_a_bucket_in_use_is_neither_moved_nor_deleted(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        for name in ("aa", "bb", "cc", "dd"):
            await make_repo(catalog, name)
        await catalog.delete_repo("me", "aa")
        pending = await catalog.create_repo("me", new_repo(bucket.id, "ee"))
        with pytest.raises(InUseError, match=r"'bb', 'cc', 'dd' and 2 more"):
            await catalog.delete_bucket("me", "local")
        for name in ("bb", "cc", "dd"):
            await catalog.purge_repo((await catalog.delete_repo("me", name)).id)
        with pytest.raises(InUseError, match=r"'ee' \(its creation has not finished\), 'aa' \(deleted, but it can be restored\)"):
            await catalog.modify_bucket("me", "local", place=new_bucket())
        assert await catalog.get_bucket("me", "local") == bucket
        assert (await catalog.modify_bucket("me", "local", new_nickname="home")).nickname == "home"
        await catalog.purge_repo(pending.id)
        await catalog.purge_repo((await catalog.unfinished_repos("me"))[0].repo.id)
        await catalog.delete_bucket("me", "home")
        assert await catalog.list_buckets("me") == []

    async def test_p10_secrets_come_back_as_secrets(self, catalog: Catalog) -> None:
        auth: AuthConfig = {"method": "hmac", "access_key_id": "AKIA", "secret_access_key": Secret(CANARY), "retries": 3}
        await catalog.create_bucket("me", new_bucket(auth=auth))
        await catalog.set_default_bucket("me", "ocean-data")
        await make_repo(catalog)
        answers = [
            await catalog.list_buckets("me"),
            await catalog.get_bucket("me", "ocean-data"),
            await catalog.get_repo("me", "ocean"),
            await catalog.open_repo("me", "ocean"),
            await catalog.list_repos("me"),
        ]
        assert CANARY not in f"{answers} {answers!r}"
        opened = await catalog.open_repo("me", "ocean")
        assert opened.repo.bucket is not None
        assert opened.repo.bucket.auth_config == auth
        secret = opened.repo.bucket.auth_config["secret_access_key"]
        assert isinstance(secret, Secret)
        assert secret.reveal() == CANARY

    # The whole

    async def test_a_closed_catalog_opens_again(self, catalog: Catalog) -> None:
        await make_repo(catalog)
        await catalog.close()
        await catalog.close()
        assert [org.name for org in await catalog.list_orgs()] == ["me"]

    async def test_p27_every_loop_may_use_the_same_catalog(self, catalog: Catalog) -> None:
        async def work(name: str) -> None:
            await make_repo(catalog, name)
            await catalog.get_repo("me", name)

        def in_a_loop_of_its_own(name: str) -> None:
            asyncio.run(work(name))

        names = [f"loop-{index}" for index in range(4)]
        await asyncio.gather(work("here"), *(asyncio.to_thread(in_a_loop_of_its_own, name) for name in names))
        assert await names_of(catalog) == ["here", *names]

    async def test_every_not_found_is_one(self, catalog: Catalog) -> None:
        for call in (catalog.get_org("nobody"), catalog.get_bucket("me", "nothing"), catalog.get_repo("me", "nothing")):
            with pytest.raises(NotFoundError):
                await call
