"""fsspec file systems whose credentials refresh: fsspec ties one set to each, so that one is made anew whenever there is a new set."""

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from arraylake_core.backends.credentials import CredentialProvider, Credentials
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.models import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from fsspec.spec import AbstractFileSystem

__all__ = ["CurrentFileSystem"]

# Stores count in whole seconds, by clocks of their own.
_SLACK = timedelta(seconds=2)


class CurrentFileSystem:
    """The file system of a location with the credentials that are valid now.

    One for all threads where it is asynchronous, and works on fsspec's own loop; else each thread has its own, since many of them, paramiko's among them, can't
    be shared. Nothing of it is for threads in which an event loop runs.

    Parameters
    ----------
    platform, location, credentials
        Whose it is.
    """

    def __init__(self, platform: StoragePlatform, location: Location, credentials: CredentialProvider) -> None:
        self._platform, self._location, self._provider = platform, location, credentials
        self._lock = threading.Lock()
        self._shared: tuple[Credentials, AbstractFileSystem] | None = None
        self._own = threading.local()

    def get(self) -> "AbstractFileSystem":
        """Return it; ask before each operation, and keep none."""
        return self._current()[1]

    def use[T](self, step: "Callable[[AbstractFileSystem], T]") -> T:
        """Take a step, and take it anew where it has failed and the credentials have ended on the way."""
        credentials, filesystem = self._current()
        try:
            return step(filesystem)
        except FileNotFoundError:
            raise
        except Exception:
            # What a store says of credentials that have ended has no class that all file systems share.
            ends = credentials.expiration
            if ends is None or ends - utc_now() > _SLACK:
                raise
        time.sleep(max((ends - utc_now()).total_seconds(), 0))
        return step(self.get())

    def forget(self) -> None:
        """Let the next one be new: a broken connection is not mended by using it again."""
        self._shared = self._own.held = None

    def _current(self) -> "tuple[Credentials, AbstractFileSystem]":
        credentials = self._provider.get_blocking()
        for held in (self._shared, getattr(self._own, "held", None)):
            if held is not None and held[0] is credentials:
                return held
        with self._lock:
            if self._shared is not None and self._shared[0] is credentials:
                return self._shared
            made = (credentials, self._platform.filesystem(self._location, credentials))
            if made[1].async_impl:
                self._shared = made
            else:
                self._own.held = made
        return made
