"""Identity providers, and people, who try for more than is theirs: by a login, and by what a login leads to."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from arraylake_core import config
from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import InvalidNameError, InvalidOptionError
from arraylake_core.people import Role
from arraylake_core.service.oidc.issuers import Issuer
from arraylake_core.service.settings import ServiceSettings, settings_from_config
from tests.servers.bad_issuer import BadIssuer, bad_issuer
from tests.service.conftest import Template
from tests.service.running import LOCAL, RunningService, running

ROLES = {"lake-admins": {"acme": Role.Admin}, "lake-writers": {"acme": Role.Writer}}


@pytest.fixture
def catalog(populated: Template, tmp_path: Path) -> SqlCatalog:
    return populated.copied_to(tmp_path / "catalog")


@pytest.fixture
def issuer() -> Iterator[BadIssuer]:
    with bad_issuer() as found:
        yield found


def settings(*issuers: Issuer, allow: tuple[str, ...] = LOCAL) -> ServiceSettings:
    return ServiceSettings(issuers=issuers, allow_networks=allow, principal_seconds=0.0, domain="lake.example.org")


@pytest.fixture
def service(catalog: SqlCatalog, issuer: BadIssuer) -> Iterator[RunningService]:
    with running(catalog, settings(Issuer(issuer=issuer.issuer, client_id="cli", roles=ROLES))) as found:
        yield found


def roles_of(service: RunningService, token: str) -> dict[str, str | None]:
    answer = service.ask("GET", "/user/principal", token)
    assert answer.status == 200, answer.body
    return dict(answer.json["roles"])


def test_p20_a_provider_of_one_organization_makes_no_operator_s_token(catalog: SqlCatalog, issuer: BadIssuer) -> None:
    """It says that somebody is the operator: what that login makes is for the organization, and for nobody else."""
    entry = Issuer(issuer=issuer.issuer, client_id="cli", org="acme", domains=("example.org",), roles=ROLES)
    with running(catalog, settings(entry)) as service:
        service.run(catalog.ensure_user("root@example.org", operator=True))
        service.member("rival", "boss@example.org", Role.Admin)
        login = issuer.token(email="root@example.org", sub="root", groups=["lake-admins"])
        path = "/orgs/acme/api-clients"
        assert service.ask("POST", path, login, body={"name": "all", "role": "admin", "operator": True}).status == 403
        assert service.ask("POST", path, login, body={"name": "hers", "email": "boss@example.org"}).status == 403
        issued = service.ask("POST", path, login, body={"name": "mine", "role": "admin"})
        assert issued.status == 201, issued.body
        found = service.ask("GET", "/user/principal", issued.json["token"]).json
        assert (found["operator"], found["roles"]) == (False, {"acme": "admin"})
        assert service.ask("GET", "/orgs/rival/buckets", issued.json["token"]).status == 404


def test_p20_a_role_that_was_taken_away_does_not_come_back_with_an_older_token(
    catalog: SqlCatalog, issuer: BadIssuer, tmp_path: Path
) -> None:
    """Which still holds, and which another replica, or this one after a restart, has never seen."""
    entry = Issuer(issuer=issuer.issuer, client_id="cli", roles=ROLES)
    unused, former = issuer.token(groups=["lake-admins"], jti="1"), issuer.token(groups=["lake-admins"])
    with running(catalog, settings(entry)) as service:
        assert roles_of(service, former) == {"acme": "admin"}
        assert roles_of(service, issuer.token(groups=[])) == {"acme": None}
        assert roles_of(service, unused) == {"acme": None}
    with running(SqlCatalog(file_home(tmp_path / "catalog" / "catalog.db")), settings(entry)) as another:
        assert roles_of(another, former) == {"acme": None}
        # Nor does somebody whom an admin has removed since.
        person = another.ask("GET", "/user/principal", former).json["user_id"]
        another.run(another.catalog.remove_member("acme", person))
    with running(SqlCatalog(file_home(tmp_path / "catalog" / "catalog.db")), settings(entry)) as third:
        assert roles_of(third, former) == {}


def test_many_requests_begin_with_one_new_login(service: RunningService, issuer: BadIssuer) -> None:
    token = issuer.token(groups=["lake-writers"])

    async def all_at_once() -> list[int]:
        return list(
            await asyncio.gather(*(asyncio.to_thread(lambda: service.ask("GET", "/user", token).status) for _ in range(8)))
        )

    assert asyncio.run(all_at_once()) == [200] * 8
    assert roles_of(service, token) == {"acme": "writer"}
    assert issuer.asked("/jwks") == 1


def test_p4_a_token_that_has_just_expired_is_taken_every_time_or_never(service: RunningService, issuer: BadIssuer) -> None:
    """Within the 60 s by which clocks may differ it holds, whether the service has seen it before or not."""
    now = float(str(issuer.claims()["iat"]))
    late = issuer.token(iat=now - 3600, exp=now - 20)
    assert [service.ask("GET", "/user", late).status for _ in range(3)] == [200] * 3
    later = issuer.token(iat=now - 3600, exp=now - 61)
    assert [service.ask("GET", "/user", later).status for _ in range(3)] == [401] * 3


@pytest.mark.parametrize("claims", [{"exp": 10**400}, {"exp": "9e9"}, {"iat": None}, {"nbf": "soon"}, {"exp": float("inf")}])
def test_p25_times_that_are_none_are_refused(service: RunningService, issuer: BadIssuer, claims: dict[str, object]) -> None:
    answer = service.ask("GET", "/user", issuer.token(**claims))
    assert answer.status == 401, answer.body


def test_a_provider_that_does_not_answer_is_no_fault_of_the_token(service: RunningService, issuer: BadIssuer) -> None:
    """503, which clients repeat, rather than 401, for which they would throw a good login away; and it is asked once, whoever calls."""
    issuer.told["/.well-known/openid-configuration"] = (500, {"error": "CANARY"})
    for _ in range(5):
        for answer in (
            service.ask("GET", "/user", issuer.token()),
            service.ask("GET", "/auth/config?target=client"),
            service.ask("POST", "/oauth/device/code", raw=b"client_id=cli"),
        ):
            assert answer.status == 503, answer.body
            assert "try again" in answer.detail
            assert b"CANARY" not in answer.body
    assert issuer.asked("/.well-known/openid-configuration") == 1


def test_the_relay_says_so_where_the_provider_breaks(service: RunningService, issuer: BadIssuer) -> None:
    form = b"client_id=cli&grant_type=refresh_token&refresh_token=r"
    for told, expected in (((302, {}), 503), ((500, {"error": "server_error"}), 503), ((400, {"error": "invalid_grant"}), 400)):
        issuer.told["/token"] = told
        assert service.ask("POST", "/oauth/token", raw=form).status == expected
    issuer.told["/token"] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\n<p>"
    assert service.ask("POST", "/oauth/token", raw=form).status == 503


def test_p16_the_metadata_of_a_provider_leads_nowhere_inside(catalog: SqlCatalog, issuer: BadIssuer) -> None:
    """The operator allowed the provider's host; its metadata names an address, which nobody resolves."""
    by_name = issuer.issuer.replace("127.0.0.1", "localhost")
    issuer.told["metadata"] = {"issuer": by_name}
    with running(catalog, settings(Issuer(issuer=by_name, client_id="cli"), allow=("localhost",))) as service:
        assert service.ask("GET", "/user", issuer.token(iss=by_name)).status == 503
        form = b"client_id=cli&grant_type=refresh_token&refresh_token=r"
        assert service.ask("POST", "/oauth/token", raw=form).status == 503
    assert issuer.asked("/jwks") == issuer.asked("/token") == 0


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([{"org": "acme", "domains": ["example.org"]}, {"issuer": "https://b.example.org"}], "same client_id"),
        ([{"domains": ["x.org"]}, {"issuer": "https://b.example.org", "client_id": "b", "domains": ["x.org"]}], "both speak for"),
        (
            [
                {"org": "acme", "domains": ["x.org"]},
                {"issuer": "https://b.example.org", "client_id": "b", "org": "acme", "domains": ["y.org", "x.org"]},
            ],
            "both speak for x.org",
        ),
        ([{"domains": ["x.org"]}, {"client_id": "b", "domains": ["x.org"], "claim": "teams"}], "different roles"),
        ([{"domains": ["x.org"]}, {"client_id": "b", "domains": ["y.org"], "subject": "oid"}], "as subject"),
        (
            [{"roles": {"g": {"acme": "reader"}}}, {"client_id": "b", "org": "acme", "domains": ["x.org"]}],
            "two of its clients",
        ),
        ([{"org": "acme", "domains": ["x.org"], "roles": {"g": {"rival": "admin"}}}], "in others"),
        ([{"domains": ["*.x.org"]}], "whole"),
        ([{"domains": ["org"]}], "whole"),
        ([{"scopes": "email"}], "openid"),
        ([{"roles": {"g": {"../x": "admin"}}}], "organization"),
    ],
)
def test_p8_settings_that_contradict_each_other_keep_the_service_from_starting(
    entries: list[dict[str, object]], says: str
) -> None:
    whole = [{"issuer": "https://a.example.org", "client_id": "a"} | entry for entry in entries]
    with config.set({"service.issuers": whole}), pytest.raises((InvalidOptionError, InvalidNameError), match=says):
        settings_from_config()
