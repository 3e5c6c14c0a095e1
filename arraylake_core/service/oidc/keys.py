"""The keys of an issuer, kept as long as they do, and asked for anew at a bounded rate."""

import asyncio
import time

from arraylake_core.backends.exchange.http import get_json
from arraylake_core.errors import AuthenticationError, CredentialsError
from arraylake_core.login.provider import Provider, discovered
from arraylake_core.login.verify import Keys, has_key, key_set

__all__ = ["IssuerKeys"]

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
        """Return the metadata."""
        if self._provider is None:
            self._provider = await discovered(self._issuer)
        return self._provider

    async def keys(self, kid: object) -> Keys:
        """Return the keys; where none has the id, or they are old, those that the issuer has now.

        Whoever sends tokens with made-up ids makes the service ask once in ten seconds, and no more.

        Raises
        ------
        AuthenticationError
            The issuer can't be reached, and there are no keys of it yet.
        """
        now = time.monotonic()
        if self._keys is not None and now - self._asked < (_AT_LEAST_EVERY if self._has(kid) else _AT_MOST_EVERY):
            return self._keys
        async with self._lock:
            age = time.monotonic() - self._asked
            if age < _AT_MOST_EVERY:
                if self._keys is None:
                    raise AuthenticationError(f"the identity provider {self._issuer} can't be reached: try again in some seconds")
                return self._keys
            self._asked = time.monotonic()
            try:
                provider = await self.provider()
                self._keys = key_set(await get_json(provider.jwks_uri, what=f"the identity provider {self._issuer}"))
            except (CredentialsError, AuthenticationError) as error:
                if self._keys is None:
                    raise AuthenticationError(str(error)) from None
            return self._keys

    def _has(self, kid: object) -> bool:
        return self._keys is not None and has_key(self._keys, kid)
