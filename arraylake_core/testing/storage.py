"""The conformance kit of storage platforms."""

import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Mapping

import pytest

from arraylake_core.backends.credentials import CredentialProvider
from arraylake_core.backends.removal import remove_all
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import ArraylakeError, InvalidNameError, InvalidOptionError, StorageError
from arraylake_core.testing.auth import CANARY, HEAVY

__all__ = ["StoragePlatformTests"]

BAD_PATHS = ("..", "a/../b", "a//b", "a\\b", "a\x00b", "a%2e%2e/b", "%252e", "a\u2215b", "\uff0e\uff0e", "a\n", "x" * 300 + "/..")


class StoragePlatformTests:
    """What every storage platform is held to.

    Subclass it, set the attributes, and give the fixtures ``platform``, ``location`` (a place that can be written) and ``provider`` (of credentials for it).

    Attributes
    ----------
    uris
        Valid bucket URIs.
    bad_uris
        URIs that are refused, beyond those that are bad everywhere.
    bad_options
        For each, wrong ``extra_config`` and what the message must say.
    """

    uris: tuple[str, ...]
    bad_uris: tuple[str, ...] = ()
    bad_options: tuple[tuple[Mapping[str, object], str], ...] = ()

    def test_a_uri_comes_back_as_it_went_in(self, platform: StoragePlatform) -> None:
        """Parsed and put together, it is the same."""
        for uri in self.uris:
            name, prefix = platform.parse_uri(uri)
            assert Location(platform=platform.name, bucket=name, prefix=prefix).uri == uri
            assert uri.partition("://")[0] in platform.schemes

    def test_p13_bad_uris_are_refused(self, platform: StoragePlatform) -> None:
        """Whatever could mean another place, or look like one."""
        scheme = platform.schemes[0]
        everywhere = [f"{self.uris[0]}/{path}" for path in BAD_PATHS] + [f"{scheme}://", f"{scheme}:///.."]
        for uri in [*everywhere, *self.bad_uris]:
            with pytest.raises(InvalidNameError):
                platform.parse_uri(uri)

    def test_p10_a_password_in_a_uri_is_not_repeated(self, platform: StoragePlatform) -> None:
        """Whether the URI is refused or taken for something else."""
        with pytest.raises(ArraylakeError) as caught:
            platform.parse_uri(f"{platform.schemes[0]}://user:{CANARY}@bucket/prefix")
        if platform.schemes != ("file",):
            assert CANARY not in "".join(traceback.format_exception_only(caught.value))

    def test_wrong_options_are_refused_by_name(self, platform: StoragePlatform) -> None:
        """The message has the option, and no value."""
        for options, says in (({"colour": CANARY}, "'colour': known are"), *self.bad_options):
            with pytest.raises(InvalidOptionError, match=says) as caught:
                platform.decode_options(options)
            assert CANARY not in str(caught.value)

    def test_p14_a_place_has_one_identity_and_what_is_below_it_is_below(
        self, platform: StoragePlatform, location: Location
    ) -> None:
        """Identities nest as prefixes do, and siblings differ."""
        whole, below = platform.identity(location), platform.identity(location.below("a/b"))
        assert below.store == whole.store
        assert below.path == f"{whole.path}/a/b"
        assert platform.identity(location.below("a/bc")) != below
        assert not below.path.startswith("/")

    @pytest.mark.parametrize("path", [path for path in BAD_PATHS if "\n" not in path])
    def test_p13_a_location_never_leaves_its_place(self, platform: StoragePlatform, location: Location, path: str) -> None:
        """No bad prefix makes a location."""
        with pytest.raises(ArraylakeError):
            platform.path(location.below(path))

    async def test_files_are_written_read_listed_and_deleted(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Whole and in part; deleting a place leaves its siblings, whose names begin alike."""
        filesystem = platform.filesystem(location, await provider.get())
        for name in ("a/b/one", "a/b/deep/two", "a/bc/three"):
            filesystem.pipe_file(f"{platform.path(location)}/{name}", name.encode())
        place = location.below("a/b")
        path = platform.path(place)
        assert filesystem.cat_file(f"{path}/one") == b"a/b/one"
        assert filesystem.cat_file(f"{path}/one", start=2, end=5) == b"b/o"
        assert {found.rsplit("/", 1)[1] for found in filesystem.find(path)} == {"one", "two"}
        await remove_all(platform, place, provider)
        filesystem.invalidate_cache()
        assert not filesystem.exists(f"{path}/one")
        assert filesystem.cat_file(f"{platform.path(location.below('a/bc'))}/three") == b"a/bc/three"
        await remove_all(platform, place, provider)
        with pytest.raises(FileNotFoundError):
            filesystem.cat_file(f"{path}/one")

    async def test_the_root_of_a_bucket_is_never_removed(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Only what is below a prefix."""
        root = Location(platform=location.platform, bucket=location.bucket, options=location.options)
        with pytest.raises(StorageError, match="root of a bucket"):
            await remove_all(platform, root, provider)

    async def test_a_probe_finds_it_good_and_leaves_nothing(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Reachable, readable, writable, without problems."""
        filesystem = platform.filesystem(location, await provider.get())
        kept = f"{platform.path(location)}/kept"
        filesystem.pipe_file(kept, b"kept")
        report = await platform.probe(location, provider)
        assert report.ok, report
        assert report.problems == []
        filesystem.invalidate_cache()
        assert [found.rsplit("/", 1)[1] for found in filesystem.find(platform.path(location))] == ["kept"]

    async def test_p11_descriptions_pickle_without_secrets(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """A location and an object store description travel; the file system with credentials in it does not, or has none."""
        await provider.get()
        assert pickle.loads(pickle.dumps(location)) == location  # noqa: S301 - made on the line itself
        for thing in (platform.object_store(location, provider), platform.filesystem(location, await provider.get())):
            try:
                pickled = pickle.dumps(thing)
            except TypeError as error:
                assert "pickle" in str(error)
            else:
                assert b"CANARY" not in pickled

    async def test_p10_secrets_do_not_show(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither in reprs nor in DEBUG logs nor in what fsspec makes of its options."""
        caplog.set_level(logging.DEBUG)
        filesystem = platform.filesystem(location, await provider.get())
        filesystem.pipe_file(f"{platform.path(location)}/object", b"bytes")
        await platform.probe(location, provider)
        spec = platform.object_store(location, provider)
        shown = [repr(platform), repr(location), repr(spec), repr(provider), repr(filesystem), str(vars(filesystem)), caplog.text]
        assert "CANARY" not in "".join(shown)

    def test_importing_it_loads_nothing_heavy(self, platform: StoragePlatform) -> None:
        """In a new process."""
        module = type(platform).__module__.partition(".")[0]
        script = f"import sys, {module}; {module}.arraylake_storage_platforms(); print(*set({HEAVY!r}).intersection(sys.modules))"
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - the line above
        assert run.stdout.split() == []
