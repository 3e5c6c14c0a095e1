"""From a neutral description of an object store to Icechunk's Storage, credentials and virtual chunk containers."""

import os
import pickle
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import icechunk
from icechunk.credentials import LocalFileSystemAccess, s3_anonymous_credentials

from arraylake_core.backends import (
    AnonymousCredentials,
    CredentialProvider,
    ObjectStoreSpec,
    RepoContext,
    S3Credentials,
    SignedCredentials,
    VirtualSource,
)
from arraylake_core.backends.object_store.gcs import as_s3
from arraylake_core.errors import CredentialsError, StorageError
from arraylake_core.secret import reveal
from arraylake_icechunk.azure import azure_icechunk_credentials, azure_storage
from arraylake_icechunk.gcs import gcs_config, gcs_credentials, gcs_storage

if TYPE_CHECKING:
    from icechunk import RepositoryConfig, Storage
    from icechunk.credentials import AnyCredential, AnyS3Credential

__all__ = ["authorized", "forget_memory", "is_writable", "require_unforked", "storage_for", "with_containers"]

# Icechunk warns of what this library takes care of: local disks that lose concurrent commits (locks.py), and conflicts that it also raises.
_QUIET = "warn,icechunk_arrow_object_store=error,icechunk_storage::readback=error,icechunk::session=error"
if "ICECHUNK_LOG" not in os.environ:
    icechunk.set_logs_filter(_QUIET)

_DEFAULT_REGION = "us-east-1"

_memory: dict[tuple[str, str], "Storage"] = {}
_memory_lock = threading.Lock()

_forked = False


def _remember_fork() -> None:
    global _forked
    _forked = True


os.register_at_fork(after_in_child=_remember_fork)


def require_unforked() -> None:
    """Raise in a forked child, where Icechunk would wait forever for threads that only its parent has."""
    if _forked:
        raise StorageError(
            "this process was forked from one that had loaded Icechunk, whose threads do not survive a fork: "
            "start processes with multiprocessing.get_context('spawn') or 'forkserver'"
        )


class S3Keys:
    """What Icechunk calls for S3 credentials: it pickles as the name of their source, never with a secret."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    def __call__(self) -> icechunk.S3StaticCredentials:
        """Return the set that is valid now."""
        credentials = self._provider.get_blocking()
        if not isinstance(credentials, S3Credentials):
            raise CredentialsError(f"an S3 store needs S3 credentials, not {type(credentials).__name__}")
        return icechunk.S3StaticCredentials(
            access_key_id=credentials.aws_access_key_id,
            secret_access_key=credentials.aws_secret_access_key.reveal(),
            session_token=reveal(credentials.aws_session_token),
            expires_after=credentials.expiration,
        )


async def storage_for(context: RepoContext) -> "Storage":
    """Return Icechunk's Storage for a repo's place."""
    require_unforked()
    spec = context.object_store()
    if spec is None:
        raise StorageError(f"Icechunk has no way to reach the platform {context.location.platform!r}")
    await _require_credentials(context, spec)
    spec = await _spoken(spec)
    match spec.protocol:
        case "file":
            return icechunk.local_filesystem_storage(spec.prefix)
        case "memory":
            with _memory_lock:
                return _memory.setdefault((spec.bucket, spec.prefix), icechunk.in_memory_storage())
        case "s3":
            return await _s3_storage(spec)
        case "gcs":
            return await gcs_storage(spec)
        case "azure":
            return await azure_storage(spec)
        case _:
            raise StorageError(f"Icechunk does not reach {spec.protocol} here: take a bucket on s3, gs or azure, file or memory")


async def _spoken(spec: ObjectStoreSpec) -> ObjectStoreSpec:
    """Return the description of the API that is to be spoken: with HMAC keys, Google's S3-compatible one."""
    if spec.protocol == "gcs" and spec.credentials is not None and isinstance(await spec.credentials.get(), S3Credentials):
        return as_s3(spec)
    return spec


async def is_writable(context: RepoContext) -> bool:
    """Tell whether Icechunk may write there: on GCS without credentials it would sign what it writes with the identity of the machine."""
    spec = context.object_store()
    if spec is None or spec.protocol != "gcs" or spec.credentials is None:
        return True
    return not isinstance(await spec.credentials.get(), AnonymousCredentials)


