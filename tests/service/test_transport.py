"""How the client takes a service that answers badly, late, or not at all."""

import asyncio
import logging
import pickle
import subprocess
import sys
import textwrap
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from arraylake_core import config, errors
from arraylake_core.backends.credentials import S3Credentials
from arraylake_core.backends.storage import Location
from arraylake_core.catalog import http_transport
from arraylake_core.catalog.credentials import bucket_provider
from arraylake_core.catalog.http import HttpCatalog
from arraylake_core.catalog.http_tokens import remember
from arraylake_core.catalog.open import catalog_from_uri
from arraylake_core.errors import AuthenticationError, ServiceError
from arraylake_core.models import BucketResponse, utc_now
from arraylake_core.plugins import PluginRegistry
from arraylake_core.secret import Secret
from tests.service.misbehaving import CUT, SILENCE, MisbehavingServer, answer, misbehaving_server, problem

TOKEN = "ema_CANARY-0123456789abcdef"
ORG = {"id": "0" * 24, "name": "acme", "display_name": "", "created": "2026-01-01T00:00:00Z", "created_by": None}
FOUND = answer(200, ORG)
BUSY = problem(503, "the database is starting", "CatalogError")
HTML = b"<html><body>Welcome to the hotel's network</body></html>"


@dataclass
class Asked:
    """A server, and the catalog that asks it."""

    server: MisbehavingServer
    catalog: HttpCatalog

    def answers(self, *script: object) -> None:
        self.server.script[:] = script

    async def fails(self, *script: object) -> Exception:
        """Let a read fail, and look whether anything tells the token."""
        self.answers(*script)
        with pytest.raises(errors.ArraylakeError) as caught:
            await self.catalog.get_org("acme")
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert (
            "CANARY"
            not in f"{own_variables(caught.value)} {caught.value!r} {vars(caught.value)} {self.catalog!r} {pickle.dumps(caught.value)!r}"
        )
        return caught.value


def own_variables(error: BaseException) -> str:
    """Return the variables of the project's functions that an error came through, as tools print them."""
    found = traceback.TracebackException.from_exception(error, capture_locals=True)
    return str([frame.locals for frame in found.stack if "arraylake_core" in frame.filename])


