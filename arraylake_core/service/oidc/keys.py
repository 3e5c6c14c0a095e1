"""The metadata and the keys of an issuer, kept for an hour, and asked for anew at a bounded rate."""

import asyncio
import logging
import time

from arraylake_core.backends.exchange.http import get_json
from arraylake_core.errors import AuthenticationError, CredentialsError, ServiceError
from arraylake_core.login.provider import Provider, discovered
from arraylake_core.login.verify import Keys, has_key, key_set

__all__ = ["IssuerKeys"]

_log = logging.getLogger(__name__)

_AT_MOST_EVERY = 10.0
_AT_LEAST_EVERY = 3600.0


class IssuerKeys:
    """The metadata and the keys of one issuer.

    Parameters
    ----------
    issuer
        Its URL.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._lock = asyncio.Lock()
        self._provider: Provider | None = None
        self._keys: Keys | None = None
        self._asked = float("-inf")

    async def provider(self) -> Provider:
        """Return the metadata.

        Raises
        ------
        ServiceError
            The issuer can't be reached, and nothing is known of it yet.
        """
        if self._provider is None or self._age() > _AT_LEAST_EVERY:
            await self._ask()
        return self._known(self._provider)

    async def keys(self, kid: object) -> Keys:
        """Return the keys; where none has the id, or they are old, those that the issuer has now.

        Whoever sends tokens with made-up ids makes the service ask once in ten seconds, and no more.

        Raises
        ------
        ServiceError
            The issuer can't be reached, and there are no keys of it yet.
        """
        if self._keys is None or self._age() > (_AT_LEAST_EVERY if self._has(kid) else _AT_MOST_EVERY):
            await self._ask()
        return self._known(self._keys)

    async def _ask(self) -> None:
        """Ask for both, unless that was done a moment ago; what is known stays where the issuer does not answer."""
        async with self._lock:
            if self._age() <= _AT_MOST_EVERY:
                return
            self._asked = time.monotonic()
            try:
                self._provider = await discovered(self._issuer)
                self._keys = key_set(await get_json(self._provider.jwks_uri, what=f"the identity provider {self._issuer}"))
            except (CredentialsError, AuthenticationError) as error:
                _log.warning("the keys of an identity provider were not renewed: %s", error)

    def _known[T](self, found: T | None) -> T:
        if found is None:
            raise ServiceError(
                f"the identity provider {self._issuer} can't be reached by the service: try again in some seconds", 503
            )
        return found

    def _age(self) -> float:
        return time.monotonic() - self._asked

    def _has(self, kid: object) -> bool:
        return self._keys is not None and has_key(self._keys, kid)
