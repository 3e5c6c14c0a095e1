"""The memory of this process: ``memory://name``, for tests and trials."""

from typing import TYPE_CHECKING

from arraylake_core.backends import CredentialProvider, Credentials, Location, ObjectStoreSpec, StoragePlatform
from arraylake_core.models import ProbeReport
from arraylake_local.files import require_anonymous

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["MemoryPlatform"]


class MemoryPlatform(StoragePlatform):
    """Buckets that vanish with the process, and that no other process sees."""

    name = "memory"
    schemes = ("memory",)

    def path(self, location: Location) -> str:
        """Return the path on fsspec's MemoryFileSystem, which is rooted at a slash."""
        return f"/{super().path(location)}"

    def filesystem(self, location: Location, credentials: Credentials) -> "AbstractFileSystem":
        """Return fsspec's MemoryFileSystem."""
        from fsspec.implementations.memory import MemoryFileSystem

        require_anonymous(self.name, credentials)
        return MemoryFileSystem()

    def object_store(self, location: Location, credentials: CredentialProvider) -> ObjectStoreSpec:
        """Describe the place in memory."""
        return ObjectStoreSpec(protocol="memory", bucket=location.bucket, prefix=location.prefix, credentials=credentials)

    async def probe(self, location: Location, credentials: CredentialProvider) -> ProbeReport:
        """Probe the memory, which one process has to itself."""
        report = await super().probe(location, credentials)
        report.safe_for_concurrent_writes = report.writable
        report.notes = ["memory belongs to this process: no other sees what is in it, and it ends with the process"]
        return report
