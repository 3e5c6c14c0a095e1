"""The login to one service: had once, renewed by one of all threads and processes that need it, and forgotten on logout."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from typing import NamedTuple

from arraylake_core import config
from arraylake_core.errors import AuthenticationError
from arraylake_core.login.provider import LoginSettings, discovered, login_settings
from arraylake_core.login.storage import Kept, kept_login
from arraylake_core.login.tokens import TokenSet, refreshed, revoke
from arraylake_core.secret import Secret

__all__ = ["Account", "Ended", "account_of", "identity_token", "own_settings"]

_LOCK_SECONDS = 120


class Ended(NamedTuple):
    """What a logout did.

    Parameters
    ----------
    was_logged_in
        Whether there was a login.
    is_revoked
        Whether the provider has ended it; some can't, and then what others have of it holds until its end.
    """

    was_logged_in: bool
    is_revoked: bool


class Account:
    """The login to one service.

    Parameters
    ----------
    service
        Its URI; for the embedded catalog, the issuer of the settings.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._held: TokenSet | None = None
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"<login to {self.service}>"

    async def token(self, *, unlike: Secret | None = None) -> Secret | None:
        """Return the ID token, renewed where it is due; None where nobody is logged in.

        Parameters
        ----------
        unlike
            A token that the service has refused, so that another one is had even before its end.

        Raises
        ------
        AuthenticationError
            The login has ended, or what is kept of it can't be trusted.
        """
        held = self._held if self._pid == os.getpid() else None
        if held is not None and not held.is_due() and held.id_token != unlike:
            return held.id_token
        found = await self.tokens(unlike=unlike)
        return None if found is None else found.id_token

    async def tokens(self, *, unlike: Secret | None = None) -> TokenSet | None:
        """Return the whole login as ``token`` does."""
        kept = kept_login(self.service)
        found = await asyncio.to_thread(kept.read)
        if self._needs(found, unlike):
            # Who gives up waiting must not break it off between the provider's answer and its being kept: what was used up would be used again.
            renewing = asyncio.ensure_future(self._renewed(kept, unlike))
            renewing.add_done_callback(_noticed)
            found = await asyncio.shield(renewing)
        self._held, self._pid = found, os.getpid()
        return found

    def _needs(self, found: TokenSet | None, unlike: Secret | None) -> bool:
        """Tell whether there is something to renew, and it is time to."""
        return found is not None and found.must_renew(unlike)

    async def _renewal(self, found: TokenSet | None, kept: Kept) -> TokenSet:
        """Have the provider renew a login; what replaces a refresh token is kept before anything else can fail."""
        assert found is not None

        async def keep(tokens: TokenSet) -> None:
            await asyncio.to_thread(kept.write, tokens)

        return await refreshed(found, keep)

    async def _renewed(self, kept: Kept, unlike: Secret | None) -> TokenSet | None:
        async with _locked(kept):
            # Whoever was first has renewed it for all who waited.
            found = await asyncio.to_thread(kept.read)
            if not self._needs(found, unlike):
                return found
            try:
                renewed = await self._renewal(found, kept)
            except AuthenticationError:
                # A provider that is away for a moment ends no login that still holds.
                if found is None or found.has_ended() or found.id_token == unlike:
                    raise
                return found
            await asyncio.to_thread(kept.write, renewed)
            return renewed

    async def login(self, *, org: str | None = None, browser: bool = False, settings: LoginSettings | None = None) -> TokenSet:
        """Log in, and keep it.

        Parameters
        ----------
        org
            The organization whose identity provider is asked.
        browser
            Whether to open this machine's browser, instead of showing a code.
        settings
            The provider; None asks the service.
        """
        from arraylake_core.login.terminal import open_page, say, show_code

        kept = kept_login(self.service)
        await asyncio.to_thread(kept.prepare)
        settings = settings or await login_settings(self.service, org)
        provider = await discovered(settings.issuer)
        if not browser and provider.device_authorization_endpoint is None:
            say(
                f"The identity provider {provider.issuer} gives no codes to log in with: this machine's browser is asked instead."
            )
            browser = True
        if browser:
            from arraylake_core.login.browser import by_browser

            found = await by_browser(settings, provider, open_page)
        else:
            from arraylake_core.login.device import by_device

            found = await by_device(settings, provider, show_code)
        async with _locked(kept):
            await asyncio.to_thread(kept.write, found)
        self._held, self._pid = found, os.getpid()
        return found

    async def logout(self) -> Ended:
        """Have the provider end the login, and forget it here in any case.

        Raises
        ------
        AuthenticationError
            It is forgotten here, but the provider could not be told.
        """
        kept = kept_login(self.service)
        self._held = None
        async with _locked(kept):
            try:
                found = await asyncio.to_thread(kept.read, to_end_it=True)
            except AuthenticationError:
                # What is damaged, or somebody else's, names nothing that could be revoked.
                await asyncio.to_thread(kept.delete)
                return Ended(was_logged_in=True, is_revoked=False)
            try:
                is_revoked = found is not None and await revoke(found)
            except AuthenticationError as error:
                problem = str(error)
            else:
                return Ended(was_logged_in=found is not None, is_revoked=is_revoked)
            finally:
                await asyncio.to_thread(kept.delete)
        raise AuthenticationError(
            f"the login to {self.service} is forgotten here, but its identity provider was not told, so that what others may have of it holds "
            f"until its end: {problem}; end it on the provider's own pages"
        )


