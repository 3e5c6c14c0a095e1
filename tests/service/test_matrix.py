"""P19: who may call which route. The table says, for each route, the least role that may; a route that is not in it fails."""

import re
from uuid import uuid4

import pytest

from arraylake_core.service.access import ORG_ROLES, REPO_ROLES
from arraylake_core.service.routes import ROUTES
from arraylake_core.service.table import Need, Route
from tests.service.conftest import KEYS, Peopled

EVERYBODY = ("member", "reader", "writer", "admin", "rival")
# Who may: everybody without a token (open), everybody with one (signed), or members from this role on; nobody but operators (operator).
TABLE = {
    "GET /health": "open",
    "GET /ready": "open",
    "GET /metrics": "open",
    "GET /openapi.json": "open",
    "GET /auth/config": "open",
    "POST /oauth/device/code": "open",
    "POST /oauth/token": "open",
    "GET /v2/logout": "open",
    "GET /user": "signed",
    "GET /user/principal": "signed",
    "POST /user/diagnostics": "signed",
    "POST /auth/update-user": "signed",
    "GET /user/orgs": "signed",
    "POST /orgs": "operator",
    "GET /unfinished": "operator",
    "GET /orgs/{org}": "member",
    "GET /orgs/{org}/audit": "admin",
    "GET /orgs/{org}/permissions/check": "member",
    "GET /orgs/{org}/members": "reader",
    "PUT /orgs/{org}/members": "admin",
    "DELETE /orgs/{org}/members/{user_id}": "admin",
    "GET /orgs/{org}/members/{user_id}/logins": "admin",
    "DELETE /orgs/{org}/members/{user_id}/logins": "admin",
    "GET /orgs/{org}/api-clients": "member",
    "POST /orgs/{org}/api-clients": "member",
    "DELETE /orgs/{org}/api-clients/{token_id}": "member",
    "GET /orgs/{org}/api-clients/authenticate": "member",
    "GET /orgs/{org}/webhooks": "admin",
    "POST /orgs/{org}/webhooks": "admin",
    "DELETE /orgs/{org}/webhooks/{webhook_id}": "admin",
    "POST /orgs/{org}/webhooks/{webhook_id}/test": "admin",
    "GET /orgs/{org}/buckets": "reader",
    "POST /orgs/{org}/buckets": "admin",
    "GET /orgs/{org}/buckets/{bucket}": "reader",
    "PATCH /orgs/{org}/buckets/{bucket}": "admin",
    "DELETE /orgs/{org}/buckets/{bucket}": "admin",
    "POST /orgs/{org}/buckets/{bucket}/default": "admin",
    "GET /orgs/{org}/buckets/{bucket}/repos": "reader",
    "GET /orgs/{org}/buckets/{bucket}/credentials": "reader",
    "GET /orgs/{org}/default-bucket": "reader",
    "GET /buckets/{bucket_id}": "reader",
    "GET /buckets/{bucket_id}/credentials": "reader",
    "GET /orgs/{org}/repos/paginated": "member",
    "POST /orgs/{org}/repos": "writer",
    "POST /orgs/{org}/repos/import": "admin",
    "GET /orgs/{org}/unfinished": "writer",
    "PATCH /orgs/{org}/{repo}": "writer",
    "DELETE /orgs/{org}/{repo}": "writer",
    "PUT /orgs/{org}/{repo}/status": "admin",
    "GET /repos/{org}/{repo}": "reader",
    "GET /repos/{org}/{repo}/open": "reader",
    "GET /repos/{org}/{repo}/bucket-credentials": "reader",
    "POST /repos/{org}/{repo}/sign": "reader",
    "POST /repo-ids/{repo_id}/sign": "reader",
    "POST /repos/{org}/{repo}/rename": "admin",
    "POST /repos/{org}/{repo}/restore": "writer",
    "GET /repos/{org}/{repo}/grants": "admin",
    "PUT /repos/{org}/{repo}/grants": "admin",
    "DELETE /repos/{org}/{repo}/grants/{user_id}": "admin",
    "GET /repos/icechunk/{org}/{repo}/virtual-chunk-containers": "reader",
    "PATCH /repos/icechunk/{org}/{repo}/virtual-chunk-containers": "admin",
    "GET /repo-ids/{repo_id}/credentials": "reader",
    "POST /repo-ids/{repo_id}/activate": "writer",
    "POST /repo-ids/{repo_id}/begin-purge": "writer",
    "DELETE /repo-ids/{repo_id}": "writer",
    **{
        f"{verb} {base}/{what}": role
        for base in ("/repo-ids/{repo_id}", "/repos/{org}/{repo}")
        for verb, what, role in (
            ("GET", "refs", "reader"),
            ("GET", "refs/{name}", "reader"),
            ("PUT", "refs/{name}", "writer"),
            ("DELETE", "refs/{name}", "writer"),
            ("GET", "journals/{name}", "reader"),
            ("POST", "journals/{name}", "writer"),
            ("DELETE", "journals/{name}", "writer"),
        )
    },
}
ORDER = ("member", "reader", "writer", "admin")


