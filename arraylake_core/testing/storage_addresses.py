"""What every storage platform does with URIs, options and prefixes: the names of places."""

import pickle
import traceback
from collections.abc import Mapping

import msgspec
import pytest

from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import ArraylakeError, InvalidNameError, InvalidOptionError
from arraylake_core.testing.checks import CANARY

__all__ = ["StorageAddressTests"]

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


# How options are called that say where a server is.
_ADDRESSES = frozenset({"url", "uri", "host", "hostname", "endpoint", "endpoint_url", "server", "address"})


class StorageAddressTests:
    """What a user types, and where it leads; the attributes are those of StoragePlatformTests."""

    uris: tuple[str, ...]
    bad_uris: tuple[str, ...] = ()
    options: Mapping[str, object] = {}
    respelled: tuple[Mapping[str, object], ...] = ()
    bad_options: tuple[tuple[Mapping[str, object], str], ...] = ()

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

    def test_p14_two_spellings_of_a_place_are_one(self, platform: StoragePlatform) -> None:
        """Hosts in capitals, default ports, a slash at the end: else two repos could lie at one place."""
        if not self.respelled and _ADDRESSES.intersection(
            field.encode_name for field in msgspec.structs.fields(platform.options)
        ):
            pytest.skip("its options name a server: set `respelled` to options that spell that of `options` otherwise")
        name, prefix = platform.parse_uri(self.uris[0])
        places = [
            Location(platform=platform.name, bucket=name, prefix=prefix, options=platform.decode_options(options))
            for options in (self.options, *self.respelled)
        ]
        assert {platform.identity(place) for place in places} == {platform.identity(places[0])}

    @pytest.mark.parametrize("path", [*BAD_PATHS, "a/", "x" * 1100], ids=lambda path: ascii(path)[1:21])
    def test_p13_a_location_never_leaves_its_place(self, platform: StoragePlatform, location: Location, path: str) -> None:
        """No bad prefix makes a location that has a path."""
        with pytest.raises(ArraylakeError):
            platform.path(location.below(path))