@pytest.fixture(autouse=True)
def quick(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Wait for little, and let no log of anybody's tell the token."""
    caplog.set_level(logging.DEBUG)
    with config.set({"service.retry_seconds": 0.6, "service.timeout": 2.0}):
        yield
    assert "CANARY" not in caplog.text


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    with misbehaving_server(FOUND) as server:
        catalog = HttpCatalog(server.uri, remember(Secret(TOKEN)))
        yield Asked(server, catalog)
        await catalog.close()


async def test_p21_the_key_of_a_change_is_the_same_on_every_try(asked: Asked) -> None:
    with config.set({"service.retry_seconds": 30}):
        late = problem(429, "too many requests", "ServiceError", retry_after="0")
        asked.answers(BUSY, CUT, SILENCE, late, answer(502, HTML, content_type="text/html"), FOUND[:-5], answer(504, b""), FOUND)
        assert (await asked.catalog.create_org("acme")).name == "acme"
        assert (await asked.catalog.create_org("acme")).name == "acme"
        await asked.catalog.get_org("acme")
    *first, second, read = asked.server.requests
    assert len(first) == 8
    assert len({(found.headers["idempotency-key"], found.target, found.body) for found in first}) == 1
    assert second.headers["idempotency-key"] != first[0].headers["idempotency-key"]
    assert "idempotency-key" not in read.headers
    assert {found.headers["authorization"] for found in asked.server.requests} == {f"Bearer {TOKEN}"}
    assert {found.headers["client-name"] for found in asked.server.requests} == {"arraylake-core"}


async def test_p21_a_500_is_asked_again_by_reads_only(asked: Asked) -> None:
    broken = problem(500, "something broke", "ServiceError")
    asked.answers(broken, FOUND)
    assert (await asked.catalog.get_org("acme")).name == "acme"
    asked.answers(broken, FOUND)
    with pytest.raises(ServiceError):
        await asked.catalog.create_org("acme")
    assert [found.method for found in asked.server.requests] == ["GET", "GET", "POST"]


async def test_what_is_refused_is_not_asked_again(asked: Asked) -> None:
    for status, kind in (
        (400, "InvalidOptionError"),
        (403, "PermissionDeniedError"),
        (404, "OrgNotFoundError"),
        (409, "InUseError"),
    ):
        await asked.fails(problem(status, "no", kind))
    assert len(asked.server.requests) == 4


async def test_the_service_says_how_long_to_wait(asked: Asked) -> None:
    asked.answers(problem(429, "too many requests", "ServiceError", retry_after="1"), FOUND)
    with config.set({"service.retry_seconds": 30}):
        await asked.catalog.get_org("acme")
    first, second = asked.server.requests
    assert 0.9 < second.at - first.at < 5


@pytest.mark.parametrize("step", [BUSY, CUT, SILENCE, problem(429, "wait", "ServiceError", retry_after="3600")])
async def test_trying_ends(asked: Asked, step: object) -> None:
    with config.set({"service.timeout": 0.3}):
        await asked.fails(step)
    assert len(asked.server.requests) > 1


async def test_nobody_there(asked: Asked) -> None:
    """Whoever misspelled the URI hears of it soon, and what to look at."""
    catalog = HttpCatalog("http://127.0.0.1:1", remember(Secret(TOKEN)))
    begun = time.monotonic()
    with config.set({"service.retry_seconds": 60}), pytest.raises(ServiceError, match=r"refused.*check the URI"):
        await catalog.get_org("acme")
    assert time.monotonic() - begun < 15
    await catalog.close()


async def test_tls_with_what_speaks_none(asked: Asked) -> None:
    catalog = HttpCatalog(asked.server.uri.replace("http:", "https:"), remember(Secret(TOKEN)))
    with pytest.raises(ServiceError, match="TLS"):
        await catalog.get_org("acme")
    await catalog.close()


async def test_no_token_or_a_bad_one(asked: Asked) -> None:
    refused = problem(401, "unknown token", "AuthenticationError")
    found = await asked.fails(refused)
    assert isinstance(found, AuthenticationError)
    assert "unknown token" in str(found)
    assert "ARRAYLAKE_TOKEN" in str(found)
    assert len(asked.server.requests) == 1


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name not in ("ServiceError", "AuthenticationError")])
async def test_errors_are_those_that_the_service_raised(asked: Asked, name: str) -> None:
    found = await asked.fails(problem(409, f"this is a {name}", name, paths={"a/b": ["deleted", "changed"]}))
    assert type(found) is getattr(errors, name)
    assert str(found) == f"this is a {name}"
    if name == "CommitConflictError":
        assert found.paths == {"a/b": ["deleted", "changed"]}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "step",
    [
        answer(418, {"detail": "a teapot"}, x_request_id="abc"),
        answer(409, {"detail": [{"loc": "x"}], "error": "Mapping"}, x_request_id="abc"),
        answer(409, {"detail": "?", "error": "__builtins__"}, x_request_id="abc"),
        answer(403, HTML, content_type="text/html", x_request_id="abc"),
        answer(404, b"[" * 100_000, x_request_id="abc"),
        answer(400, {"detail": 5, "error": ["no", "name"]}, x_request_id="abc"),
        answer(302, b"", location="http://127.0.0.1:1/elsewhere", x_request_id="abc"),
    ],
)
async def test_other_failures_say_what_to_do(asked: Asked, step: bytes) -> None:
    found = await asked.fails(step)
    assert type(found) is ServiceError
    assert (found.status, found.request_id) == (int(step[9:12]), "abc")
    assert asked.server.uri in str(found)
    assert len(asked.server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(asked: Asked, status: int) -> None:
    with misbehaving_server(FOUND) as other:
        await asked.fails(answer(status, b"", location=f"{other.uri}/orgs/acme"))
        assert other.requests == []


@pytest.mark.parametrize(
    "step",
    [
        answer(200, HTML, content_type="text/html"),
        answer(200, b""),
        answer(200, b"{"),
        answer(200, b"\xff\xfe"),
        answer(200, b"[" * 100_000),
        answer(200, [1, 2]),
        answer(200, {**ORG, "name": 5}),
        answer(204, b""),
        answer(304, b""),
    ],
)
async def test_answers_that_are_none(asked: Asked, step: bytes) -> None:
    found = await asked.fails(step)
    assert isinstance(found, ServiceError)
    assert len(asked.server.requests) == 1


@pytest.mark.parametrize(
    "step", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000, b"\0" * 100_000]
)
async def test_what_is_no_http(asked: Asked, step: bytes) -> None:
    assert isinstance(await asked.fails(step), ServiceError)


