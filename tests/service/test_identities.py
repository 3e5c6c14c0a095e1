"""Who somebody is that logs in: the provider's subject. E-mail addresses change, and are given to others, at the provider."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import to_builtins

from arraylake_core import config
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import InUseError, InvalidOptionError, NotFoundError
from arraylake_core.people import NewToken, Role
from arraylake_core.service.oidc.issuers import Issuer
from arraylake_core.service.settings import ServiceSettings, settings_from_config
from tests.servers.bad_issuer import BadIssuer, bad_issuer
from tests.service.conftest import Template
from tests.service.running import LOCAL, Reply, RunningService, running

ADA, ADA_LATER, BO = "ada@example.org", "ada.lovelace@example.org", "bo@example.org"


@pytest.fixture
def catalog(populated: Template, tmp_path: Path) -> SqlCatalog:
    return populated.copied_to(tmp_path / "catalog")


@pytest.fixture
def issuer() -> Iterator[BadIssuer]:
    with bad_issuer() as found:
        yield found


@pytest.fixture
def another() -> Iterator[BadIssuer]:
    with bad_issuer() as found:
        yield found


def settings(*issuers: Issuer) -> ServiceSettings:
    return ServiceSettings(issuers=issuers, allow_networks=LOCAL, principal_seconds=0.0, failures_per_minute=0)


@pytest.fixture
def service(catalog: SqlCatalog, issuer: BadIssuer) -> Iterator[RunningService]:
    with running(catalog, settings(Issuer(issuer=issuer.issuer, client_id="cli"))) as found:
        yield found


def who(service: RunningService, token: str) -> Reply:
    return service.ask("GET", "/user/principal", token)


def test_p20_an_address_that_is_somebody_else_s_now_does_not_bring_the_former_one_s_rights(
    service: RunningService, issuer: BadIssuer
) -> None:
    service.member("acme", ADA, Role.Admin)
    hers = who(service, issuer.token(sub="ada", email=ADA)).json
    assert hers["roles"] == {"acme": "admin"}
    refused = who(service, issuer.token(sub="another", email=ADA))
    assert (refused.status, "arraylake-core admin forget-login" in refused.detail) == (401, True)
    assert who(service, issuer.token(sub="ada", email=ADA)).json["user_id"] == hers["user_id"]
    # Once she has another address, the former one is free, and comes with nothing.
    assert who(service, issuer.token(sub="ada", email=ADA_LATER)).json["roles"] == {"acme": "admin"}
    his = who(service, issuer.token(sub="another", email=ADA)).json
    assert (his["user_id"] != hers["user_id"], his["roles"], his["operator"]) == (True, {}, False)


def test_p20_who_gets_another_address_keeps_all_that_she_has(service: RunningService, issuer: BadIssuer) -> None:
    service.member("acme", ADA, Role.Admin)
    before = who(service, issuer.token(email=ADA)).json
    made = service.ask("POST", "/orgs/acme/api-clients", issuer.token(email=ADA), body={"name": "mine", "role": "admin"}).json
    after = who(service, issuer.token(email=ADA_LATER)).json
    assert (after["user_id"], after["email"], after["roles"]) == (before["user_id"], ADA_LATER, {"acme": "admin"})
    assert who(service, made["token"]).json["email"] == ADA_LATER
    assert [member.email for member in service.run(service.catalog.list_members("acme"))].count(ADA_LATER) == 1
    # To an address that is another person's here, be it only invited, she does not become that person.
    service.member("rival", BO, Role.Admin)
    taken = who(service, issuer.token(email=BO)).json
    assert (taken["user_id"], taken["email"], taken["roles"]) == (before["user_id"], ADA_LATER, {"acme": "admin"})


def test_p20_the_provider_of_one_organization_neither_becomes_nor_shuts_out_who_logs_in_elsewhere(
    catalog: SqlCatalog, issuer: BadIssuer, another: BadIssuer
) -> None:
    """Both vouch for the same addresses, and the one that speaks for a single organization comes first."""
    entries = (
        Issuer(issuer=issuer.issuer, client_id="cli"),
        Issuer(issuer=another.issuer, client_id="own", org="rival", domains=("example.org",)),
    )
    with running(catalog, settings(*entries)) as service:
        service.member("acme", ADA, Role.Admin)
        service.member("rival", ADA, Role.Reader)
        service.run(catalog.ensure_user(ADA, operator=True))
        claimed = who(service, another.token(aud="own", sub="anybody", email=ADA)).json
        assert (claimed["roles"], claimed["operator"]) == ({"rival": "reader"}, False)
        hers = who(service, issuer.token(sub="ada", email=ADA)).json
        assert (hers["roles"], hers["operator"]) == ({"acme": "admin", "rival": "reader"}, True)
        assert who(service, another.token(aud="own", sub="anybody-else", email=ADA)).status == 401
        # Nor does it say what her address is.
        assert who(service, another.token(aud="own", sub="anybody", email=BO)).json["email"] == ADA
        assert who(service, issuer.token(sub="ada", email=ADA)).json["email"] == ADA


def test_an_organization_has_any_number_of_providers(catalog: SqlCatalog, issuer: BadIssuer, another: BadIssuer) -> None:
    entries = (
        Issuer(issuer=issuer.issuer, client_id="cli", org="acme", domains=("example.org",)),
        Issuer(issuer=another.issuer, client_id="own", org="acme", domains=("example.com",)),
    )
    with config.set({"service.issuers": [to_builtins(entry) for entry in entries]}):
        assert settings_from_config().issuers == entries
    with running(catalog, settings(*entries)) as service:
        service.member("acme", ADA, Role.Writer)
        service.member("acme", "bo@example.com", Role.Reader)
        assert who(service, issuer.token(email=ADA)).json["roles"] == {"acme": "writer"}
        assert who(service, another.token(aud="own", sub="bo", email="bo@example.com")).json["roles"] == {"acme": "reader"}
        assert who(service, another.token(aud="own", sub="ada", email=ADA)).status == 401


def test_p20_an_invitation_is_for_whom_an_issuer_of_that_organization_verifies(
    catalog: SqlCatalog, issuer: BadIssuer, another: BadIssuer
) -> None:
    """Neither an unverified address, nor one that another organization's provider vouches for, comes with what it was invited to."""
    entries = (
        Issuer(issuer=issuer.issuer, client_id="cli", org="acme", domains=("example.org",)),
        Issuer(issuer=another.issuer, client_id="own", org="rival", domains=("example.org",)),
    )
    with running(catalog, settings(*entries)) as service:
        service.member("acme", BO, Role.Writer)
        assert who(service, issuer.token(email=BO, email_verified=False)).status == 401
        assert who(service, another.token(aud="own", sub="bo", email=BO)).json["roles"] == {}
        assert who(service, issuer.token(sub="bo", email=BO)).json["roles"] == {"acme": "writer"}


