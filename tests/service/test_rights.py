"""What roles, grants, tokens and public repos let a caller do, and that nothing lets it do more."""

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from arraylake_core import Client
from arraylake_core.backends import Access, AuthMethod, Credentials, Location, S3Credentials
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import NotFoundError, PermissionDeniedError, ReadOnlyError
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import Identity, utc_now
from arraylake_core.people import Role
from arraylake_core.plugins import PluginRegistry, default_registry
from arraylake_core.secret import Secret
from arraylake_core.service.settings import ServiceSettings
from tests.service.conftest import KEYS, Peopled, Template
from tests.service.running import LOCAL, running

CANARY = "CANARY-long-lived-key"


class RoleConfig(msgspec.Struct, frozen=True, kw_only=True):
    role: str
    shared_secret: Secret


class Delegated(AuthMethod):
    """Mints keys for a place and a right, as a cloud's token service does, and counts how often."""

    name = "delegated_role"
    config = RoleConfig
    delegated = True

    def __init__(self) -> None:
        self.minted: list[tuple[str, Access, str]] = []

    async def credentials(self, config, location: Location, access: Access, identity: Identity) -> Credentials:
        assert config.shared_secret.reveal() == CANARY
        self.minted.append((location.prefix, access, identity.principal))
        return S3Credentials(
            aws_access_key_id=f"{access}:{location.prefix}",
            aws_secret_access_key=Secret("minted"),
            aws_session_token=Secret("session"),
            expiration=utc_now() + timedelta(hours=1),
        )


class Plugin:
    def __init__(self) -> None:
        self.method = Delegated()

    @hookimpl
    def arraylake_auth_methods(self) -> Iterable[AuthMethod]:
        return [self.method]


@pytest.fixture
def delegated() -> Plugin:
    return Plugin()


@pytest.fixture
def lake(populated: Template, tmp_path: Path, delegated: Plugin) -> Iterator[Peopled]:
    """Two bucket configs: ``keys`` has an hmac key, ``role`` a method that mints; a repo in each, and one of the rival's."""
    installed = {info.name: __import__(info.module) for info in default_registry().plugins()}
    registry = PluginRegistry({**installed, "delegated": delegated})
    settings = ServiceSettings(allow_networks=LOCAL, failures_per_minute=0, principal_seconds=0)
    with running(populated.copied_to(tmp_path), settings, registry) as service:
        service.people |= populated.people
        peopled = Peopled(service, dict(populated.tokens))
        place = {"platform": "s3", "extra_config": {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}}
        role = {"method": "delegated_role", "role": "arn", "shared_secret": CANARY}
        for nickname, auth in (("keys", KEYS), ("role", role)):
            for org, caller in (("acme", "admin"), ("rival", "rival")):
                body = {"nickname": nickname, "name": f"{org}-{nickname}", "auth_config": auth, **place}
                assert service.ask("POST", f"/orgs/{org}/buckets", peopled.tokens[caller], body=body).status == 201
        for org, caller in (("acme", "writer"), ("rival", "rival")):
            for nickname in ("keys", "role"):
                body = {"name": f"in-{nickname}", "bucket_nickname": nickname}
                assert service.ask("POST", f"/orgs/{org}/repos", peopled.tokens[caller], body=body).status == 201
        yield peopled


def test_p12_keys_of_a_delegated_method_never_leave(lake: Peopled, delegated: Plugin) -> None:
    service, admin = lake.service, lake.tokens["admin"]
    repo = service.ask("GET", "/repos/acme/in-role", admin, headers={"client-name": "arraylake-core"}).json
    paths = [
        "/orgs/acme/buckets",
        "/orgs/acme/buckets/role",
        f"/buckets/{repo['bucket']['id']}",
        "/repos/acme/in-role",
        "/repos/acme/in-role/open",
        "/repos/acme/in-role/open?full=true",
        "/repos/acme/in-role/bucket-credentials",
        f"/repo-ids/{repo['_id']}/credentials",
        f"/buckets/{repo['bucket']['id']}/credentials",
        "/orgs/acme/repos/paginated",
        "/orgs/acme/audit",
        "/metrics",
    ]
    for path in paths:
        for headers in ({}, {"client-name": "arraylake-core"}):
            answer = service.ask("GET", path, admin, headers=headers)
            assert answer.status == 200, path
            assert CANARY not in answer.body.decode(), path
    assert service.ask("GET", "/repos/acme/in-role/open", admin).json["repo_credentials"]["aws_session_token"] == "session"
    assert delegated.method.minted


