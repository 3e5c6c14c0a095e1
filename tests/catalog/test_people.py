"""People in the SQL catalogs, past what every catalog does: what is decided by who the caller is."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, update

from arraylake_core.catalog import catalog_from_uri
from arraylake_core.catalog.acting import acting
from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.home import file_home, postgres_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.catalog.sql_tokens import MAX_LINE
from arraylake_core.catalog.tables import tokens
from arraylake_core.errors import (
    ArraylakeError,
    AuthenticationError,
    InvalidOptionError,
    NotFoundError,
    OrgNotFoundError,
    PermissionDeniedError,
    RepoNotFoundError,
)
from arraylake_core.models import utc_now
from arraylake_core.people import IssuedToken, NewToken, Principal, Role
from arraylake_core.testing.catalog_samples import make_repo

ADA, BO, CY = "ada@example.org", "bo@example.org", "cy@example.org"


@pytest.fixture(params=["sqlite", "postgres"])
async def catalog(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[SqlCatalog]:
    postgres = request.param == "postgres"
    catalog = SqlCatalog(postgres_home(Dsn(request.getfixturevalue("postgres_uri"))) if postgres else file_home(path))
    yield catalog
    await catalog.close()


@contextmanager
def as_principal(principal: Principal | None) -> Iterator[None]:
    token = acting.set(principal)
    try:
        yield
    finally:
        acting.reset(token)


async def issue(catalog: SqlCatalog, email: str, role: Role = Role.Admin, **fields: object) -> IssuedToken:
    return await catalog.create_token("me", NewToken(name="x", role=role, **fields), email=email)  # type: ignore[arg-type]


async def who(catalog: SqlCatalog, issued: IssuedToken) -> Principal:
    principal = await catalog.authenticate(issued.token.reveal())
    assert principal is not None
    return principal


async def test_authenticate_is_one_statement(catalog: SqlCatalog) -> None:
    repo = await make_repo(catalog)
    await catalog.set_member("me", ADA, Role.Admin)
    await catalog.set_grant("me", "ocean", ADA, Role.Writer)
    issued = await issue(catalog, ADA, Role.Writer, repos=["ocean"])
    statements: list[str] = []

    def on_execute(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    await who(catalog, issued)
    event.listen(Engine, "before_cursor_execute", on_execute)
    try:
        principal = await who(catalog, issued)
    finally:
        event.remove(Engine, "before_cursor_execute", on_execute)
    assert len([statement for statement in statements if not statement.startswith(("BEGIN", "PRAGMA"))]) == 1
    assert (principal.email, principal.name, principal.is_token, principal.operator) == (ADA, "x", True, False)
    assert (principal.roles, principal.grants) == ({"me": Role.Writer}, {repo.id: Role.Writer})
    assert principal.repos == {repo.id}
    assert principal.role_in("me") is None
    assert principal.role_on("me", repo.id) is Role.Writer


async def test_a_person_in_many_orgs(catalog: SqlCatalog) -> None:
    await catalog.set_member("me", ADA, Role.Writer)
    for name, role in (("one", Role.Admin), ("two", None)):
        await catalog.create_org(name)
        await catalog.set_member(name, ADA, role)
    ada = await catalog.ensure_user(ADA, "Ada", "Lovelace")
    async with catalog._read() as connection:
        person = await catalog._principal_of_user(connection, ada.id)
    assert person is not None
    assert person.roles == {"me": Role.Writer, "one": Role.Admin, "two": None}
    assert (person.name, person.id, person.is_token) == ("Ada Lovelace", ada.id, False)
    assert (await who(catalog, await issue(catalog, ADA, Role.Writer))).roles == {"me": Role.Writer}


async def test_p2_what_changes_counts_at_the_next_look(catalog: SqlCatalog) -> None:
    await catalog.set_member("me", ADA, Role.Admin)
    await catalog.set_member("me", BO, Role.Admin)
    issued = await issue(catalog, BO)
    for role in (Role.Reader, None, Role.Writer):
        member = await catalog.set_member("me", BO, role)
        assert (await who(catalog, issued)).role_in("me") is role
    await catalog.revoke_token("me", issued.id)
    assert await catalog.authenticate(issued.token.reveal()) is None
    other = await issue(catalog, BO, Role.Reader)
    await catalog.remove_member("me", member.id)
    assert await catalog.authenticate(other.token.reveal()) is None


async def test_p2_an_expired_token_is_unknown(catalog: SqlCatalog) -> None:
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await issue(catalog, ADA, expires=utc_now() + timedelta(hours=1))
    assert (await who(catalog, issued)).expiration == issued.expiration
    async with catalog.transaction() as connection:
        await connection.execute(update(tokens).values(expires=utc_now()))
    assert await catalog.authenticate(issued.token.reveal()) is None
    assert await catalog.list_tokens("me") == []


async def test_p3_a_token_made_with_a_token_is_bound_by_it(catalog: SqlCatalog) -> None:
    await make_repo(catalog)
    await make_repo(catalog, "sea")
    await catalog.set_member("me", ADA, Role.Admin)
    end = utc_now() + timedelta(hours=1)
    parent = await issue(catalog, ADA, Role.Writer, repos=["ocean"], expires=end)
    with as_principal(await who(catalog, parent)):
        child = await catalog.create_token("me", NewToken(name="child", role=Role.Reader, repos=["ocean"], expires=end))
        for error, new in (
            (PermissionDeniedError, NewToken(name="x", role=Role.Admin, repos=["ocean"], expires=end)),
            (PermissionDeniedError, NewToken(name="x", repos=["ocean"])),
            (PermissionDeniedError, NewToken(name="x", repos=["ocean"], expires=end + timedelta(seconds=1))),
            (PermissionDeniedError, NewToken(name="x", expires=end)),
            (PermissionDeniedError, NewToken(name="x", role=Role.Reader, expires=end)),
            (RepoNotFoundError, NewToken(name="x", repos=["sea"], expires=end)),
        ):
            with pytest.raises(error):
                await catalog.create_token("me", new)
        with pytest.raises(PermissionDeniedError, match="oneself"):
            await catalog.create_token("me", NewToken(name="x", repos=["ocean"], expires=end), email=BO)
    with as_principal(await who(catalog, child)):
        grandchild = await catalog.create_token("me", NewToken(name="g", role=Role.Reader, repos=["ocean"], expires=end))
    await who(catalog, grandchild)
    stale = await who(catalog, child)
    await catalog.revoke_token("me", parent.id)
    for issued in (parent, child, grandchild):
        assert await catalog.authenticate(issued.token.reveal()) is None
    assert await catalog.list_tokens("me") == []
    with as_principal(stale), pytest.raises(AuthenticationError):
        await catalog.create_token("me", NewToken(name="x", role=Role.Reader, repos=["ocean"], expires=end))


async def test_p3_a_token_reaches_no_other_org(catalog: SqlCatalog) -> None:
    await make_repo(catalog)
    await catalog.create_org("other")
    for org in ("me", "other"):
        await catalog.set_member(org, ADA, Role.Admin)
    await catalog.set_grant("me", "ocean", ADA, Role.Admin)
    principal = await who(catalog, await issue(catalog, ADA))
    assert not principal.belongs_to("other")
    with as_principal(principal):
        with pytest.raises(OrgNotFoundError):
            await catalog.create_token("other", NewToken(name="x"))
        for call in (catalog.set_member("other", BO, Role.Reader), catalog.remove_member("other", "x")):
            with pytest.raises(PermissionDeniedError):
                await call


async def test_chains_of_tokens_are_short(catalog: SqlCatalog) -> None:
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await issue(catalog, ADA)
    for _ in range(MAX_LINE - 1):
        with as_principal(await who(catalog, issued)):
            issued = await catalog.create_token("me", NewToken(name="x"))
    with as_principal(await who(catalog, issued)), pytest.raises(InvalidOptionError, match="deep"):
        await catalog.create_token("me", NewToken(name="x"))


async def test_operators(catalog: SqlCatalog) -> None:
    repo = await make_repo(catalog)
    with pytest.raises(NotFoundError):
        await catalog.create_operator_token(ADA, "ops")
    user = await catalog.ensure_user(ADA)
    assert not user.operator
    with pytest.raises(PermissionDeniedError):
        await catalog.create_operator_token(ADA, "ops")
    assert (await catalog.ensure_user(ADA, operator=True)).id == user.id
    assert (await catalog.ensure_user(ADA)).operator
    issued = await catalog.create_operator_token(ADA, "ops")
    operator = await who(catalog, issued)
    assert operator.operator
    assert operator.role_on("me", repo.id) is Role.Admin
    await catalog.set_member("me", BO, Role.Reader)
    with as_principal(operator):
        for_bo = await catalog.create_token("me", NewToken(name="x", role=Role.Reader), email=BO)
        own = await catalog.create_token("me", NewToken(name="own", role=Role.Admin))
        await catalog.create_token("me", NewToken(name="again", role=Role.Admin, operator=True))
        assert {token.name for token in await catalog.list_tokens("me")} == {"ops", "x", "own", "again"}
        with pytest.raises(PermissionDeniedError):
            await catalog.create_operator_token(ADA, "ops")
    scoped = await who(catalog, own)
    assert (scoped.operator, scoped.role_in("me"), scoped.belongs_to("other")) == (False, Role.Admin, False)
    assert (await who(catalog, for_bo)).role_in("me") is Role.Reader
    # Whoever is an operator no longer has no operator's tokens, and what was made with them ends as well.
    async with catalog._write() as connection:
        await connection.exec_driver_sql("UPDATE users SET operator = false")
    for ended in (issued, for_bo, own):
        assert await catalog.authenticate(ended.token.reveal()) is None


async def test_p3_p20_an_admin_s_token_for_a_member_ends_with_the_admin(catalog: SqlCatalog) -> None:
    await catalog.create_org("other")
    for org, email, role in (("me", ADA, Role.Admin), ("me", BO, Role.Writer), ("me", "cy@example.org", Role.Admin)):
        await catalog.set_member(org, email, role)
    await catalog.set_member("other", "dee@example.org", Role.Admin)
    await catalog.ensure_user("root@example.org", operator=True)
    ada = await who(catalog, await issue(catalog, ADA))
    with as_principal(ada):
        for_bo = await catalog.create_token("me", NewToken(name="nightly", role=Role.Writer), email=BO)
        for_herself = await catalog.create_token("me", NewToken(name="own", role=Role.Admin))
        with pytest.raises(PermissionDeniedError, match="bo@example.org is writer"):
            await catalog.create_token("me", NewToken(name="x", role=Role.Admin), email=BO)
        # She learns nothing of who is an operator, or a member elsewhere.
        for email in ("dee@example.org", "root@example.org", "nobody@example.org"):
            with pytest.raises(PermissionDeniedError) as refused:
                await catalog.create_token("me", NewToken(name="x", role=Role.Reader), email=email)
            assert str(refused.value).replace(email, "") == " is no member of 'me': make it one first (`org set-member`)"
    with as_principal(await who(catalog, for_bo)):
        child = await catalog.create_token("me", NewToken(name="child", role=Role.Reader))
    assert (await who(catalog, for_bo)).email == BO
    for change in (catalog.set_member("me", ADA, Role.Writer), catalog.remove_member("me", ada.user_id)):
        await change
        for issued in (for_bo, child):
            assert await catalog.authenticate(issued.token.reveal()) is None
    assert await catalog.authenticate(for_herself.token.reveal()) is None


@pytest.mark.parametrize(("role", "limited"), [(Role.Writer, False), (Role.Admin, True)])
async def test_p20_nobody_but_admins_makes_tokens_for_others(catalog: SqlCatalog, role: Role, limited: bool) -> None:
    await make_repo(catalog)
    await catalog.set_member("me", ADA, Role.Admin)
    await catalog.set_member("me", BO, Role.Reader)
    caller = await who(catalog, await issue(catalog, ADA, role, repos=["ocean"] if limited else None))
    with as_principal(caller), pytest.raises(PermissionDeniedError, match="oneself"):
        await catalog.create_token("me", NewToken(name="x", role=Role.Reader, repos=["ocean"]), email=BO)


async def test_p20_only_admins_change_members_and_grants(catalog: SqlCatalog) -> None:
    repo = await make_repo(catalog)
    ada = await catalog.set_member("me", ADA, Role.Admin)
    bo = await catalog.set_member("me", BO, Role.Writer)
    writer = await who(catalog, await issue(catalog, BO, Role.Writer))
    low_admin = await who(catalog, await issue(catalog, ADA, Role.Writer))
    one_repo = await who(catalog, await issue(catalog, ADA, repos=["ocean"]))
    for principal in (writer, low_admin, one_repo):
        with as_principal(principal):
            for call in (
                catalog.set_member("me", BO, Role.Admin),
                catalog.set_member("me", CY, Role.Reader),
                catalog.remove_member("me", bo.id),
                catalog.remove_member("me", ada.id),
                catalog.ensure_user(CY, operator=True),
            ):
                with pytest.raises(PermissionDeniedError):
                    await call
    for principal in (writer, low_admin):
        with as_principal(principal), pytest.raises(PermissionDeniedError):
            await catalog.set_grant("me", "ocean", BO, Role.Admin)
    with as_principal(one_repo):
        await catalog.set_grant("me", "ocean", CY, Role.Admin)
    guest = await who(catalog, await issue(catalog, CY, repos=["ocean"]))
    assert (guest.roles, guest.role_on("me", repo.id)) == ({}, Role.Admin)
    with as_principal(guest):
        assert (await catalog.set_grant("me", "ocean", BO, Role.Reader)).role is Role.Reader
        with pytest.raises(PermissionDeniedError):
            await catalog.set_member("me", CY, Role.Admin)
    assert [(member.email, member.role) for member in await catalog.list_members("me")] == [(ADA, Role.Admin), (BO, Role.Writer)]


async def test_p20_a_token_ends_only_what_it_could_do_itself(catalog: SqlCatalog) -> None:
    await catalog.set_member("me", ADA, Role.Admin)
    await catalog.set_member("me", BO, Role.Writer)
    of_ada, strong, weak = await issue(catalog, ADA), await issue(catalog, BO, Role.Writer), await issue(catalog, BO, Role.Reader)
    with as_principal(await who(catalog, weak)):
        assert {token.id for token in await catalog.list_tokens("me")} == {strong.id, weak.id}
        with pytest.raises(NotFoundError):
            await catalog.revoke_token("me", of_ada.id)
        with pytest.raises(PermissionDeniedError):
            await catalog.revoke_token("me", strong.id)
        child = await catalog.create_token("me", NewToken(name="child", role=Role.Reader))
        await catalog.revoke_token("me", child.id)
    with as_principal(await who(catalog, strong)):
        await catalog.revoke_token("me", weak.id)
        await catalog.revoke_token("me", strong.id)
    with as_principal(await who(catalog, of_ada)):
        assert [token.id for token in await catalog.list_tokens("me")] == [of_ada.id]


async def test_a_limited_token_does_not_widen_when_its_repos_go(catalog: SqlCatalog) -> None:
    repo = await make_repo(catalog)
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await issue(catalog, ADA, repos=["ocean"])
    await catalog.delete_repo("me", "ocean")
    await catalog.purge_repo(repo.id)
    principal = await who(catalog, issued)
    assert (principal.repos, principal.role_in("me")) == (frozenset(), None)


async def test_a_member_without_a_role_reads_what_is_public(catalog: SqlCatalog) -> None:
    repo = await make_repo(catalog)
    await catalog.set_member("me", BO, None)
    with pytest.raises(PermissionDeniedError):
        await issue(catalog, BO, Role.Writer)
    principal = await who(catalog, await issue(catalog, BO, Role.Reader))
    assert principal.belongs_to("me")
    assert principal.role_in("me") is None
    assert principal.role_on("me", repo.id) is None
    assert principal.role_on("me", repo.id, public=True) is Role.Reader
    with pytest.raises(RepoNotFoundError):
        await issue(catalog, BO, Role.Reader, repos=["ocean"])
    await catalog.modify_repo("me", "ocean", visibility="AUTHENTICATED_PUBLIC")
    await issue(catalog, BO, Role.Reader, repos=["ocean"])


async def test_what_only_python_can_get_wrong(catalog: SqlCatalog) -> None:
    await catalog.set_member("me", ADA, Role.Admin)
    wrong: tuple[NewToken, ...] = (
        NewToken(name=1),  # type: ignore[arg-type]
        NewToken(name="x", role="owner"),  # type: ignore[arg-type]
        NewToken(name="x", expires="tomorrow"),  # type: ignore[arg-type]
        NewToken(name="x", expires=datetime(2099, 1, 1)),
        NewToken(name="x", repos="ocean"),  # type: ignore[arg-type]
    )
    for new in wrong:
        with pytest.raises(InvalidOptionError):
            await catalog.create_token("me", new, email=ADA)
    with pytest.raises(InvalidOptionError, match="nobody is logged in"):
        await catalog.create_token("me", NewToken(name="x"))
    for call in (
        catalog.set_member("me", ADA, "owner"),  # type: ignore[arg-type]
        catalog.set_member("me", None, Role.Reader),  # type: ignore[arg-type]
        catalog.set_grant("me", "ocean", ADA, None),  # type: ignore[arg-type]
        catalog.ensure_user(ADA, first_name="x" * 1000),
    ):
        with pytest.raises(InvalidOptionError):
            await call
    assert await catalog.authenticate(None) is None  # type: ignore[arg-type]


async def test_last_used_is_noted_once_an_hour(catalog: SqlCatalog) -> None:
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await issue(catalog, ADA)

    async def last_used() -> datetime | None:
        return (await catalog.list_tokens("me"))[0].last_used

    assert await last_used() is None
    await catalog.touch_token(issued.id)
    first = await last_used()
    assert first is not None
    assert first.tzinfo is UTC
    await catalog.touch_token(issued.id)
    await catalog.touch_token("unknown")
    assert await last_used() == first


async def test_noting_the_use_of_a_token_never_fails(path: Path) -> None:
    catalog = SqlCatalog(file_home(path))
    await catalog.set_member("me", ADA, Role.Admin)
    issued = await issue(catalog, ADA)
    await catalog.close()
    path.write_bytes(b"no database at all" * 100)
    await catalog.touch_token(issued.id)
    with pytest.raises(ArraylakeError):
        await catalog.list_tokens("me")


async def test_the_audit_log(catalog: SqlCatalog) -> None:
    await catalog.set_member("me", ADA, Role.Admin)
    principal = await who(catalog, await issue(catalog, ADA))
    await catalog.create_org("other")
    for number in range(5):
        await catalog.add_audit(principal, "me", "delete_repo", f"me/repo-{number}", f"request-{number}")
    await catalog.add_audit(principal, "other", "create_repo", "other/repo", "x" * 100)
    page = await catalog.list_audit("me", page=2, size=2)
    assert (page.total, page.pages) == (5, 3)
    assert [(entry.target, entry.request_id) for entry in page.items] == [("me/repo-2", "request-2"), ("me/repo-1", "request-1")]
    assert {(entry.principal, entry.principal_id, entry.action) for entry in page.items} == {(ADA, principal.id, "delete_repo")}


async def test_what_was_undone_is_not_in_the_audit_log(catalog: SqlCatalog) -> None:
    async def begin() -> None:
        async with catalog.transaction():
            await catalog.set_member("me", ADA, Role.Admin)
            await issue(catalog, ADA)
            await catalog.add_audit(await catalog.whoami(), "me", "set_member", ADA)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await begin()
    assert (await catalog.list_audit("me")).items == []
    # The key for tokens went with the transaction too, and the next one is no worse for that.
    await catalog.set_member("me", ADA, Role.Admin)
    await who(catalog, await issue(catalog, ADA))


async def test_memory_catalogs_know_people_too() -> None:
    catalog = catalog_from_uri("memory://")
    await catalog.set_member("me", ADA, Role.Admin)  # type: ignore[attr-defined]
    issued = await catalog.create_token("me", NewToken(name="x"), email=ADA)  # type: ignore[attr-defined]
    assert await catalog.authenticate(issued.token.reveal()) is not None  # type: ignore[attr-defined]
    await catalog.close()
