"""Logins with identity providers: who is let in, with which rights, and what is refused."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cloudpickle
import pytest
from joserfc.jwk import RSAKey

from arraylake_core import Client, config
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import AuthenticationError, InvalidOptionError
from arraylake_core.login.account import account_of
from arraylake_core.login.provider import LoginSettings
from arraylake_core.login.storage import kept_login
from arraylake_core.login.tokens import TokenSet
from arraylake_core.people import Role
from arraylake_core.secret import Secret
from arraylake_core.service.oidc.issuers import Issuer, parse_issuers
from arraylake_core.service.settings import ServiceSettings, settings_from_config
from tests.servers.bad_issuer import BadIssuer, bad_issuer
from tests.servers.oidc import OidcProvider
from tests.service.conftest import Template
from tests.service.running import LOCAL, RunningService, running

ROLES = {
    "lake-admins": {"acme": Role.Admin},
    "lake-writers": {"acme": Role.Writer, "rival": Role.Reader},
    "lake-readers": {"acme": Role.Reader},
}


@contextmanager
def serving(catalog: SqlCatalog, *issuers: Issuer, allow: tuple[str, ...] = LOCAL) -> Iterator[RunningService]:
    settings = ServiceSettings(issuers=issuers, allow_networks=allow, principal_seconds=0.0, domain="lake.example.org")
    with running(catalog, settings) as service:
        yield service


@pytest.fixture
def catalog(populated: Template, tmp_path: Path) -> SqlCatalog:
    return populated.copied_to(tmp_path / "catalog")


@pytest.fixture
def issuer() -> Iterator[BadIssuer]:
    with bad_issuer() as found:
        yield found


@pytest.fixture
def service(catalog: SqlCatalog, issuer: BadIssuer) -> Iterator[RunningService]:
    with serving(catalog, Issuer(issuer=issuer.issuer, client_id="cli", roles=ROLES)) as found:
        yield found


def who(service: RunningService, token: str) -> dict[str, object]:
    answer = service.ask("GET", "/user/principal", token)
    assert answer.status == 200, answer.body
    return dict(answer.json)


def test_a_login_of_a_certified_provider_is_let_in(catalog: SqlCatalog, oidc_provider: OidcProvider) -> None:
    entry = Issuer(issuer=oidc_provider.issuer, client_id=oidc_provider.client_id, roles=ROLES)
    with serving(catalog, entry) as service:
        found = who(service, oidc_provider.id_token("admin-grace@example.org"))
        assert (found["email"], found["roles"], found["is_token"]) == ("admin-grace@example.org", {"acme": "admin"}, False)
        answer = service.ask("GET", "/auth/config?target=client")
        assert answer.json["issuer"] == oidc_provider.issuer
        assert answer.json["client_id"] == oidc_provider.client_id
        assert answer.json["device_authorization_endpoint"] == f"{oidc_provider.issuer}/device/auth"
        # As official clients see the person: with a UUID and a name.
        person = service.ask("POST", "/auth/update-user", oidc_provider.id_token("admin-grace@example.org"), body={})
        assert person.status == 200
        assert person.json["first_name"] == "admin-grace"
        assert service.ask("GET", "/user", oidc_provider.id_token("unverified@example.org")).status == 401


def test_a_client_works_with_a_login(catalog: SqlCatalog, oidc_provider: OidcProvider, own_home: Path) -> None:
    """Kept for the user of this machine, found by a client without a token, and by the command line."""
    entry = Issuer(issuer=oidc_provider.issuer, client_id=oidc_provider.client_id, roles={"lake-admins": {"acme": Role.Admin}})
    settings = {"login.dir": str(own_home / "logins"), "login.store": "file"}
    account_of.cache_clear()
    with serving(catalog, entry) as service, config.set(settings), Client(service.uri) as client:
        with pytest.raises(AuthenticationError, match="auth login"):
            client.list_repos("acme")
        given = oidc_provider.tokens("admin-grace@example.org")
        kept_login(service.uri).write(
            TokenSet(
                settings=LoginSettings(issuer=oidc_provider.issuer, client_id=oidc_provider.client_id),
                id_token=Secret(str(given["id_token"])),
                refresh_token=Secret(str(given["refresh_token"])),
                expires=4e9,
            )
        )
        client.create_bucket_config(org="acme", nickname="mem", uri="memory://lake")
        repo = client.create_repo("acme/ocean", bucket_config_nickname="mem", kind="v1")
        repo.root_group.attrs["by"] = "a person"
        repo.commit("By a login")
        assert repo.commit_log[0].author.email == "admin-grace@example.org"
    account_of.cache_clear()


_WORKER = """
import pickle, sys
print(*[org.name for org in pickle.load(sys.stdin.buffer).list_orgs()])
"""


@pytest.fixture
def kept(issuer: BadIssuer, service: RunningService, own_home: Path) -> Iterator[Callable[..., TokenSet]]:
    """Keep a login to the service, as if it held until 2096, whatever its token says."""

    def keep(token: str) -> TokenSet:
        tokens = TokenSet(
            settings=LoginSettings(issuer=issuer.issuer, client_id="cli"),
            id_token=Secret(token),
            refresh_token=Secret("CANARY-refresh"),
            expires=4e9,
        )
        kept_login(service.uri).prepare()
        kept_login(service.uri).write(tokens)
        return tokens

    account_of.cache_clear()
    with config.set({"login.dir": str(own_home / "logins"), "login.store": "file"}):
        yield keep
    account_of.cache_clear()


def test_p7_a_login_that_the_service_refuses_is_renewed_once_and_the_request_repeated(
    issuer: BadIssuer, service: RunningService, kept: Callable[..., TokenSet]
) -> None:
    old = int(time.time()) - 7200
    kept(issuer.token(groups=["lake-admins"], iat=old, exp=old + 3600))
    issuer.told["/token"] = (200, {"id_token": issuer.token(groups=["lake-admins"]), "refresh_token": "CANARY-second"})
    with Client(service.uri) as client:
        assert list(client.list_repos("acme")) == []
        assert list(client.list_repos("acme")) == []
    assert issuer.asked("/token") == 1
    found = kept_login(service.uri).read()
    assert found is not None
    assert found.refresh_token == Secret("CANARY-second")


def test_p11_a_client_that_is_pickled_has_no_login_in_it_and_finds_that_of_its_user(
    issuer: BadIssuer, service: RunningService, kept: Callable[..., TokenSet], own_home: Path
) -> None:
    token = issuer.token(groups=["lake-admins"])
    kept(token)
    with Client(service.uri) as client:
        expected = [org.name for org in client.list_orgs()]
        for dumps in (pickle.dumps, cloudpickle.dumps):
            handed = dumps(client)
            assert b"CANARY" not in handed
            assert not [start for start in range(len(token) - 11) if token[start : start + 12].encode() in handed]
    assert "acme" in expected

    def work() -> subprocess.CompletedProcess[bytes]:
        environment = os.environ | {"ARRAYLAKE_LOGIN__DIR": str(own_home / "logins"), "ARRAYLAKE_LOGIN__STORE": "file"}
        return subprocess.run(
            [sys.executable, "-c", _WORKER], input=handed, capture_output=True, timeout=120, env=environment, check=False
        )

    assert work().stdout.decode().split() == expected
    kept_login(service.uri).delete()
    without = work()
    assert without.returncode != 0
    assert b"auth login" in without.stderr


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (BadIssuer.unsigned, "proves nothing"),
        (BadIssuer.shared_secret, "proves nothing"),
        (lambda issuer: issuer.token(key=issuer.stranger()), "not by a key"),
        (lambda issuer: issuer.token(iss="https://other.example.org"), "does not know"),
        (lambda issuer: issuer.token(aud="another"), "does not know"),
        (lambda issuer: issuer.token(aud=["cli", "another"]), "for another client"),
        (lambda issuer: issuer.token(azp="another"), "for another client"),
        (lambda issuer: issuer.token(aud=["cli", "another"], azp="another"), "for another client"),
        (lambda issuer: issuer.token(exp=1), "has expired"),
        (lambda issuer: issuer.token(nbf=9e9), "not valid yet"),
        (lambda issuer: issuer.token(iat=9e9), "not valid yet"),
        (lambda issuer: issuer.token(email_verified=False), "not verified"),
        (lambda issuer: issuer.token(email_verified="true"), "not verified"),
        (lambda issuer: issuer.token(email=None), "no e-mail address"),
        (lambda issuer: issuer.token(email="ada"), ""),
        (lambda issuer: issuer.token(header={"jwk": issuer.stranger().as_dict()}, key=issuer.stranger()), "not by a key"),
        (lambda issuer: "a.b.c", ""),
        (lambda issuer: "....", ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_p4_a_token_that_does_not_hold_is_refused(issuer: BadIssuer, service: RunningService, make, says: str) -> None:
    answer = service.ask("GET", "/user", make(issuer))
    assert answer.status == 401, answer.body
    assert says in answer.detail
    members = service.run(service.catalog.list_members("acme"))
    assert "ada@example.org" not in [member.email for member in members]


def test_p4_unknown_key_ids_make_the_service_ask_once(issuer: BadIssuer, service: RunningService) -> None:
    assert service.ask("GET", "/user", issuer.token()).status == 200
    for number in range(20):
        key = RSAKey.generate_key(2048, {"kid": f"made-up-{number}"}) if number < 2 else issuer.keys[0]
        assert service.ask("GET", "/user", issuer.token(key=key, header={"kid": f"made-up-{number}"})).status == 401
    assert issuer.asked("/jwks") == 1


def test_p4_keys_are_rotated_while_the_service_runs(
    issuer: BadIssuer, service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arraylake_core.service.oidc.keys._AT_MOST_EVERY", 0.0)
    assert service.ask("GET", "/user", issuer.token()).status == 200
    old = issuer.keys[0]
    issuer.keys = [RSAKey.generate_key(2048, {"kid": "second"})]
    assert service.ask("GET", "/user", issuer.token()).status == 200
    assert service.ask("GET", "/user", issuer.token(key=old, sub="again")).status == 401
    assert issuer.asked("/jwks") >= 2


def test_claims_give_roles_and_take_away_only_what_they_gave(issuer: BadIssuer, service: RunningService) -> None:
    assert who(service, issuer.token(groups=["lake-writers"]))["roles"] == {"acme": "writer", "rival": "reader"}
    assert who(service, issuer.token(groups=["lake-admins", "others"]))["roles"] == {"acme": "admin", "rival": None}
    assert who(service, issuer.token(groups="lake-readers"))["roles"] == {"acme": "reader", "rival": None}
    # What an admin gave stays.
    service.member("acme", "ada@example.org", Role.Admin)
    assert who(service, issuer.token(groups=[]))["roles"]["acme"] == "admin"
    audit = service.run(service.catalog.list_audit("acme"))
    assert [entry.action for entry in audit.items].count("log_in") == 3


def test_p20_the_last_admin_stays_one_whatever_claims_say(issuer: BadIssuer, service: RunningService) -> None:
    who(service, issuer.token(groups=["lake-admins"]))
    for member in service.run(service.catalog.list_members("acme")):
        if member.email != "ada@example.org":
            service.run(service.catalog.remove_member("acme", member.id))
    assert who(service, issuer.token(groups=[]))["roles"]["acme"] == "admin"


def test_p20_a_provider_of_one_organization_speaks_for_it_alone(catalog: SqlCatalog, issuer: BadIssuer) -> None:
    """Whatever it says of operators, admins of others, and people of other domains."""
    entry = Issuer(issuer=issuer.issuer, client_id="cli", org="acme", domains=("example.org",), roles=ROLES)
    with serving(catalog, entry) as service:
        service.run(service.catalog.ensure_user("root@example.org", operator=True))
        found = who(service, issuer.token(email="root@example.org", sub="root", groups=["lake-writers"]))
        assert (found["operator"], found["roles"]) == (False, {"acme": "writer"})
        rival = who(service, issuer.token(email="rival@example.org", sub="rival"))
        assert rival["roles"] == {}
        assert service.ask("GET", "/orgs/rival/buckets", issuer.token(email="rival@example.org", sub="rival")).status == 404
        answer = service.ask("GET", "/user", issuer.token(email="boss@rival.example.com"))
        assert answer.status == 401
        assert "does not speak for" in answer.detail
        for call in (("POST", "/orgs", {"name": "mine"}), ("GET", "/orgs/rival/buckets", None)):
            token = issuer.token(email="root@example.org", sub="root")
            assert service.ask(call[0], call[1], token, body=call[2]).status in (403, 404)


def test_p2_a_login_loses_what_its_person_loses(issuer: BadIssuer, service: RunningService) -> None:
    token = issuer.token(groups=["lake-writers"])
    assert who(service, token)["roles"]["acme"] == "writer"
    person = who(service, token)["user_id"]
    service.run(service.catalog.remove_member("acme", str(person)))
    assert "acme" not in who(service, token)["roles"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_p16_an_issuer_in_the_service_s_own_network_is_not_asked(catalog: SqlCatalog, issuer: BadIssuer, host: str) -> None:
    entry = Issuer(issuer=issuer.issuer.replace("127.0.0.1", host), client_id="cli")
    with serving(catalog, entry, allow=()) as service:
        assert service.ask("GET", "/user", issuer.token(iss=entry.issuer)).status == 503
        assert service.ask("GET", "/auth/config?target=client").status == 503
        assert service.ask("POST", "/oauth/device/code", raw=b"client_id=cli").status == 503
    assert issuer.server.requests == []


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([{"issuer": "https://a.example.org"}], "client_id"),
        ([{"issuer": "http://a.example.org", "client_id": "x"}], "https://"),
        ([{"issuer": "https://u:CANARY@a.example.org", "client_id": "x"}], "without user"),
        ([{"issuer": "https://a.example.org", "client_id": "x", "colour": 1}], "colour"),
        ([{"issuer": "https://a.example.org", "client_id": "x", "org": "acme"}], "domains"),
        ([{"issuer": "https://a.example.org", "client_id": "x", "roles": {"g": {"acme": "owner"}}}], "owner"),
        ([{"issuer": "https://a.example.org", "client_id": "x"}] * 2, "twice"),
        ([{"issuer": f"https://{name}.example.org", "client_id": "x"} for name in "ab"], "domains"),
        (["https://a.example.org"], "object"),
    ],
)
def test_p8_wrong_issuers_keep_the_service_from_starting(entries: list[object], says: str) -> None:
    with config.set({"service.issuers": entries}), pytest.raises(InvalidOptionError, match=says):
        settings_from_config()
    with pytest.raises(InvalidOptionError):
        parse_issuers(entries)


def test_without_a_provider_api_tokens_are_the_way_in(catalog: SqlCatalog, issuer: BadIssuer, own_home: Path) -> None:
    with serving(catalog) as service:
        assert service.ask("GET", "/auth/config?target=client").json["issuer"] is None
        assert service.ask("GET", "/user", issuer.token()).status == 401
        assert service.ask("POST", "/oauth/token", raw=b"client_id=cli&grant_type=refresh_token").status == 422
        with Client(service.uri) as client, pytest.raises(AuthenticationError, match="no identity provider"):
            client.login()


def test_official_clients_log_in_through_the_service(catalog: SqlCatalog, oidc_provider: OidcProvider) -> None:
    """They post forms to /oauth/device/code and /oauth/token of the service's own domain; both are passed on, and nothing else is."""
    entry = Issuer(issuer=oidc_provider.issuer, client_id=oidc_provider.client_id)
    with serving(catalog, entry) as service:
        code = service.ask("POST", "/oauth/device/code", raw=b"client_id=cli&scope=email+openid+profile+offline_access")
        assert code.status == 200, code.body
        # What a provider may leave out, and official clients need.
        assert code.json["interval"] == 5
        assert code.json["verification_uri_complete"].startswith(oidc_provider.issuer)
        form = f"grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=cli&device_code={code.json['device_code']}"
        pending = service.ask("POST", "/oauth/token", raw=form.encode())
        assert (pending.status, pending.json["error"]) == (400, "authorization_pending")
        refresh = (
            f"grant_type=refresh_token&client_id=cli&refresh_token={oidc_provider.tokens('ada@example.org')['refresh_token']}"
        )
        renewed = service.ask("POST", "/oauth/token", raw=refresh.encode())
        assert renewed.status == 200
        assert service.ask("GET", "/user", renewed.json["id_token"]).status == 200
        for refused in (
            b"client_id=another&grant_type=refresh_token",
            b"client_id=cli&grant_type=client_credentials",
            b"client_id=cli&client_id=cli&grant_type=refresh_token",
            b"client_id=cli&grant_type=refresh_token&redirect_uri=https://evil.example.org",
            b"\xff",
            b"",
        ):
            assert service.ask("POST", "/oauth/token", raw=refused).status == 422, refused
        assert service.ask("GET", "/v2/logout?returnTo=https://evil.example.org").status == 204
        statuses = [service.ask("POST", "/oauth/token", raw=b"client_id=x").status for _ in range(80)]
        assert 429 in statuses
