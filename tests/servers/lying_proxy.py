"""A proxy in front of an S3 or GCS server that lies about conditional writes, as some stores do.

Requests to S3 pass unsigned (to a bucket that anybody may write), since a signature would cover the headers that are dropped.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Literal

import aiohttp
from aiohttp import web

from tests.servers.passing_proxy import passed_on, served

__all__ = ["Lie", "lying_proxy"]

type Lie = Literal["honest", "ignore", "half", "late-fail", "late-update", "unknown"]
type Treatment = Literal["obeyed", "ignored", "late", "unknown"]

# What becomes of a write with each condition: the store obeys it, never hears of it, writes before it looks at it, or says that it does not know it.
_TREATMENTS: dict[Lie, dict[str, Treatment]] = {
    "honest": {"If-None-Match": "obeyed", "If-Match": "obeyed"},
    "ignore": {"If-None-Match": "ignored", "If-Match": "ignored"},
    "half": {"If-None-Match": "obeyed", "If-Match": "ignored"},
    "late-fail": {"If-None-Match": "late", "If-Match": "late"},
    "late-update": {"If-None-Match": "obeyed", "If-Match": "late"},
    "unknown": {"If-None-Match": "unknown", "If-Match": "unknown"},
}
# GCS has one header for both; generation 0 is that of an object that is not there.
_GENERATION = "x-goog-if-generation-match"


def _error(status: int, code: str) -> web.Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")


def _conditions(request: web.Request) -> dict[str, str]:
    """Return the header for each condition of a write, in the words of S3."""
    if request.method != "PUT":
        return {}
    if (generation := request.headers.get(_GENERATION)) is not None:
        return {"If-None-Match" if generation == "0" else "If-Match": _GENERATION}
    return {name: name for name in _TREATMENTS["honest"] if name in request.headers}


async def _has_lost(request: web.Request, condition: str, header: str, url: str, session: aiohttp.ClientSession) -> bool:
    """Tell whether the condition of a write does not hold."""
    as_who = {name: value for name, value in request.headers.items() if name.lower() == "authorization"}
    async with session.head(url, headers=as_who) as before:
        if condition == "If-None-Match":
            return before.status == 200
        wanted = request.headers[header]
        return before.headers.get("x-goog-generation" if header == _GENERATION else "ETag") != wanted


async def _pass(request: web.Request, target: str, lie: Lie, session: aiohttp.ClientSession) -> web.StreamResponse:
    url = f"{target}{request.raw_path}"
    conditions = _conditions(request)
    treatments = {condition: _TREATMENTS[lie][condition] for condition in conditions}
    if "unknown" in treatments.values():
        return _error(501, "NotImplemented")
    lost = "late" in treatments.values() and await _has_lost(request, *next(iter(conditions.items())), url, session)
    unheard = frozenset(conditions[condition].lower() for condition, treatment in treatments.items() if treatment != "obeyed")
    answer = await passed_on(request, target, session, without=unheard)
    return _error(412, "PreconditionFailed") if lost else answer


@contextlib.contextmanager
def lying_proxy(target: str, lie: Lie) -> Iterator[str]:
    """Serve a proxy on a loopback port from a thread of its own, and give its URL."""
    # One at a time, so that a lie is told the same way in every run.
    turn = asyncio.Lock()

    async def handle(request: web.Request, session: aiohttp.ClientSession) -> web.StreamResponse:
        async with turn:
            return await _pass(request, target, lie, session)

    with served(handle) as url:
        yield url
