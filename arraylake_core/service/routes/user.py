"""Who the caller is."""

import msgspec

from arraylake_core.service.call import Call
from arraylake_core.service.table import Answer, Need, Route
from arraylake_core.service.wire import WireOrg, WireUser, org_for, principal_for

__all__ = ["ROUTES"]


class PrincipalBody(msgspec.Struct, kw_only=True):
    id: str
    user_id: str
    email: str
    name: str
    first_name: str
    family_name: str
    is_token: bool
    roles: dict[str, str | None]
    grants: dict[str, str]
    repos: list[str] | None
    operator: bool


async def get_user(call: Call) -> WireUser:
    return principal_for(call.principal)


async def get_principal(call: Call) -> PrincipalBody:
    who = call.principal
    return PrincipalBody(
        id=who.id,
        user_id=who.user_id,
        email=who.email,
        name=who.name,
        first_name=who.first_name,
        family_name=who.family_name,
        is_token=who.is_token,
        roles=dict(who.roles),
        grants=dict(who.grants),
        repos=None if who.repos is None else sorted(who.repos),
        operator=who.operator,
    )


async def post_diagnostics(call: Call) -> Answer:
    return Answer(None, 204)


async def update_user(call: Call) -> WireUser:
    return principal_for(call.principal)


async def list_user_orgs(call: Call) -> list[WireOrg]:
    orgs = await call.catalog.list_orgs()
    return [org_for(call.principal, org) for org in orgs if call.principal.belongs_to(org.name)]


ROUTES = (
    Route("GET", "/user", Need.SignedIn, get_user, "Tell who the caller is.", answer=WireUser),
    Route(
        "GET", "/user/principal", Need.SignedIn, get_principal, "Tell who the caller is and what it may do.", answer=PrincipalBody
    ),
    Route("POST", "/user/diagnostics", Need.SignedIn, post_diagnostics, "Take telemetry, and drop it.", body=bytes, status=204),
    Route(
        "POST", "/auth/update-user", Need.SignedIn, update_user, "Answer the person after a login.", body=bytes, answer=WireUser
    ),
    Route("GET", "/user/orgs", Need.SignedIn, list_user_orgs, "List the caller's organizations.", answer=list[WireOrg]),
)