def key(route: Route) -> str:
    return f"{route.method} {re.sub(r':[^}]*', '', route.path)}"


def test_p19_every_route_has_a_row() -> None:
    assert sorted(map(key, ROUTES)) == sorted(TABLE)


@pytest.fixture
def lake(peopled: Peopled) -> Peopled:
    """With a bucket config that has keys, a repo in it, and a ref and a journal."""
    service, admin = peopled.service, peopled.tokens["admin"]
    place = {"extra_config": {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}, "auth_config": KEYS}
    made = service.ask("POST", "/orgs/acme/buckets", admin, body={"nickname": "sea", "platform": "s3", "name": "lake", **place})
    assert made.status == 201, made.body
    repo = service.ask("POST", "/orgs/acme/repos", admin, body={"name": "ocean"}).json
    ref = service.ask("PUT", "/repos/acme/ocean/refs/branch/main", admin, body={"a": 1}, headers={"If-None-Match": "*"})
    assert ref.status == 201
    assert service.ask("POST", "/repos/acme/ocean/journals/one", admin, raw=b"entry").status == 200
    peopled.known = {
        "org": "acme",
        "repo": "ocean",
        "repo_id": repo["_id"],
        "bucket": "sea",
        "bucket_id": made.json["id"],
        "name": "branch/main",
        "user_id": service.people["reader@example.org"].id,
        "token_id": str(uuid4()),
        "webhook_id": str(uuid4()),
    }
    return peopled


BODIES: dict[str, object] = {
    "POST /orgs": {"name": "new-org"},
    "PUT /orgs/{org}/members": {"email": "new@example.org", "role": "reader"},
    "POST /orgs/{org}/api-clients": {"name": "mine", "role": "reader"},
    "POST /orgs/{org}/webhooks": {"url": "https://127.0.0.1/hook", "events": ["repo.created"]},
    "POST /orgs/{org}/buckets": {"nickname": "second", "platform": "s3", "name": "second"},
    "PATCH /orgs/{org}/buckets/{bucket}": {"nickname": "sea"},
    "POST /orgs/{org}/repos": {"name": "made"},
    "POST /orgs/{org}/repos/import": {"name": "taken", "prefix": "there/it/is"},
    "PATCH /orgs/{org}/{repo}": {"description": "changed"},
    "PUT /orgs/{org}/{repo}/status": {"mode": "online"},
    "POST /repos/{org}/{repo}/sign": {"requests": [{"verb": "GET", "key": "repo.json"}]},
    "POST /repo-ids/{repo_id}/sign": {"requests": [{"verb": "LIST"}]},
    "POST /repos/{org}/{repo}/rename": {"name": "ocean"},
    "PUT /repos/{org}/{repo}/grants": {"email": "member@example.org", "role": "reader"},
    "PATCH /repos/icechunk/{org}/{repo}/virtual-chunk-containers": {"add": {}},
    "PUT /repo-ids/{repo_id}/refs/{name}": {"a": 2},
    "PUT /repos/{org}/{repo}/refs/{name}": {"a": 2},
}
QUERIES = {
    "GET /orgs/{org}/permissions/check": "?principal_id=x&resource=acme/ocean&action=CAN_READ",
    "GET /orgs/{org}/api-clients/authenticate": "?token=ema_nothing",
}


