"""Members, grants, API tokens and the audit log of a service."""

from datetime import datetime
from urllib.parse import quote

import msgspec

from arraylake_core.catalog.http_decoding import decoded
from arraylake_core.catalog.http_transport import Transport
from arraylake_core.models import Page
from arraylake_core.names import validate_org, validate_repo
from arraylake_core.people import AuditEntry, Grant, IssuedToken, Login, Member, NewToken, Principal, Role, Token
from arraylake_core.secret import Secret

__all__ = ["HttpPeople"]


class _Principal(msgspec.Struct):
    id: str
    user_id: str
    email: str
    name: str
    first_name: str
    family_name: str
    is_token: bool
    roles: dict[str, Role | None]
    grants: dict[str, Role]
    repos: list[str] | None
    operator: bool


class _Issued(Token, kw_only=True):
    token: str


class HttpPeople:
    """The part of the catalog's protocol that is about people.

    Parameters
    ----------
    transport
        The way to the service.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def whoami(self) -> Principal:
        """Return who the caller is."""
        found = decoded((await self._transport.send("GET", "/user/principal")).body, _Principal)
        fields = msgspec.structs.asdict(found)
        return Principal(**{**fields, "repos": None if found.repos is None else frozenset(found.repos)})

    async def list_members(self, org: str) -> list[Member]:
        """Return the members of an organization, by e-mail address."""
        return decoded((await self._transport.send("GET", _org(org, "members"))).body, list[Member])

    async def set_member(self, org: str, email: str, role: Role | None) -> Member:
        """Make a person a member, or change a member's role."""
        return decoded(
            (await self._transport.send("PUT", _org(org, "members"), body={"email": email, "role": role})).body, Member
        )

    async def remove_member(self, org: str, user_id: str) -> None:
        """Remove a member, with the grants and tokens it has in the organization."""
        await self._transport.send("DELETE", _org(org, "members", user_id))

    async def list_logins(self, org: str, user_id: str) -> list[Login]:
        """Return as whom a member logs in."""
        return decoded((await self._transport.send("GET", _org(org, "members", user_id, "logins"))).body, list[Login])

    async def forget_logins(self, org: str, user_id: str) -> None:
        """Forget them: the next login with the member's e-mail address is the member."""
        await self._transport.send("DELETE", _org(org, "members", user_id, "logins"))

    async def list_grants(self, org: str, repo: str) -> list[Grant]:
        """Return who has a role on one repo above what membership gives."""
        return decoded((await self._transport.send("GET", _grants(org, repo))).body, list[Grant])

    async def set_grant(self, org: str, repo: str, email: str, role: Role) -> Grant:
        """Give a person a role on a repo, or change it."""
        return decoded((await self._transport.send("PUT", _grants(org, repo), body={"email": email, "role": role})).body, Grant)

    async def remove_grant(self, org: str, repo: str, user_id: str) -> None:
        """Take a person's grant on a repo away."""
        await self._transport.send("DELETE", f"{_grants(org, repo)}/{quote(user_id, safe='')}")

    async def list_tokens(self, org: str) -> list[Token]:
        """Return the API tokens of an organization, newest first."""
        return decoded((await self._transport.send("GET", _org(org, "api-clients"))).body, list[Token])

    async def create_token(self, org: str, new: NewToken, *, email: str | None = None) -> IssuedToken:
        """Issue an API token."""
        body: dict[str, object] = {
            "name": new.name,
            "role": new.role,
            "repos": new.repos,
            "expires": _moment(new.expires),
            "operator": new.operator,
            "email": email,
        }
        reply = await self._transport.send("POST", _org(org, "api-clients"), body=body)
        found = decoded(reply.body, _Issued)
        return IssuedToken(**{**msgspec.structs.asdict(found), "token": Secret(found.token)})

    async def revoke_token(self, org: str, token_id: str) -> None:
        """End an API token, and those that were made with it, at once."""
        await self._transport.send("DELETE", _org(org, "api-clients", token_id))

    async def list_audit(self, org: str, *, page: int = 1, size: int = 50) -> Page[AuditEntry]:
        """Return a page of the audit log, newest first."""
        reply = await self._transport.send("GET", _org(org, "audit"), query={"page": page, "size": size})
        return decoded(reply.body, Page[AuditEntry])


def _org(org: str, *parts: str) -> str:
    return "/".join(["/orgs", quote(validate_org(org)), *(quote(part, safe="") for part in parts)])


def _grants(org: str, repo: str) -> str:
    return f"/repos/{quote(validate_org(org))}/{quote(validate_repo(repo))}/grants"


def _moment(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
