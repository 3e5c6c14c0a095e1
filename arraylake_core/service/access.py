"""Whether a principal may call a route: the one place where it is decided.

What is hidden from a caller answers exactly as what does not exist.
"""

from typing import TYPE_CHECKING

from arraylake_core.catalog.sql_access import facts_of
from arraylake_core.errors import BucketConfigNotFoundError, OrgNotFoundError, PermissionDeniedError, RepoNotFoundError
from arraylake_core.names import shown, validate_org, validate_repo
from arraylake_core.people import Principal, Role
from arraylake_core.service.table import Need

if TYPE_CHECKING:
    from arraylake_core.catalog.sql_catalog import SqlCatalog
    from arraylake_core.service.call import Call

__all__ = ["ORG_ROLES", "REPO_ROLES", "permit"]

ORG_ROLES: dict[Need, Role | None] = {
    Need.OrgMember: None,
    Need.OrgRead: Role.Reader,
    Need.OrgWrite: Role.Writer,
    Need.OrgAdmin: Role.Admin,
}
REPO_ROLES = {Need.RepoRead: Role.Reader, Need.RepoWrite: Role.Writer, Need.RepoAdmin: Role.Admin}


async def permit(call: "Call", need: Need) -> None:
    """Let a call pass, or raise; sets the call's organization and role.

    Raises
    ------
    NotFoundError
        The organization, repo or bucket config does not exist, or is hidden from the principal.
    PermissionDeniedError
        The principal may see it, but lacks the role.
    """
    principal = call.principal
    if need in (Need.Nothing, Need.SignedIn):
        return
    if need is Need.Operator:
        _require(Role.Admin if principal.operator else None, Role.Admin, need)
    elif need in REPO_ROLES:
        await _permit_repo(call, need, REPO_ROLES[need])
    else:
        call.org = await _org_of_bucket(call) if "org" not in call.path else _visible_org(principal, call.path["org"])
        call.role = principal.role_in(call.org)
        needed = ORG_ROLES[need]
        if needed is not None:
            _require(call.role, needed, need)


def _visible_org(principal: Principal, org: str) -> str:
    validate_org(org)
    if not principal.belongs_to(org):
        raise OrgNotFoundError(f"there is no organization {shown(org)}, or you are not a member of it: check the name")
    return org


async def _org_of_bucket(call: "Call") -> str:
    bucket_id = call.path["bucket_id"]
    org = await call.catalog.org_of_bucket(bucket_id)
    if org is None or not call.principal.belongs_to(org):
        raise BucketConfigNotFoundError(f"there is no bucket config with the id {shown(bucket_id)}: it may have been deleted")
    return org


async def _permit_repo(call: "Call", need: Need, needed: Role) -> None:
    principal = call.principal
    if "repo_id" in call.path:
        repo_id = call.path["repo_id"]
        facts = await call.catalog.repo_facts_by_id(repo_id)
        name = f"with the id {shown(repo_id)}"
    else:
        org, repo = validate_org(call.path["org"]), validate_repo(call.path["repo"])
        role = principal.role_in(org)
        if role is not None and role.covers(needed):
            call.org, call.role = org, role
            return
        name = shown(f"{org}/{repo}")
        if need is Need.RepoRead:
            # Whoever may read it will: it is looked up once for both.
            call.opened = await call.catalog.find_open(org, repo)
            facts = None if call.opened is None else facts_of(call.opened.repo)
        else:
            facts = await call.catalog.repo_facts(org, repo)
    role = principal.role_on(facts.org, facts.repo_id, public=facts.is_public) if facts else None
    if facts is None or role is None:
        raise RepoNotFoundError(f"there is no repo {name}, or you may not see it: check the name, or ask an admin for access")
    call.org, call.repo, call.role = facts.org, facts.name, role
    _require(role, needed, need)


def _require(role: Role | None, needed: Role, need: Need) -> None:
    if role is None or not role.covers(needed):
        yours = f"you are {role}" if role else "you have no role"
        raise PermissionDeniedError(f"this needs the role of {need}, and {yours} here: ask an admin of the organization")


async def visible_repos(catalog: "SqlCatalog", principal: Principal, org: str) -> frozenset[str] | None:
    """Return the ids of the only repos of an organization that a listing may show; None: all of them."""
    if principal.role_in(org) is not None:
        return None
    if principal.repos is not None:
        return principal.repos if principal.roles.get(org) is not None else principal.repos & principal.grants.keys()
    return frozenset(principal.grants)
