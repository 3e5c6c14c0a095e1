"""People in the SQL catalog: all of the protocol's part about them."""

from arraylake_core.catalog.acting import acting
from arraylake_core.catalog.sql_logins import LoginRecords
from arraylake_core.people import Principal, Role

__all__ = ["PeopleRecords"]


class PeopleRecords(LoginRecords):
    """Members, grants, API tokens, logins, and the audit log."""

    async def whoami(self) -> Principal:
        """Return who the caller is; in the process itself, an operator without a name."""
        return acting.get() or Principal(id="", user_id="", email="", operator=True)

    async def role_of(self, org: str, principal_id: str) -> Role | None:
        """Return the role that a person or an API token has in an organization as a whole; None for whoever is unknown, too."""
        async with self._read() as connection:
            principal = await self._principal_of_token(connection, principal_id)
            principal = principal or await self._principal_of_user(connection, principal_id)
        return None if principal is None else principal.role_in(org)
