"""Signed requests to the objects of one repo: for whoever has a right to it, and not to the keys of the whole bucket.

The service signs and sends nothing: endpoints that users name are called by clients alone (P16), and bytes never pass through here. That is also why
listings are signed requests, with the prefix pinned in what is signed, and not answered by the service.
"""

import asyncio
from typing import Annotated

import msgspec

from arraylake_core.backends.credentials import Access, AnonymousCredentials, Credentials
from arraylake_core.backends.signing import LONGEST_BATCH, LONGEST_SECONDS, KeyRequest, SignsRequests, whole_key
from arraylake_core.errors import CredentialsError
from arraylake_core.models import RepoModel, utc_now
from arraylake_core.service.call import Call
from arraylake_core.service.credentials import repo_location
from arraylake_core.service.routes.credentials import repo_by_id, require_access
from arraylake_core.service.table import Need, Route

__all__ = ["ROUTES"]

_SIGN_SECONDS = 30


class SignBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be signed, and for how long; fewer seconds where the credentials that sign end before."""

    requests: Annotated[list[KeyRequest], msgspec.Meta(min_length=1, max_length=LONGEST_BATCH)]
    seconds: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SECONDS)] = 300


class Signed(msgspec.Struct, kw_only=True):
    """URLs in the order of the requests, and for how many seconds they are good."""

    urls: list[str]
    seconds: int


async def sign_requests(call: Call) -> Signed:
    return await _signed(call, await call.get_repo())


async def sign_requests_by_repo_id(call: Call) -> Signed:
    return await _signed(call, await repo_by_id(call))


async def _signed(call: Call, repo: RepoModel) -> Signed:
    body = call.read(SignBody)
    access: Access = "write" if any(request.changes for request in body.requests) else "read"
    require_access(call, repo, access)
    if repo.bucket is None:
        raise CredentialsError(f"{repo.full_name} has no bucket config any more")
    platform = call.services.registry.storage_platform(repo.bucket.platform)
    if not isinstance(platform, SignsRequests):
        raise CredentialsError(
            f"requests to the platform {repo.bucket.platform!r} can't be signed one by one: ask for credentials"
        )
    location = repo_location(call.services.registry, repo, repo.bucket)
    for request in body.requests:
        whole_key(location, request)
    # Whoever signs needs the keys; whoever asked gets none of them.
    found = await call.services.vendor.credentials(call.principal, call.token, repo.bucket, location, access, may_use=True)
    if isinstance(found, AnonymousCredentials):
        raise CredentialsError(f"the bucket config {repo.bucket.nickname!r} is anonymous: its requests need no signature")
    seconds = _seconds(body.seconds, found)
    try:
        urls = await asyncio.wait_for(platform.presign(location, found, body.requests, seconds), _SIGN_SECONDS)
    except TimeoutError:
        raise CredentialsError(f"the platform {platform.name!r} signed nothing in {_SIGN_SECONDS} seconds: try again") from None
    return Signed(urls=[url.reveal() for url in urls], seconds=seconds)


def _seconds(asked: int, credentials: Credentials) -> int:
    """Return for how long signatures are good: never for longer than what signs."""
    if credentials.expiration is None:
        return asked
    return max(1, min(asked, int((credentials.expiration - utc_now()).total_seconds())))


ROUTES = tuple(
    Route(
        "POST",
        f"{base}/sign",
        Need.RepoRead,
        handler,
        "Sign single requests to the objects of a repo.",
        body=SignBody,
        answer=Signed,
    )
    for base, handler in (("/repos/{org}/{repo}", sign_requests), ("/repo-ids/{repo_id}", sign_requests_by_repo_id))
)