@asynccontextmanager
async def _locked(kept: Kept) -> AsyncIterator[None]:
    """Keep all other threads and processes from changing a login meanwhile."""
    from filelock import AsyncFileLock, Timeout

    await asyncio.to_thread(kept.prepare)
    lock = AsyncFileLock(kept.lock_path, timeout=_LOCK_SECONDS, mode=0o600, thread_local=False)
    try:
        await lock.acquire()
    except Timeout:
        raise AuthenticationError(
            f"another process has been changing the login to {kept.service} for {_LOCK_SECONDS} seconds: end it, and try again"
        ) from None
    except OSError as error:
        raise AuthenticationError(
            f"the login can't be locked by {kept.lock_path} ({error.strerror}): remove the file, if it is another user's, and try again"
        ) from None
    try:
        yield
    finally:
        await lock.release()


def _noticed(renewing: "asyncio.Future[TokenSet | None]") -> None:
    """Take note of an error that nobody waits for any more."""
    with suppress(asyncio.CancelledError):
        renewing.exception()


@lru_cache(maxsize=256)
def account_of(service: str) -> Account:
    """Return the login to a service that all its users in this process share."""
    return Account(service)


def own_settings() -> LoginSettings | None:
    """Return the identity provider that the settings name for use without a service, or None."""
    issuer, client_id = config.get_str("login.issuer"), config.get_str("login.client_id")
    return LoginSettings(issuer=issuer, client_id=client_id) if issuer and client_id else None


async def identity_token() -> Secret:
    """Return the token of who is logged in without a service, for auth methods that exchange it; nobody is asked for anything.

    A person's is their ID token. Where the settings have a client's secret, it is that client's access token (RFC 6749, 4.4).

    Raises
    ------
    AuthenticationError
        Nobody is, or the settings name no provider.
    """
    settings = own_settings()
    if settings is None:
        raise AuthenticationError(
            "the bucket is opened by who is logged in: set login.issuer and login.client_id to your identity provider, and log in with "
            "`arraylake-core auth login`"
        )
    from arraylake_core.login.robot import client_secret, robot_token

    secret = await asyncio.to_thread(client_secret)
    if secret is not None:
        return await robot_token(settings, secret)
    token = await account_of(settings.issuer).token()
    if token is None:
        raise AuthenticationError(
            f"the bucket is opened by who is logged in with {settings.issuer}: run `arraylake-core auth login`, or client.login()"
        )
    return token
