"""How many SQL statements requests cost: at most 3 on the routes that every opened repo asks, even by a replica that has just started."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from asyncpg.connection import LoggedQuery
from sqlalchemy import event
from sqlalchemy.engine import Engine

from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.home import file_home, postgres_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.people import Role
from arraylake_core.service.app import _Service
from arraylake_core.service.settings import ServiceSettings
from tests.service.conftest import KEYS
from tests.service.running import LOCAL, RunningService, running

MOST = 3
answering: ContextVar[bool] = ContextVar("answering", default=False)
ENDS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


class Statements:
    """The statements that requests were answered with; what goes on beside them is not theirs."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.beside: list[str] = []

    @staticmethod
    def add(kind: list[str], statement: str) -> None:
        if answering.get() and not statement.upper().startswith(ENDS):
            kind.append(statement)

    def clear(self) -> None:
        self.made.clear()
        self.beside.clear()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[Statements]:
    """Count what SQLAlchemy sends, and, on PostgreSQL, what goes over the connections beside it."""
    found = Statements()

    def on_execute(connection: object, cursor: object, statement: str, *more: object) -> None:
        found.add(found.made, statement)

    def on_query(query: LoggedQuery) -> None:
        found.add(found.beside, query.query)

    connect, answered = asyncpg.connect, _Service._answered

    async def answering_now(*arguments: Any) -> web.StreamResponse:
        answering.set(True)
        try:
            return await answered(*arguments)
        finally:
            answering.set(False)

    async def logged(*arguments: Any, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        connection = await connect(*arguments, **options)
        connection.add_query_logger(on_query)
        return connection

    monkeypatch.setattr(asyncpg, "connect", logged)
    monkeypatch.setattr(_Service, "_answered", answering_now)
    event.listen(Engine, "before_cursor_execute", on_execute)
    yield found
    event.remove(Engine, "before_cursor_execute", on_execute)


@pytest.fixture(params=["sqlite", "postgres"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.db"
    return str(request.getfixturevalue("postgres_database"))


@contextmanager
def replica(uri: str) -> Iterator[RunningService]:
    """A replica that has answered nothing yet."""
    home = file_home(Path(uri.removeprefix("sqlite:///"))) if uri.startswith("sqlite") else postgres_home(Dsn(uri))
    with running(SqlCatalog(home), ServiceSettings(allow_networks=LOCAL)) as service:
        yield service


@pytest.fixture
def callers(uri: str) -> tuple[dict[str, str], list[str]]:
    """Tokens of who may ask, in different ways, and the routes: of a repo with virtual chunks in two other buckets, and of its bucket config."""
    with replica(uri) as service:
        service.run(service.catalog.create_org("acme"))
        for email, role in (("ada@example.org", Role.Admin), ("rob@example.org", Role.Reader), ("eve@example.org", None)):
            service.member("acme", email, role)
        tokens = {
            name: service.token("acme", email, role).token.reveal()
            for name, email, role in (
                ("admin", "ada@example.org", Role.Admin),
                ("reader", "rob@example.org", Role.Reader),
                ("granted", "eve@example.org", Role.Reader),
            )
        }
        admin = tokens["admin"]
        place = {"extra_config": {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}, "platform": "s3"}
        for name in ("sea", "sky", "soil"):
            body = {"nickname": name, "name": name, **place, **({"auth_config": KEYS} if name == "sky" else {})}
            bucket = service.ask("POST", "/orgs/acme/buckets", admin, body=body)
            assert bucket.status == 201, bucket.body
            if name == "sea":
                bucket_id = bucket.json["id"]
        containers = {"s3://sky/": "sky", "s3://soil/": "soil"}
        body = {"name": "ocean", "bucket_nickname": "sea", "virtual_chunk_containers": containers}
        repo = service.ask("POST", "/orgs/acme/repos", admin, body=body)
        assert repo.status == 201, repo.body
        grant = {"email": "eve@example.org", "role": "reader"}
        assert service.ask("PUT", "/repos/acme/ocean/grants", admin, body=grant).status == 200
    of_repo = "/repos/acme/ocean"
    paths = [of_repo, f"{of_repo}/open", f"{of_repo}/open?full=true", f"{of_repo}/bucket-credentials"]
    paths += [f"/repo-ids/{repo.json['_id']}/credentials?access=read"]
    paths += ["/orgs/acme/buckets/sea/credentials", f"/buckets/{bucket_id}/credentials"]
    return tokens, paths


def test_routes_of_opening_cost_few_statements(
    uri: str, statements: Statements, callers: tuple[dict[str, str], list[str]]
) -> None:
    tokens, paths = callers
    costs: dict[str, int] = {}
    for path in paths:
        for who, token in tokens.items():
            with replica(uri) as service:
                service.run(service.catalog.ping())
                for when in ("cold", "warm"):
                    statements.clear()
                    answer = service.ask("GET", path, token)
                    if who == "granted" and "/buckets/" in path:
                        assert answer.status in (403, 404)
                    else:
                        assert answer.status == 200, (path, who, answer.body)
                    costs[f"{when} {who} {path}"] = len(statements.made) + len(statements.beside)
    assert {what: cost for what, cost in costs.items() if cost > MOST} == {}
    assert costs[f"cold admin {paths[0]}"] >= 2
    assert costs[f"warm admin {paths[1]}"] == 2
