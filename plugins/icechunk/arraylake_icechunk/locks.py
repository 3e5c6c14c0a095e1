"""The lock that makes commits safe on local disks.

Icechunk moves refs by compare-and-swap, which local file systems do not offer: of commits that processes make at the same moment, some are lost. There,
every operation that writes refs or the repo object holds a file lock beside the repo object. The operating system frees it when a process dies. Readers take
none.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from filelock import AsyncFileLock, FileLock

from arraylake_core.errors import StorageError

__all__ = ["WriteLock"]

_POLL_SECONDS = 0.002


class WriteLock(msgspec.Struct, frozen=True):
    """A lock between processes, threads and tasks.

    Parameters
    ----------
    path
        The lock file, or None where the store's own conditional writes do the work and nothing is locked.
    """

    path: str | None = None

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the lock, waiting for it as long as it takes."""
        if self.path is None:
            yield
            return
        lock = FileLock(self._checked(), poll_interval=_POLL_SECONDS, thread_local=False)
        with _refused(self.path):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @asynccontextmanager
    async def hold_async(self) -> AsyncIterator[None]:
        """Hold the lock, without blocking the event loop while it waits."""
        if self.path is None:
            yield
            return
        lock = AsyncFileLock(self._checked(), poll_interval=_POLL_SECONDS, thread_local=False, run_in_executor=False)
        with _refused(self.path):
            await lock.acquire()
        try:
            yield
        finally:
            await lock.release()

    def _checked(self) -> str:
        # filelock would make the missing directory, and the commit would then write half a repo into it.
        if self.path is None or not Path(self.path).parent.is_dir():
            raise StorageError(f"the directory {str(Path(self.path or '').parent)!r} of this repo is gone: nothing was written")
        return self.path


@contextmanager
def _refused(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"can't write to the repo's directory {str(Path(path).parent)!r} ({error.strerror or type(error).__name__}): "
            "make it writable, or open the repo with read_only=True; nothing was written"
        ) from None
