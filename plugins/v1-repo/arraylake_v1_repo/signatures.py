"""Signed URLs: asked for together by all who need one at a time, and kept while they are good."""

import asyncio
import time
from collections import OrderedDict
from typing import NamedTuple
from weakref import WeakKeyDictionary

from arraylake_core.backends import KeyRequest, RequestSigner
from arraylake_core.backends.signing import LONGEST_BATCH
from arraylake_core.secret import Secret

__all__ = ["Signatures"]

_KEPT = 8192
# A request that is sent in the last half of a signature's life may come too late on a slow line.
_SHARE = 0.5


class _Kept(NamedTuple):
    url: Secret
    until: float


class _Queue:
    """What waits on one event loop to be signed; changes apart from the rest, so that a right that lacks for one fails nothing else."""

    def __init__(self) -> None:
        self.waiting: dict[KeyRequest, asyncio.Future[Secret]] = {}
        self.task: asyncio.Task[None] | None = None


class Signatures:
    """The signed URLs of one repo.

    Parameters
    ----------
    signer
        Where they come from.
    """

    def __init__(self, signer: RequestSigner) -> None:
        self._signer = signer
        self._kept: OrderedDict[KeyRequest, _Kept] = OrderedDict()
        self._queues: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[bool, _Queue]] = WeakKeyDictionary()

    async def of(self, request: KeyRequest) -> Secret:
        """Return a URL for a request that is good for a while; while one batch is being signed, the next one gathers."""
        kept = self._kept.get(request)
        if kept is not None and kept.until > time.monotonic():
            return kept.url
        loop = asyncio.get_running_loop()
        queue = self._queues.setdefault(loop, {}).setdefault(request.changes, _Queue())
        future = queue.waiting.get(request)
        if future is None:
            future = queue.waiting[request] = loop.create_future()
        if queue.task is None:
            queue.task = loop.create_task(self._serve(queue))
        # Whoever gives up must not take the URL away from the others.
        return await asyncio.shield(future)

    def forget(self, request: KeyRequest) -> None:
        """Ask anew the next time."""
        self._kept.pop(request, None)

    async def _serve(self, queue: _Queue) -> None:
        try:
            while queue.waiting:
                # Whoever is about to ask on this turn of the loop comes along.
                await asyncio.sleep(0)
                asked = [*queue.waiting][:LONGEST_BATCH]
                await self._sign(asked, [queue.waiting.pop(request) for request in asked])
        finally:
            queue.task = None
            for future in queue.waiting.values():
                future.cancel()
            queue.waiting.clear()

    async def _sign(self, asked: list[KeyRequest], batch: list[asyncio.Future[Secret]]) -> None:
        began = time.monotonic()
        try:
            signed = await self._signer.sign(asked)
        except BaseException as error:
            for future in batch:
                if isinstance(error, Exception):
                    future.set_exception(error)
                    # It is seen by whoever waits; that nobody does any more is no fault.
                    future.exception()
                else:
                    future.cancel()
            if not isinstance(error, Exception):
                raise
            return
        for request, future, url in zip(asked, batch, signed.urls, strict=True):
            self._kept[request] = _Kept(url, began + _SHARE * signed.seconds)
            if not future.done():
                future.set_result(url)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