async def test_p25_an_endless_answer_is_given_up_at_once(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "_LARGEST_ANSWER", 1_000_000)
    sent = []

    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"[" * 65536)
            sent.append(65536)
            await writer.drain()

    found = await asked.fails(endless)
    assert isinstance(found, ServiceError)
    assert "larger" in str(found)
    assert len(asked.server.requests) == 1
    assert sum(sent) < 50_000_000


async def test_p25_an_answer_that_drips_for_ever_is_given_up(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "_WHOLE_ANSWER", 3)

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.1)

    with config.set({"service.timeout": 0.4}):
        assert "service.timeout" in str(await asked.fails(drip))


async def test_p10_who_is_cancelled_tells_no_token(asked: Asked) -> None:
    asked.answers(SILENCE)
    with config.set({"service.timeout": 30}), pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(0.3):
            await asked.catalog.get_org("acme")
    assert caught.value.__cause__ is not None
    assert "transport to" in own_variables(caught.value.__cause__)
    assert "CANARY" not in own_variables(caught.value.__cause__)


def test_p27_each_loop_has_a_session_and_none_is_left_open() -> None:
    """With every warning an error: loops one after another, in threads at once, the client's own, a fork, and nothing closed."""
    script = """
        import asyncio, os, sys, warnings
        from concurrent.futures import ThreadPoolExecutor
        from arraylake_core import Client
        from arraylake_core.catalog import catalog_from_uri
        from arraylake_core.secret import Secret
        token = "ema_" + "x" * 20
        catalog = catalog_from_uri(sys.argv[1], Secret(token))

        async def some(_=None):
            return [found.name for found in await asyncio.gather(*(catalog.get_org("acme") for _ in range(5)))]

        asyncio.run(some())
        asyncio.run(some())
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: asyncio.run(some()), range(8)))
        client = Client(sys.argv[1], token=token)

        async def notebook():
            await some()
            return client._aio and await asyncio.to_thread(client.list_orgs)

        asyncio.run(notebook())
        client.list_orgs()
        if hasattr(os, "fork"):
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
            if child == 0:
                asyncio.run(some())
                client.list_orgs()
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        client.list_orgs()
        print("done")
    """

    with misbehaving_server(FOUND) as server:

        async def either(writer: asyncio.StreamWriter) -> None:
            writer.write(answer(200, [ORG]) if server.requests[-1].target == "/user/orgs" else FOUND)

        server.script[:] = [either]
        words = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), server.uri]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("done\n", "")


def test_p26_a_process_asks_a_service_once_for_credentials_that_last() -> None:
    minted = {"type": "s3", "aws_access_key_id": "AK", "aws_secret_access_key": "CANARY", "expiration": "2999-01-01T00:00:00Z"}
    with misbehaving_server(answer(200, minted)) as server:
        handle = catalog_from_uri(server.uri, Secret(TOKEN)).handle
        assert handle.startswith(f"{server.uri}#")
        bucket = BucketResponse(
            id="b", nickname="sea", platform="s3", name="lake", prefix="", extra_config={}, auth_config={}, created=utc_now(),
            updated=utc_now(),
        )  # fmt: skip
        place, registry = Location(platform="s3", bucket="lake", prefix="x"), PluginRegistry({})

        async def many() -> list[object]:
            providers = [bucket_provider(handle, registry, bucket, place, "read", "r" * 24) for _ in range(20)]
            return await asyncio.gather(*(provider.get() for provider in providers))

        with ThreadPoolExecutor(8) as pool:
            found = [one for some in pool.map(lambda _: asyncio.run(many()), range(8)) for one in some]
        assert all(isinstance(one, S3Credentials) and one == found[0] for one in found)
        assert [request.target for request in server.requests] == [f"/repo-ids/{'r' * 24}/credentials?access=read"]


async def test_p11_refs_and_catalogs_pickle_without_the_token(asked: Asked) -> None:
    refs = asked.catalog.coordination("r" * 24)
    for thing in (asked.catalog, refs):
        pickled = pickle.dumps(thing)
        assert b"CANARY" not in pickled
        again = pickle.loads(pickled)
        asked.answers(answer(200, []) if thing is refs else FOUND)
        await (again.list_refs() if thing is refs else again.get_org("acme"))
        assert asked.server.requests[-1].headers["authorization"] == f"Bearer {TOKEN}"
