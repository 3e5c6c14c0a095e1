"""What every catalog does for people: members, grants, API tokens and the audit log. The caller is an operator."""

# ruff: noqa: D102 - the name of a test says what it holds

import asyncio
from datetime import timedelta

import pytest

from arraylake_core.catalog.base import Catalog
from arraylake_core.catalog.tokens import checksum_fits
from arraylake_core.errors import (
    InUseError,
    InvalidNameError,
    InvalidOptionError,
    NotFoundError,
    OrgNotFoundError,
    PermissionDeniedError,
    RepoNotFoundError,
)
from arraylake_core.models import utc_now
from arraylake_core.people import IssuedToken, NewToken, Role, Token
from arraylake_core.testing.catalog_samples import make_repo

__all__ = ["PeopleTests"]

ADA, BO = "ada@example.org", "bo@example.org"


async def _tokens(catalog: Catalog) -> list[Token]:
    """Return the tokens of the people of these tests: the caller may have one as well."""
    return [token for token in await catalog.list_tokens("me") if token.email in (ADA, BO)]


class PeopleTests:
    """Members, grants, API tokens and the audit log."""

    async def test_the_caller_is_an_operator(self, catalog: Catalog) -> None:
        assert (await catalog.whoami()).operator

    async def test_people_of_an_unknown_org(self, catalog: Catalog) -> None:
        for call in (
            catalog.list_members("mee"),
            catalog.set_member("mee", ADA, Role.Reader),
            catalog.remove_member("mee", "0" * 36),
            catalog.list_logins("mee", "0" * 36),
            catalog.forget_logins("mee", "0" * 36),
            catalog.list_grants("mee", "ocean"),
            catalog.set_grant("mee", "ocean", ADA, Role.Reader),
            catalog.remove_grant("mee", "ocean", "0" * 36),
            catalog.list_tokens("mee"),
            catalog.create_token("mee", NewToken(name="x"), email=ADA),
            catalog.revoke_token("mee", "0" * 36),
            catalog.list_audit("mee"),
        ):
            with pytest.raises(OrgNotFoundError):
                await call

    # Members

    async def test_a_member_who_never_logged_in(self, catalog: Catalog) -> None:
        ada = await catalog.set_member("me", ADA, Role.Admin)
        assert await catalog.list_logins("me", ada.id) == []
        for call in (
            catalog.forget_logins("me", ada.id),
            catalog.list_logins("me", "0" * 36),
            catalog.forget_logins("me", "0" * 36),
        ):
            with pytest.raises(NotFoundError):
                await call

    async def test_members(self, catalog: Catalog) -> None:
        ada = await catalog.set_member("me", "Ada@Example.org", Role.Admin)
        assert (ada.email, ada.role) == (ADA, Role.Admin)
        bo = await catalog.set_member("me", BO, None)
        assert await catalog.list_members("me") == [ada, bo]
        changed = await catalog.set_member("me", BO, Role.Writer)
        assert (changed.id, changed.role, changed.created) == (bo.id, Role.Writer, bo.created)
        await catalog.remove_member("me", bo.id)
        assert await catalog.list_members("me") == [ada]
        with pytest.raises(NotFoundError, match="no member"):
            await catalog.remove_member("me", bo.id)
        await catalog.create_org("other")
        again = await catalog.set_member("other", BO, Role.Reader)
        assert again.id == bo.id
        assert await catalog.list_members("me") == [ada]

    async def test_bad_members(self, catalog: Catalog) -> None:
        for email in ("", "ada", "ada@localhost", "a da@example.org", f"{'a' * 300}@example.org", "ada@ex\u00e4mple.org"):
            with pytest.raises(InvalidOptionError, match="e-mail"):
                await catalog.set_member("me", email, Role.Reader)
        with pytest.raises(NotFoundError):
            await catalog.remove_member("me", "' OR 1=1 --")
        assert await catalog.list_members("me") == []

    async def test_p20_the_last_admin_stays(self, catalog: Catalog) -> None:
        ada = await catalog.set_member("me", ADA, Role.Admin)
        for role in (Role.Writer, None):
            with pytest.raises(InUseError, match="last admin"):
                await catalog.set_member("me", ADA, role)
        with pytest.raises(InUseError, match="last admin"):
            await catalog.remove_member("me", ada.id)
        bo = await catalog.set_member("me", BO, Role.Admin)
        ends = await asyncio.gather(
            catalog.set_member("me", ADA, Role.Reader), catalog.remove_member("me", bo.id), return_exceptions=True
        )
        assert sum(isinstance(end, InUseError) for end in ends) == 1
        assert sum(member.role is Role.Admin for member in await catalog.list_members("me")) == 1

    # Grants

    async def test_grants(self, catalog: Catalog) -> None:
        await make_repo(catalog)
        await make_repo(catalog, "sea")
        bo = await catalog.set_grant("me", "ocean", "BO@example.org", Role.Reader)
        assert (bo.email, bo.repo, bo.role) == (BO, "me/ocean", Role.Reader)
        ada = await catalog.set_grant("me", "ocean", ADA, Role.Admin)
        assert await catalog.list_grants("me", "ocean") == [ada, bo]
        assert await catalog.list_grants("me", "sea") == []
        assert (await catalog.set_grant("me", "ocean", BO, Role.Writer)).role is Role.Writer
        await catalog.remove_grant("me", "ocean", bo.id)
        assert await catalog.list_grants("me", "ocean") == [ada]
        assert await catalog.list_members("me") == []
        with pytest.raises(NotFoundError):
            await catalog.remove_grant("me", "ocean", bo.id)
        for call in (
            catalog.list_grants("me", "lake"),
            catalog.set_grant("me", "lake", BO, Role.Reader),
            catalog.remove_grant("me", "lake", bo.id),
        ):
            with pytest.raises(RepoNotFoundError):
                await call

    async def test_a_member_that_leaves_takes_its_grants_and_tokens_along(self, catalog: Catalog) -> None:
        await make_repo(catalog)
        bo = await catalog.set_member("me", BO, Role.Writer)
        await catalog.set_grant("me", "ocean", BO, Role.Admin)
        await catalog.create_token("me", NewToken(name="mine"), email=BO)
        await catalog.remove_member("me", bo.id)
        assert await catalog.list_grants("me", "ocean") == []
        assert await _tokens(catalog) == []
        await catalog.set_member("me", BO, Role.Writer)
        assert await _tokens(catalog) == []

    # Tokens

    async def test_tokens(self, catalog: Catalog) -> None:
        await make_repo(catalog)
        await catalog.set_member("me", ADA, Role.Admin)
        end = utc_now() + timedelta(days=1)
        first = await catalog.create_token("me", NewToken(name="nightly"), email="ADA@example.org")
        second = await catalog.create_token(
            "me", NewToken(name="one repo", role=Role.Reader, repos=["ocean", "ocean"], expires=end), email=ADA
        )
        assert (first.name, first.role, first.repos, first.email, first.expiration) == ("nightly", Role.Writer, None, ADA, None)
        assert (second.repos, second.expiration, second.created_by, second.last_used) == (["ocean"], end, ADA, None)
        for issued in (first, second):
            assert checksum_fits(issued.token.reveal())
            assert issued.token.reveal() not in repr(issued)
        listed = await _tokens(catalog)
        assert [token.id for token in listed] == [second.id, first.id]
        assert not any(isinstance(token, IssuedToken) for token in listed)
        assert (listed[0].repos, listed[0].expiration) == (["ocean"], end)
        await catalog.revoke_token("me", first.id)
        await catalog.revoke_token("me", first.id)
        assert [token.id for token in await _tokens(catalog)] == [second.id]
        await catalog.create_org("other")
        for org, token_id in (("other", second.id), ("me", "0" * 36)):
            with pytest.raises(NotFoundError, match="no API token"):
                await catalog.revoke_token(org, token_id)

    async def test_p3_a_token_does_no_more_than_its_person(self, catalog: Catalog) -> None:
        await make_repo(catalog)
        await catalog.set_member("me", ADA, Role.Admin)
        await catalog.set_member("me", BO, Role.Reader)
        for role in (Role.Writer, Role.Admin):
            with pytest.raises(PermissionDeniedError, match="reader"):
                await catalog.create_token("me", NewToken(name="x", role=role), email=BO)
            with pytest.raises(PermissionDeniedError, match="reader"):
                await catalog.create_token("me", NewToken(name="x", role=role, repos=["ocean"]), email=BO)
        await catalog.create_token("me", NewToken(name="x", role=Role.Reader), email=BO)
        await catalog.set_grant("me", "ocean", BO, Role.Writer)
        await catalog.create_token("me", NewToken(name="x", role=Role.Writer, repos=["ocean"]), email=BO)
        with pytest.raises(PermissionDeniedError, match="operators"):
            await catalog.create_token("me", NewToken(name="x", role=Role.Admin, operator=True), email=ADA)
        with pytest.raises(NotFoundError):
            await catalog.create_token("me", NewToken(name="x"), email="nobody@example.org")
        await catalog.create_org("other")
        with pytest.raises(PermissionDeniedError, match="no member"):
            await catalog.create_token("other", NewToken(name="x", role=Role.Reader), email=BO)

    async def test_bad_tokens(self, catalog: Catalog) -> None:
        await catalog.set_member("me", ADA, Role.Admin)
        for new in (
            NewToken(name=""),
            NewToken(name="  "),
            NewToken(name="x" * 101),
            NewToken(name="a\nb"),
            NewToken(name="x", expires=utc_now() - timedelta(seconds=1)),
            NewToken(name="x", repos=[]),
            NewToken(name="x", repos=["ocean"] * 1001),
            NewToken(name="x", operator=True),
            NewToken(name="x", role=Role.Admin, operator=True, repos=["ocean"]),
        ):
            with pytest.raises(InvalidOptionError):
                await catalog.create_token("me", new, email=ADA)
        with pytest.raises(InvalidNameError):
            await catalog.create_token("me", NewToken(name="x", repos=["../etc"]), email=ADA)
        with pytest.raises(RepoNotFoundError):
            await catalog.create_token("me", NewToken(name="x", repos=["lake"]), email=ADA)
        with pytest.raises(InvalidOptionError, match="e-mail"):
            await catalog.create_token("me", NewToken(name="x"), email="ada")
        assert await _tokens(catalog) == []

    # The audit log

    async def test_the_audit_log_comes_in_pages(self, catalog: Catalog) -> None:
        page = await catalog.list_audit("me", page=1, size=100)
        assert (page.page, page.size, page.total) == (1, 100, len(page.items))
        assert (await catalog.list_audit("me", page=2**62)).items == []
        for wrong in ({"page": 0}, {"size": 0}, {"size": 101}):
            with pytest.raises(InvalidOptionError):
                await catalog.list_audit("me", **wrong)
