"""API tokens in the SQL catalog: issuing, listing, revoking."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from msgspec.structs import replace
from sqlalchemy import CTE, ColumnElement, RowMapping, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.acting import acting
from arraylake_core.catalog.sql_principals import PrincipalRecords
from arraylake_core.catalog.sql_secrets import TOKENS
from arraylake_core.catalog.tables import repos, token_repos, tokens, users
from arraylake_core.catalog.tokens import digest_of, new_token
from arraylake_core.errors import (
    ArraylakeError,
    AuthenticationError,
    InUseError,
    InvalidOptionError,
    NotFoundError,
    OrgNotFoundError,
    PermissionDeniedError,
    RepoNotFoundError,
)
from arraylake_core.models import utc_now
from arraylake_core.names import shown, validate_org, validate_repo
from arraylake_core.people import IssuedToken, NewToken, Principal, Role, Token, highest, validate_email

__all__ = ["TokenRecords", "end_tokens"]

MAX_NAME = 100
MAX_REPOS = 1000
MAX_TOKENS = 1000
MAX_LINE = 8
TOUCHED_EVERY = timedelta(hours=1)

_log = logging.getLogger(__name__)


class _Creator(NamedTuple):
    """Who asks for a token; no principal at all in the process itself."""

    principal: Principal | None
    token_id: str | None = None


class TokenRecords(PrincipalRecords):
    """API tokens."""

    async def create_token(self, org: str, new: NewToken, *, email: str | None = None) -> IssuedToken:
        """Issue an API token."""
        validate_org(org)
        check_new_token(new)
        address = None if email is None else validate_email(email)
        async with self._write() as connection:
            org_id = await self._org_id(connection, org)
            creator = await self._creator(connection, org_id, org)
            person = await self._person(connection, creator, org_id, org, address)
            repo_ids = await self._permitted(connection, org_id, org, new, creator.principal, person)
            return await self._issue(connection, new, person, creator, None if new.operator else org_id, repo_ids)

    async def create_operator_token(self, email: str, name: str, *, expires: datetime | None = None) -> IssuedToken:
        """Issue a token for every organization to an operator; in the process itself only."""
        if acting.get() is not None:
            raise PermissionDeniedError(
                "operators' tokens without an organization are made with `arraylake-core admin create-operator`"
            )
        new = NewToken(name=name, role=Role.Admin, expires=expires, operator=True)
        check_new_token(new)
        async with self._write() as connection:
            person = await self._person(connection, _Creator(None), None, "", validate_email(email))
            _check_operator(person)
            return await self._issue(connection, new, person, _Creator(None), None, ())

    async def list_tokens(self, org: str) -> list[Token]:
        """Return the API tokens of an organization that are neither revoked nor expired, newest first: all of them to admins, to others their own."""
        caller = acting.get()
        async with self._read() as connection:
            org_id = await self._org_id(connection, org)
            names = select(func.aggregate_strings(repos.c.name, " ")).where(
                token_repos.c.token_id == tokens.c.id, token_repos.c.repo_id == repos.c.id
            )
            query = select(*tokens.c, users.c.email, names.correlate(tokens).scalar_subquery().label("repos"))
            query = query.join(users, users.c.id == tokens.c.user_id).where(_seen_by(caller, org_id, org), _alive())
            rows = (await connection.execute(query.order_by(tokens.c.created.desc(), tokens.c.id))).mappings().all()
        return [_token(row) for row in rows]

    async def revoke_token(self, org: str, token_id: str) -> None:
        """End an API token, and those that were made with it, at once. Doing it again does no harm."""
        caller = acting.get()
        async with self._write() as connection:
            org_id = await self._org_id(connection, org)
            query = select(tokens).where(tokens.c.id == token_id, _seen_by(caller, org_id, org))
            row = (await connection.execute(query)).mappings().one_or_none()
            if row is None:
                raise NotFoundError(f"there is no API token with the id {shown(token_id)} in {org!r}: list them first")
            if not await _may_end(connection, caller, row, org):
                raise PermissionDeniedError(
                    "this token may do less than the one that it would revoke: ask an admin, or use a token with the same rights"
                )
            await end_tokens(connection, tokens.c.id == token_id)

    async def touch_token(self, token_id: str) -> None:
        """Note that a token is in use, once an hour; never an error, for it is only a note."""
        try:
            now = utc_now()
            due = or_(tokens.c.last_used.is_(None), tokens.c.last_used < now - TOUCHED_EVERY)
            async with self._read(single=True) as connection:
                if (await connection.execute(select(tokens.c.id).where(tokens.c.id == token_id, due))).first() is None:
                    return
            async with self._write(exclusive=False) as connection:
                await connection.execute(update(tokens).where(tokens.c.id == token_id, due).values(last_used=now))
        except ArraylakeError as error:
            _log.info("the use of the token %s was not noted: %s", token_id, error)

    async def _creator(self, connection: AsyncConnection, org_id: str, org: str) -> _Creator:
        """Return who asks, with the rights of this very moment rather than those of the request's start."""
        caller = acting.get()
        if caller is None:
            return _Creator(None)
        if not caller.is_token:
            # A service that runs without tokens has an operator whom the catalog does not know.
            known = await self._principal_of_user(connection, caller.user_id, org_id)
            if known is None and not caller.operator:
                raise AuthenticationError("you are not known to this catalog any more: ask an admin to invite you")
            # A login by the provider of one organization never acts as the operator whose address it has (P20).
            if known is not None and not caller.operator:
                known = replace(known, operator=False)
            return _Creator(known)
        fresh = await self._principal_of_token(connection, caller.id)
        if fresh is None:
            raise AuthenticationError("the token has been revoked or has expired: ask for a new one")
        if not fresh.operator and org_id != await connection.scalar(select(tokens.c.org_id).where(tokens.c.id == caller.id)):
            raise OrgNotFoundError(f"there is no organization {shown(org)}, or you are not a member of it: check the name")
        depth = await connection.scalar(select(func.count()).select_from(_line(tokens.c.id == caller.id))) or 0
        if depth >= MAX_LINE:
            raise InvalidOptionError(
                f"a token made with a token made with a token ... goes {MAX_LINE} deep at most: use an earlier one"
            )
        return _Creator(fresh, caller.id)

    async def _person(
        self, connection: AsyncConnection, creator: _Creator, org_id: str | None, org: str, email: str | None
    ) -> Principal:
        """Return the person that a token shall act for: oneself, or, to admins, any member."""
        made_by = creator.principal
        if made_by is not None and (email is None or email == made_by.email):
            user_id: str | None = made_by.user_id
        elif made_by is not None and made_by.role_in(org) is not Role.Admin:
            raise PermissionDeniedError("a token is made for oneself: leave the e-mail address out, or ask an admin")
        elif email is None:
            raise InvalidOptionError("nobody is logged in here: say by its e-mail address whom the token is for")
        else:
            user_id = await connection.scalar(select(users.c.id).where(users.c.email == email))
        person = await self._principal_of_user(connection, user_id, org_id) if user_id else None
        if made_by is not None and not made_by.operator and user_id != made_by.user_id:
            # Whether there is such a person elsewhere, or an operator of that address, is not for an admin of one organization to know (P20).
            person = None if person is None else replace(person, operator=False)
            if person is None or not (person.belongs_to(org) or person.grants):
                raise PermissionDeniedError(f"{email} is no member of {org!r}: make it one first (`org set-member`)")
        if person is None:
            raise NotFoundError(
                f"there is nobody with the e-mail address {shown(email)}: make it a member first (`org set-member`)"
            )
        return person

    async def _permitted(
        self,
        connection: AsyncConnection,
        org_id: str,
        org: str,
        new: NewToken,
        creator: Principal | None,
        person: Principal,
    ) -> Sequence[str]:
        """Refuse a token that would do more than its person, or than whoever makes it (P3); return the ids of its repos."""
        sides = (person,) if creator is None else (creator, person)
        for side in sides:
            if not side.belongs_to(org) and not side.grants:
                if side is creator:
                    raise OrgNotFoundError(
                        f"there is no organization {shown(org)}, or you are not a member of it: check the name"
                    )
                raise PermissionDeniedError(f"{side.email} is no member of {org!r}: make it one first (`org set-member`)")
            if side.expiration is not None and (new.expires is None or new.expires > side.expiration):
                raise PermissionDeniedError(
                    f"the token that makes this one ends on {side.expiration:%Y-%m-%d %H:%M %Z}: give this one an end no later than that"
                )
        if new.operator:
            for side in sides:
                _check_operator(side)
            return ()
        if new.repos is None:
            for side in sides:
                if side.repos is not None:
                    raise PermissionDeniedError("the token that makes this one is for some repos only: name repos among them")
                # A member without a role may still read what is public.
                _check_role(side, highest(Role.Reader, side.role_in(org), *side.grants.values()), new.role, f"in {org!r}")
            return ()
        columns = (repos.c.name, repos.c.id, repos.c.visibility == "AUTHENTICATED_PUBLIC")
        live = (repos.c.org_id == org_id, repos.c.deleted_at.is_(None), repos.c.state == "active")
        query = select(*columns).where(*live, repos.c.name.in_(sorted(set(new.repos))))
        found = {name: (repo_id, public) for name, repo_id, public in (await connection.execute(query)).all()}
        for name in new.repos:
            repo_id, public = found.get(name, ("", False))
            roles = [side.role_on(org, repo_id, public=public) for side in sides]
            if name not in found or None in roles:
                raise RepoNotFoundError(f"there is no repo {shown(f'{org}/{name}')} that this token could be for: check the name")
            for side, role in zip(sides, roles, strict=True):
                _check_role(side, role, new.role, f"on {org}/{name}")
        return [repo_id for repo_id, _ in found.values()]

    async def _issue(
        self,
        connection: AsyncConnection,
        new: NewToken,
        person: Principal,
        creator: _Creator,
        org_id: str | None,
        repo_ids: Sequence[str],
    ) -> IssuedToken:
        same = tokens.c.org_id.is_(None) if org_id is None else tokens.c.org_id == org_id
        held = select(func.count()).select_from(tokens).where(same, tokens.c.user_id == person.user_id, _alive())
        if (await connection.scalar(held) or 0) >= MAX_TOKENS:
            raise InUseError(f"{person.email} has {MAX_TOKENS} API tokens here already: revoke those that are no longer used")
        token, now = new_token(), utc_now()
        values = {
            "id": str(uuid4()),
            "org_id": org_id,
            "user_id": person.user_id,
            "parent_id": creator.token_id,
            "creator_id": _maker(creator.principal, person),
            "name": new.name,
            "digest": digest_of(token.reveal(), await self._secret_for_writing(connection, TOKENS)),
            "role": new.role,
            "limited": new.repos is not None,
            "created": now,
            "expires": new.expires,
        }
        await connection.execute(insert(tokens).values(values))
        if repo_ids:
            await connection.execute(
                insert(token_repos), [{"token_id": values["id"], "repo_id": repo_id} for repo_id in repo_ids]
            )
        return IssuedToken(
            id=str(values["id"]),
            name=new.name,
            role=new.role,
            repos=sorted(set(new.repos)) if new.repos is not None else None,
            email=person.email,
            created=now,
            created_by=person.email,
            expiration=new.expires.astimezone(UTC) if new.expires else None,
            token=token,
        )