def test_credentials_are_for_the_repos_place_and_the_callers_right(lake: Peopled, delegated: Plugin) -> None:
    service = lake.service
    prefix = service.ask("GET", "/repos/acme/in-role", lake.tokens["admin"]).json["prefix"]
    for caller, access in (("reader", "read"), ("writer", "write")):
        found = service.ask("GET", "/repos/acme/in-role/bucket-credentials", lake.tokens[caller]).json
        assert found["aws_access_key_id"] == f"{access}:{prefix}"
    refused = service.ask("GET", "/repos/acme/in-role/bucket-credentials?access=write", lake.tokens["reader"])
    assert refused.status == 403
    assert service.ask("GET", "/orgs/acme/buckets/role/credentials?access=write", lake.tokens["reader"]).status == 403
    assert service.ask("PUT", "/orgs/acme/in-role/status", lake.tokens["admin"], body={"mode": "maintenance"}).status == 200
    assert service.ask("GET", "/repos/acme/in-role/bucket-credentials?access=write", lake.tokens["writer"]).status == 403
    assert (
        service.ask("GET", "/repos/acme/in-role/open", lake.tokens["writer"])
        .json["repo_credentials"]["aws_access_key_id"]
        .startswith("read:")
    )
    assert service.ask("PUT", "/orgs/acme/in-role/status", lake.tokens["admin"], body={"mode": "offline"}).status == 200
    assert service.ask("GET", "/repos/acme/in-role/open", lake.tokens["writer"]).json["repo_credentials"] is None


def test_p26_the_service_mints_once_for_all_who_ask(lake: Peopled, delegated: Plugin) -> None:
    for _ in range(5):
        lake.service.ask("GET", "/repos/acme/in-role/bucket-credentials", lake.tokens["reader"])
    assert len(delegated.method.minted) == 1


def test_a_grant_opens_one_repo_and_no_keys_of_a_whole_bucket(lake: Peopled) -> None:
    service, admin, rival = lake.service, lake.tokens["admin"], lake.tokens["rival"]
    for repo in ("in-role", "in-keys"):
        grant = service.ask("PUT", f"/repos/acme/{repo}/grants", admin, body={"email": "rival@example.org", "role": "reader"})
        assert grant.status == 200
    # A token is for its own organization; the person's right is on the repo.
    assert service.ask("GET", "/repos/acme/in-role", rival).status == 404
    operator = service.run(service.catalog.ensure_user("rival@example.org"))
    principal = service.run(_principal(service.catalog, operator.id))
    assert principal.role_on("acme", service.ask("GET", "/repos/acme/in-role", admin).json["_id"]) is Role.Reader
    member = lake.tokens["member"]
    assert (
        service.ask("PUT", "/repos/acme/in-role/grants", admin, body={"email": "member@example.org", "role": "writer"}).status
        == 200
    )
    assert (
        service.ask("PUT", "/repos/acme/in-keys/grants", admin, body={"email": "member@example.org", "role": "writer"}).status
        == 200
    )
    assert service.ask("GET", "/repos/acme/in-role/open", member).status == 200
    refused = service.ask("GET", "/repos/acme/in-keys/open", member)
    assert refused.status == 403
    assert "CANARY" not in refused.body.decode()
    shown = service.ask("GET", "/repos/acme/in-keys", member)
    assert shown.status == 200
    assert "CANARY" not in shown.body.decode()
    assert [repo["name"] for repo in service.ask("GET", "/orgs/acme/repos/paginated", member).json["items"]] == [
        "in-keys",
        "in-role",
    ]


async def _principal(catalog: SqlCatalog, user_id: str):
    async with catalog._read() as connection:
        return await catalog._principal_of_user(connection, user_id)


def test_a_public_repo_is_for_everybody_who_is_logged_in(lake: Peopled) -> None:
    service, rival = lake.service, lake.tokens["rival"]
    with Client(service.uri, token=lake.tokens["admin"]) as client:
        client.set_repo_visibility("acme/in-role", public=True)
    assert service.ask("GET", "/repos/acme/in-role", rival).status == 200
    opened = service.ask("GET", "/repos/acme/in-role/open", rival)
    assert opened.json["repo_credentials"]["aws_access_key_id"].startswith("read:")
    assert service.ask("PATCH", "/orgs/acme/in-role", rival, body={"description": "mine"}).status == 403
    assert service.ask("GET", "/repos/acme/in-role").status == 401
    assert service.ask("GET", "/orgs/acme", rival).status == 404
    with Client(service.uri, token=lake.tokens["admin"]) as client:
        client.set_repo_visibility("acme/in-role", public=False)
    assert service.ask("GET", "/repos/acme/in-role", rival).status == 404


