"""People, memberships and grants in the SQL catalog."""

from uuid import uuid4

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.acting import acting
from arraylake_core.catalog.engine import insert_missing, sorted_by
from arraylake_core.catalog.sql_repos import RepoRecords
from arraylake_core.catalog.sql_tokens import end_tokens
from arraylake_core.catalog.tables import grants, members, repos, tokens, users
from arraylake_core.errors import InUseError, InvalidOptionError, NotFoundError, PermissionDeniedError
from arraylake_core.models import utc_now, validate_description
from arraylake_core.names import shown
from arraylake_core.people import Grant, Member, Role, User, validate_email

__all__ = ["MemberRecords", "user_id_of"]


class MemberRecords(RepoRecords):
    """Who belongs to an organization, and who may do what with single repos."""

    async def ensure_user(self, email: str, first_name: str = "", family_name: str = "", operator: bool = False) -> User:
        """Return the person with this e-mail address, who is made where there is none.

        Parameters
        ----------
        email
            The address.
        first_name, family_name
            Names to set; empty ones change nothing.
        operator
            Whether the person shall be an operator from now on; False changes nothing.
        """
        email = validate_email(email)
        caller = acting.get()
        if operator and caller is not None and not caller.operator:
            raise PermissionDeniedError(
                "only an operator makes operators: ask one, or run `arraylake-core admin create-operator`"
            )
        names = {"first_name": first_name, "family_name": family_name}
        values: dict[str, object] = {name: validate_description(value) for name, value in names.items() if value}
        if operator:
            values["operator"] = True
        async with self._write() as connection:
            user_id = await user_id_of(connection, email)
            if values:
                await connection.execute(update(users).where(users.c.id == user_id).values(values))
            row = (await connection.execute(select(users).where(users.c.id == user_id))).mappings().one()
        return User(**{name: row[name] for name in User.__struct_fields__})

    async def email_of(self, user_id: str) -> str:
        """Return a person's e-mail address; the id itself where nobody has it."""
        async with self._read(single=True) as connection:
            return str(await connection.scalar(select(users.c.email).where(users.c.id == user_id)) or user_id)

    async def list_members(self, org: str) -> list[Member]:
        """Return the members of an organization, by e-mail address."""
        async with self._read() as connection:
            org_id = await self._org_id(connection, org)
            query = _MEMBERS.where(members.c.org_id == org_id).order_by(sorted_by(connection, users.c.email))
            rows = (await connection.execute(query)).all()
        return [_member(*row) for row in rows]

    async def set_member(self, org: str, email: str, role: Role | None) -> Member:
        """Make a person a member, or change a member's role."""
        email, role = validate_email(email), _checked_role(role, none=True)
        self._require_admin(org)
        async with self._write() as connection:
            org_id = await self._org_id(connection, org)
            user_id = await user_id_of(connection, email)
            if role is not Role.Admin:
                await self._keep_an_admin(connection, org_id, org, user_id)
            row = {"org_id": org_id, "user_id": user_id, "role": role, "created": utc_now()}
            await insert_missing(connection, members, [row])
            here = (members.c.org_id == org_id, members.c.user_id == user_id)
            await connection.execute(update(members).where(*here).values(role=role, issuer=None))
            return _member(*(await connection.execute(_MEMBERS.where(*here))).one())

    async def remove_member(self, org: str, user_id: str) -> None:
        """Remove a member, with the grants and tokens it has in the organization."""
        self._require_admin(org)
        async with self._write() as connection:
            org_id = await self._org_id(connection, org)
            here = (members.c.org_id == org_id, members.c.user_id == user_id)
            if (await connection.execute(select(members.c.user_id).where(*here))).first() is None:
                raise NotFoundError(f"the organization {org!r} has no member with the id {shown(user_id)}: list them first")
            await self._keep_an_admin(connection, org_id, org, user_id)
            await connection.execute(delete(members).where(*here))
            own = select(repos.c.id).where(repos.c.org_id == org_id)
            await connection.execute(delete(grants).where(grants.c.user_id == user_id, grants.c.repo_id.in_(own)))
            await end_tokens(connection, (tokens.c.org_id == org_id) & (tokens.c.user_id == user_id))

    async def list_grants(self, org: str, repo: str) -> list[Grant]:
        """Return who has a role on one repo above what membership gives, by e-mail address."""
        async with self._read() as connection:
            row = await self._live(connection, org, repo)
            query = _GRANTS.where(grants.c.repo_id == row["id"]).order_by(sorted_by(connection, users.c.email))
            found = (await connection.execute(query)).all()
        return [_grant(*grant, f"{org}/{repo}") for grant in found]

    async def set_grant(self, org: str, repo: str, email: str, role: Role) -> Grant:
        """Give a person a role on a repo, or change it."""
        email, checked = validate_email(email), _checked_role(role, none=False)
        async with self._write() as connection:
            row = await self._live(connection, org, repo)
            self._require_admin(org, row["id"])
            user_id = await user_id_of(connection, email)
            new = {"repo_id": row["id"], "user_id": user_id, "role": checked, "created": utc_now()}
            await insert_missing(connection, grants, [new])
            here = (grants.c.repo_id == row["id"], grants.c.user_id == user_id)
            await connection.execute(update(grants).where(*here).values(role=checked))
            return _grant(*(await connection.execute(_GRANTS.where(*here))).one(), f"{org}/{repo}")

    async def remove_grant(self, org: str, repo: str, user_id: str) -> None:
        """Take a person's grant on a repo away."""
        async with self._write() as connection:
            row = await self._live(connection, org, repo)
            self._require_admin(org, row["id"])
            gone = delete(grants).where(grants.c.repo_id == row["id"], grants.c.user_id == user_id).returning(grants.c.user_id)
            if (await connection.execute(gone)).first() is None:
                raise NotFoundError(f"nobody with the id {shown(user_id)} has a grant on {org}/{repo}: list them first")

    def _require_admin(self, org: str, repo_id: str | None = None) -> None:
        """Refuse whoever is no admin; the service refuses them earlier, this is so that no other way leads around it (P20)."""
        caller = acting.get()
        if caller is None:
            return
        role = caller.role_in(org) if repo_id is None else caller.role_on(org, repo_id)
        if role is not Role.Admin:
            raise PermissionDeniedError(f"only an admin of {shown(org)} may do this: ask one")

    async def _keep_an_admin(self, connection: AsyncConnection, org_id: str, org: str, user_id: str) -> None:
        """Refuse to take the last admin's role away; the transaction keeps others from doing so at the same time."""
        if await self._is_last_admin(connection, org_id, user_id):
            raise InUseError(f"this is the last admin of the organization {org!r}: make somebody else an admin first")

    @staticmethod
    async def _is_last_admin(connection: AsyncConnection, org_id: str, user_id: str) -> bool:
        admins = select(members.c.user_id).where(members.c.org_id == org_id, members.c.role == Role.Admin)
        return list((await connection.scalars(admins.limit(2))).all()) == [user_id]


