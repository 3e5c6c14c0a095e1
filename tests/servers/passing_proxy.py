"""What proxies in front of an object store have in common: a thread of their own, and requests that pass as they are.

Requests to S3 pass unsigned (to a bucket that anybody may write), since a signature would cover the host.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
from aiohttp import web

__all__ = ["passed_on", "served"]

_HOP_BY_HOP = frozenset({"connection", "content-length", "transfer-encoding", "date", "server", "host"})


async def passed_on(
    request: web.Request, target: str, session: aiohttp.ClientSession, *, without: frozenset[str] = frozenset()
) -> web.Response:
    """Send a request on, but for some of its headers, and return the answer."""
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP | without}
    url, body = f"{target}{request.raw_path}", await request.read()
    async with session.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer:
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP_BY_HOP}
        if request.method == "HEAD" and "Content-Length" in answer.headers:
            # An answer to HEAD tells the length of a body that it does not have.
            kept["Content-Length"] = answer.headers["Content-Length"]
        return web.Response(status=answer.status, headers=kept, body=await answer.read())


@contextlib.contextmanager
def served(handle: Callable[[web.Request, aiohttp.ClientSession], Awaitable[web.StreamResponse]]) -> Iterator[str]:
    """Serve on a loopback port from a thread, and give the URL."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    url: list[str] = []

    async def serve() -> None:
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            app = web.Application(client_max_size=1 << 26)

            async def handled(request: web.Request) -> web.StreamResponse:
                return await handle(request, session)

            app.router.add_route("*", "/{path:.*}", handled)
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
