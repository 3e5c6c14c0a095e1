"""Events reach webhooks, signed, and plugins; whatever receivers and plugins do harms nobody."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web

from arraylake_core import Client
from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import AuthenticationError, InvalidOptionError, NotFoundError
from arraylake_core.events import Event
from arraylake_core.hookspecs import hookimpl
from arraylake_core.plugins import PluginRegistry, default_registry
from arraylake_core.secret import Secret
from arraylake_core.service.settings import ServiceSettings
from arraylake_core.webhooks import verify_signature
from tests.service.conftest import Peopled
from tests.service.running import LOCAL, RunningService, running

SECONDS = 20


@dataclass
class Receiver:
    """A server that takes messages, as it is told to."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def take(self) -> tuple[dict[str, str], bytes]:
        """Return the next message; fails where none comes."""
        assert self.arrived.acquire(timeout=SECONDS), "no message came"
        return self.messages[-1]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    async def receive(request: web.Request) -> web.Response:
        receiver.messages.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        receiver.arrived.release()
        return web.Response(status=receiver.statuses.pop(0) if receiver.statuses else 204)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def on_loop(work):
        return asyncio.run_coroutine_threadsafe(work, loop).result(SECONDS)

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app)
    on_loop(runner.setup())
    on_loop(web.TCPSite(runner, "127.0.0.1", 0).start())
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    on_loop(runner.cleanup())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(SECONDS)
    loop.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def hook(peopled: Peopled, receiver: Receiver, events: list[str] | None = None) -> Secret:
    answer = peopled.service.ask(
        "POST", "/orgs/acme/webhooks", peopled.tokens["admin"], body={"url": receiver.url, "events": events or []}
    )
    assert answer.status == 201, answer.body
    return Secret(answer.json["secret"])


def make_repo(peopled: Peopled, name: str = "ocean", kind: str = "icechunk") -> None:
    service, admin = peopled.service, peopled.tokens["admin"]
    service.ask("POST", "/orgs/acme/buckets", admin, body={"nickname": "mem", "platform": "memory", "name": "lake"})
    made = service.ask("POST", "/orgs/acme/repos", admin, body={"name": name, "kind": kind})
    assert made.status == 201, made.body


def test_a_message_arrives_and_its_signature_fits(peopled: Peopled, receiver: Receiver) -> None:
    secret = hook(peopled, receiver)
    make_repo(peopled)
    headers, body = receiver.take()
    verify_signature(secret, headers, body)
    with pytest.raises(AuthenticationError):
        verify_signature(secret, headers, body.replace(b"ocean", b"other"))
    with pytest.raises(AuthenticationError):
        verify_signature(secret, headers | {"webhook-timestamp": "1000000000"}, body)
    assert b'"type":"repo.created"' in body
    assert b'"repo":"ocean"' in body
    assert b'"principal":"admin@example.org"' in body


def test_only_the_events_that_were_asked_for(peopled: Peopled, receiver: Receiver) -> None:
    hook(peopled, receiver, ["repo.deleted", "v1.commit"])
    make_repo(peopled, kind="v1")
    service, writer = peopled.service, peopled.tokens["writer"]
    reply = service.ask(
        "PUT", "/repos/acme/ocean/refs/branch/main", writer, body={"commit": "c1"}, headers={"If-None-Match": "*"}
    )
    assert reply.status == 201
    assert b'"type":"v1.commit"' in receiver.take()[1]
    service.ask("DELETE", "/orgs/acme/ocean", writer)
    assert b'"type":"repo.deleted"' in receiver.take()[1]
    assert len(receiver.messages) == 2


