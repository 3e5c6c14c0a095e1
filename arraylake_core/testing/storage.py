"""The conformance kit of storage platforms."""

import asyncio
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest

from arraylake_core.backends.credentials import CredentialProvider, Credentials
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.removal import remove_all
from arraylake_core.backends.storage import Location, ObjectStoreSpec, StoragePlatform
from arraylake_core.errors import ArraylakeError, CredentialsError, InvalidNameError, InvalidOptionError, StorageError
from arraylake_core.secret import Secret
from arraylake_core.testing.auth import CANARY, HEAVY

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["StoragePlatformTests"]

# Paths that could lead elsewhere, mean another path to some program, or look like another one to people.
BAD_PATHS = (
    "..",
    "../up",
    "a/..",
    "a/../b",
    ".",
    "a/./b",
    "a//b",
    "/a",
    "a\\b",
    "..\\up",
    "a\x00b",
    "a\nb",
    "a\n",
    "%2e%2e",
    "a%2fb",
    "%252e%252e",
    "a%252fb",
    "a?b",
    "a#b",
    "\uff0e\uff0e",
    "\u2024\u2024",
    "\u2025",
    "a\uff0fb",
    "a\u2044b",
    "a\u2215b",
    "a\u202eb",
    "a\u200bb",
    "cafe\u0301",
)


