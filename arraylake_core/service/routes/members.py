"""Members of organizations, and grants on single repos."""

import msgspec

from arraylake_core.people import Grant, Login, Member, Role
from arraylake_core.service.call import Call
from arraylake_core.service.table import Need, Route

__all__ = ["ROUTES"]


class MemberBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    email: str
    role: Role | None = None


class GrantBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    email: str
    role: Role


async def list_members(call: Call) -> list[Member]:
    return await call.catalog.list_members(call.org)


async def set_member(call: Call) -> Member:
    body = call.read(MemberBody)
    call.target = f"{call.org}: {body.email} is {body.role or 'a member without a role'}"
    return await call.catalog.set_member(call.org, body.email, body.role)


async def remove_member(call: Call) -> None:
    await call.catalog.remove_member(call.org, call.path["user_id"])
    call.target = f"{call.org}: {await call.catalog.email_of(call.path['user_id'])} is no member"


async def list_logins(call: Call) -> list[Login]:
    return await call.catalog.list_logins(call.org, call.path["user_id"])


async def forget_logins(call: Call) -> None:
    await call.catalog.forget_logins(call.org, call.path["user_id"])
    call.target = f"{call.org}: logins of {await call.catalog.email_of(call.path['user_id'])}"


async def list_grants(call: Call) -> list[Grant]:
    return await call.catalog.list_grants(call.org, call.path["repo"])


async def set_grant(call: Call) -> Grant:
    body = call.read(GrantBody)
    call.target = f"{call.org}/{call.path['repo']}: {body.email} is {body.role}"
    return await call.catalog.set_grant(call.org, call.path["repo"], body.email, body.role)


async def remove_grant(call: Call) -> None:
    await call.catalog.remove_grant(call.org, call.path["repo"], call.path["user_id"])
    call.target = f"{call.org}/{call.repo}: {await call.catalog.email_of(call.path['user_id'])} has no grant"


ROUTES = (
    Route("GET", "/orgs/{org}/members", Need.OrgRead, list_members, "List the members.", answer=list[Member]),
    Route(
        "PUT",
        "/orgs/{org}/members",
        Need.OrgAdmin,
        set_member,
        "Add a member, or change a role.",
        body=MemberBody,
        answer=Member,
        changes=True,
    ),
    Route("DELETE", "/orgs/{org}/members/{user_id}", Need.OrgAdmin, remove_member, "Remove a member.", status=204, changes=True),
    Route(
        "GET",
        "/orgs/{org}/members/{user_id}/logins",
        Need.OrgAdmin,
        list_logins,
        "List as whom a member logs in.",
        answer=list[Login],
    ),
    Route(
        "DELETE",
        "/orgs/{org}/members/{user_id}/logins",
        Need.OrgAdmin,
        forget_logins,
        "Forget as whom a member logs in.",
        status=204,
        changes=True,
    ),
    Route("GET", "/repos/{org}/{repo}/grants", Need.RepoAdmin, list_grants, "List the grants on a repo.", answer=list[Grant]),
    Route(
        "PUT",
        "/repos/{org}/{repo}/grants",
        Need.RepoAdmin,
        set_grant,
        "Give a person a role on a repo.",
        body=GrantBody,
        answer=Grant,
        changes=True,
    ),
    Route(
        "DELETE",
        "/repos/{org}/{repo}/grants/{user_id}",
        Need.RepoAdmin,
        remove_grant,
        "Take a grant away.",
        status=204,
        changes=True,
    ),
)
