"""Threads that many callers share, made when they are first needed, and anew in a process that was forked."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Threads"]


class Threads:
    """A pool of threads.

    Parameters
    ----------
    count
        How many there are at most.
    name
        What they are called.
    """

    _pool: ThreadPoolExecutor | None
    _lock: threading.Lock

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._start_anew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_anew)

    def __call__(self) -> ThreadPoolExecutor:
        """Return the pool of this process."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._count, thread_name_prefix=self._name)
            return self._pool

    def _start_anew(self) -> None:
        self._pool, self._lock = None, threading.Lock()