async def end_tokens(connection: AsyncConnection, condition: ColumnElement[bool]) -> None:
    """Revoke tokens, and all that were made with them."""
    line = select(tokens.c.id).where(condition).cte("line", recursive=True)
    line = line.union(select(tokens.c.id).where(tokens.c.parent_id == line.c.id))
    ended = update(tokens).where(tokens.c.id.in_(select(line.c.id)), tokens.c.revoked.is_(None))
    await connection.execute(ended.values(revoked=utc_now()))


def _maker(creator: Principal | None, person: Principal) -> str | None:
    """Return who makes a token for somebody else."""
    return None if creator is None or creator.user_id == person.user_id else creator.user_id


def check_new_token(new: NewToken) -> None:
    """Check what a new token shall be."""
    if not isinstance(new.name, str) or not new.name.isprintable() or not new.name.strip() or len(new.name) > MAX_NAME:
        raise InvalidOptionError(f"{shown(new.name)} is no name for a token: take 1 to {MAX_NAME} printable characters")
    if not isinstance(new.role, Role):
        raise InvalidOptionError(f"{shown(new.role)} is no role: take {', '.join(Role)}")
    if new.expires is not None:
        if not isinstance(new.expires, datetime) or new.expires.tzinfo is None:
            raise InvalidOptionError("a token expires at a time with its time zone, such as 2026-12-31T12:00Z, or never")
        try:
            new.expires.astimezone(UTC)
        except OverflowError:
            raise InvalidOptionError("a token can't expire after the year 9999: take an earlier time, or never") from None
        if new.expires <= utc_now():
            raise InvalidOptionError(f"a token can't expire in the past ({new.expires:%Y-%m-%d %H:%M %Z}): take a later time")
    if new.repos is not None:
        if not isinstance(new.repos, list) or not 1 <= len(new.repos) <= MAX_REPOS:
            raise InvalidOptionError(f"a token is for all repos (None), or for a list of 1 to {MAX_REPOS} names")
        for name in new.repos:
            validate_repo(name)
    if new.operator and (new.role is not Role.Admin or new.repos is not None):
        raise InvalidOptionError("an operator's token is for everything: give it the role admin, and no repos")