def test_an_admin_tries_a_webhook_and_sees_what_does_not_arrive(peopled: Peopled, receiver: Receiver) -> None:
    """By the client and by the command line, as admins do; a webhook for one type of event is tried all the same."""
    receiver.statuses = [500]
    with Client(peopled.service.uri, token=peopled.tokens["admin"]) as client:
        made = client.create_webhook("acme", receiver.url, events=["repo.deleted"])
        client.test_webhook("acme", made.id)
        headers, body = receiver.take()
        verify_signature(made.secret, headers, body)
        assert (b'"type":"webhook.test"' in body, b'"principal":"admin@example.org"' in body) == (True, True)
        deadline = time.monotonic() + SECONDS
        while (hook := client.list_webhooks("acme")[0]).problem is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (hook.id, hook.url, hook.events, hook.waiting) == (made.id, receiver.url, ["repo.deleted"], 1)
        assert hook.problem == "it answered 500"
        client.delete_webhook("acme", made.id)
        assert client.list_webhooks("acme") == []
        for call in (client.test_webhook, client.delete_webhook):
            with pytest.raises(NotFoundError, match="has no webhook"):
                call("acme", made.id)
        for url, events in (("http://10.0.0.1/hook", []), (receiver.url, ["webhook.test"])):
            with pytest.raises(InvalidOptionError):
                client.create_webhook("acme", url, events=events)


