"""The unit of work.

A request that changes the catalog is one transaction, with its answer and its line in the audit log, and is done once however often it is sent.
"""

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.catalog.sql_idempotency import KeptAnswer
from arraylake_core.errors import InvalidOptionError
from arraylake_core.service.table import Answer, Route

if TYPE_CHECKING:
    from arraylake_core.service.call import Call
    from arraylake_core.service.events import Announcer

__all__ = ["do", "repeated"]

_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}\Z", re.ASCII)


async def do(call: "Call", route: Route, announcer: "Announcer", request_line: str, raw: bytes) -> Answer:
    """Run a route that changes the catalog.

    Parameters
    ----------
    call
        The request.
    route
        What it asks for.
    announcer
        Whom to tell of the change.
    request_line
        Method and path, to which an idempotency key is bound.
    raw
        The body, to which it is bound as well.
    """
    key = _key(call)
    async with call.catalog.transaction(exclusive=route.exclusive):
        if key is not None:
            kept = await call.catalog.claim_request(call.principal.id, key, _digest(request_line, raw))
            if kept is not None:
                return _replay(kept)
        found = await route.handler(call)
        answer = found if isinstance(found, Answer) else Answer(found, route.status)
        body = b"" if answer.value is None else msgspec.json.encode(answer.value)
        if route.audited and call.audited:
            await call.catalog.add_audit(call.principal, call.org, route.name, call.target, call.request_id)
        for event in call.events:
            await announcer.enqueue(event)
        if key is not None:
            await call.catalog.keep_answer(call.principal.id, key, KeptAnswer(answer.status, body))
    for event in call.events:
        announcer.announce(event)
    return answer._replace(value=msgspec.Raw(body) if body else None)


async def repeated(call: "Call", request_line: str, raw: bytes) -> Answer | None:
    """Return the first answer of a request that its sender repeats, or None: what it deleted then is not there to be permitted again."""
    key = _key(call)
    kept = await call.catalog.kept_answer(call.principal.id, key, _digest(request_line, raw)) if key is not None else None
    return None if kept is None else _replay(kept)


def _key(call: "Call") -> str | None:
    key = call.headers.get("idempotency-key")
    if key is not None and not _KEY.match(key):
        raise InvalidOptionError("an Idempotency-Key is 16 to 128 letters, digits, '-' and '_': take a new UUID for each request")
    return key


def _digest(request_line: str, raw: bytes) -> str:
    return hashlib.sha256(request_line.encode() + b"\0" + raw).hexdigest()


def _replay(kept: KeptAnswer) -> Answer:
    return Answer(msgspec.Raw(kept.body) if kept.body else None, kept.status, {"idempotent-replay": "true"})
