"""Files on their way from the operating system's cache to the disk: begun with when there are many, and waited for before anything points at them.

A power cut takes what is only in the cache. What the catalog says is on its disk when it has said so, and must not name files that are not.
"""

import asyncio
import errno
import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress

from arraylake_core.threads import Threads

__all__ = ["Syncs", "sync", "sync_open"]

_THREADS = 16
"""A disk writes many files at once in the time of a few."""
_FOR_A_THREAD = 8 * 2**20
"""So many bytes must wait for a thread to be begun with before anybody waits for them. A file counts as no less than _LEAST: syncing many small ones
slows the writing of more of them, and sooner or later they go to the disk together."""
_LEAST = 2**15
_MOST_KNOWN = 200_000
_UNKNOWN_CALL = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})

_threads = Threads(_THREADS, "arraylake-v1-sync")


def sync(path: str) -> None:
    """Return when a file or a directory is on the disk, whoever wrote it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_open(descriptor)
    finally:
        os.close(descriptor)


def sync_open(descriptor: int) -> None:
    """Do so with a file that is open; file systems without such a call are left alone."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNKNOWN_CALL:
            raise


class Syncs:
    """The files below a directory that are being brought to the disk.

    Parameters
    ----------
    root
        The directory.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._start_anew()

    def _start_anew(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._queue: deque[tuple[str, int]] = deque()
        self._queued = 0
        self._threads = 0
        self._left: dict[str, int] = {}
        """How often each file is still to be synced; 0 where it is on the disk, and nobody has asked yet."""
        self._failed: dict[str, OSError] = {}
        self._waiting: list[tuple[set[str], Future[None]]] = []
        self._above_root = True

    def add(self, key: str, size: int) -> None:
        """Take note of a file that was just written, with its size in bytes."""
        self._mine()
        with self._lock:
            self._failed.pop(key, None)
            self._enqueue(key, size)
            wanted = self._queued // _FOR_A_THREAD
        self._drain_in_threads(wanted)

    async def wait(self, keys: Sequence[str]) -> tuple[str, OSError] | None:
        """Wait until files, with their names, are on the disk, whoever wrote them; return one that can't be brought there, and why.

        What a disk has failed to take once it may say to have taken the next time: such a file is refused until it was written anew.
        """
        self._mine()
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()
        with self._lock:
            for key in keys:
                if key not in self._left:
                    self._enqueue(key, 0)
            pending = {key for key in keys if self._left[key]}
            if pending:
                self._waiting.append((pending, done))
        if pending:
            self._drain_in_threads(len(pending))
            await asyncio.wrap_future(done)
        with self._lock:
            for key in keys:
                if key in self._failed:
                    return key, self._failed[key]
        failure = await self._names(keys)
        with self._lock:
            for key in keys:
                if not self._left.get(key):
                    self._left.pop(key, None)
        return failure

    async def _names(self, keys: Iterable[str]) -> tuple[str, OSError] | None:
        """Sync the directories that files are in, and those that these are in."""
        inside = {""}
        for key in keys:
            while key := key.rpartition("/")[0]:
                inside.add(key)
        paths = [f"{self._root}/{directory}" if directory else self._root for directory in sorted(inside)]
        loop, pool = asyncio.get_running_loop(), _threads()
        found = await asyncio.gather(
            *(loop.run_in_executor(pool, _sync_all, paths[first::_THREADS]) for first in range(min(_THREADS, len(paths))))
        )
        for failure in found:
            if failure is not None:
                return failure
        if self._above_root:
            await loop.run_in_executor(pool, _sync_above, self._root)
            self._above_root = False
        return None

    def _mine(self) -> None:
        # The threads of a parent process are not in its child, nor what they were about to say.
        if self._pid != os.getpid():
            self._start_anew()

    def _enqueue(self, key: str, size: int) -> None:
        if len(self._left) >= _MOST_KNOWN:
            self._left = {known: left for known, left in self._left.items() if left}
        self._left[key] = self._left.get(key, 0) + 1
        size = max(size, _LEAST)
        self._queue.append((key, size))
        self._queued += size

    def _drain_in_threads(self, wanted: int) -> None:
        with self._lock:
            more = min(_THREADS, wanted, len(self._queue)) - self._threads
            self._threads += max(more, 0)
        for _ in range(more):
            try:
                _threads().submit(self._drain)
            except RuntimeError:  # the interpreter is shutting down
                self._drain()

    def _drain(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._threads -= 1
                    return
                key, size = self._queue.popleft()
                self._queued -= size
            failure: OSError | None = None
            try:
                sync(f"{self._root}/{key}")
            except OSError as error:
                failure = error
            with self._lock:
                if failure is not None:
                    self._failed[key] = failure
                self._left[key] -= 1
                over = []
                if not self._left[key]:
                    for pending, done in self._waiting:
                        pending.discard(key)
                        if not pending:
                            over.append(done)
                    if over:
                        self._waiting = [waiter for waiter in self._waiting if waiter[0]]
            for done in over:
                done.set_result(None)


def _sync_all(paths: Sequence[str]) -> tuple[str, OSError] | None:
    for path in paths:
        try:
            sync(path)
        except OSError as error:
            return path, error
    return None


def _sync_above(root: str) -> None:
    """Sync the directories above a root that this user may read: one of them may be as new as the root."""
    path = root
    while path := path.rpartition("/")[0]:
        with suppress(OSError):
            sync(path)