def test_p20_another_provider_for_the_deployment_takes_nobody_over(
    catalog: SqlCatalog, issuer: BadIssuer, another: BadIssuer, tmp_path: Path
) -> None:
    """An operator replaces the provider: until the operator says that its people are the same, they are not."""
    with running(catalog, settings(Issuer(issuer=issuer.issuer, client_id="cli"))) as service:
        service.member("acme", ADA, Role.Writer)
        before = who(service, issuer.token(email=ADA)).json
        assert service.run(catalog.list_logins("acme", before["user_id"]))[0].issuer == issuer.issuer
    with running(catalog, settings(Issuer(issuer=another.issuer, client_id="cli"))) as service:
        assert who(service, another.token(email=ADA)).status == 401
        assert service.run(catalog.forget_identities(issuer=issuer.issuer)) == 1
        assert who(service, another.token(email=ADA)).json["user_id"] == before["user_id"]


def test_p20_who_may_say_that_somebody_is_the_same_person(catalog: SqlCatalog, issuer: BadIssuer, another: BadIssuer) -> None:
    entries = (
        Issuer(issuer=issuer.issuer, client_id="cli"),
        Issuer(issuer=another.issuer, client_id="own", org="acme", domains=("example.org",)),
    )
    with running(catalog, settings(*entries)) as service:
        service.member("rival", ADA, Role.Admin)
        user_id = service.member("acme", ADA, Role.Reader).user_id
        admin = service.token("acme", "admin@example.org").token.reveal()
        service.run(catalog.ensure_user("root@example.org", operator=True))
        operator = service.run(catalog.create_operator_token("root@example.org", "all")).token.reveal()
        path = f"/orgs/acme/members/{user_id}/logins"
        assert who(service, issuer.token(sub="ada", email=ADA)).status == 200
        # Her login everywhere is not the matter of one organization's admin, who could let another one in as her.
        assert service.ask("GET", path, admin).json == []
        refused = service.ask("DELETE", path, admin)
        assert (refused.status, "operator" in refused.detail) == (404, True)
        assert who(service, another.token(aud="own", sub="ada", email=ADA)).status == 200
        anew = another.token(aud="own", sub="anew", email=ADA)
        assert "org forget-login" in who(service, anew).detail
        (login,) = service.ask("GET", path, admin).json
        assert (login["issuer"], login["subject"], login["org"]) == (another.issuer, "ada", "acme")
        assert service.ask("DELETE", path, admin).status == 204
        assert who(service, anew).json["roles"] == {"acme": "reader"}
        assert [login["org"] for login in service.ask("GET", path, operator).json] == [None, "acme"]
        assert service.ask("DELETE", path, operator).status == 204
        assert who(service, issuer.token(sub="anew", email=ADA)).json["roles"] == {"acme": "reader", "rival": "admin"}
        lines = [entry.target for entry in service.run(catalog.list_audit("acme")).items]
        assert f"{ADA} is anew of {another.issuer} from now on" in lines


