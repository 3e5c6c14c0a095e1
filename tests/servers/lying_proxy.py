"""A proxy in front of an S3 server that lies about conditional writes, as some stores do.

Requests pass unsigned (to a bucket that anybody may write), since a signature would cover the headers that are dropped.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Literal

import aiohttp
from aiohttp import web

__all__ = ["Lie", "lying_proxy"]

type Lie = Literal["honest", "ignore", "half", "late-fail"]

_CONDITIONS = ("If-None-Match", "If-Match")
_HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "date", "server", "host"}


def _dropped(lie: Lie) -> tuple[str, ...]:
    """Return the conditions that never reach the store."""
    return {"honest": (), "ignore": _CONDITIONS, "half": ("If-Match",), "late-fail": _CONDITIONS}[lie]


async def _pass(request: web.Request, target: str, lie: Lie, session: aiohttp.ClientSession) -> web.Response:
    body = await request.read()
    conditional = request.method == "PUT" and any(name in request.headers for name in _CONDITIONS)
    dropped = {*_HOP_BY_HOP, *(name.lower() for name in _dropped(lie))}
    url = f"{target}{request.raw_path}"
    existed = False
    if conditional and lie == "late-fail":
        async with session.head(url) as before:
            # The first writer of a name wins; all later ones are told that they lost, but what they wrote stays.
            existed = before.status == 200 and "If-None-Match" in request.headers
    headers = {name: value for name, value in request.headers.items() if name.lower() not in dropped}
    async with session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer:
        if existed:
            return web.Response(status=412, text="<Error><Code>PreconditionFailed</Code></Error>", content_type="application/xml")
        # An answer to HEAD tells the length of a body that it does not have.
        own = _HOP_BY_HOP - ({"content-length"} if request.method == "HEAD" else set())
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in own}
        if request.method == "HEAD" and "Content-Length" in answer.headers:
            kept["Content-Length"] = answer.headers["Content-Length"]
        return web.Response(status=answer.status, headers=kept, body=await answer.read())


@contextlib.contextmanager
def lying_proxy(target: str, lie: Lie) -> Iterator[str]:
    """Serve a proxy on a loopback port from a thread of its own, and give its URL."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    url: list[str] = []

    async def serve() -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            app = web.Application(client_max_size=1 << 26)
            # One at a time, so that a lie is told the same way in every run.
            turn = asyncio.Lock()

            async def handle(request: web.Request) -> web.Response:
                async with turn:
                    return await _pass(request, target, lie, session)

            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            url.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
            ready.set()
            await stop.wait()
            await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    try:
        yield url[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
