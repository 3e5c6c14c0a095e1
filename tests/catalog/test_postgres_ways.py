"""The ways to a PostgreSQL database, and what it was made for: TLS, what shares connections out, and other languages' order."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from sqlalchemy import Engine, event

from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.home import postgres_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import ArraylakeError, CatalogError, InvalidOptionError
from arraylake_core.people import NewToken, Role
from arraylake_core.testing.catalog_samples import make_repo, names_of
from tests.servers.postgres import Postgres
from tests.servers.postgres_front import Front, front_of

ADA = "ada@example.org"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def socket(postgres: Postgres) -> Path:
    return postgres.socket


@pytest.fixture
def encrypting(socket: Path, authority: trustme.CA) -> Iterator[Front]:
    """A port of the server by TLS, whose certificate is for ``localhost``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with front_of(socket, context) as found:
        yield found


async def orgs_by(front: Front, database: str, options: str, host: str = "localhost") -> list[str]:
    catalog = SqlCatalog(postgres_home(Dsn(f"postgresql://postgres@{host}:{front.port}/{database}?{options}")))
    try:
        return [org.name for org in await catalog.list_orgs()]
    finally:
        await catalog.close()


async def test_tls_is_used_and_the_server_s_certificate_checked(
    encrypting: Front, postgres_uri: str, authority: trustme.CA, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.pem", tmp_path / "theirs.pem"
    authority.cert_pem.write_to_path(str(ours))
    trustme.CA().cert_pem.write_to_path(str(theirs))
    name = Postgres.name_of(postgres_uri)
    for number, options in enumerate(("sslmode=require", f"sslmode=verify-full&sslrootcert={ours}"), 1):
        assert await orgs_by(encrypting, name, options) == ["me"]
        assert encrypting.encrypted == number
    for options, host in (
        (f"sslmode=verify-full&sslrootcert={theirs}", "localhost"),
        (f"sslmode=verify-full&sslrootcert={ours}", "127.0.0.1"),
    ):
        with pytest.raises(CatalogError, match=r"certificate .* is not to be trusted .*sslrootcert=FILE"):
            await orgs_by(encrypting, name, options, host)


async def test_a_server_without_tls_is_told(socket: Path, postgres_uri: str, tmp_path: Path) -> None:
    name = Postgres.name_of(postgres_uri)
    with front_of(socket) as front:
        with pytest.raises(CatalogError, match=r"offers no TLS.*ssl = on"):
            await orgs_by(front, name, "sslmode=require")
        for wrong in ("sslmode=always", f"sslmode=verify-full&sslrootcert={tmp_path / 'none.pem'}"):
            with pytest.raises(ArraylakeError, match="URI|none.pem"):
                await orgs_by(front, name, wrong)
        assert await orgs_by(front, name, "sslmode=prefer") == ["me"]


async def test_where_connections_are_shared_nothing_outlasts_a_transaction(socket: Path, postgres_uri: str) -> None:
    """As behind PgBouncer: no settings when connecting, no statement that was prepared in another transaction, and no lock of a session."""
    name = Postgres.name_of(postgres_uri)
    with front_of(socket, shares=True) as front:
        with pytest.raises(InvalidOptionError, match="statement_cache_size=0"):
            await orgs_by(front, name, "sslmode=disable")
        uri = f"postgresql://postgres@127.0.0.1:{front.port}/{name}?sslmode=disable&statement_cache_size=0"
        catalog = SqlCatalog(postgres_home(Dsn(uri)))
        repo = await make_repo(catalog)
        await catalog.set_member("me", ADA, Role.Admin)
        issued = await catalog.create_token("me", NewToken(name="x"), email=ADA)

        async def read() -> None:
            assert await names_of(catalog) == ["ocean"]
            assert (await catalog.find_open("me", "ocean")) is not None
            assert await catalog.authenticate(issued.token.reveal()) is not None

        await asyncio.gather(*(read() for _ in range(8)))
        coordination = catalog.coordination(repo.id)
        await coordination.put_ref("branch/main", {"commit": "c1"}, expected=None)
        assert [ref.name for ref in await coordination.list_refs()] == ["branch/main"]
        async with catalog._home.database.alone():
            await read()
        await catalog.close()
        assert front.statements > 20
        assert front.wrong == []


@pytest.mark.parametrize("size", ["-1", "many", "12345", ""])
def test_a_cache_of_no_size_is_refused(size: str) -> None:
    with pytest.raises(InvalidOptionError, match="statement_cache_size"):
        Dsn(f"postgresql://h/d?statement_cache_size={size}")


async def test_listings_are_in_the_order_of_the_characters_numbers(postgres: Postgres, postgres_uri: str) -> None:
    """Whatever language the database was made for, so that all catalogs list alike; pages come from an index of that order."""
    catalog = SqlCatalog(postgres_home(Dsn(postgres_uri)))
    await make_repo(catalog)
    statements: list[str] = []

    def on_execute(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", on_execute)
    try:
        await catalog.list_repos("me")
        for listed in (
            catalog.list_orgs(),
            catalog.list_buckets("me"),
            catalog.list_members("me"),
            catalog.list_grants("me", "ocean"),
        ):
            await listed
    finally:
        event.remove(Engine, "before_cursor_execute", on_execute)
    await catalog.close()
    ordered = [statement.partition("ORDER BY")[2] for statement in statements if "ORDER BY" in statement]
    assert len(ordered) == 5
    assert all(order.split(",")[0].count('COLLATE "C"') for order in ordered), ordered
    (definition,) = postgres.execute("SELECT pg_get_indexdef('ix_repos_listed'::regclass)", Postgres.name_of(postgres_uri))
    assert '(org_id, name COLLATE "C", id)' in definition[0]