async def user_id_of(connection: AsyncConnection, email: str) -> str:
    """Return the id of the person with this address, who is made where there is none."""
    query = select(users.c.id).where(users.c.email == email)
    found = await connection.scalar(query)
    if found is None:
        new = {"id": str(uuid4()), "email": email, "first_name": "", "family_name": "", "operator": False, "created": utc_now()}
        await insert_missing(connection, users, [new])
        found = (await connection.execute(query)).scalar_one()
    return str(found)


_MEMBERS = select(users.c.id, users.c.email, members.c.role, members.c.created).join(members, members.c.user_id == users.c.id)
_GRANTS = select(users.c.id, users.c.email, grants.c.role, grants.c.created).join(grants, grants.c.user_id == users.c.id)


def _member(user_id: str, email: str, role: str | None, created: object) -> Member:
    return Member(id=user_id, email=email, role=Role(role) if role else None, created=created)  # type: ignore[arg-type]


def _grant(user_id: str, email: str, role: str, created: object, repo: str) -> Grant:
    return Grant(id=user_id, email=email, repo=repo, role=Role(role), created=created)  # type: ignore[arg-type]


def _checked_role(role: Role | None, *, none: bool) -> Role | None:
    if (role is None and none) or isinstance(role, Role):
        return role
    raise InvalidOptionError(f"{shown(role)} is no role: take {'None, ' if none else ''}{', '.join(Role)}")