def test_a_message_that_was_not_taken_is_sent_again_with_the_same_id(
    peopled: Peopled, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arraylake_core.catalog.sql_webhooks.FIRST_WAIT", timedelta(0))
    receiver.statuses = [500, 302]
    hook(peopled, receiver)
    make_repo(peopled)
    for _ in range(3):
        receiver.take()
    assert len({headers["webhook-id"] for headers, _ in receiver.messages}) == 1


def test_p21_what_was_not_changed_is_not_told(peopled: Peopled, receiver: Receiver) -> None:
    hook(peopled, receiver)
    make_repo(peopled)
    receiver.take()
    service, admin = peopled.service, peopled.tokens["admin"]
    assert service.ask("POST", "/orgs/acme/repos", admin, body={"name": "ocean"}).status == 409
    key = {"Idempotency-Key": "a-key-of-sixteen-characters"}
    for _ in range(2):
        assert service.ask("POST", "/orgs/acme/repos", admin, body={"name": "sea"}, headers=key).status == 201
    assert b'"repo":"sea"' in receiver.take()[1]
    service.ask("DELETE", "/orgs/acme/sea", admin)
    assert b'"type":"repo.deleted"' in receiver.take()[1]
    assert len(receiver.messages) == 3


def test_p10_the_secret_is_shown_once_and_sealed(
    peopled: Peopled, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = hook(peopled, receiver).reveal()
    assert secret not in peopled.service.ask("GET", "/orgs/acme/webhooks", peopled.tokens["admin"]).body.decode()
    make_repo(peopled)
    receiver.take()
    for file in tmp_path.rglob("catalog.db*"):
        assert secret.removeprefix("whsec_").encode() not in file.read_bytes()
    assert secret not in caplog.text


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1/", "https://169.254.169.254/latest/meta-data", "ftp://example.org/", "http://93.184.215.14/"]
)
def test_p16_a_webhook_never_leads_inside(peopled: Peopled, url: str) -> None:
    answer = peopled.service.ask("POST", "/orgs/acme/webhooks", peopled.tokens["admin"], body={"url": url})
    assert answer.status == 422
    assert peopled.service.ask("GET", "/orgs/acme/webhooks", peopled.tokens["admin"]).json == []


def test_p16_a_url_that_came_to_lead_inside_is_not_called(tmp_path: Path, receiver: Receiver) -> None:
    """Allowed when it was made, not any more when the message is sent."""
    catalog = SqlCatalog(file_home(tmp_path / "catalog.db"))

    async def make() -> None:
        await catalog.create_webhook("me", receiver.url)

    asyncio.run(make())
    with running(catalog, ServiceSettings(authenticated=False)) as service:
        assert service.ask("POST", "/orgs/me/repos", body={"name": "ocean"}).status == 201
        while not (found := service.run(_problems(service))):
            pass
        assert "public" in found[0] or "https" in found[0]
    assert receiver.messages == []


async def _problems(service: RunningService) -> list[str]:
    from sqlalchemy import select

    from arraylake_core.catalog.tables import deliveries

    async with service.catalog._read() as connection:
        return [problem for problem in (await connection.scalars(select(deliveries.c.problem))).all() if problem]


class Listener:
    """A plugin that listens, and then misbehaves."""

    def __init__(self, failure: BaseException) -> None:
        self.failure, self.heard, self.called = failure, [], threading.Semaphore(0)

    @hookimpl
    def arraylake_on_event(self, event: Event) -> None:
        self.heard.append(event.type)
        self.called.release()
        raise self.failure


@pytest.mark.parametrize("failure", [ValueError("CANARY"), SystemExit(3), asyncio.CancelledError("CANARY"), KeyboardInterrupt()])
def test_p25_plugins_hear_of_events_and_their_faults_harm_nobody(
    tmp_path: Path, failure: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(failure)
    installed = {info.name: __import__(info.module) for info in default_registry().plugins()}
    registry = PluginRegistry({**installed, "listener": listener})
    settings = ServiceSettings(authenticated=False, allow_networks=LOCAL)
    with running(SqlCatalog(file_home(tmp_path / "catalog.db")), settings, registry) as service:
        for name in ("ocean", "sea"):
            assert service.ask("POST", "/orgs/me/repos", body={"name": name}).status == 201
            assert listener.called.acquire(timeout=SECONDS)
    assert listener.heard == ["repo.created"] * 2
    assert "CANARY" not in caplog.text


class Hanging:
    """A plugin that never comes back from an event."""

    def __init__(self) -> None:
        self.called, self.release = threading.Semaphore(0), threading.Event()

    @hookimpl
    def arraylake_on_event(self, event: Event) -> None:
        self.called.release()
        self.release.wait(60)


def test_p25_a_plugin_that_hangs_keeps_no_other_from_hearing(tmp_path: Path) -> None:
    hanging, listener = Hanging(), Listener(ValueError())
    installed = {info.name: __import__(info.module) for info in default_registry().plugins()}
    registry = PluginRegistry({**installed, "a-hanging": hanging, "listener": listener, "z-hanging": hanging})
    with running(SqlCatalog(file_home(tmp_path / "catalog.db")), ServiceSettings(authenticated=False), registry) as service:
        for name in ("ocean", "sea"):
            assert service.ask("POST", "/orgs/me/repos", body={"name": name}).status == 201
            assert listener.called.acquire(timeout=SECONDS)
        assert all(hanging.called.acquire(timeout=SECONDS) for _ in range(2))
        hanging.release.set()


def test_p25_a_secret_that_cannot_be_read_stops_no_other_message(peopled: Peopled, receiver: Receiver) -> None:
    hook(peopled, receiver)
    peopled.service.run(_damage_secrets(peopled.service))
    secret = hook(peopled, receiver)
    make_repo(peopled)
    verify_signature(secret, *receiver.take())
    while not (found := peopled.service.run(_problems(peopled.service))):
        pass
    assert len(found) == 1
    assert "secret can't be read" in found[0]
    assert len(receiver.messages) == 1


async def _damage_secrets(service: RunningService) -> None:
    from sqlalchemy import update

    from arraylake_core.catalog.tables import webhooks

    async with service.catalog._write() as connection:
        await connection.execute(update(webhooks).values(secret=b"damaged"))


def test_p25_a_slow_name_server_keeps_no_other_change_waiting(peopled: Peopled, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered, lookup = threading.Event(), threading.Event(), socket.getaddrinfo

    def slow(host: str, *rest: object, **more: object) -> object:
        if host != "slow.example.org":
            return lookup(host, *rest, **more)
        asked.set()
        answered.wait(SECONDS)
        raise socket.gaierror(socket.EAI_NONAME, "no such host")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    admin = peopled.tokens["admin"]
    bodies = {
        "/orgs/acme/webhooks": {"url": "https://slow.example.org/"},
        "/orgs/acme/buckets": {
            "nickname": "slow",
            "platform": "s3",
            "name": "lake",
            "extra_config": {"endpoint_url": "https://slow.example.org"},
        },
    }
    for path, body in bodies.items():
        asked.clear()
        answered.clear()
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(peopled.service.ask, "POST", path, admin, body=body)
            assert asked.wait(SECONDS)
            email = f"{path.rpartition('/')[2]}@example.org"
            member = {"email": email, "role": "reader"}
            assert peopled.service.ask("PUT", "/orgs/acme/members", admin, body=member).status == 200
            assert not waiting.done()
            answered.set()
            assert waiting.result().status == 422
