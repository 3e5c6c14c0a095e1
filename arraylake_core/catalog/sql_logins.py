"""People who log in with an identity provider, in the SQL catalog, with the roles that its claims give."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.engine import insert_missing
from arraylake_core.catalog.sql_audit import AuditRecords
from arraylake_core.catalog.sql_identities import IdentityRecords, user_of
from arraylake_core.catalog.sql_tokens import TokenRecords
from arraylake_core.catalog.tables import logins, members, orgs, users
from arraylake_core.models import utc_now, validate_description
from arraylake_core.people import Login, Principal, Role, validate_email

__all__ = ["LoginRecords"]

_NEVER = datetime.fromtimestamp(0, UTC)


class LoginRecords(IdentityRecords, TokenRecords, AuditRecords):
    """Logins."""

    async def log_in(
        self,
        email: str,
        *,
        login: Login,
        issued: datetime,
        names: tuple[str, str] = ("", ""),
        roles: Mapping[str, Role],
    ) -> Principal:
        """Return who has logged in, with the roles that the claims give: made, or found by the address, at the first login.

        A role that an admin gave stays as it is. One that claims of this issuer gave is changed by them, and taken away when they give none any more; the
        last admin of an organization stays one. Claims are taken once, and never after later ones: a token that is older, or that another replica has seen,
        gives nothing back that was taken away since.

        Parameters
        ----------
        email
            The address, which the issuer has verified.
        login
            Whom the issuer means, and where it may speak for anybody.
        issued
            When it said all this.
        names
            First and family name.
        roles
            By organization; those that do not exist are left out.

        Raises
        ------
        AuthenticationError
            The address is that of somebody who logs in otherwise; nothing was changed.
        """
        email, issuer, only = validate_email(email), login.issuer, login.org
        # One transaction with the lines of the audit log.
        async with self.transaction(), self._write() as connection:
            person = await self._identified(connection, login, email)
            user_id = person.user_id
            who = Principal(id=user_id, user_id=user_id, email=person.email)
            if person.change:
                await self.add_audit(who, only or "", "log_in", person.change)
            if not await _is_later(connection, user_id, issuer, issued):
                return await self._logged_in(connection, user_id, only)
            if only is None:
                await _set_names(connection, user_id, names)
            changed = await self._set_roles(connection, user_id, issuer, roles, only)
            for org, role in changed.items():
                await self.add_audit(who, org, "log_in", f"{person.email}: {role or 'no role'}, by the claims of {issuer}")
            return await self._logged_in(connection, user_id, only)

    async def principal_of_login(self, login: Login) -> Principal | None:
        """Return whom an identity is of, with the rights that it has now; those in one organization alone, where its issuer speaks for one."""
        async with self._read() as connection:
            user_id = await user_of(connection, login)
            return None if user_id is None else await self._logged_in(connection, user_id, login.org)

    async def _logged_in(self, connection: AsyncConnection, user_id: str, only: str | None) -> Principal:
        org_id = None if only is None else await connection.scalar(select(orgs.c.id).where(orgs.c.name == only)) or ""
        found = await self._principal_of_user(connection, user_id, org_id)
        assert found is not None
        return found

    async def _set_roles(
        self, connection: AsyncConnection, user_id: str, issuer: str, roles: Mapping[str, Role], only: str | None
    ) -> dict[str, Role | None]:
        query = (
            select(orgs.c.name, orgs.c.id, members.c.role, members.c.issuer, members.c.user_id)
            .outerjoin(members, (members.c.org_id == orgs.c.id) & (members.c.user_id == user_id))
            .where(orgs.c.name.in_(roles) | (members.c.issuer == issuer))
        )
        changed: dict[str, Role | None] = {}
        for org, org_id, has, given_by, is_member in (await connection.execute(query)).all():
            wanted = roles.get(org)
            here = (members.c.org_id == org_id, members.c.user_id == user_id)
            if (
                (only is not None and org != only)
                or (is_member is not None and given_by != issuer)
                or (is_member and has == wanted)
            ):
                continue
            if is_member is None:
                row = {"org_id": org_id, "user_id": user_id, "role": wanted, "created": utc_now(), "issuer": issuer}
                await insert_missing(connection, members, [row])
            else:
                if has == Role.Admin and await self._is_last_admin(connection, org_id, user_id):
                    continue
                await connection.execute(update(members).where(*here).values(role=wanted))
            changed[org] = wanted
        return changed


async def _is_later(connection: AsyncConnection, user_id: str, issuer: str, issued: datetime) -> bool:
    """Tell whether these claims are later than all that were taken, and note that they are the last now; others wait here until this login is done."""
    await insert_missing(connection, logins, [{"user_id": user_id, "issuer": issuer, "issued": _NEVER}])
    here = (logins.c.user_id == user_id, logins.c.issuer == issuer, logins.c.issued < issued)
    later = update(logins).where(*here).values(issued=issued).returning(logins.c.user_id)
    return (await connection.execute(later)).first() is not None


async def _set_names(connection: AsyncConnection, user_id: str, names: tuple[str, str]) -> None:
    values = {
        name: validate_description(value)
        for name, value in zip(("first_name", "family_name"), names, strict=True)
        if value and len(value) <= 100
    }
    if values:
        await connection.execute(update(users).where(users.c.id == user_id).values(values))
