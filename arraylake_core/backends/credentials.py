"""Storage credentials, and the provider that a repo holds instead of them.

A CredentialProvider keeps one set for the whole process: asked from any thread or event loop, it mints once, refreshes ahead of expiry with one refresh in
flight, keeps the last good set while it is valid, and otherwise fails. It never falls back on credentials that lie about in the environment.
"""

import asyncio
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Literal, Protocol, get_args

import msgspec

from arraylake_core.backends.signing import RequestSigner
from arraylake_core.errors import ArraylakeError, CredentialsError
from arraylake_core.loops import submit
from arraylake_core.models import utc_now
from arraylake_core.secret import Secret

__all__ = [
    "Access",
    "AnonymousCredentials",
    "AzureCredentials",
    "CredentialProvider",
    "CredentialSource",
    "Credentials",
    "GCSCredentials",
    "PasswordCredentials",
    "S3Credentials",
    "SignedCredentials",
    "checked_credentials",
    "provider_for",
]

type Access = Literal["read", "write"]

_MARGIN = timedelta(minutes=5)
_MARGIN_SHARE = 0.2
_FIRST_BACKOFF = 1.0
_LONGEST_BACKOFF = 60.0
_PATIENCE = 5.0
_PROVIDERS_KEPT = 1024


class AnonymousCredentials(msgspec.Struct, frozen=True, tag="anonymous"):
    """No credentials: requests are not signed."""

    storage_account: str | None = None

    @property
    def expiration(self) -> None:
        """Never."""
        return


class S3Credentials(msgspec.Struct, frozen=True, kw_only=True, tag="s3"):
    """Keys of an S3 API, with a session token where they are temporary."""

    aws_access_key_id: str
    aws_secret_access_key: Secret
    aws_session_token: Secret | None = None
    expiration: datetime | None = None


class GCSCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="gcs"):
    """A bearer token of Google Cloud Storage."""

    access_token: Secret
    principal: str = ""
    expiration: datetime | None = None


class AzureCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="azure"):
    """One of: a shared access signature, an account key, a bearer token."""

    storage_account: str
    sas_token: Secret | None = None
    account_key: Secret | None = None
    bearer_token: Secret | None = None
    expiration: datetime | None = None


class PasswordCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="password"):
    """A user and a password, for what is no cloud: WebDAV, SFTP, an HTTP server."""

    username: str
    password: Secret
    expiration: datetime | None = None


class SignedCredentials(msgspec.Struct, frozen=True, kw_only=True, tag="signed"):
    """None at all: the bucket's keys open more than the caller may have, and a service signs each of its requests instead; see ``signing.py``.

    Parameters
    ----------
    signer
        What to ask for signed URLs.
    """

    signer: RequestSigner

    @property
    def expiration(self) -> None:
        """Never: it is the signed URLs that expire."""
        return


type Credentials = (
    AnonymousCredentials | S3Credentials | GCSCredentials | AzureCredentials | PasswordCredentials | SignedCredentials
)
"""All kinds of credentials; a plugin adds none, since they must travel from services of one release to clients of another."""


def checked_credentials(found: object, whose: str) -> Credentials:
    """Return what a plugin gave as credentials; CredentialsError where it is of no kind that every client knows.

    Parameters
    ----------
    found
        What it gave.
    whose
        Where it comes from, for the message.
    """
    if type(found) not in get_args(Credentials.__value__):
        kinds = ", ".join(kind.__name__ for kind in get_args(Credentials.__value__))
        raise CredentialsError(
            f"{whose} gave a {type(found).__name__}, which is of no kind that clients know: a plugin returns one of {kinds}"
        )
    return found  # type: ignore[return-value]  # the line above


class CredentialSource(Protocol):
    """Where credentials are minted.

    A source is hashable, since one provider serves all who ask for the same, and pickles without secrets: in the process where it wakes up it authenticates
    anew.
    """

    def __hash__(self) -> int:
        """Return the same for sources that mint the same."""
        ...

    async def mint(self) -> Credentials:
        """Return a new set, or raise."""
        ...


