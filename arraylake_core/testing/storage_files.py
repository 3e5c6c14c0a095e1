"""What every storage platform does with files: reading, writing, listing, deleting, and telling what a place is good for."""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest

from arraylake_core.backends.credentials import CredentialProvider, Credentials
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.removal import remove_all
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import StorageError
from arraylake_core.secret import Secret
from arraylake_core.testing.checks import nothing_blocks

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["StorageFileTests", "shows_secret"]


class StorageFileTests:
    """What is there; the fixtures are those of StoragePlatformTests."""

    async def test_files_are_written_read_and_listed(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Whole and in part, and written anew."""
        filesystem, path = platform.filesystem(location, await provider.get()), platform.path(location)
        assert not filesystem.exists(f"{path}/a/one")
        with pytest.raises(FileNotFoundError):
            filesystem.cat_file(f"{path}/a/one")
        filesystem.pipe_file(f"{path}/a/one", b"to be replaced")
        for name, body in {"a/one": b"0123456789", "a/deep/two": b"", "three": bytes(range(256)) * 4096}.items():
            filesystem.pipe_file(f"{path}/{name}", body)
            assert filesystem.cat_file(f"{path}/{name}") == body
            assert filesystem.info(f"{path}/{name}")["size"] == len(body)
        assert filesystem.cat_file(f"{path}/a/one", start=2, end=5) == b"234"
        assert filesystem.cat_file(f"{path}/a/one", start=7) == b"789"
        assert filesystem.cat_file(f"{path}/a/one", start=-2) == b"89"
        assert _names(filesystem.ls(path, detail=False)) == ["a", "three"]
        assert _files(filesystem, path) == ["one", "three", "two"]

    async def test_p13_removal_takes_what_is_below_and_leaves_siblings(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Also those whose names begin alike; that nothing is there is no error."""
        filesystem, path = platform.filesystem(location, await provider.get()), platform.path(location)
        gone, kept = ("a/b/one", "a/b/deep/two"), ("a/bc/three", "a/b.four", "a/five", "b/six")
        for name in (*gone, *kept):
            filesystem.pipe_file(f"{path}/{name}", name.encode())
        await remove_all(platform, location.below("a/b"), provider)
        await remove_all(platform, location.below("a/b"), provider)
        await remove_all(platform, location.below("never/there"), provider)
        filesystem.invalidate_cache()
        assert [name for name in gone if filesystem.exists(f"{path}/{name}")] == []
        assert [filesystem.cat_file(f"{path}/{name}") for name in kept] == [name.encode() for name in kept]

    async def test_p13_the_root_of_a_bucket_is_never_removed(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Only what is below a prefix."""
        filesystem, kept = platform.filesystem(location, await provider.get()), f"{platform.path(location)}/kept"
        filesystem.pipe_file(kept, b"kept")
        with pytest.raises(StorageError, match="root of a bucket"):
            await remove_all(platform, msgspec.structs.replace(location, prefix=""), provider)
        assert filesystem.cat_file(kept) == b"kept"

    async def test_p27_threads_and_loops_share_a_file_system(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """From many threads, with an event loop of their own and without."""
        filesystem, path = platform.filesystem(location, await provider.get()), platform.path(location)

        def use(number: int) -> bytes:
            filesystem.pipe_file(f"{path}/{number}", b"%d" % number)
            return bytes(filesystem.cat_file(f"{path}/{number}"))

        async def on_a_loop(number: int) -> bytes:
            return use(number)

        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda number: asyncio.run(on_a_loop(number)) if number % 2 else use(number), range(16)))
        assert read == [b"%d" % number for number in range(16)]
        assert len(_files(filesystem, path)) == 16

    async def test_the_description_for_other_libraries_leads_to_the_same_place(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Where there is a description at all; what one library writes, the other reads."""
        spec = platform.object_store(location, provider)
        if spec is None:
            return
        assert spec.credentials is provider
        below = platform.object_store(location.below("a/b"), provider)
        assert below == msgspec.structs.replace(spec, prefix=f"{spec.prefix}/a/b")
        if spec.protocol not in ("file", "s3"):
            return
        import obstore

        store, filesystem = await open_object_store(spec), platform.filesystem(location, await provider.get())
        await obstore.put_async(store, "a/one", b"by obstore")
        assert filesystem.cat_file(f"{platform.path(location)}/a/one") == b"by obstore"
        filesystem.pipe_file(f"{platform.path(location)}/a/two", b"by fsspec")
        assert bytes(await (await obstore.get_async(store, "a/two")).bytes_async()) == b"by fsspec"

    async def test_a_probe_finds_it_good_leaves_nothing_and_logs_no_secret(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where nothing is yet, beside what is there."""
        caplog.set_level(logging.DEBUG)
        credentials = await provider.get()
        filesystem, path = platform.filesystem(location, credentials), platform.path(location)
        filesystem.pipe_file(f"{path}/kept", b"kept")
        place = location.below("new/place")
        report = await platform.probe(place, provider)
        assert report.ok, report
        assert (report.uri, report.problems) == (place.uri, [])
        filesystem.invalidate_cache()
        assert _files(filesystem, path) == ["kept"]
        assert not shows_secret(credentials, f"{report} {caplog.text}")

    async def test_a_listing_is_never_stale(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Neither after a write nor after a deletion, whoever made them."""
        path = platform.path(location)
        one, other = [platform.filesystem(location, await provider.get()) for _ in range(2)]
        one.pipe_file(f"{path}/a/first", b"1")
        for reader in (one, other):
            assert _names(reader.ls(f"{path}/a", detail=False)) == ["first"]
        other.pipe_file(f"{path}/a/second", b"2")
        for reader in (one, other):
            assert _names(reader.ls(f"{path}/a", detail=False)) == ["first", "second"]
            assert reader.exists(f"{path}/a/second")
        one.rm_file(f"{path}/a/first")
        for reader in (one, other):
            assert _names(reader.ls(f"{path}/a", detail=False)) == ["second"]
            assert not reader.exists(f"{path}/a/first")

    async def test_p13_what_is_written_in_one_place_is_in_no_other(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Each prefix has files of its own, whatever the names in it."""
        places = [location.below(prefix) for prefix in ("a", "ab", "a/b", "b")]
        for number, place in enumerate(places):
            platform.filesystem(place, await provider.get()).pipe_file(f"{platform.path(place)}/name", b"%d" % number)
        for number, place in enumerate(places):
            filesystem = platform.filesystem(place, await provider.get())
            assert filesystem.cat_file(f"{platform.path(place)}/name") == b"%d" % number
        assert _files(platform.filesystem(location, await provider.get()), platform.path(location)) == ["name"] * 4

    async def test_what_is_missing_is_told_as_missing(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """With FileNotFoundError, and never as if it were empty."""
        filesystem, path = platform.filesystem(location, await provider.get()), platform.path(location)
        for attempt in (filesystem.cat_file, filesystem.info, filesystem.ls):
            with pytest.raises(FileNotFoundError):
                attempt(f"{path}/never/there")

    async def test_who_may_not_is_refused_and_told(
        self,
        platform: StoragePlatform,
        location: Location,
        provider: CredentialProvider,
        intruder: CredentialProvider | None,
    ) -> None:
        """A write with credentials that the store refuses is an error, and leaves nothing; a probe says what is wrong."""
        if intruder is None:
            pytest.skip("the kit has no fixture `intruder`: nobody is refused there")
        path = platform.path(location)
        with pytest.raises(Exception, match=r".") as caught:
            platform.filesystem(location, await intruder.get()).pipe_file(f"{path}/theirs", b"theirs")
        assert not isinstance(caught.value, FileNotFoundError | NotImplementedError)
        assert not platform.filesystem(location, await provider.get()).exists(f"{path}/theirs")
        report = await platform.probe(location, intruder)
        assert not report.writable
        assert report.problems

    async def test_p27_a_probe_does_not_block_the_loop(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """What waits, waits in a thread or asynchronously."""
        with nothing_blocks():
            report = await platform.probe(location, provider)
        assert report.ok, report


def _names(paths: list[str]) -> list[str]:
    return sorted(path.rstrip("/").rsplit("/", 1)[1] for path in paths)


def _files(filesystem: "AbstractFileSystem", path: str) -> list[str]:
    """Return the names of all files below a path; some object stores show directories that are empty for a while."""
    return _names([found for found, info in filesystem.find(path, detail=True).items() if info["type"] == "file"])


def _secrets(credentials: Credentials) -> Iterator[str]:
    for field in msgspec.structs.fields(type(credentials)):
        value = getattr(credentials, field.name)
        if isinstance(value, Secret):
            yield value.reveal()


def shows_secret(credentials: Credentials, text: str | bytes) -> bool:
    """Tell whether a secret of the credentials is in a text; which one is not told, since pytest shows what is compared."""
    body = text if isinstance(text, bytes) else text.encode()
    return any(secret.encode() in body for secret in _secrets(credentials))
