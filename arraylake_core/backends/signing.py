"""Signed requests: for buckets whose keys open all of them and can't be made smaller, a service signs single requests instead of handing the keys out.

Each signed URL is good for one verb on one key, for some minutes. A platform that can sign has the two methods of ``SignsRequests`` beside those of
``StoragePlatform``; what holds signed access instead of credentials asks its ``RequestSigner``, in batches.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from arraylake_core.errors import InvalidNameError
from arraylake_core.names import LONGEST_KEY, join_prefix, shown, validate_key

if TYPE_CHECKING:
    from arraylake_core.backends.credentials import Credentials
    from arraylake_core.backends.storage import Location
    from arraylake_core.secret import Secret

__all__ = [
    "LONGEST_BATCH",
    "LONGEST_SECONDS",
    "KeyRequest",
    "ListedObject",
    "ListingPage",
    "RequestSigner",
    "SignedUrls",
    "SignsRequests",
    "Verb",
    "whole_key",
]

LONGEST_BATCH = 250
"""How many requests are signed at once, at most."""

LONGEST_SECONDS = 900
"""For how long a signed URL is good, at most."""

type Verb = Literal["GET", "HEAD", "PUT", "DELETE", "LIST"]


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One request that is to be signed.

    Parameters
    ----------
    verb
        What it does. ``LIST`` gives a page of what is below ``key``.
    key
        The object, relative to the place; for ``LIST``, the prefix, "" for the whole place.
    after
        For ``LIST``: the last key of the page before, relative to the place.
    """

    verb: Verb
    key: str = ""
    after: str = ""

    @property
    def changes(self) -> bool:
        """Whether it needs the right to write."""
        return self.verb in ("PUT", "DELETE")


class ListedObject(NamedTuple):
    """An object of a listing.

    Parameters
    ----------
    key
        Relative to the place.
    size
        In bytes.
    modified
        When it was written, by the store's clock.
    """

    key: str
    size: int
    modified: datetime


class ListingPage(NamedTuple):
    """A page of a listing.

    Parameters
    ----------
    objects
        What is on it.
    is_last
        Whether no page follows.
    """

    objects: tuple[ListedObject, ...]
    is_last: bool


class SignedUrls(NamedTuple):
    """Signed requests.

    Parameters
    ----------
    urls
        In the order of the requests.
    seconds
        For how long they are good from now on: a number that no clock can be wrong about.
    """

    urls: "tuple[Secret, ...]"
    seconds: int


class RequestSigner(Protocol):
    """Where signed URLs come from; it pickles without secrets."""

    async def sign(self, requests: Sequence[KeyRequest]) -> SignedUrls:
        """Return a signed URL for each request.

        Raises
        ------
        PermissionDeniedError
            The caller has no right to one of them.
        """
        ...


@runtime_checkable
class SignsRequests(Protocol):
    """What a storage platform offers whose requests can be signed one by one."""

    async def presign(
        self, location: "Location", credentials: "Credentials", requests: Sequence[KeyRequest], seconds: int
    ) -> "list[Secret]":
        """Return a URL for each request, good for that verb on that key alone; nothing is sent to the store.

        Parameters
        ----------
        location
            The place that the keys are relative to; none of them may lead out of it.
        credentials
            What to sign with.
        requests
            What is to be signed.
        seconds
            For how long.

        Raises
        ------
        CredentialsError
            Nothing can be signed with such credentials.
        """
        ...

    def read_listing(self, location: "Location", body: bytes) -> ListingPage:
        """Read what the store answered to a ``LIST``.

        Raises
        ------
        StorageError
            It is no listing.
        """
        ...


def whole_key(location: "Location", request: KeyRequest) -> str:
    """Return the whole key that a request is about, confined to a place; for ``LIST``, the whole prefix, which ends with a slash.

    Raises
    ------
    InvalidNameError
        The key could lead elsewhere.

    Examples
    --------
    >>> from arraylake_core.backends import Location
    >>> whole_key(Location(platform="s3", bucket="lake", prefix="team/x"), KeyRequest(verb="LIST", key="chunks"))
    'team/x/chunks/'
    """
    listing = request.verb == "LIST"
    if request.after and not listing:
        raise InvalidNameError(f"'after' belongs to LIST: leave it out of {request.verb}")
    if not request.key and not listing:
        raise InvalidNameError(f"a {request.verb} needs the key of one object")
    whole = join_prefix(location.prefix, validate_key(request.key) if request.key else "")
    if len(whole) > LONGEST_KEY or len(request.after) > LONGEST_KEY:
        raise InvalidNameError(f"{shown(request.key)} is no valid key: with its prefix it has more than {LONGEST_KEY} characters")
    return f"{whole}/" if listing and whole else whole