def expected(route: Route, caller: str) -> tuple[int, ...]:
    """Return what a caller may be answered: who is let in gets whatever the route says of what was asked."""
    row = TABLE[key(route)]
    if row == "open":
        # Without an identity provider, there is nobody to pass a form on to.
        return (422,) if route.path.startswith("/oauth/") else (200, 204)
    if caller in ("nobody", "expired", "revoked"):
        return (401,)
    if row == "signed":
        return (200, 204)
    if row == "operator":
        return (403,)
    let_in = (200, 201, 204, 404, 409, 412, 422)
    if caller == "rival":
        return (404,)
    about_repo = route.need in REPO_ROLES
    if ORDER.index(caller) >= ORDER.index(row):
        return (401,) if key(route).endswith("authenticate") else let_in
    # To a member without a role, repos do not exist; whoever may see it is told what is missing.
    return (404,) if caller == "member" and about_repo else (403,)


@pytest.mark.parametrize("caller", ["nobody", "expired", "revoked", "rival", "member", "reader", "writer", "admin"])
def test_p19_the_whole_matrix(lake: Peopled, caller: str) -> None:
    wrong = []
    # What deletes comes last, so that there is something to be seen until then.
    for route in sorted(ROUTES, key=lambda route: (route.method == "DELETE", route.name == "purge_repo")):
        path = re.sub(r"\{(\w+)(?::[^}]*)?\}", lambda found: lake.known[found[1]], route.path) + QUERIES.get(key(route), "")
        headers = {"If-Match": '"1"'} if "/refs/" in path else {}
        answer = lake.service.ask(route.method, path, lake.tokens[caller], body=BODIES.get(key(route)), headers=headers)
        if answer.status not in expected(route, caller):
            wrong.append(f"{key(route)}: {answer.status} {answer.body[:200]!r}, expected {expected(route, caller)}")
        if caller in ("nobody", "expired", "revoked", "rival", "member") and TABLE[key(route)] not in ("open", "signed"):
            assert b"CANARY" not in answer.body
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("caller", ["rival", "member"])
def test_p19_hidden_looks_exactly_like_missing(lake: Peopled, caller: str) -> None:
    """What exists and what does not differ in nothing but the name that was asked for."""
    service, token = lake.service, lake.tokens[caller]
    for route in ROUTES:
        hidden = route.need in REPO_ROLES or (caller == "rival" and route.need in {*ORG_ROLES, Need.OrgMember})
        if not hidden:
            continue
        answers = []
        for known in (
            lake.known,
            lake.known
            | {"org": "norg" if caller == "rival" else "acme", "repo": "nothing", "repo_id": "0" * 24, "bucket_id": str(uuid4())},
        ):
            path = re.sub(r"\{(\w+)(?::[^}]*)?\}", lambda found, known=known: known[found[1]], route.path) + QUERIES.get(
                key(route), ""
            )
            answer = service.ask(
                route.method, path, token, body=BODIES.get(key(route)), headers={"If-Match": '"1"'} if "/refs/" in path else {}
            )
            text = answer.body.decode()
            for name in ("org", "repo", "repo_id", "bucket_id"):
                text = text.replace(known[name], name)
            headers = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in ("date", "x-request-id", "content-length")
            }
            answers.append((answer.status, text, headers))
        assert answers[0] == answers[1], key(route)