async def _require_credentials(context: RepoContext, spec: ObjectStoreSpec) -> None:
    """Raise where a service signs single requests instead of handing out credentials, which Icechunk has no way to use."""
    if spec.credentials is not None and isinstance(await spec.credentials.get(), SignedCredentials):
        raise CredentialsError(
            f"the keys of the bucket of {context.repo.full_name} open more than you have a right to, and Icechunk can't send requests that are signed "
            "one by one: ask an admin to give the bucket config an auth method that mints credentials for one repo, such as "
            "aws_customer_managed_role, or to give you a role in the organization; a V1 repo would work as it is"
        )


def forget_memory(spec: ObjectStoreSpec) -> None:
    """Drop a repository that was kept in memory."""
    with _memory_lock:
        _memory.pop((spec.bucket, spec.prefix), None)


async def _s3_storage(spec: ObjectStoreSpec) -> "Storage":
    credentials = await _s3_credentials(spec)
    options = icechunk.S3Options(
        region=spec.region or _DEFAULT_REGION,
        endpoint_url=spec.endpoint,
        allow_http=spec.allow_http,
        force_path_style=spec.path_style,
        anonymous=isinstance(credentials, icechunk.S3Credentials.Anonymous),
    )
    if spec.variant == "tigris":
        return icechunk.Storage.new_tigris(options, spec.bucket, spec.prefix, False, credentials)
    if spec.variant == "r2":
        return icechunk.Storage.new_r2(options, spec.bucket, spec.prefix, credentials=credentials)
    return icechunk.Storage.new_s3(options, spec.bucket, spec.prefix, credentials)


async def _s3_credentials(spec: ObjectStoreSpec) -> "AnyS3Credential":
    if spec.credentials is None:
        raise CredentialsError("an S3 store was described without credentials: name an auth method, if only anonymous")
    if isinstance(await spec.credentials.get(), AnonymousCredentials):
        return s3_anonymous_credentials()
    return icechunk.S3Credentials.Refreshable(pickle.dumps(S3Keys(spec.credentials)), None)


def with_containers(config: "RepositoryConfig | None", sources: Sequence[VirtualSource]) -> "RepositoryConfig | None":
    """Return a configuration that knows the virtual chunk containers of these sources; without any, what was given."""
    if not sources:
        return config
    config = config or icechunk.RepositoryConfig.default()
    for source in sources:
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(source.prefix, _container_store(source)))
    return config


def _container_store(
    source: VirtualSource,
) -> (
    "icechunk.ObjectStoreConfig.LocalFileSystem | icechunk.ObjectStoreConfig.S3 | icechunk.ObjectStoreConfig.S3Compatible"
    " | icechunk.ObjectStoreConfig.Gcs"
):
    spec = source.store
    match spec.protocol:
        case "file":
            return icechunk.local_filesystem_store(source.prefix.removeprefix("file://"))
        case "s3":
            return icechunk.s3_store(
                region=spec.region or _DEFAULT_REGION,
                endpoint_url=spec.endpoint,
                allow_http=spec.allow_http,
                s3_compatible=spec.endpoint is not None,
                force_path_style=spec.path_style,
            )
        case "gcs":
            return icechunk.gcs_store(gcs_config(spec))
        case _:
            raise StorageError(f"virtual chunks can't be read from {spec.protocol} in this release: take s3, gs or file")


async def authorized(sources: Sequence[VirtualSource]) -> "dict[str, AnyCredential | None]":
    """Return what Icechunk may read virtual chunks with: each container with its own bucket's credentials, and nothing else."""
    access: dict[str, AnyCredential | None] = {}
    for source in sources:
        match source.store.protocol:
            case "file":
                access[source.prefix] = LocalFileSystemAccess
            case "azure":
                access[source.prefix] = icechunk.Credentials.Azure(
                    cast("icechunk.AzureCredentials", await azure_icechunk_credentials(source.store))
                )
            case "gcs":
                access[source.prefix] = icechunk.Credentials.Gcs(
                    cast("icechunk.GcsCredentials", await gcs_credentials(source.store))
                )
            case _:
                access[source.prefix] = icechunk.Credentials.S3(await _s3_credentials(source.store))
    return access
