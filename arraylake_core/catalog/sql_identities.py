"""Who the people are that log in, in the SQL catalog: known by issuer and subject, which a provider never gives to another person.

An e-mail address says who somebody is once: when a subject comes that is not known yet, to find the person whom an admin has invited by it. From then on it is
an attribute, which the provider may change, and may give to somebody else.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.acting import acting
from arraylake_core.catalog.sql_members import MemberRecords, user_id_of
from arraylake_core.catalog.tables import identities, members, orgs, users
from arraylake_core.errors import AuthenticationError, InvalidOptionError, NotFoundError
from arraylake_core.models import utc_now
from arraylake_core.names import shown
from arraylake_core.people import Login, Role, validate_email

__all__ = ["IdentityRecords", "user_of"]

MAX_SUBJECT = 255


class _Person(NamedTuple):
    """Who a login is: the person, the address as it is kept, and what changed by it, for the audit log."""

    user_id: str
    email: str
    change: str = ""


class IdentityRecords(MemberRecords):
    """Identities."""

    async def list_logins(self, org: str, user_id: str) -> list[Login]:
        """Return as whom a member logs in: with the organization's own provider, and, to operators, with those of the whole deployment."""
        self._require_admin(org)
        async with self._read() as connection:
            await self._require_member(connection, org, user_id)
            query = select(identities).where(identities.c.user_id == user_id, _seen_in(org)).order_by(*identities.primary_key)
            rows = (await connection.execute(query)).mappings().all()
        return [
            Login(issuer=row["issuer"], subject=row["subject"], org=row["realm"] or None, created=row["created"]) for row in rows
        ]

    async def forget_logins(self, org: str, user_id: str) -> None:
        """Forget as whom a member logs in: the next login with its e-mail address is the person."""
        self._require_admin(org)
        async with self._write() as connection:
            await self._require_member(connection, org, user_id)
            gone = delete(identities).where(identities.c.user_id == user_id, _seen_in(org)).returning(identities.c.subject)
            if not (await connection.execute(gone)).all():
                raise NotFoundError(
                    f"nobody has logged in as this member by a provider of {org!r}: logins by a provider of the whole deployment are an operator's matter"
                )

    async def forget_identities(self, *, email: str | None = None, issuer: str | None = None) -> int:
        """Forget as whom a person logs in, or all do by one provider, and return how many identities that were; in the process itself only.

        Parameters
        ----------
        email
            The person; None is everybody.
        issuer
            The provider; None is every one.
        """
        if email is None and issuer is None:
            raise InvalidOptionError(
                "name a person, a provider, or both: not all that is known of everybody is forgotten at once"
            )
        condition: list[ColumnElement[bool]] = []
        async with self._write() as connection:
            if email is not None:
                condition.append(identities.c.user_id == await self._person_id(connection, email))
            if issuer is not None:
                condition.append(identities.c.issuer == issuer)
            gone = delete(identities).where(*condition).returning(identities.c.subject)
            return len((await connection.execute(gone)).all())

    async def remove_person(self, email: str) -> None:
        """Remove a person with all roles, grants, tokens and logins, so that the address is free for another; in the process itself only.

        Raises
        ------
        InUseError
            It is the last admin of an organization.
        """
        async with self._write() as connection:
            user_id = await self._person_id(connection, email)
            mine = select(orgs.c.id, orgs.c.name).join(members, members.c.org_id == orgs.c.id)
            mine = mine.where(members.c.user_id == user_id, members.c.role == Role.Admin)
            for org_id, org in (await connection.execute(mine)).all():
                await self._keep_an_admin(connection, org_id, org, user_id)
            await connection.execute(delete(users).where(users.c.id == user_id))

    async def _identified(self, connection: AsyncConnection, login: Login, email: str) -> _Person:
        """Return who a login is, within a transaction that keeps others out.

        Raises
        ------
        AuthenticationError
            The address is that of somebody who logs in otherwise.
        """
        if not 0 < len(login.subject) <= MAX_SUBJECT or not login.subject.isprintable():
            raise AuthenticationError(
                f"the login names its person in a form that can't be kept: a subject is 1 to {MAX_SUBJECT} printable characters"
            )
        key = {"realm": login.org or "", "issuer": login.issuer, "subject": login.subject}
        user_id = await user_of(connection, login)
        if user_id is not None:
            return await _with_address(connection, user_id, email, may_change=login.org is None)
        user_id = await user_id_of(connection, email)
        others = select(identities.c.subject).where(identities.c.user_id == user_id, identities.c.realm == key["realm"])
        if (await connection.execute(others.limit(1))).first() is not None:
            whom = "an operator" if login.org is None else f"an admin of {login.org}"
            raise AuthenticationError(
                f"{email} is known here by another account at an identity provider: if it is you, whose account was made anew, or whose provider is "
                f"another one now, ask {whom} to forget the former one (`arraylake-core {_FORGET[login.org is None]}`)"
            )
        await connection.execute(insert(identities).values(**key, user_id=user_id, created=utc_now()))
        return _Person(user_id, email, f"{email} is {login.subject} of {login.issuer} from now on")

    async def _person_id(self, connection: AsyncConnection, email: str) -> str:
        user_id = await connection.scalar(select(users.c.id).where(users.c.email == validate_email(email)))
        if user_id is None:
            raise NotFoundError(f"there is nobody with the e-mail address {shown(email)}: check it")
        return str(user_id)

    async def _require_member(self, connection: AsyncConnection, org: str, user_id: str) -> None:
        here = (members.c.org_id == await self._org_id(connection, org), members.c.user_id == user_id)
        if (await connection.execute(select(members.c.user_id).where(*here))).first() is None:
            raise NotFoundError(f"the organization {org!r} has no member with the id {shown(user_id)}: list them first")


_FORGET = {True: "admin forget-login", False: "org forget-login"}


async def user_of(connection: AsyncConnection, login: Login) -> str | None:
    """Return the id of the person that an identity is of."""
    here = (
        identities.c.realm == (login.org or ""),
        identities.c.issuer == login.issuer,
        identities.c.subject == login.subject,
    )
    found: str | None = await connection.scalar(select(identities.c.user_id).where(*here))
    return found


async def _with_address(connection: AsyncConnection, user_id: str, email: str, *, may_change: bool) -> _Person:
    """Take the address that a person has now, where it is nobody else's: a provider of one organization changes nothing of a person."""
    kept = str((await connection.execute(select(users.c.email).where(users.c.id == user_id))).scalar_one())
    if email == kept or not may_change:
        return _Person(user_id, kept)
    if await connection.scalar(select(users.c.id).where(users.c.email == email)) is not None:
        return _Person(user_id, kept)
    await connection.execute(update(users).where(users.c.id == user_id).values(email=email))
    return _Person(user_id, email, f"{kept} is {email} from now on")


def _seen_in(org: str) -> ColumnElement[bool]:
    caller = acting.get()
    return identities.c.realm.in_([org] if caller is not None and not caller.operator else [org, ""])