def test_a_token_for_one_repo_sees_no_other(lake: Peopled) -> None:
    service = lake.service
    with Client(service.uri, token=lake.tokens["admin"]) as client:
        token = client.create_token("acme", "one", repos=["acme/in-role"]).token.reveal()
    assert service.ask("GET", "/repos/acme/in-role/open", token).status == 200
    assert service.ask("GET", "/repos/acme/in-keys", token).status == 404
    assert [repo["name"] for repo in service.ask("GET", "/orgs/acme/repos/paginated", token).json["items"]] == ["in-role"]
    for path in ("/orgs/acme/buckets", "/orgs/acme/members", "/orgs/acme/default-bucket"):
        assert service.ask("GET", path, token).status == 403
    assert service.ask("POST", "/orgs/acme/repos", token, body={"name": "more"}).status == 403


def test_a_token_that_is_checked_comes_with_its_times(lake: Peopled) -> None:
    """As official clients ask for their own."""
    token = lake.tokens["reader"]
    found = lake.service.ask("GET", f"/orgs/acme/api-clients/authenticate?token={token}", token).json
    assert (found["email"], found["expiration"]) == ("reader@example.org", None)
    assert found["created"] == next(one["created"] for one in lake.service.ask("GET", "/orgs/acme/api-clients", token).json)


def test_p20_nobody_raises_themselves(lake: Peopled) -> None:
    service, tokens = lake.service, lake.tokens
    writer, admin = tokens["writer"], tokens["admin"]
    # A token beyond its maker's role, or for longer than the token that makes it.
    assert service.ask("POST", "/orgs/acme/api-clients", writer, body={"name": "more", "role": "admin"}).status == 403
    assert (
        service.ask(
            "POST", "/orgs/acme/api-clients", writer, body={"name": "his", "role": "reader", "email": "admin@example.org"}
        ).status
        == 403
    )
    assert service.ask("POST", "/orgs/acme/api-clients", admin, body={"name": "all", "operator": True}).status == 422
    short = service.token("acme", "writer@example.org", Role.Writer, expires=utc_now() + timedelta(hours=1)).token.reveal()
    longer = service.ask("POST", "/orgs/acme/api-clients", short, body={"name": "longer", "role": "reader"})
    assert longer.status == 403 or longer.json["expiration"] is not None
    # A role, a grant, another organization's token.
    assert service.ask("PUT", "/orgs/acme/members", writer, body={"email": "writer@example.org", "role": "admin"}).status == 403
    assert (
        service.ask("PUT", "/repos/acme/in-role/grants", writer, body={"email": "writer@example.org", "role": "admin"}).status
        == 403
    )
    assert service.ask("PATCH", "/orgs/acme/in-role", writer, body={"visibility": "AUTHENTICATED_PUBLIC"}).status == 403
    assert service.ask("DELETE", f"/orgs/acme/members/{service.people['admin@example.org'].id}", admin).status == 409
    demoted = service.ask("PUT", "/orgs/acme/members", admin, body={"email": "admin@example.org", "role": "reader"})
    assert demoted.status == 409
    # Another organization's bucket config, by its id, for a repo of one's own; and a repo's name taken over by renaming.
    theirs = service.ask("GET", "/orgs/rival/buckets/keys", tokens["rival"]).json["id"]
    stolen = service.ask(
        "POST", "/orgs/acme/repos", writer, body={"name": "stolen", "bucket_id": theirs, "whole_prefix": "x/y", "pending": True}
    )
    assert stolen.status == 404
    taken = service.ask("POST", "/repos/acme/in-role/rename", admin, body={"name": "in-keys"})
    assert taken.status == 409
    # Importing the place of another repo, however it is spelled.
    prefix = service.ask("GET", "/repos/acme/in-role", admin).json["prefix"]
    for spelled in (prefix, f"{prefix}/below", f"{prefix}/"):
        answer = service.ask(
            "POST", "/orgs/acme/repos/import", admin, body={"name": "over", "prefix": spelled, "bucket_nickname": "role"}
        )
        assert answer.status in (409, 422)


