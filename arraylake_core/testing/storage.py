"""The conformance kit of storage platforms."""

from typing import cast
from uuid import uuid4

import pytest

from arraylake_core.backends.credentials import CredentialProvider
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.plugins import default_registry
from arraylake_core.testing.checks import heavy_imports
from arraylake_core.testing.directory import Nobody
from arraylake_core.testing.storage_addresses import StorageAddressTests
from arraylake_core.testing.storage_files import StorageFileTests
from arraylake_core.testing.storage_secrets import StorageSecretTests

__all__ = ["StoragePlatformTests"]


class StoragePlatformTests(StorageAddressTests, StorageFileTests, StorageSecretTests):
    """What every storage platform is held to.

    Subclass it, set ``uris`` and what else is due, and replace the fixtures whose defaults do not fit, in the class or in the module.

    Attributes
    ----------
    uris
        Valid bucket URIs; at the first one, with ``options``, files are written below a prefix of their own.
    bad_uris
        URIs that are refused, beyond those that are bad everywhere.
    options
        A valid ``extra_config``.
    respelled
        For platforms whose options name a server: other spellings of ``options`` that lead to the same place.
    bad_options
        For each, wrong ``extra_config`` and what the message must say; a value that must not be repeated has ``CANARY`` in it.
    foreign
        Credentials of other platforms, which are refused.
    """

    @pytest.fixture
    def platform(self, request: pytest.FixtureRequest) -> StoragePlatform:
        """Return the platform; by default, the installed one that claims the scheme of the first URI."""
        given = _given(request, "platform")
        if given is not None:
            return cast("StoragePlatform", given)
        return default_registry().platform_for_scheme(self.uris[0].partition("://")[0])

    @pytest.fixture
    def location(self, request: pytest.FixtureRequest, platform: StoragePlatform) -> Location:
        """Return a place that is new and empty in each test, where ``provider`` may write; by default, below the first URI."""
        given = _given(request, "location")
        if given is not None:
            return cast("Location", given)
        bucket, prefix = platform.parse_uri(self.uris[0])
        options = platform.decode_options(self.options)
        return Location(platform=platform.name, bucket=bucket, prefix=prefix, options=options).below(f"kit-{uuid4().hex}")

    @pytest.fixture
    def provider(self, request: pytest.FixtureRequest) -> CredentialProvider:
        """Return who may write: a provider whose source can be imported and pickles, as sources must; by default, everybody may."""
        return cast("CredentialProvider", _given(request, "provider") or CredentialProvider(Nobody()))

    @pytest.fixture
    def intruder(self, request: pytest.FixtureRequest) -> CredentialProvider | None:
        """Return who may not write, with credentials of the right kind; by default None, for where there is no such thing."""
        return cast("CredentialProvider | None", _given(request, "intruder"))

    def test_importing_it_loads_nothing_heavy(self, platform: StoragePlatform) -> None:
        """In a new process."""
        assert heavy_imports(platform) == []


def _given(request: pytest.FixtureRequest, name: str) -> object | None:
    """Return what the fixture of this name gives that the module or a conftest has, or None where there is none."""
    try:
        return cast("object", request.getfixturevalue(name))
    except pytest.FixtureLookupError:
        return None
