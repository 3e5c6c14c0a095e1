"""Signed requests to the objects of a repo, from a service."""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from arraylake_core.backends.signing import LONGEST_BATCH, KeyRequest, SignedUrls
from arraylake_core.catalog.http_decoding import decoded
from arraylake_core.catalog.http_transport import transport_to
from arraylake_core.errors import ServiceError
from arraylake_core.secret import Secret

__all__ = ["RepoSigner"]


class _Signed(msgspec.Struct):
    urls: list[str]
    seconds: int


class RepoSigner(msgspec.Struct, frozen=True):
    """Has a service sign requests to one repo; it travels in pickles, and takes the token of the process where it wakes up.

    Parameters
    ----------
    base
        The service's URI, without a slash at its end.
    fingerprint
        Which token to take.
    repo_id
        The repo.
    """

    base: str
    fingerprint: str
    repo_id: str

    async def sign(self, requests: Sequence[KeyRequest]) -> SignedUrls:
        """Return a signed URL for each request."""
        path, urls, seconds = f"/repo-ids/{quote(self.repo_id, safe='')}/sign", list[Secret](), 0
        for begin in range(0, len(requests), LONGEST_BATCH):
            part = list(requests[begin : begin + LONGEST_BATCH])
            reply = await transport_to(self.base, self.fingerprint).send("POST", path, body={"requests": part})
            found = _hidden(decoded(reply.body, _Signed))
            if len(found.urls) != len(part):
                raise ServiceError(f"{self.base} signed {len(found.urls)} of {len(part)} requests: check its release")
            urls += found.urls
            seconds = min(seconds, found.seconds) if seconds else found.seconds
        return SignedUrls(tuple(urls), seconds)


def _hidden(found: _Signed) -> SignedUrls:
    return SignedUrls(tuple(map(Secret, found.urls)), found.seconds)