def test_p20_what_is_claimed_to_be_generated_must_look_so(lake: Peopled) -> None:
    """Only what was generated is ever deleted when a creation is undone."""
    service, writer = lake.service, lake.tokens["writer"]
    bucket = service.ask("GET", "/orgs/acme/buckets/role", writer).json["id"]
    body = {"name": "trick", "bucket_id": bucket, "whole_prefix": "precious/data", "generated": True, "pending": True}
    assert service.ask("POST", "/orgs/acme/repos", writer, body=body).status == 422


def test_p2_rights_end_at_once_where_nothing_is_remembered(lake: Peopled) -> None:
    service, reader = lake.service, lake.tokens["reader"]
    assert service.ask("GET", "/orgs/acme/buckets", reader).status == 200
    service.member("acme", "reader@example.org", None)
    assert service.ask("GET", "/orgs/acme/buckets", reader).status == 403
    service.run(service.catalog.remove_member("acme", service.people["reader@example.org"].id))
    assert service.ask("GET", "/orgs/acme/buckets", reader).status in (401, 404)


def test_clients_get_the_errors_of_the_catalog(lake: Peopled) -> None:
    with Client(lake.service.uri, token=lake.tokens["reader"]) as client:
        assert client.whoami().email == "reader@example.org"
        with pytest.raises(PermissionDeniedError, match="writer"):
            client.modify_repo("acme/in-role", description="no")
        with pytest.raises(NotFoundError):
            client.get_repo_object("rival/in-role")
        assert [found.full_name for found in client.list_repos("acme")] == ["acme/in-keys", "acme/in-role"]
        assert [org.name for org in client.list_orgs()] == ["acme"]


def test_p26_a_client_process_asks_once_whatever_its_threads_and_loops(lake: Peopled) -> None:
    from arraylake_core.catalog.credentials import bucket_provider
    from arraylake_core.catalog.http import HttpCatalog
    from arraylake_core.catalog.http_tokens import remember

    writer = lake.tokens["writer"]
    assert writer is not None
    catalog = HttpCatalog(lake.service.uri, remember(Secret(writer)))
    place = Location(platform="s3", bucket="acme-role", prefix="x")

    async def ask() -> str:
        repo = await catalog.get_repo("acme", "in-role")
        assert repo.bucket is not None
        provider = bucket_provider(catalog.handle, default_registry(), repo.bucket, place, "write", repo.id)
        return (await provider.get()).aws_access_key_id

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: asyncio.run(ask()), range(24)))
    assert len(set(found)) == 1
    metrics = lake.service.ask("GET", "/metrics").body.decode()
    assert 'arraylake_requests_total{operation="get_credentials_by_repo_id",status="200"} 1.0' in metrics


