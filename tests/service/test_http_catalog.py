"""The catalog suite over HTTP, unchanged, against a real service that trusts the suite's made-up stores."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import msgspec
import pytest

from arraylake_core.backends import Access, AuthMethod, Credentials, Location, StoragePlatform
from arraylake_core.backends.credentials import AnonymousCredentials
from arraylake_core.backends.repo_kind import RepoBackend
from arraylake_core.backends.storage import BucketAddress, StorageIdentity
from arraylake_core.catalog import Catalog
from arraylake_core.catalog.http import HttpCatalog
from arraylake_core.errors import AlreadyExistsError
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import AuthConfig, Identity
from arraylake_core.plugins import PluginRegistry
from arraylake_core.secret import Secret
from arraylake_core.service.settings import ServiceSettings
from arraylake_core.testing.catalog import CatalogTests
from arraylake_core.testing.catalog_samples import make_repo, new_bucket, new_repo
from tests.service.conftest import Template
from tests.service.running import LOCAL, running


class AnyOptions(msgspec.Struct, frozen=True):
    region_name: str | None = None
    use_ssl: bool | None = None


class MadeUp(StoragePlatform):
    """A platform on which every path is one of a single store, as the suite has it."""

    options = AnyOptions

    def __init__(self, name: str) -> None:
        self.name, self.schemes = name, (name,)

    def parse_uri(self, uri: str) -> BucketAddress:
        name, _, prefix = uri.partition("://")[2].partition("/") if self.name == "s3" else (uri.partition("://")[2], "", "")
        return BucketAddress(name, prefix)

    def identity(self, location: Location) -> StorageIdentity:
        if self.name == "s3" and not location.prefix:
            return StorageIdentity("s3://s3.amazonaws.com", f"{location.bucket}/{location.prefix}".strip("/"))
        if location.bucket == "elsewhere":
            return StorageIdentity("other://", location.prefix)
        return StorageIdentity("test://", location.prefix)

    def filesystem(self, location: Location, credentials: Credentials):
        raise NotImplementedError


class AnyKeys(AuthMethod):
    """Takes whatever a bucket config says."""

    config = msgspec.Struct

    def __init__(self, name: str) -> None:
        self.name = name

    def decode_config(self, values) -> msgspec.Struct:
        self.given = dict(values)
        return msgspec.Struct()

    def encode_config(self, config: msgspec.Struct) -> AuthConfig:
        return {
            "method": self.name,
            **{key: Secret(value) if "secret" in key and isinstance(value, str) else value for key, value in self.given.items()},
        }

    async def credentials(self, config, location: Location, access: Access, identity: Identity) -> Credentials:
        return AnonymousCredentials()


class Kind(RepoBackend):
    def __init__(self, name: str) -> None:
        self.name = name

    async def create(self, context): ...
    async def open(self, context, *, read_only, checkout): ...
    async def exists(self, context): ...
    async def destroy(self, context): ...


class Plugin:
    @hookimpl
    def arraylake_storage_platforms(self) -> Iterable[StoragePlatform]:
        return [MadeUp("s3"), MadeUp("file")]

    @hookimpl
    def arraylake_auth_methods(self) -> Iterable[AuthMethod]:
        return [AnyKeys("anonymous"), AnyKeys("hmac")]

    @hookimpl
    def arraylake_repo_kinds(self) -> Iterable[RepoBackend]:
        return [Kind("icechunk"), Kind("v1")]


class TestOverHttp(CatalogTests):
    @pytest.fixture
    async def catalog(self, blank: Template, tmp_path: Path) -> AsyncIterator[Catalog]:
        settings = ServiceSettings(authenticated=False, allow_networks=LOCAL)
        with running(blank.copied_to(tmp_path), settings, PluginRegistry({"made-up": Plugin()})) as service:
            catalog = HttpCatalog(service.uri, "")
            yield catalog
            await catalog.close()

    async def test_p14_another_store_is_another_place(self, catalog: Catalog) -> None:
        """The service finds the place itself, so that it takes another bucket to be elsewhere."""
        await make_repo(catalog, "first", "a/b")
        bucket = await catalog.create_bucket("me", new_bucket("other-store", name="elsewhere"))
        with pytest.raises(AlreadyExistsError):
            await catalog.create_repo("me", new_repo((await catalog.get_bucket("me", None)).id, "same", "a/b"))
        await catalog.create_repo("me", new_repo(bucket.id, "elsewhere", "a/b"))