def test_p2_a_login_that_is_forgotten_or_of_somebody_removed_ends(service: RunningService, issuer: BadIssuer) -> None:
    catalog = service.catalog
    service.member("acme", ADA, Role.Writer)
    kept, other = issuer.token(email=ADA), issuer.token(email=ADA, sub="other")
    assert who(service, kept).json["roles"] == {"acme": "writer"}
    service.run(catalog.forget_identities(email=ADA))
    assert who(service, other).json["roles"] == {"acme": "writer"}
    assert who(service, kept).status == 401
    service.run(catalog.remove_person(ADA))
    assert who(service, kept).json["roles"] == {}


async def test_p20_the_last_admin_is_not_removed_as_a_person_either(catalog: SqlCatalog) -> None:
    await catalog.create_org("new")
    await catalog.set_member("new", ADA, Role.Admin)
    with pytest.raises(InUseError, match="last admin"):
        await catalog.remove_person(ADA)
    await catalog.set_member("new", BO, Role.Admin)
    token = await catalog.create_token("new", NewToken(name="hers"), email=ADA)
    await catalog.remove_person(ADA)
    assert await catalog.authenticate(token.token.reveal()) is None
    for call in (catalog.remove_person(ADA), catalog.forget_identities(email=ADA)):
        with pytest.raises(NotFoundError):
            await call
    with pytest.raises(InvalidOptionError):
        await catalog.forget_identities()
    await catalog.close()


def test_p20_of_two_that_claim_an_address_at_once_one_gets_it(service: RunningService, issuer: BadIssuer) -> None:
    service.member("acme", ADA, Role.Admin)
    tokens = [issuer.token(sub=f"ada-{number}", email=ADA) for number in range(4)]

    async def all_at_once() -> list[int]:
        return list(
            await asyncio.gather(*(asyncio.to_thread(lambda token=token: who(service, token).status) for token in tokens))
        )

    assert sorted(asyncio.run(all_at_once())) == [200, 401, 401, 401]


@pytest.mark.parametrize("subject", ["x" * 256, "line\nbreak", "nul\0", 7, ["ada"], ""])
def test_p4_a_subject_that_is_none_is_refused(service: RunningService, issuer: BadIssuer, subject: object) -> None:
    answer = who(service, issuer.token(sub=subject))
    assert answer.status == 401, answer.body


def test_p4_the_claim_that_says_who_somebody_is_can_be_another_than_sub(catalog: SqlCatalog, issuer: BadIssuer) -> None:
    """As with providers whose subjects are different for each client."""
    entry = Issuer(issuer=issuer.issuer, client_id="cli", subject="oid")
    with running(catalog, settings(entry)) as service:
        first = who(service, issuer.token(sub="for-one-client", oid="ada")).json
        assert who(service, issuer.token(sub="for-another-client", oid="ada", email=BO)).json["user_id"] == first["user_id"]
        assert "'oid'" in who(service, issuer.token(sub="ada")).detail


@pytest.mark.parametrize("claim", ["email", "preferred_username", "", "o id\n"])
def test_p8_a_claim_that_people_have_for_a_while_is_no_subject(claim: str) -> None:
    entry = {"issuer": "https://a.example.org", "client_id": "a", "subject": claim}
    with config.set({"service.issuers": [entry]}), pytest.raises(InvalidOptionError, match="subject"):
        settings_from_config()
