"""What every catalog does with repos."""

# ruff: noqa: D102 - the name of a test says what it holds

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog.base import Catalog
from arraylake_core.errors import (
    AlreadyExistsError,
    BucketConfigNotFoundError,
    InUseError,
    InvalidNameError,
    InvalidOptionError,
    RepoNotFoundError,
)
from arraylake_core.models import RepoMode, RepoModel, RepoStatus
from arraylake_core.testing.catalog_samples import make_repo, names_of, new_bucket, new_repo

__all__ = ["RepoTests"]


class RepoTests:
    """Repos: their records, their life, and the places that they hold."""

    async def test_p22_a_pending_repo_holds_its_name_and_is_hidden(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        pending = await catalog.create_repo("me", new_repo(bucket.id, description="Sea"))
        assert await names_of(catalog) == []
        for call in (catalog.get_repo("me", "ocean"), catalog.open_repo("me", "ocean"), catalog.delete_repo("me", "ocean")):
            with pytest.raises(RepoNotFoundError, match="creation has not finished"):
                await call
        with pytest.raises(AlreadyExistsError, match="arraylake-core repo repair me"):
            await catalog.create_repo("me", new_repo(bucket.id, path="elsewhere"))
        [unfinished] = await catalog.unfinished_repos("me")
        assert (unfinished.repo, unfinished.state, unfinished.since, unfinished.generated) == (
            pending,
            "pending",
            pending.created,
            True,
        )
        active = await catalog.activate_repo(pending.id)
        assert await catalog.activate_repo(pending.id) == active
        assert await catalog.get_repo("me", "ocean") == active
        assert (active.description, active.bucket, active.full_name) == ("Sea", bucket, "me/ocean")
        assert await catalog.unfinished_repos() == []
        with pytest.raises(AlreadyExistsError, match="already"):
            await catalog.create_repo("me", new_repo(bucket.id, path="elsewhere"))

    async def test_p22_a_purged_pending_repo_leaves_nothing(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        pending = await catalog.create_repo("me", new_repo(bucket.id))
        await catalog.coordination(pending.id).put_ref("branch/main", 1, expected=None)
        for _ in range(2):
            await catalog.purge_repo(pending.id)
        assert await catalog.unfinished_repos() == []
        with pytest.raises(RepoNotFoundError):
            await catalog.activate_repo(pending.id)
        await make_repo(catalog)

    async def test_names_and_options_are_checked(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        for name in ("x", "../up", "a b", "admin", "é" * 3, "a" * 101):
            with pytest.raises(InvalidNameError):
                await catalog.create_repo("me", new_repo(bucket.id, name, path="p"))
        for path in ("a//b", "/a", "a/../b", "a/."):
            with pytest.raises(InvalidNameError):
                await catalog.create_repo("me", new_repo(bucket.id, path=path))
            with pytest.raises(InvalidNameError):
                await catalog.create_repo("me", new_repo(bucket.id, prefix="p", identity=StorageIdentity("test://", path)))
        wrong: tuple[dict[str, Any], ...] = (
            {"description": "x" * 256},
            {"metadata": {"k": {}}},
            {"virtual_chunk_containers": {"nowhere": "local"}},
        )
        for fields in wrong:
            with pytest.raises(InvalidOptionError):
                await catalog.create_repo("me", new_repo(bucket.id, **fields))
        for number in (float("nan"), float("inf"), "\ud800"):
            with pytest.raises(InvalidOptionError):
                await catalog.create_repo("me", new_repo(bucket.id, metadata={"number": number}))
        with pytest.raises(InvalidOptionError):
            await catalog.create_repo("me", new_repo(bucket.id, description="\ud800"))
        with pytest.raises(BucketConfigNotFoundError):
            await catalog.create_repo("me", new_repo("0" * 24))
        await catalog.create_org("other")
        with pytest.raises(BucketConfigNotFoundError):
            await catalog.create_repo("other", new_repo(bucket.id))
        assert await catalog.unfinished_repos() == []

    async def test_a_missing_repo_says_what_is_close(self, catalog: Catalog) -> None:
        await make_repo(catalog)
        with pytest.raises(RepoNotFoundError, match="did you mean 'me/ocean'"):
            await catalog.get_repo("me", "oceans")
        with pytest.raises(RepoNotFoundError, match="arraylake-core repo list me"):
            await catalog.open_repo("me", "zzzz")

    async def test_delete_and_restore(self, catalog: Catalog) -> None:
        first = await make_repo(catalog, path="first")
        gone = await catalog.delete_repo("me", "ocean", retain_data=True)
        assert gone.deleted_at is not None
        assert gone.retain_data
        assert await names_of(catalog) == []
        with pytest.raises(RepoNotFoundError, match="can be restored"):
            await catalog.get_repo("me", "ocean")
        with pytest.raises(RepoNotFoundError):
            await catalog.delete_repo("me", "ocean")
        with pytest.raises(RepoNotFoundError, match="deleted"):
            await catalog.activate_repo(first.id)
        [unfinished] = await catalog.unfinished_repos("me")
        assert (unfinished.state, unfinished.since, unfinished.repo.id) == ("deleted", gone.deleted_at, first.id)

        second = await make_repo(catalog, path="second")
        with pytest.raises(AlreadyExistsError, match="rename or delete"):
            await catalog.restore_repo("me", "ocean")
        await catalog.delete_repo("me", "ocean")
        assert (await catalog.restore_repo("me", "ocean")).id == second.id
        await catalog.rename_repo("me", "ocean", "newer")
        restored = await catalog.restore_repo("me", "ocean")
        assert (restored.id, restored.deleted_at, restored.retain_data) == (first.id, None, False)
        assert await names_of(catalog) == ["newer", "ocean"]
        with pytest.raises(RepoNotFoundError, match="no deleted repo"):
            await catalog.restore_repo("me", "ocean")

    async def test_purge(self, catalog: Catalog) -> None:
        repo = await make_repo(catalog)
        with pytest.raises(InUseError, match="delete it first"):
            await catalog.purge_repo(repo.id)
        coordination = catalog.coordination(repo.id)
        await coordination.put_ref("branch/main", 1, expected=None)
        await coordination.append_journal("log", b"1")
        await catalog.delete_repo("me", "ocean")
        for _ in range(2):
            await catalog.purge_repo(repo.id)
        with pytest.raises(RepoNotFoundError):
            await catalog.restore_repo("me", "ocean")
        for call in (
            coordination.get_ref("branch/main"),
            coordination.list_refs(),
            coordination.put_ref("branch/main", 1, expected=None),
        ):
            with pytest.raises(RepoNotFoundError):
                await call
        with pytest.raises(RepoNotFoundError):
            await coordination.append_journal("log", b"1")
        assert await coordination.read_journal("log") == []

    async def test_p22_a_purge_that_has_begun_goes_forward_only(self, catalog: Catalog) -> None:
        repo = await make_repo(catalog, path="first")
        with pytest.raises(InUseError, match="delete it first"):
            await catalog.begin_purge(repo.id)
        await catalog.delete_repo("me", "ocean")
        for _ in range(2):
            await catalog.begin_purge(repo.id)
        [unfinished] = await catalog.unfinished_repos("me")
        assert (unfinished.repo.id, unfinished.state) == (repo.id, "purging")
        with pytest.raises(RepoNotFoundError, match="no deleted repo"):
            await catalog.restore_repo("me", "ocean")
        with pytest.raises(RepoNotFoundError, match="there is no repo"):
            await catalog.get_repo("me", "ocean")
        with pytest.raises(RepoNotFoundError):
            await catalog.activate_repo(repo.id)
        second = await make_repo(catalog, path="second")
        with pytest.raises(AlreadyExistsError, match=r"me/ocean \(its deletion has not finished"):
            await catalog.create_repo("me", new_repo(repo.bucket.id if repo.bucket else "", "other", "first"))
        for _ in range(2):
            await catalog.purge_repo(repo.id)
        await catalog.begin_purge(repo.id)
        assert await catalog.unfinished_repos() == []
        assert await catalog.get_repo("me", "ocean") == second

    async def test_p14_no_two_live_repos_overlap(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        await make_repo(catalog, "first", "a/b")
        for path in ("a/b", "a", "", "a/b/c", "a/b/c/d"):
            with pytest.raises(AlreadyExistsError, match="me/first"):
                await catalog.create_repo("me", new_repo(bucket.id, "second", path))
        for path in ("a/bc", "a/c", "b", "a/B"):
            await make_repo(catalog, f"at-{path.replace('/', '-')}", path)
        await catalog.delete_repo("me", "first")
        with pytest.raises(AlreadyExistsError, match=r"me/first \(deleted, but it can be restored\)"):
            await catalog.create_repo("me", new_repo(bucket.id, "second", "a/b/c"))
        [deleted] = [item for item in await catalog.unfinished_repos() if item.state == "deleted"]
        await catalog.purge_repo(deleted.repo.id)
        await make_repo(catalog, "second", "a/b/c")
        with pytest.raises(AlreadyExistsError):
            await catalog.create_repo("me", new_repo(bucket.id, "third", "a/b"))

    async def test_p14_another_store_is_another_place(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        await make_repo(catalog, "first", "a/b")
        elsewhere = new_repo(bucket.id, "elsewhere", "a/b", identity=StorageIdentity("other://", "a/b"))
        await catalog.create_repo("me", elsewhere)

    async def test_p14_the_root_of_a_store_holds_one_repo(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        root = await make_repo(catalog, "root", "")
        with pytest.raises(AlreadyExistsError):
            await catalog.create_repo("me", new_repo(bucket.id, "below", "a"))
        await catalog.delete_repo("me", "root")
        await catalog.purge_repo(root.id)
        await make_repo(catalog, "below", "a")

    async def test_p14_another_orgs_repo_is_not_named(self, catalog: Catalog) -> None:
        await make_repo(catalog, "confidential", "shared/place")
        await catalog.create_org("other")
        bucket = await catalog.create_bucket("other", new_bucket())
        with pytest.raises(AlreadyExistsError, match="another repo") as caught:
            await catalog.create_repo("other", new_repo(bucket.id, "mine", "shared"))
        assert "confidential" not in str(caught.value)
        assert "me/" not in str(caught.value)

    async def test_p14_of_racing_creations_one_wins(self, catalog: Catalog) -> None:
        bucket = await catalog.get_bucket("me", None)
        paths = ["x", "x/y", "x/y/z", "x", "x/y", "x/y/z"]
        made = await asyncio.gather(
            *(catalog.create_repo("me", new_repo(bucket.id, f"repo-{index}", path)) for index, path in enumerate(paths)),
            return_exceptions=True,
        )
        assert sum(isinstance(one, RepoModel) for one in made) == 1
        assert sum(isinstance(one, AlreadyExistsError) for one in made) == len(paths) - 1

    async def test_listing_is_paged_by_name(self, catalog: Catalog) -> None:
        names = [f"repo-{index:02}" for index in range(12)]
        for name in reversed(names):
            await make_repo(catalog, name)
        pages = [await catalog.list_repos("me", page=page, size=5) for page in (1, 2, 3, 4)]
        assert [repo.name for page in pages for repo in page.items] == names
        assert [(page.total, page.page, page.size, page.pages) for page in pages] == [
            (12, number, 5, 3) for number in (1, 2, 3, 4)
        ]
        assert (await catalog.list_repos("me", page=10**30)).items == []
        for options in ({"size": 0}, {"size": 101}, {"page": 0}, {"page": True}, {"size": "5"}):
            with pytest.raises(InvalidOptionError):
                await catalog.list_repos("me", **options)

    async def test_listing_by_bucket(self, catalog: Catalog) -> None:
        other = await catalog.create_bucket("me", new_bucket())
        await make_repo(catalog, "here")
        await catalog.activate_repo((await catalog.create_repo("me", new_repo(other.id, "there"))).id)
        assert await names_of(catalog, bucket="ocean-data") == ["there"]
        assert await names_of(catalog, bucket="local") == ["here"]
        with pytest.raises(BucketConfigNotFoundError):
            await catalog.list_repos("me", bucket="nowhere")

    async def test_listing_by_metadata(self, catalog: Catalog) -> None:
        await make_repo(catalog, "arctic", metadata={"ocean": "arctic", "level": 1, "tags": ["a", 1], "open": True, "none": None})
        await make_repo(catalog, "atlantic", metadata={"ocean": "atlantic", "level": 1.0, "tags": ["a"], "open": 1})
        for wanted, found in (
            ({}, ["arctic", "atlantic"]),
            ({"ocean": "arctic"}, ["arctic"]),
            ({"level": 1}, ["arctic", "atlantic"]),
            ({"level": 1, "ocean": "atlantic"}, ["atlantic"]),
            ({"level": "1"}, []),
            ({"open": True}, ["arctic"]),
            ({"open": 1}, ["atlantic"]),
            ({"none": None}, ["arctic"]),
            ({"tags": ["a", 1.0]}, ["arctic"]),
            ({"tags": "a"}, []),
            ({"ocean": "arc%"}, []),
            ({"ocean": "'; DROP TABLE repos; --"}, []),
        ):
            assert await names_of(catalog, filter_metadata=wanted) == found
        await catalog.modify_repo("me", "arctic", update_metadata={"ocean": "baltic"}, remove_metadata=["level"])
        assert await names_of(catalog, filter_metadata={"ocean": "arctic"}) == []
        assert await names_of(catalog, filter_metadata={"level": 1}) == ["atlantic"]
        assert await names_of(catalog, filter_metadata={"ocean": "baltic"}) == ["arctic"]

    async def test_modify_repo(self, catalog: Catalog) -> None:
        made = await make_repo(catalog, metadata={"aa": 1, "bb": [1, "x"]})
        changed = await catalog.modify_repo(
            "me",
            "ocean",
            description="Temperatures",
            add_metadata={"cc": None},
            remove_metadata=["bb", "never"],
            update_metadata={"aa": True},
            virtual_chunk_containers={"s3://one/": "ocean-data", "s3://two/": "local"},
            status=RepoStatus(mode=RepoMode.Maintenance, message="wait", estimated_end_time=datetime(2026, 1, 1, tzinfo=UTC)),
        )
        assert changed.metadata == {"aa": True, "cc": None}
        assert changed.metadata["aa"] is True
        assert changed.description == "Temperatures"
        assert (changed.status.mode, changed.status.message) == (RepoMode.Maintenance, "wait")
        assert changed.updated > made.updated
        assert await catalog.get_repo("me", "ocean") == changed
        assert (await catalog.modify_repo("me", "ocean", description="")).description == ""
        fewer = await catalog.modify_repo("me", "ocean", virtual_chunk_containers={"s3://one/": None, "s3://never/": None})
        assert fewer.virtual_chunk_containers == {"s3://two/": "local"}

        await catalog.modify_bucket("me", "local", new_nickname="renamed")
        assert (await catalog.get_repo("me", "ocean")).virtual_chunk_containers == {"s3://two/": "renamed"}
        for options in (
            {"add_metadata": {"aa": 2}},
            {"add_metadata": {"x": 1}, "remove_metadata": ["x"]},
            {"update_metadata": {"x": "y" * 5000}},
            {"remove_metadata": "aa"},
            {"virtual_chunk_containers": {"nowhere": "local"}},
        ):
            with pytest.raises(InvalidOptionError):
                await catalog.modify_repo("me", "ocean", description="never", **options)
        assert (await catalog.get_repo("me", "ocean")).description == ""

    async def test_p21_no_metadata_is_lost_between_writers(self, catalog: Catalog) -> None:
        await make_repo(catalog)
        await asyncio.gather(*(catalog.modify_repo("me", "ocean", add_metadata={f"key{index}": index}) for index in range(10)))
        assert (await catalog.get_repo("me", "ocean")).metadata == {f"key{index}": index for index in range(10)}

    async def test_rename(self, catalog: Catalog) -> None:
        made = await make_repo(catalog)
        await make_repo(catalog, "other")
        renamed = await catalog.rename_repo("me", "ocean", "sea")
        assert (renamed.id, renamed.name, renamed.prefix) == (made.id, "sea", made.prefix)
        assert await names_of(catalog) == ["other", "sea"]
        with pytest.raises(AlreadyExistsError):
            await catalog.rename_repo("me", "sea", "other")
        with pytest.raises(InvalidNameError):
            await catalog.rename_repo("me", "sea", "admin")
        with pytest.raises(RepoNotFoundError):
            await catalog.rename_repo("me", "ocean", "lake")

    async def test_open_repo_brings_the_virtual_buckets(self, catalog: Catalog) -> None:
        virtual = await catalog.create_bucket("me", new_bucket())
        containers = {"s3://ocean/": "ocean-data", "s3://lost/": "lost", "s3://ocean/b/": "ocean-data"}
        repo = await make_repo(catalog, virtual_chunk_containers=containers)
        opened = await catalog.open_repo("me", "ocean")
        assert opened.repo == repo
        assert opened.virtual_buckets == {"ocean-data": virtual}
