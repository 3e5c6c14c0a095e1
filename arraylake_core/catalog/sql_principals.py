"""Who a token or a person is, and what it may do now: one statement, in the SQL catalog.

A token has the rights of its person, as they are at this moment, limited to its own organization, role and repos. Nothing of that is kept with the token, so
that whatever a person loses, its tokens have lost as well.
"""

import hmac
from typing import cast

from msgspec.structs import replace
from sqlalchemy import ColumnElement, RowMapping, ScalarSelect, Select, and_, bindparam, func, literal, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.sql_secrets import TOKENS, SecretRecords
from arraylake_core.catalog.tables import Utc, grants, members, orgs, repos, token_repos, tokens, users
from arraylake_core.catalog.tokens import checksum_fits, digest_of
from arraylake_core.models import utc_now
from arraylake_core.people import Principal, Role, least

__all__ = ["PrincipalRecords"]


class PrincipalRecords(SecretRecords):
    """Tokens and people as principals."""

    async def authenticate(self, token: str) -> Principal | None:
        """Return whom a token stands for, or None where it is unknown, expired or revoked."""
        # What is no token at all costs no look-up.
        if not checksum_fits(token):
            return None
        key = await self._secret(TOKENS)
        if key is None:
            return None
        digest = digest_of(token, key)
        async with self._read(single=True) as connection:
            row = (await connection.execute(_BY_DIGEST, {"wanted": digest, "now": utc_now()})).mappings().one_or_none()
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        return _token_principal(row)

    async def _principal_of_token(self, connection: AsyncConnection, token_id: str) -> Principal | None:
        """Return whom a token stands for, as of this transaction."""
        row = (await connection.execute(_BY_ID, {"wanted": token_id, "now": utc_now()})).mappings().one_or_none()
        return None if row is None else _token_principal(row)

    async def _principal_of_user(self, connection: AsyncConnection, user_id: str, org_id: str | None = None) -> Principal | None:
        """Return a person with all of its rights, or those in one organization, as of this transaction."""
        only = None if org_id is None else literal(org_id)
        query = select(*_PERSON, _roles(only), _grants(only)).where(users.c.id == user_id)
        row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else _person(row)


def _token_query(known_by: ColumnElement[str]) -> Select[tuple[object, ...]]:
    """Select a token with its person's rights; nothing where it, or one that it was made with, has ended."""
    condition = known_by == bindparam("wanted")
    line = select(tokens.c.id, tokens.c.parent_id).where(condition).cte("line", recursive=True)
    line = line.union(select(tokens.c.id, tokens.c.parent_id).where(tokens.c.id == line.c.parent_id))
    above, owners = tokens.alias("above"), users.alias("owners")
    # An operator's token, which has no organization, ends when its person stops being one.
    ended = or_(
        above.c.revoked.is_not(None),
        above.c.expires <= bindparam("now", type_=Utc),
        and_(above.c.org_id.is_(None), not_(owners.c.operator)),
        # One that was made for somebody else ends when whoever made it is no admin there any more.
        and_(above.c.creator_id.is_not(None), not_(_is_admin(above.c.creator_id, above.c.org_id))),
    )
    dead = select(above.c.id).where(above.c.id.in_(select(line.c.id)), above.c.user_id == owners.c.id, ended).exists()
    only = select(func.aggregate_strings(token_repos.c.repo_id, " ")).where(token_repos.c.token_id == tokens.c.id)
    return (
        select(
            *_PERSON,
            *(tokens.c[name] for name in ("id", "name", "org_id", "role", "limited", "expires", "digest")),
            orgs.c.name.label("org"),
            _roles(tokens.c.org_id),
            _grants(tokens.c.org_id),
            only.correlate(tokens).scalar_subquery().label("only"),
        )
        .select_from(tokens.join(users, users.c.id == tokens.c.user_id).outerjoin(orgs, orgs.c.id == tokens.c.org_id))
        .where(condition, ~dead)
    )


def _is_admin(user_id: ColumnElement[str], org_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Tell whether a person is an admin of an organization, or an operator."""
    makers, theirs = users.alias("makers"), members.alias("theirs")
    admin = select(theirs.c.user_id).where(theirs.c.user_id == user_id, theirs.c.org_id == org_id, theirs.c.role == Role.Admin)
    return or_(admin.exists(), select(makers.c.id).where(makers.c.id == user_id, makers.c.operator).exists())


def _roles(org_id: ColumnElement[str] | None) -> ScalarSelect[str]:
    """Select a person's memberships as one text: ``org role`` by commas."""
    entry = orgs.c.name + " " + func.coalesce(members.c.role, "")
    query = select(func.aggregate_strings(entry, ",")).where(members.c.org_id == orgs.c.id, members.c.user_id == users.c.id)
    if org_id is not None:
        query = query.where(members.c.org_id == org_id)
    return query.correlate(users, tokens).scalar_subquery().label("roles")  # type: ignore[return-value]


def _grants(org_id: ColumnElement[str] | None) -> ScalarSelect[str]:
    """Select a person's grants as one text: ``repo role`` by commas."""
    query = select(func.aggregate_strings(grants.c.repo_id + " " + grants.c.role, ",")).where(grants.c.user_id == users.c.id)
    if org_id is not None:
        query = query.where(grants.c.repo_id == repos.c.id, repos.c.org_id == org_id)
    return query.correlate(users, tokens).scalar_subquery().label("grants")  # type: ignore[return-value]


_PERSON = (
    users.c.id.label("user_id"),
    users.c.email,
    users.c.first_name,
    users.c.family_name,
    users.c.operator,
)


# Put together once: each request asks one of them.
_BY_DIGEST = _token_query(tokens.c.digest)
_BY_ID = _token_query(tokens.c.id)


def _person(row: RowMapping) -> Principal:
    return Principal(
        id=row["user_id"],
        user_id=row["user_id"],
        email=row["email"],
        name=f"{row['first_name']} {row['family_name']}".strip() or row["email"],
        first_name=row["first_name"],
        family_name=row["family_name"],
        roles=_read_roles(row),
        grants=_read_grants(row),
        operator=row["operator"],
    )


def _token_principal(row: RowMapping) -> Principal:
    person, role = _person(row), Role(row["role"])
    everywhere = row["org_id"] is None
    # An operator's token for one organization is an admin's of that one: it does not reach the others.
    roles = {row["org"]: Role.Admin} if person.operator and not everywhere else person.roles
    return replace(
        person,
        id=row["id"],
        name=row["name"],
        is_token=True,
        roles={org: least(has, role) for org, has in roles.items()},
        grants={repo: cast("Role", least(has, role)) for repo, has in person.grants.items()},
        repos=frozenset((row["only"] or "").split()) if row["limited"] else None,
        operator=person.operator and everywhere,
        expiration=row["expires"],
    )


def _read_roles(row: RowMapping) -> dict[str, Role | None]:
    pairs = (entry.split(" ") for entry in (row["roles"] or "").split(",") if entry)
    return {org: Role(role) if role else None for org, role in pairs}


def _read_grants(row: RowMapping) -> dict[str, Role]:
    pairs = (entry.split(" ") for entry in (row["grants"] or "").split(",") if entry)
    return {repo: Role(role) for repo, role in pairs}