def _check_operator(principal: Principal) -> None:
    if not principal.operator:
        raise PermissionDeniedError("a token for every organization is for operators only: leave operator out")


def _check_role(principal: Principal, has: Role | None, needed: Role, where: str) -> None:
    if has is None or not has.covers(needed):
        who = "the token that makes this one" if principal.is_token else principal.email
        raise PermissionDeniedError(
            f"{who} is {has or 'without a role'} {where}, so a token can't be {needed}: take a lower role"
        )


def _alive() -> ColumnElement[bool]:
    return tokens.c.revoked.is_(None) & or_(tokens.c.expires.is_(None), tokens.c.expires > utc_now())


def _seen_by(caller: Principal | None, org_id: str, org: str) -> ColumnElement[bool]:
    """Select the tokens that a caller sees: admins all of the organization, operators theirs as well, others their own."""
    here = tokens.c.org_id == org_id
    if caller is None or caller.operator:
        return or_(here, tokens.c.org_id.is_(None))
    return here if caller.role_in(org) is Role.Admin else here & (tokens.c.user_id == caller.user_id)


async def _may_end(connection: AsyncConnection, caller: Principal | None, row: RowMapping, org: str) -> bool:
    """Tell whether a caller may revoke a token that it sees: a token that leaked shall not end those that may do more."""
    if caller is None or not caller.is_token or caller.role_in(org) is Role.Admin:
        return True
    line = _line(tokens.c.id == row["id"])
    if await connection.scalar(select(line.c.id).where(line.c.id == caller.id)) is not None:
        return True
    mine = (await connection.execute(select(tokens.c.role, tokens.c.limited).where(tokens.c.id == caller.id))).one_or_none()
    return mine is not None and not mine.limited and Role(mine.role).covers(Role(row["role"]))


def _line(condition: ColumnElement[bool]) -> CTE:
    """Select a token, and those that it was made with."""
    line = select(tokens.c.id, tokens.c.parent_id).where(condition).cte("line", recursive=True)
    return line.union(select(tokens.c.id, tokens.c.parent_id).where(tokens.c.id == line.c.parent_id))


def _token(row: RowMapping) -> Token:
    return Token(
        id=row["id"],
        name=row["name"],
        role=Role(row["role"]),
        repos=sorted((row["repos"] or "").split()) if row["limited"] else None,
        email=row["email"],
        created=row["created"],
        created_by=row["email"],
        expiration=row["expires"],
        last_used=row["last_used"],
    )