def test_commits_through_a_service_are_by_whom_the_token_acts_for(lake: Peopled, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    with Client(lake.service.uri, token=lake.tokens["admin"]) as client:
        client.create_bucket_config(org="acme", nickname="disk", uri=f"file://{tmp_path}/lake")
    with Client(lake.service.uri, token=lake.tokens["writer"]) as client:
        for kind in ("icechunk", "v1"):
            repo = client.create_repo(f"acme/by-{kind}", kind=kind, bucket_config_nickname="disk")
            for opened in (repo, client.get_repo(f"acme/by-{kind}")):
                opened.create_group(f"g{id(opened)}") if kind == "v1" else opened.root_group.create_group(f"g{id(opened)}")
                opened.commit("By the writer")
                assert "writer@example.org" in str(opened.commit_log[0].author)


def test_opening_a_repo_takes_one_request(lake: Peopled, tmp_path: Path, delegated: Plugin) -> None:
    """The answer to opening brings the credentials along."""
    from arraylake_core.catalog.http import HttpCatalog
    from arraylake_core.catalog.http_tokens import remember
    from arraylake_core.client.repos import Repos
    from arraylake_core.names import parse_repo_name

    catalog = HttpCatalog(lake.service.uri, remember(Secret(str(lake.tokens["writer"]))))

    async def open_place() -> tuple[str, int]:
        found = await catalog.open_repo(*parse_repo_name("acme/in-role"))
        context = Repos(catalog, default_registry())._context(found.repo, {}, {})
        assert found.credentials is not None
        context.credentials.offer(found.credentials)
        credentials = await context.credentials.get()
        await catalog.close()
        return credentials.aws_access_key_id, len(delegated.method.minted)

    key, minted = asyncio.run(open_place())
    assert key.startswith("write:")
    assert minted == 1
    metrics = lake.service.ask("GET", "/metrics").body.decode()
    assert "get_credentials_by_repo_id" not in metrics


def test_a_reader_opens_what_it_may_read_and_writes_nothing(lake: Peopled, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    with Client(lake.service.uri, token=lake.tokens["admin"]) as client:
        client.create_bucket_config(org="acme", nickname="disk", uri=f"file://{tmp_path}/lake")
        for kind in ("icechunk", "v1"):
            repo = client.create_repo(f"acme/read-{kind}", kind=kind, bucket_config_nickname="disk")
            repo.root_group.create_array("t", shape=(2,), dtype="i4")[:] = [1, 2]
            repo.commit("Two numbers")
    with Client(lake.service.uri, token=lake.tokens["reader"]) as client:
        for kind in ("icechunk", "v1"):
            repo = client.get_repo(f"acme/read-{kind}")
            assert repo.read_only
            assert repo.root_group["t"][:].tolist() == [1, 2]
            with pytest.raises(Exception, match="(?i)read.only"):
                repo.root_group["t"][:] = 3
            with pytest.raises(ReadOnlyError, match="may only read it: ask an admin of acme"):
                repo.commit("No")


def test_the_audit_log_says_what_became_of_whom(lake: Peopled, tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    with Client(lake.service.uri, token=lake.tokens["admin"]) as client:
        client.set_repo_visibility("acme/in-role", public=True)
        client.set_repo_visibility("acme/in-role", public=False)
        client.modify_repo("acme/in-role", description="A repo")
        client.set_grant("acme/in-role", "reader@example.org", "writer")
        client.remove_grant("acme/in-role", "reader@example.org")
        client.remove_member("acme", "Reader@example.org")
        with pytest.raises(NotFoundError, match="reader@example.org is not a member of 'acme'"):
            client.remove_member("acme", "reader@example.org")
        with pytest.raises(NotFoundError, match="reader@example.org is not granted a role on acme/in-role"):
            client.remove_grant("acme/in-role", "reader@example.org")
        client.create_bucket_config(org="acme", nickname="disk", uri=f"file://{tmp_path}/lake")
        repo = client.create_repo("acme/vone", kind="v1", bucket_config_nickname="disk")
        repo.new_tag("begin")
        entries = client.list_audit("acme", size=100).items
    told = [(entry.action, entry.target) for entry in reversed(entries) if "bucket" not in entry.action]
    assert told[-10:] == [
        ("modify_repo", "acme/in-role: public"),
        ("modify_repo", "acme/in-role: private"),
        ("modify_repo", "acme/in-role"),
        ("set_grant", "acme/in-role: reader@example.org is writer"),
        ("remove_grant", "acme/in-role: reader@example.org has no grant"),
        ("remove_member", "acme: reader@example.org is no member"),
        ("create_repo", "acme/vone"),
        ("put_ref", "acme/vone: branch main"),
        ("activate_repo", "acme/vone"),
        ("put_ref", "acme/vone: tag begin"),
    ]


def test_p20_a_container_of_a_repo_opens_no_bucket_that_its_reader_may_not_use(lake: Peopled, delegated: Plugin) -> None:
    """Who has a right on one repo gets credentials for the containers that it has, for just their places, and adds none."""
    service, admin, member = lake.service, lake.tokens["admin"], lake.tokens["member"]
    container = "s3://acme-role/observations"
    change = {"virtual_chunk_containers": {container: "role"}}
    assert service.ask("PATCH", "/orgs/acme/in-role", admin, body=change).status == 200
    grant = {"email": "member@example.org", "role": "admin"}
    assert service.ask("PUT", "/repos/acme/in-role/grants", admin, body=grant).status == 200
    opened = service.ask("GET", "/repos/acme/in-role/open", member).json
    assert opened["virtual_chunk_credentials"][container]["aws_access_key_id"] == "read:observations"
    repo_id = service.ask("GET", "/repos/acme/in-role", member).json["_id"]
    asked = f"/repo-ids/{repo_id}/credentials?access=read&virtual="
    assert service.ask("GET", asked + container, member).json["aws_access_key_id"] == "read:observations"
    assert service.ask("GET", asked + "s3://acme-role/more", member).status == 404
    assert service.ask("GET", asked.replace("read", "write") + container, member).status == 403
    wider = {"virtual_chunk_containers": {"s3://acme-role": "role"}}
    assert service.ask("PATCH", "/orgs/acme/in-role", member, body=wider).status == 403
    path = "/repos/icechunk/acme/in-role/virtual-chunk-containers"
    assert service.ask("PATCH", path, member, body={"add": {"s3://acme-role": "role"}}).status == 403