class CredentialProvider:
    """What a repo holds instead of credentials.

    Parameters
    ----------
    source
        Where a set comes from.
    clock
        The time now, in UTC.

    Notes
    -----
    Pickles as its source alone, and wakes up as the provider that its process has for that source.
    """

    def __init__(self, source: CredentialSource, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.source = source
        self._clock = clock
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._current: Credentials | None = None
        self._minted: datetime | None = None
        self._inflight: Future[Credentials] | None = None
        self._retry_at = 0.0
        self._backoff = _FIRST_BACKOFF

    def __repr__(self) -> str:
        return f"CredentialProvider({type(self.source).__name__})"

    def __reduce__(self) -> "tuple[Callable[[CredentialSource], CredentialProvider], tuple[CredentialSource]]":
        return provider_for, (self.source,)

    async def get(self) -> Credentials:
        """Return a set that is valid now, minting or refreshing it where need be.

        Raises
        ------
        CredentialsError
            There is no valid set, and none could be minted.
        """
        ready = self._ready()
        return ready if not isinstance(ready, Future) else await asyncio.shield(asyncio.wrap_future(ready))

    async def get_lasting(self) -> Credentials:
        """Return a set with most of its life before it, for who hands it on: where it is time to refresh, the new one is waited for.

        Handed on in its last minutes, a set would be asked for again at once, by everybody who got it. Where there is no new one, the last valid set must do.

        Raises
        ------
        CredentialsError
            There is no valid set, and none could be minted.
        """
        await self.get()
        inflight = self._inflight
        if inflight is None:
            # None was due, or the new one has come just now.
            return await self.get()
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(inflight)), _PATIENCE)
        except (ArraylakeError, TimeoutError):
            return await self.get()

    def offer(self, credentials: Credentials) -> None:
        """Take a set that came along with something else, where it is good for longer than what is at hand; so a request for it is saved."""
        with self._lock:
            current = self._current
            lasts = credentials.expiration
            if current is None or (current.expiration is not None and (lasts is None or lasts > current.expiration)):
                self._current, self._minted = credentials, self._clock()

    def get_blocking(self) -> Credentials:
        """Return what ``get`` returns, for callbacks from threads without an event loop."""
        ready = self._ready()
        return ready if not isinstance(ready, Future) else ready.result()

    def _ready(self) -> "Credentials | Future[Credentials]":
        """Return the set at hand, or the future of the refresh that must be waited for."""
        if self._pid != os.getpid():
            self._lock, self._inflight, self._pid = threading.Lock(), None, os.getpid()
        current = self._current
        if current is not None and not self._due(current):
            return current
        with self._lock:
            current, now = self._current, self._clock()
            valid = current is not None and (current.expiration is None or current.expiration > now)
            if current is not None and not self._due(current):
                return current
            if self._inflight is None and time.monotonic() >= self._retry_at:
                self._inflight = submit(self._refresh())
            if current is not None and valid:
                return current
            if self._inflight is None:
                raise CredentialsError(
                    f"the last refresh of {self.source!r} failed and its credentials have expired: the next try is in "
                    f"{max(self._retry_at - time.monotonic(), 0):.0f} s"
                )
            return self._inflight

    def _due(self, credentials: Credentials) -> bool:
        """Tell whether it is time to refresh: in the last fifth of a set's life, 5 minutes at most."""
        if credentials.expiration is None:
            return False
        lifetime = credentials.expiration - (self._minted or self._clock())
        return self._clock() >= credentials.expiration - min(_MARGIN, lifetime * _MARGIN_SHARE)

    async def _refresh(self) -> Credentials:
        try:
            credentials = self._unspent(checked_credentials(await self.source.mint(), repr(self.source)))
        except Exception as error:
            with self._lock:
                self._retry_at = time.monotonic() + self._backoff
                self._backoff = min(self._backoff * 2, _LONGEST_BACKOFF)
                self._inflight = None
            if isinstance(error, ArraylakeError):
                raise
            # The cause is left out on purpose: libraries put what they were given into their messages.
            raise CredentialsError(f"{self.source!r} could not be had: {type(error).__name__}") from None
        with self._lock:
            self._current, self._minted = credentials, self._clock()
            self._retry_at, self._backoff, self._inflight = 0.0, _FIRST_BACKOFF, None
        return credentials

    def _unspent(self, credentials: Credentials) -> Credentials:
        """Return a new set; one that has ended when it comes would be asked for anew by every request."""
        late = None if credentials.expiration is None else self._clock() - credentials.expiration
        if late is not None and late >= timedelta(0):
            raise CredentialsError(
                f"{self.source!r} ended {late.total_seconds():.0f} s before they came, by the clock of this machine: set it right, or that of the service"
            )
        return credentials


_providers: OrderedDict[CredentialSource, CredentialProvider] = OrderedDict()
_providers_lock = threading.Lock()


def provider_for(source: CredentialSource) -> CredentialProvider:
    """Return the provider that this process has for a source, so that however many repos, sessions and tasks ask, it mints once."""
    with _providers_lock:
        provider = _providers.get(source)
        if provider is None:
            provider = _providers[source] = CredentialProvider(source)
        _providers.move_to_end(source)
        while len(_providers) > _PROVIDERS_KEPT:
            _providers.popitem(last=False)
    return provider


def _unlock_after_fork() -> None:
    global _providers_lock
    _providers_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)
