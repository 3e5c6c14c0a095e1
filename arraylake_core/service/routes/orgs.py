"""Organizations, and their audit log."""

from typing import Annotated, cast

import msgspec

from arraylake_core.errors import NotFoundError
from arraylake_core.models import Page
from arraylake_core.people import AuditEntry, Role
from arraylake_core.service.call import Call
from arraylake_core.service.table import Need, Route
from arraylake_core.service.wire import ORG_ACTIONS, REPO_ACTIONS, WireOrg, org_for

__all__ = ["ROUTES", "PageQuery"]


class NewOrgBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str
    display_name: str = ""
    description: str | None = None


class PageQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    page: Annotated[int, msgspec.Meta(ge=1)] = 1
    size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 50


class PermissionQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    principal_id: str
    resource: str
    action: str


async def create_org(call: Call) -> WireOrg:
    body = call.read(NewOrgBody)
    call.org = call.target = body.name
    org = await call.catalog.create_org(body.name, display_name=body.display_name, description=body.description)
    return org_for(call.principal, org)


async def get_org(call: Call) -> WireOrg:
    return org_for(call.principal, await call.catalog.get_org(call.org))


async def list_audit(call: Call) -> Page[AuditEntry]:
    query = call.asked(PageQuery)
    return await call.catalog.list_audit(call.org, page=query.page, size=query.size)


async def check_permission(call: Call) -> dict[str, bool]:
    """Answer for the caller itself, and for others to admins only."""
    query = call.asked(PermissionQuery)
    if query.principal_id not in (call.principal.id, call.principal.user_id):
        if call.role is not Role.Admin:
            return {"has_permission": False}
        role = await call.catalog.role_of(call.org, query.principal_id)
        return {"has_permission": query.action in {*ORG_ACTIONS[role], *REPO_ACTIONS[role]}}
    org, _, repo = query.resource.rpartition("/")
    actions = {*ORG_ACTIONS[call.role], *REPO_ACTIONS[call.role]}
    if repo and org in ("", call.org):
        try:
            facts = await call.catalog.repo_facts(call.org, repo)
        except NotFoundError:
            facts = None
        if facts is not None:
            actions |= {*REPO_ACTIONS[call.principal.role_on(call.org, facts.repo_id, public=facts.is_public)]}
    return {"has_permission": query.action in actions}


ROUTES = (
    Route(
        "POST",
        "/orgs",
        Need.Operator,
        create_org,
        "Make an organization.",
        body=NewOrgBody,
        answer=WireOrg,
        status=201,
        changes=True,
    ),
    Route("GET", "/orgs/{org}", Need.OrgMember, get_org, "Show an organization.", answer=WireOrg),
    Route(
        "GET",
        "/orgs/{org}/audit",
        Need.OrgAdmin,
        list_audit,
        "Show who did what, newest first.",
        query=PageQuery,
        answer=Page[AuditEntry],
    ),
    Route(
        "GET",
        "/orgs/{org}/permissions/check",
        Need.OrgMember,
        check_permission,
        "Tell whether a principal may do something.",
        query=PermissionQuery,
        answer=cast("object", dict[str, bool]),
    ),
)
