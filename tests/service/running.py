"""A service that runs in this process, on a loopback port and a loop of its own, so that tests see into its catalog."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from arraylake_core.catalog.acting import acting
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.people import IssuedToken, NewToken, Principal, Role
from arraylake_core.plugins import PluginRegistry
from arraylake_core.service.app import LONGEST_LINE, make_app
from arraylake_core.service.settings import ServiceSettings

LOCAL = ("127.0.0.0/8", "::1/128", "localhost")


@dataclass(frozen=True)
class Reply:
    """What the service answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def detail(self) -> str:
        return str(self.json["detail"])


@dataclass
class RunningService:
    """A service, and what its tests need of it."""

    uri: str
    catalog: SqlCatalog
    loop: asyncio.AbstractEventLoop
    people: dict[str, Principal] = field(default_factory=dict)

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the service's loop, such as a method of its catalog."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        body: object = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request, its path as it is, over a connection of its own."""
        return asyncio.run(self._ask(method, path, token, body, raw, dict(headers or {})))

    async def _ask(
        self, method: str, path: str, token: str | None, body: object, raw: bytes | None, headers: dict[str, str]
    ) -> Reply:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        data = BytesIO(raw) if raw is not None else None if body is None else msgspec.json.encode(body)
        url = URL(self.uri + path, encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, data=data, headers=headers, allow_redirects=False) as answer,
        ):
            return Reply(answer.status, CIMultiDict(answer.headers), await answer.read())

    def member(self, org: str, email: str, role: Role | None) -> Principal:
        """Make a person a member."""
        member = self.run(self.catalog.set_member(org, email, role))
        found = Principal(id=member.id, user_id=member.id, email=email, roles={org: role})
        self.people[email] = found
        return found

    def token(self, org: str, email: str, role: Role = Role.Admin, **more: Any) -> IssuedToken:
        """Issue a token that acts for a person."""
        return self.run(self.catalog.create_token(org, NewToken(name="test", role=role, **more), email=email))

    async def acting_for[T](self, principal: Principal, work: Coroutine[Any, Any, T]) -> T:
        """Do something for a principal."""
        token = acting.set(principal)
        try:
            return await work
        finally:
            acting.reset(token)


@contextmanager
def running(
    catalog: SqlCatalog, settings: ServiceSettings | None = None, registry: PluginRegistry | None = None
) -> Iterator[RunningService]:
    """Run a service over a catalog."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="service", daemon=True)
    thread.start()

    def on_loop[T](work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    runner = web.AppRunner(
        make_app(catalog, settings or ServiceSettings(allow_networks=LOCAL), registry=registry),
        access_log=None,
        shutdown_timeout=5,
        max_line_size=LONGEST_LINE,
    )
    on_loop(runner.setup())
    try:
        on_loop(web.TCPSite(runner, "127.0.0.1", 0).start())
        host, port = runner.addresses[0][:2]
        yield RunningService(f"http://{host}:{port}", catalog, loop)
    finally:
        on_loop(runner.cleanup())
        on_loop(loop.shutdown_asyncgens())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
