"""The aiohttp application: every route of the table, each request read, authenticated, permitted, done and logged in the same way."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
from aiohttp import web

from arraylake_core.catalog.acting import acting
from arraylake_core.errors import ArraylakeError, AuthenticationError, InvalidOptionError, NotFoundError
from arraylake_core.people import Principal
from arraylake_core.plugins import PluginRegistry, default_registry
from arraylake_core.secret import Secret
from arraylake_core.service import work
from arraylake_core.service.access import permit
from arraylake_core.service.answers import Answers
from arraylake_core.service.call import Call, Services
from arraylake_core.service.credentials import Vendor
from arraylake_core.service.events import Announcer
from arraylake_core.service.limits import RateLimit
from arraylake_core.service.logs import log_failure, log_request
from arraylake_core.service.metrics import Metrics
from arraylake_core.service.oidc.logins import Logins
from arraylake_core.service.principals import NOBODY, Principals
from arraylake_core.service.problems import BadRequestError, TooManyRequestsError, problem_of
from arraylake_core.service.routes import ROUTES
from arraylake_core.service.settings import ServiceSettings
from arraylake_core.service.table import Answer, Need, Route

if TYPE_CHECKING:
    from arraylake_core.catalog.sql_catalog import SqlCatalog

__all__ = ["LONGEST_LINE", "make_app"]

LONGEST_LINE = 64 * 1024
"""The longest request line, for ``max_line_size``: a filter of 5,000 characters, each of four bytes, percent-encoded."""

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_JSON, _PROBLEM = "application/json", "application/problem+json"
_HEADERS = ("client-name", "client-version", "arraylake-session-id", "idempotency-key", "if-match", "if-none-match")
# Encoded slashes, backslashes and control characters, which no name has: one layer in front of us may read them, another not.
_TRICKS = re.compile(r"%(?:2f|5c|0[0-9a-f]|1[0-9a-f]|7f|25|2e)|\\|//|/\.{1,2}(?:/|\Z)", re.IGNORECASE)
_NOTED_EVERY = 20
_PRUNED_EVERY = 30
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}\Z", re.ASCII)


def make_app(
    catalog: "SqlCatalog", settings: ServiceSettings | None = None, *, registry: PluginRegistry | None = None
) -> web.Application:
    """Make the application over a catalog.

    Parameters
    ----------
    catalog
        The catalog.
    settings
        The limits; by default the defaults.
    registry
        The plugins; by default those that are installed.
    """
    service = _Service(catalog, settings or ServiceSettings(), registry or default_registry())
    app = web.Application(client_max_size=service.settings.max_body, middlewares=[service.unrouted])
    for route in ROUTES:
        app.router.add_route(route.method, route.path, service.handler(route))
    app.cleanup_ctx.append(service.running)
    app.on_response_prepare.append(_without_versions)
    return app


async def _without_versions(request: web.Request, response: web.StreamResponse) -> None:
    """Keep to itself which releases of Python and aiohttp a replica runs on."""
    response.headers.popall("Server", None)


class _Service:
    """What requests share in one replica."""

    def __init__(self, catalog: "SqlCatalog", settings: ServiceSettings, registry: PluginRegistry) -> None:
        self.settings = settings
        vendor = Vendor(registry, (*settings.allow_networks, *settings.allow_endpoints))
        logins = Logins(catalog, settings.issuers, settings.allow_networks)
        self._services = Services(catalog, registry, settings, vendor, Metrics(), Answers(), logins)
        self._principals = Principals(catalog, settings, logins)
        self._announcer = Announcer(catalog, registry, settings)
        self._rate = RateLimit(settings.requests_per_second, 2 * settings.requests_per_second)
        self._relayed = RateLimit(settings.logins_per_minute / 60, settings.logins_per_minute)
        self._failures = RateLimit(settings.failures_per_minute / 60, settings.failures_per_minute)

    async def running(self, app: web.Application) -> AsyncIterator[None]:
        """Start what runs beside the requests, and end it with the application."""
        await self._services.catalog.load_secrets()
        await self._announcer.start()
        stopping = asyncio.Event()
        beside = asyncio.create_task(self._work_beside(stopping))
        yield
        # It ends after what it is doing: breaking off in the middle would leave a connection open.
        stopping.set()
        await beside
        with suppress(ArraylakeError):
            await self._principals.write_uses()
        await self._announcer.stop()
        await self._services.catalog.close()

    def handler(self, route: Route) -> Handler:
        """Return aiohttp's handler of a route."""

        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._answered(request, route)

        handle.__name__ = route.name
        return handle

    @web.middleware
    async def unrouted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer what no route takes in the same form as everything else."""
        if request.match_info.http_exception is None:
            return await handler(request)
        if request.method == "OPTIONS" and request.headers.get("origin") in self.settings.cors_origins:
            allowed = web.Response(status=204)
            _allow_origin(request, allowed, self.settings.cors_origins)
            return allowed
        return await self._answered(request, None)

    async def _answered(self, request: web.Request, route: Route | None) -> web.StreamResponse:
        metrics, began = self._services.metrics, time.perf_counter()
        request_id = request.headers.get("x-request-id", "")
        if not _REQUEST_ID.match(request_id):
            request_id = uuid4().hex
        name = route.name if route else "unrouted"
        who = NOBODY
        headers = {"x-request-id": request_id, "cache-control": "no-store", "x-content-type-options": "nosniff"}
        metrics.running.inc()
        try:
            call = await self._read(request, route, request_id)
            who = call.principal
            answer = await self._done(call, route or _NOWHERE, request)
            response = _response(answer, headers)
        except ArraylakeError as error:
            response = _refusal(error, headers)
        except Exception as error:  # noqa: BLE001 - whatever broke, the caller gets an answer, and the log its cause
            log_failure(request_id, name, error)
            response = _refusal(
                ArraylakeError(f"the service failed; its log says why, under the request id {request_id}"), headers
            )
        finally:
            metrics.running.dec()
        if self.settings.cors_origins:
            _allow_origin(request, response, self.settings.cors_origins)
        seconds = time.perf_counter() - began
        metrics.answered(name, response.status, seconds)
        log_request(request, request_id, name, who, response.status, seconds)
        return response

    async def _read(self, request: web.Request, route: Route | None, request_id: str) -> Call:
        """Authenticate, and read all but the body."""
        if _TRICKS.search(request.raw_path.partition("?")[0]):
            raise BadRequestError("the path has encoded slashes, dots or control characters, which no name has: spell it plainly")
        principal, token = NOBODY, None
        if route is None or route.need is not Need.Nothing:
            authorization = request.headers.get("authorization", "")
            principal = await self._authenticated(request, authorization)
            token = Secret(authorization.partition(" ")[2])
        if route is None:
            raise self._no_route(request)
        if route.path.startswith("/oauth/") and (wait := self._relayed.wait(request.remote or "")):
            self._services.metrics.refused.labels("logins").inc()
            raise TooManyRequestsError("too many logins from your address: wait, then try again", int(wait) + 1)
        headers = {known: value for known in _HEADERS if (value := request.headers.get(known)) is not None}
        return Call(
            services=self._services,
            principal=principal,
            path=dict(request.match_info),
            repo=request.match_info.get("repo", ""),
            query=_query(request, route),
            body=None,
            headers=headers,
            request_id=request_id,
            token=token,
        )

    async def _authenticated(self, request: web.Request, authorization: str) -> Principal:
        try:
            principal = await self._principals.of(authorization)
        except AuthenticationError:
            # A token that is good always passes: behind a proxy, all callers have one address.
            if wait := self._failures.wait(request.remote or ""):
                self._services.metrics.refused.labels("failures").inc()
                raise TooManyRequestsError(
                    "too many requests from your address failed to authenticate: wait, then use a valid token", int(wait) + 1
                ) from None
            raise
        if wait := self._rate.wait(principal.id):
            self._services.metrics.refused.labels("rate").inc()
            limit = self.settings.requests_per_second
            raise TooManyRequestsError(f"you may make {limit:g} requests a second: slow down", int(wait) + 1)
        self._principals.note_use(principal)
        return principal

    @staticmethod
    def _no_route(request: web.Request) -> ArraylakeError:
        refused = request.match_info.http_exception
        if isinstance(refused, web.HTTPMethodNotAllowed):
            return BadRequestError(
                f"{request.method} is not what can be done here: use {', '.join(sorted(refused.allowed_methods))}", 405
            )
        return NotFoundError("there is nothing at this path: /openapi.json lists all that there is")

    async def _done(self, call: Call, route: Route, request: web.Request) -> Answer:
        acting_token = acting.set(call.principal if call.principal is not NOBODY else None)
        try:
            line = f"{request.method} {request.raw_path}"
            # Permitted first: the bodies of those who may not are not even read.
            try:
                await permit(call, route.need)
            except NotFoundError:
                again = await work.repeated(call, line, await self._body(request)) if route.changes else None
                if again is None:
                    raise
                self._services.metrics.replays.inc()
                return again
            raw = await self._body(request)
            call.body = _decoded(route, raw)
            if not route.changes:
                found = await route.handler(call)
                return found if isinstance(found, Answer) else Answer(found, route.status)
            call.target = f"{call.org}/{call.repo}" if call.repo else request.path
            if route.check is not None:
                await route.check(call)
            answer = await work.do(call, route, self._announcer, line, raw)
            if "idempotent-replay" in answer.headers:
                self._services.metrics.replays.inc()
            self._principals.forget()
            return answer
        finally:
            acting.reset(acting_token)

    async def _body(self, request: web.Request) -> bytes:
        encoding = request.headers.get("content-encoding", "identity")
        if encoding.lower() not in _ENCODINGS:
            raise BadRequestError(f"the body is encoded as {encoding[:60]!a}, which is not taken: send it as it is")
        try:
            return await request.read() if request.can_read_body else b""
        except web.RequestPayloadError:
            raise BadRequestError("the body is not encoded as its headers say: send it as it is") from None
        except web.HTTPRequestEntityTooLarge:
            raise BadRequestError(f"the body is larger than {self.settings.max_body} bytes: send less at once", 413) from None

    async def _work_beside(self, stopping: asyncio.Event) -> None:
        """Note which tokens were used, and forget repeated requests that are too old, now and then."""
        for number in count(1):
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _NOTED_EVERY)
            if stopping.is_set():
                return
            with suppress(ArraylakeError):
                await self._principals.write_uses()
                if number % _PRUNED_EVERY == 0:
                    await self._services.catalog.forget_requests()


async def _nothing(call: Call) -> None:
    """Never called: a path without a route is refused before."""


_ENCODINGS = frozenset({"identity", "gzip", "deflate"})
_NOWHERE = Route("GET", "/", Need.SignedIn, _nothing, "")


def _query(request: web.Request, route: Route) -> msgspec.Struct:
    values: dict[str, str] = {}
    for name, value in request.query.items() if request.rel_url.raw_query_string else ():
        if name in values:
            raise InvalidOptionError(f"the query parameter {name[:60]!a} is given twice: give it once")
        values[name] = value
    try:
        return msgspec.convert(values, route.query, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(route.query)) or "none"
        raise InvalidOptionError(f"the query is not as it should be: {error}; known parameters are {known}") from None


def _decoded(route: Route, raw: bytes) -> object:
    if route.body is None:
        return None
    if route.body is bytes:
        return raw
    try:
        return msgspec.json.decode(raw, type=route.body)
    except msgspec.ValidationError as error:
        raise InvalidOptionError(f"the body is not as it should be: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise BadRequestError("the body is no JSON: send one JSON document, in UTF-8") from None
    except RecursionError:
        raise BadRequestError("the body is nested too deeply: no document needs that") from None


def _response(answer: Answer, headers: dict[str, str]) -> web.Response:
    value = answer.value
    if value is None:
        return web.Response(status=answer.status, headers={**headers, **answer.headers})
    if isinstance(value, msgspec.Raw):
        value = bytes(value)
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return web.Response(body=body, status=answer.status, headers={"content-type": _JSON, **headers, **answer.headers})


def _refusal(error: ArraylakeError, headers: dict[str, str]) -> web.Response:
    from arraylake_core.service.routes.coordination import PreconditionError

    problem = problem_of(error, 412 if isinstance(error, PreconditionError) else None)
    more = {"content-type": _PROBLEM}
    if problem.status == 401:
        more["www-authenticate"] = "Bearer"
    if problem.status in (429, 503):
        more["retry-after"] = str(error.retry_after if isinstance(error, TooManyRequestsError) else 1)
    return web.Response(body=msgspec.json.encode(problem), status=problem.status, headers={**headers, **more})


def _allow_origin(request: web.Request, response: web.StreamResponse, allowed: tuple[str, ...]) -> None:
    origin = request.headers.get("origin", "")
    if origin in allowed:
        response.headers["access-control-allow-origin"] = origin
        response.headers["vary"] = "Origin"
        if request.method == "OPTIONS":
            response.headers["access-control-allow-methods"] = "GET, POST, PUT, PATCH, DELETE"
            response.headers["access-control-allow-headers"] = (
                "authorization, content-type, if-match, if-none-match, idempotency-key"
            )
