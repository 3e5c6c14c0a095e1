"""Chunks on their way to the bucket: sent by threads while the caller goes on, few at a time, and waited for before a commit."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress

from arraylake_core.errors import StorageError
from arraylake_core.threads import Threads
from arraylake_v1_repo.format import Native, Ref, chunk_key, digest_of
from arraylake_v1_repo.objects import Objects

__all__ = ["Uploads"]

_THREADS = 16
_MOST_CHUNKS = 256
_MOST_BYTES = 64 * 2**20
_MOST_KNOWN = 200_000
_MOST_PLACES = 64

_threads = Threads(_THREADS, "arraylake-v1-upload")


_known: dict[str, set[bytes]] = {}
"""For each place, the digests of chunks that this process has sent there: they are looked for, and not sent again where they still are."""


def _known_at(place: str) -> set[bytes]:
    if len(_known) >= _MOST_PLACES:
        _known.clear()
    return _known.setdefault(place, set())


class Uploads:
    """The chunks that a session sends.

    Parameters
    ----------
    objects
        Where to.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known = _known_at(objects.place)
        self._lock = threading.Lock()
        self._flying: dict[bytes, tuple[bytes, Future[None]]] = {}
        self._failed: dict[bytes, bytes] = {}
        self._bytes = 0
        self.sent: set[bytes] = set()
        self._fleeting: set[bytes] = set()
        """Those of them that a power cut may take."""

    def waiting(self, digest: bytes) -> bytes | None:
        """Return the bytes of a chunk that has not arrived yet."""
        flying = self._flying.get(digest)
        return flying[0] if flying is not None else self._failed.get(digest)

    async def send(self, digest: bytes, data: bytes | memoryview) -> "Future[None] | None":
        """Send a chunk, unless it was sent before; wait only while too many are on their way."""
        if digest in self.sent:
            flying = self._flying.get(digest)
            return flying[1] if flying is not None else None
        if digest in self._known:
            found = await self._objects.head(chunk_key(digest))
            if found is not None and found.size == len(data):
                with self._lock:
                    self.sent.add(digest)
                return None
        while len(self._flying) >= _MOST_CHUNKS or (self._bytes + len(data) > _MOST_BYTES and self._flying):
            await self._one()
        return self._start(digest, bytes(data))

    async def store(self, data: bytes | memoryview, known: Ref | None) -> bytes:
        """Write a chunk to a disk of this machine, unless it is there, and return its digest.

        Parameters
        ----------
        data
            The chunk.
        known
            What the session's base has in its place.
        """
        if len(data) <= self._objects.quick_bytes:
            return self._store(data, known)
        # A thread digests it and writes it from where it is, while the caller goes on with other chunks; what has to be copied first takes longer.
        storing = asyncio.get_running_loop().run_in_executor(_threads(), self._store, data, known)
        try:
            return await asyncio.shield(storing)
        except asyncio.CancelledError:
            # The caller may put something else where the thread still reads.
            while not storing.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([storing])
            storing.exception()
            raise

    def _store(self, data: bytes | memoryview, known: Ref | None) -> bytes:
        digest = digest_of(data)
        if digest not in self.sent and known != Native(digest, len(data)):
            self._objects.put_blocking(chunk_key(digest), data)
            with self._lock:
                self.sent.add(digest)
                self._fleeting.add(digest)
        return digest

    async def flush(self) -> None:
        """Wait until every chunk has arrived; those that failed are tried once more, and then the first error is raised."""
        while self._flying:
            await self._one()
        with self._lock:
            failed = list(self._failed.items())
        for digest, data in failed:
            self._start(digest, data)
        error: BaseException | None = None
        while flights := list(self._flying.values()):
            for _, flight in flights:
                try:
                    await asyncio.wrap_future(flight)
                except Exception as raised:  # noqa: BLE001 - raised below, when all have come to an end
                    error = error or raised
        if error is not None:
            raise error

    async def persist(self) -> None:
        """Wait until every chunk that has arrived outlives a power cut, before anything lasting points at it.

        Where one would not, none of them counts as sent any more.
        """
        with self._lock:
            digests = list(self._fleeting)
        if not digests:
            return
        try:
            await self._objects.persist([chunk_key(digest) for digest in digests])
        except StorageError:
            with self._lock:
                self.sent.difference_update(digests)
                self._known.difference_update(digests)
            raise
        with self._lock:
            self._fleeting.difference_update(digests)

    def _start(self, digest: bytes, data: bytes) -> "Future[None]":
        with self._lock:
            self.sent.add(digest)
            self._failed.pop(digest, None)
            self._bytes += len(data)
            flight: Future[None] = Future()
            # Whoever waits for it and is cancelled must not cancel it for the others.
            flight.set_running_or_notify_cancel()
            self._flying[digest] = (data, flight)
        try:
            _threads().submit(self._carry, digest, data, flight)
        except RuntimeError as error:  # the interpreter is shutting down
            self._landed(digest, data, error)
            flight.set_exception(error)
        return flight

    def _carry(self, digest: bytes, data: bytes, flight: "Future[None]") -> None:
        try:
            self._objects.put_blocking(chunk_key(digest), data)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._landed(digest, data, error)
            flight.set_exception(error)
        else:
            self._landed(digest, data, None)
            flight.set_result(None)

    def _landed(self, digest: bytes, data: bytes, error: BaseException | None) -> None:
        with self._lock:
            self._flying.pop(digest, None)
            self._bytes -= len(data)
            if error is None:
                self._arrived(digest)
            else:
                self._failed[digest] = data
                self.sent.discard(digest)

    def _arrived(self, digest: bytes) -> None:
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(digest)

    async def _one(self) -> None:
        """Wait until one of those on their way has come to an end."""
        flights = list(self._flying.values())
        if flights:
            waited = asyncio.wrap_future(flights[0][1])
            await asyncio.wait([waited])
            waited.exception()