class StoragePlatformTests:
    """What every storage platform is held to.

    Subclass it, set the attributes, and give the fixtures ``platform``, ``location`` (below a prefix, new and empty in each test, where ``provider`` may
    write) and ``provider`` (of credentials, whose source can be imported and pickles, as sources must).

    Attributes
    ----------
    uris
        Valid bucket URIs.
    bad_uris
        URIs that are refused, beyond those that are bad everywhere.
    options
        A valid ``extra_config``.
    bad_options
        For each, wrong ``extra_config`` and what the message must say; a value that must not be repeated has ``CANARY`` in it.
    foreign
        Credentials of other platforms, which are refused.
    """

    uris: tuple[str, ...]
    bad_uris: tuple[str, ...] = ()
    options: Mapping[str, object] = {}
    bad_options: tuple[tuple[Mapping[str, object], str], ...] = ()
    foreign: tuple[Credentials, ...] = ()

    # What a user types

    def test_a_uri_comes_back_as_it_went_in(self, platform: StoragePlatform) -> None:
        """Parsed and put together, it is the same; a slash at its end changes nothing."""
        assert platform.name in platform.schemes
        for uri in self.uris:
            name, prefix = platform.parse_uri(uri)
            assert Location(platform=platform.name, bucket=name, prefix=prefix).uri == uri
            assert platform.parse_uri(f"{uri}/") == (name, prefix)

    @pytest.mark.parametrize("path", [*BAD_PATHS, "x" * 300], ids=lambda path: ascii(path)[1:21])
    def test_p13_bad_paths_are_refused_in_uris(self, platform: StoragePlatform, path: str) -> None:
        """Whatever could mean another place, or look like one."""
        with pytest.raises(InvalidNameError):
            platform.parse_uri(f"{self.uris[0]}/{path}")

    def test_p13_bad_uris_are_refused(self, platform: StoragePlatform) -> None:
        """Those without a bucket, and those that the platform itself refuses."""
        scheme = platform.schemes[0]
        for uri in (f"{scheme}://", f"{scheme}:///", f"{scheme}://..", f"{scheme}:///..", f"{scheme}://../up", *self.bad_uris):
            with pytest.raises(InvalidNameError):
                platform.parse_uri(uri)

    def test_p10_a_password_in_a_uri_is_not_repeated(self, platform: StoragePlatform) -> None:
        """Wherever in it people put one."""
        scheme = platform.schemes[0]
        for place in (
            f"user:{CANARY}@bucket/prefix",
            f"user:{CANARY}/x@bucket",
            f"{CANARY}@bucket",
            f"/user:{CANARY}@bucket",
            f"bucket?secret={CANARY}",
        ):
            with pytest.raises(InvalidNameError) as caught:
                platform.parse_uri(f"{scheme}://{place}")
            assert CANARY not in "".join(traceback.format_exception_only(caught.value))

    def test_good_options_are_decoded(self, platform: StoragePlatform) -> None:
        """To the platform's own Struct, which pickles."""
        options = platform.decode_options(self.options)
        assert type(options) is platform.options
        assert pickle.loads(pickle.dumps(options)) == options  # noqa: S301 - made on the line itself

    def test_wrong_options_are_refused_by_name(self, platform: StoragePlatform) -> None:
        """Unknown ones and those of a wrong type: the message has the option, and no value."""
        names = [field.encode_name for field in msgspec.structs.fields(platform.options)]
        of_a_wrong_type = [({**self.options, name: [CANARY]}, repr(name)) for name in names]
        unknown = ({**self.options, "colour": CANARY}, "'colour': known are")
        for options, says in (unknown, *of_a_wrong_type, *self.bad_options):
            with pytest.raises(InvalidOptionError, match=says) as caught:
                platform.decode_options(options)
            assert CANARY not in "".join(traceback.format_exception_only(caught.value)) + repr(caught.value)

    # Where a place is

    def test_p14_a_place_has_one_identity_and_what_is_below_it_is_below(
        self, platform: StoragePlatform, location: Location
    ) -> None:
        """Identities nest as prefixes do, and siblings differ."""
        whole, below = platform.identity(location), platform.identity(location.below("a/b"))
        assert platform.identity(msgspec.structs.replace(location)) == whole
        assert below.store == whole.store
        assert below.path == f"{whole.path}/a/b"
        assert platform.identity(location.below("a").below("b")) == below
        assert platform.identity(location.below("a/bc")) != below
        assert not below.path.startswith("/")

    @pytest.mark.parametrize("path", [*BAD_PATHS, "a/", "x" * 1100], ids=lambda path: ascii(path)[1:21])
    def test_p13_a_location_never_leaves_its_place(self, platform: StoragePlatform, location: Location, path: str) -> None:
        """No bad prefix makes a location that has a path."""
        with pytest.raises(ArraylakeError):
            platform.path(location.below(path))

    # What is there

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
        assert not _found(credentials, f"{report} {caplog.text}")

    # What must not get out

    def test_credentials_of_other_platforms_are_refused(self, platform: StoragePlatform, location: Location) -> None:
        """They are not passed by, as if there were none; the message has their kind, and no secret."""
        for credentials in self.foreign:
            with pytest.raises(CredentialsError) as caught:
                platform.filesystem(location, credentials)
            assert not _found(credentials, str(caught.value))

    async def test_p11_what_travels_carries_no_secret(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Locations and descriptions travel, and wake up with credentials of their own; a file system has no secret in it, or stays."""
        credentials = await provider.get()
        assert pickle.loads(pickle.dumps(location)) == location  # noqa: S301 - made on the line itself
        spec = platform.object_store(location, provider)
        if spec is not None:
            pickled = pickle.dumps(spec)
            assert not _found(credentials, pickled)
            again = pickle.loads(pickled)  # noqa: S301 - made three lines above
            assert isinstance(again, ObjectStoreSpec)
            assert msgspec.structs.replace(again, credentials=provider) == spec
            assert again.credentials is not None
            assert await again.credentials.get() == credentials
        assert not _found(credentials, _pickled(platform.filesystem(location, credentials)))

    async def test_p10_secrets_do_not_show(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither in reprs nor in DEBUG logs nor in what fsspec keeps of its options."""
        caplog.set_level(logging.DEBUG)
        credentials = await provider.get()
        filesystem = platform.filesystem(location, credentials)
        filesystem.pipe_file(f"{platform.path(location)}/object", b"bytes")
        filesystem.find(platform.path(location))
        things = (platform, location, platform.object_store(location, provider), provider, credentials, filesystem)
        shown = [*map(repr, things), *map(str, things), str(vars(filesystem)), caplog.text]
        assert not _found(credentials, "\n".join(shown))

    def test_importing_it_loads_nothing_heavy(self, platform: StoragePlatform) -> None:
        """In a new process."""
        module = type(platform).__module__.partition(".")[0]
        script = f"import sys, {module}; {module}.arraylake_storage_platforms(); print(*set({HEAVY!r}).intersection(sys.modules))"
        command = [sys.executable, "-W", "error", "-c", script]
        run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - the line above
        assert run.stdout.split() == []


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


def _found(credentials: Credentials, text: str | bytes) -> bool:
    """Tell whether a secret of the credentials is in a text; which one is not told, since pytest shows what is compared."""
    body = text if isinstance(text, bytes) else text.encode()
    return any(secret.encode() in body for secret in _secrets(credentials))


def _pickled(filesystem: "AbstractFileSystem") -> bytes:
    """Return a file system pickled, or nothing where it refuses, which it must say."""
    try:
        return pickle.dumps(filesystem)
    except TypeError as error:
        if "pickle" not in str(error):
            raise
        return b""
