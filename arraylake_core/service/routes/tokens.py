"""API tokens."""

from datetime import datetime
from typing import Annotated

import msgspec

from arraylake_core.errors import AuthenticationError
from arraylake_core.people import NewToken, Role, Token
from arraylake_core.service.call import Call
from arraylake_core.service.table import Need, Route

__all__ = ["ROUTES"]


class NewTokenBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str
    role: Role = Role.Writer
    repos: list[str] | None = None
    expires: datetime | None = None
    operator: bool = False
    email: str | None = None


class IssuedTokenBody(Token, kw_only=True):
    """A token that was just created, in the clear: this once."""

    token: str


class CheckedToken(msgspec.Struct, kw_only=True):
    id: str = msgspec.field(name="_id")
    email: str
    created: datetime | None = None
    expiration: datetime | None = None
    last_used: datetime | None = None


class TokenQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    token: Annotated[str, msgspec.Meta(max_length=5000)]


async def list_tokens(call: Call) -> list[Token]:
    return await call.catalog.list_tokens(call.org)


async def create_token(call: Call) -> IssuedTokenBody:
    body = call.read(NewTokenBody)
    new = NewToken(name=body.name, role=body.role, repos=body.repos, expires=body.expires, operator=body.operator)
    issued = await call.catalog.create_token(call.org, new, email=body.email)
    call.target = f"{call.org}: {issued.id} for {issued.email}"
    return IssuedTokenBody(**{**msgspec.structs.asdict(issued), "token": issued.token.reveal()})


async def revoke_token(call: Call) -> None:
    await call.catalog.revoke_token(call.org, call.path["token_id"])


async def authenticate_token(call: Call) -> CheckedToken:
    """Tell whose a token is: the official client asks this of its own token."""
    principal = await call.catalog.authenticate(call.asked(TokenQuery).token)
    if principal is None or not principal.belongs_to(call.org) or principal.user_id != call.principal.user_id:
        raise AuthenticationError("the token is unknown, expired or revoked, or is not yours: ask for a new one")
    listed = next((token for token in await call.catalog.list_tokens(call.org) if token.id == principal.id), None)
    return CheckedToken(
        id=principal.id,
        email=principal.email,
        created=listed.created if listed else None,
        expiration=principal.expiration,
        last_used=listed.last_used if listed else None,
    )


ROUTES = (
    Route(
        "GET",
        "/orgs/{org}/api-clients",
        Need.OrgMember,
        list_tokens,
        "List API tokens: all of them to admins, to others their own.",
        answer=list[Token],
    ),
    Route(
        "POST",
        "/orgs/{org}/api-clients",
        Need.OrgMember,
        create_token,
        "Issue an API token, which is shown this once.",
        body=NewTokenBody,
        answer=IssuedTokenBody,
        status=201,
        changes=True,
    ),
    Route(
        "DELETE",
        "/orgs/{org}/api-clients/{token_id}",
        Need.OrgMember,
        revoke_token,
        "End an API token at once.",
        status=204,
        changes=True,
    ),
    Route(
        "GET",
        "/orgs/{org}/api-clients/authenticate",
        Need.OrgMember,
        authenticate_token,
        "Tell whose a token is.",
        query=TokenQuery,
        answer=CheckedToken,
    ),
)
