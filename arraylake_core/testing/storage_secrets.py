"""What every storage platform keeps to itself: secrets, wherever they could show, and the credentials of others."""

import logging
import pickle
from typing import TYPE_CHECKING

import msgspec
import pytest

from arraylake_core.backends.credentials import CredentialProvider, Credentials
from arraylake_core.backends.storage import Location, ObjectStoreSpec, StoragePlatform
from arraylake_core.errors import CredentialsError
from arraylake_core.testing.storage_files import shows_secret

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["StorageSecretTests"]


class StorageSecretTests:
    """What must not get out; the attributes and fixtures are those of StoragePlatformTests."""

    foreign: tuple[Credentials, ...] = ()

    def test_credentials_of_other_platforms_are_refused(self, platform: StoragePlatform, location: Location) -> None:
        """They are not passed by, as if there were none; the message has their kind, and no secret."""
        for credentials in self.foreign:
            with pytest.raises(CredentialsError) as caught:
                platform.filesystem(location, credentials)
            assert not shows_secret(credentials, str(caught.value))

    async def test_p11_what_travels_carries_no_secret(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """Locations and descriptions travel, and wake up with credentials of their own; a file system has no secret in it, or stays."""
        credentials = await provider.get()
        assert pickle.loads(pickle.dumps(location)) == location  # noqa: S301 - made on the line itself
        spec = platform.object_store(location, provider)
        if spec is not None:
            pickled = pickle.dumps(spec)
            assert not shows_secret(credentials, pickled)
            again = pickle.loads(pickled)  # noqa: S301 - made three lines above
            assert isinstance(again, ObjectStoreSpec)
            assert msgspec.structs.replace(again, credentials=provider) == spec
            assert again.credentials is not None
            assert await again.credentials.get() == credentials
        assert not shows_secret(credentials, _pickled(platform.filesystem(location, credentials)))

    async def test_p11_a_file_system_that_travels_leads_to_the_same_place(
        self, platform: StoragePlatform, location: Location, provider: CredentialProvider
    ) -> None:
        """And so does the platform; one that can't travel says so."""
        filesystem, path = platform.filesystem(location, await provider.get()), f"{platform.path(location)}/travels"
        filesystem.pipe_file(path, b"travels")
        again = pickle.loads(pickle.dumps(platform))  # noqa: S301 - made on the line itself
        assert (again.name, again.schemes, again.path(location)) == (platform.name, platform.schemes, platform.path(location))
        assert again.filesystem(location, await provider.get()).cat_file(path) == b"travels"
        if pickled := _pickled(filesystem):
            assert pickle.loads(pickled).cat_file(path) == b"travels"  # noqa: S301 - made by _pickled

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
        shown = {f"repr({type(thing).__name__})": f"{thing!r} {thing!s}" for thing in things}
        shown |= {"the log": caplog.text, "vars(filesystem)": str(vars(filesystem))}
        assert [where for where, text in shown.items() if shows_secret(credentials, text)] == [], (
            "these show the secret; fsspec keeps what its classes are made with in storage_options: give the secret to the client afterwards"
        )


def _pickled(filesystem: "AbstractFileSystem") -> bytes:
    """Return a file system pickled, or nothing where it refuses, which it must say."""
    try:
        return pickle.dumps(filesystem)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said below
        refusal = error
    if not isinstance(refusal, TypeError | pickle.PicklingError) or "pickle" not in str(refusal).lower():
        pytest.fail(
            "a file system that does not travel says so by a TypeError, or a pickle.PicklingError, whose message has the word 'pickle' in it; "
            f"this one raised {type(refusal).__name__}: {refusal}"
        )
    return b""
