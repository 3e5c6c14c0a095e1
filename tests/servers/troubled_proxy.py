"""A proxy in front of an S3 server through which the faults of the kit reach those who talk to it over HTTP, as Icechunk does."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web

from arraylake_core.testing import Injected
from tests.servers.passing_proxy import passed_on, served

__all__ = ["troubled_proxy"]

_CHANGES = {"PUT": "pipe_file", "POST": "pipe_file", "DELETE": "rm_file"}


@contextmanager
def troubled_proxy(target: str, injected: Injected) -> Iterator[str]:
    """Serve a proxy, and give its URL; what fails is a connection that breaks off.

    Parameters
    ----------
    target
        The URL of the server.
    injected
        What goes wrong; a write that breaks off leaves nothing, as object stores show an object whole or not at all.
    """

    async def handle(request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        change = _CHANGES.get(request.method)
        try:
            await asyncio.to_thread(injected.before, change or "cat_file", request.path)
            if change == "pipe_file":
                body = await request.read()
                if len(injected.written(request.path, body)) < len(body):
                    raise OSError("injected: the write broke off")
            answer = await passed_on(request, target, session)
            if change and answer.status < 400:
                await asyncio.to_thread(injected.after, change, request.path)
        except OSError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        asked = dict(parse_qsl(request.query_string))
        if "list-type" in asked and answer.status == 200:
            (told,) = injected.listed(str(sorted(asked.items())), [{"body": answer.body}])
            answer.body = told["body"]
        return answer

    with served(handle) as url:
        yield url
