"""The bytes of a repo in a bucket whose keys stay with the service: each request goes to a signed URL."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

from arraylake_core.backends import KeyRequest, Location, RequestSigner, SignsRequests, StoragePlatform
from arraylake_core.errors import ArraylakeError, StorageError
from arraylake_core.http_sessions import LoopSessions
from arraylake_core.loops import on_shared_loop, run
from arraylake_v1_repo.objects import Check, ObjectInfo, checked, whole
from arraylake_v1_repo.signatures import Signatures

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["SignedObjects"]

_TRIES = 5
_FIRST_WAIT = 0.1
_AT_ONCE = 64
_STREAMED_FROM = 512 * 1024
_BUSY = frozenset({429, 500, 502, 503, 504})


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class SignedObjects:
    """Objects that are reached through signed URLs.

    Parameters
    ----------
    platform, location
        Where they are.
    signer
        What signs.
    """

    quick_bytes = 0
    local = False

    def __init__(self, platform: StoragePlatform, location: Location, signer: RequestSigner) -> None:
        if not isinstance(platform, SignsRequests):
            raise StorageError(f"{location.uri} was opened by signed requests, which the platform {platform.name!r} has none of")
        self._platform: SignsRequests = platform
        self._location, self._signer = location, signer
        self._signatures = Signatures(signer)

    def __reduce__(self) -> tuple[type["SignedObjects"], tuple[object, ...]]:
        return type(self), (self._platform, self._location, self._signer)

    def __repr__(self) -> str:
        return f"<objects at {self.place}>"

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        return self._location.uri

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None where there is none of that key."""
        answer = await self._send("read", KeyRequest(verb="GET", key=key))
        return None if answer.status == 404 else answer.body

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to, without, ``end``."""
        if start == end:
            return b""
        what = f"read bytes {start} to {end} of"
        answer = await self._send(what, KeyRequest(verb="GET", key=key), headers={"range": f"bytes={start}-{end - 1}"})
        if answer.status == 404:
            raise StorageError(f"could not {what} {key} at {self.place}: it is not there; restore it from a backup")
        # A store may answer with the whole object instead.
        data = answer.body if answer.status == 206 else answer.body[start:end] if answer.status == 200 else b""
        if len(data) != end - start:
            raise StorageError(f"{key} at {self.place} is cut off: it has no bytes {start} to {end}; restore it from a backup")
        return data

    async def get_whole(self, key: str, length: int, check: Check) -> bytes:
        """Return an object that must be there, have so many bytes, and stand a check."""
        return await checked(whole(await self.get(key), key, length, self.place), check)

    async def put(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        await self._send("write", KeyRequest(verb="PUT", key=key), data=data, missing=False)

    def put_blocking(self, key: str, data: bytes | memoryview) -> None:
        """Do what ``put`` does, for threads without an event loop."""
        run(self.put(key, bytes(data)))

    async def persist(self, keys: Sequence[str]) -> None:
        """Do nothing: a store keeps what it has answered for."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones do no harm."""
        for begin in range(0, len(keys), _AT_ONCE):
            requests = [KeyRequest(verb="DELETE", key=key) for key in keys[begin : begin + _AT_ONCE]]
            await asyncio.gather(*(self._send("delete", request) for request in requests))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Give all objects below a prefix."""
        prefix, after = prefix.rstrip("/"), ""
        while True:
            answer = await self._send("list", KeyRequest(verb="LIST", key=prefix, after=after), missing=False)
            page = self._platform.read_listing(self._location, answer.body)
            for found in page.objects:
                if not prefix or found.key.startswith(f"{prefix}/"):
                    yield ObjectInfo(*found)
            if page.is_last:
                return
            if not page.objects or page.objects[-1].key == after:
                raise StorageError(f"the listing of {self.place} comes to no end: look at the store")
            after = page.objects[-1].key

    async def leftovers(self) -> AsyncIterator[ObjectInfo]:
        """Give nothing: what a store shows is whole."""
        return
        yield

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what the store says of an object."""
        answer = await self._send("look at", KeyRequest(verb="HEAD", key=key))
        if answer.status == 404:
            return None
        modified = answer.headers.get("last-modified")
        when = parsedate_to_datetime(modified) if modified else datetime.now(UTC)
        return ObjectInfo(key, int(answer.headers.get("content-length", "0")), when.astimezone(UTC))

    async def _send(
        self,
        what: str,
        request: KeyRequest,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        missing: bool = True,
    ) -> _Answer:
        """Send a request until it is answered for good; 404 is an answer where the object may be missing, 416 where a range may be.

        All is sent from one loop, whichever zarr and others run: there connections are shared, and those who need a signature at a time ask together.
        """
        return await on_shared_loop(self._sent(what, request, headers or {}, data, missing))

    async def _sent(
        self, what: str, request: KeyRequest, headers: Mapping[str, str], data: bytes | None, missing: bool
    ) -> _Answer:
        why = "it was never sent"
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - nothing secret about it
            answer = await self._try(request, headers, data)
            if isinstance(answer, str):
                why = answer
                continue
            if answer.status < 300 or (missing and answer.status in (404, 416)):
                return answer
            why = f"the store answered {answer.status}"
            if answer.status == 403:
                # The signature may have ended on the way, or been made with keys that have been replaced since.
                self._signatures.forget(request)
            if answer.status not in _BUSY and not (answer.status == 403 and attempt == 0):
                break
        raise self._failed(what, request.key, why)

    async def _try(self, request: KeyRequest, headers: Mapping[str, str], data: bytes | None) -> _Answer | str:
        """Send once; what kept an answer from coming is returned: what the library raises holds the URL, and goes no further."""
        from aiohttp import ClientError
        from yarl import URL

        signature = await self._signatures.of(request)
        try:
            session = await _sessions.get()
            async with session.request(
                "GET" if request.verb == "LIST" else request.verb,
                URL(signature.reveal(), encoded=True),
                headers={"accept-encoding": "identity", **headers},
                data=BytesIO(data) if data is not None and len(data) > _STREAMED_FROM else data,
                allow_redirects=False,
            ) as answer:
                return _Answer(
                    answer.status, {name.lower(): value for name, value in answer.headers.items()}, await answer.read()
                )
        except (ClientError, OSError, TimeoutError, RuntimeError) as error:
            return type(error).__name__

    def _failed(self, what: str, key: str, why: str) -> ArraylakeError:
        return StorageError(
            f"could not {what} {key or 'the objects'} at {self.place} by a signed request ({why}): look at the bucket, the keys of its bucket "
            "config and the network, then try again"
        )


def _new_session() -> "ClientSession":
    from aiohttp import ClientSession, ClientTimeout, TCPConnector

    timeout = ClientTimeout(total=None, sock_connect=10, sock_read=60)
    return ClientSession(connector=TCPConnector(limit=_AT_ONCE), timeout=timeout, trust_env=False, auto_decompress=False)


# One for all repos of the process.
_sessions = LoopSessions(_new_session)
