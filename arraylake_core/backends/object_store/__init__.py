"""A fast way to an object store: obstore, from the neutral description that a platform gives; a module for each API family."""

from typing import TYPE_CHECKING

from arraylake_core.backends.object_store.azure import open_azure_store
from arraylake_core.backends.object_store.gcs import open_gcs_store
from arraylake_core.backends.object_store.s3 import open_s3_store
from arraylake_core.backends.storage import ObjectStoreSpec
from arraylake_core.errors import PluginError, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["open_object_store"]


async def open_object_store(spec: ObjectStoreSpec, *, blocking: bool = False) -> "ObjectStore":
    """Return an obstore store, rooted at the description's prefix, whose credentials refresh by themselves.

    Parameters
    ----------
    spec
        What a platform's ``object_store`` returned.
    blocking
        Whether its blocking methods are to work too. Without it, use the ``_async`` ones: credentials are asked for on the running loop.

    Raises
    ------
    CredentialsError
        There are none, or none for this kind of store.
    StorageError
        There is no such store for the protocol.
    PluginError
        obstore is not installed.
    """
    try:
        from obstore.store import LocalStore
    except ImportError:
        raise PluginError("the fast path to object stores needs obstore: pip install obstore") from None
    match spec.protocol:
        case "file":
            return LocalStore(spec.prefix, mkdir=True)
        case "s3":
            return await open_s3_store(spec, blocking=blocking)
        case "azure":
            return await open_azure_store(spec, blocking=blocking)
        case "gcs":
            return await open_gcs_store(spec, blocking=blocking)
    raise StorageError(f"there is no fast path to {spec.protocol} stores in this release: use the platform's fsspec file system")
