"""Who calls: from a bearer token to a principal, remembered for a moment."""

import hashlib
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from arraylake_core.errors import AuthenticationError
from arraylake_core.people import Principal
from arraylake_core.service.settings import ServiceSettings

if TYPE_CHECKING:
    from arraylake_core.catalog.sql_catalog import SqlCatalog
    from arraylake_core.service.oidc.logins import Logins

__all__ = ["EVERYBODY", "NOBODY", "Principals"]

NOBODY = Principal(id="", user_id="", email="")
EVERYBODY = Principal(
    id="00000000-0000-0000-0000-000000000000",
    user_id="00000000-0000-0000-0000-000000000000",
    email="operator@localhost.internal",
    name="operator",
    first_name="Local",
    family_name="Operator",
    operator=True,
)
_KEPT = 10_000
_LONGEST_TOKEN = 8192
_TOUCHED_EVERY = 3600.0


class Principals:
    """The principals of the last seconds.

    Parameters
    ----------
    catalog
        Where tokens are known.
    logins
        Where ID tokens are.
    settings
        Says whether tokens are needed, and for how long rights are remembered (P2: never more than 5 s).
    """

    def __init__(self, catalog: "SqlCatalog", settings: ServiceSettings, logins: "Logins") -> None:
        self._catalog = catalog
        self._logins = logins
        self._settings = settings
        self._seconds = min(settings.principal_seconds, 5.0)
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._touched: OrderedDict[str, float] = OrderedDict()
        self._used: list[str] = []

    async def of(self, authorization: str) -> Principal:
        """Return whom an ``Authorization`` header names.

        Raises
        ------
        AuthenticationError
            It is missing, of another scheme, unknown, expired or revoked: the caller learns no more than that.
        """
        if not self._settings.authenticated:
            return EVERYBODY
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN or not token.isascii():
            raise AuthenticationError(
                "this needs a token: send it as 'Authorization: Bearer ema_...'; log in, or ask an admin for one"
            )
        # The token itself is not kept in memory.
        key, now = hashlib.blake2b(token.encode(), digest_size=32).digest(), time.monotonic()
        found = self._known.get(key)
        if found is not None and now - found[0] < self._seconds and not _has_ended(found[1]):
            return found[1]
        self._known.pop(key, None)
        if self._logins.issuers and token.count(".") == 2:
            principal: Principal | None = await self._logins.principal(token)
        else:
            principal = await self._catalog.authenticate(token)
        if principal is None:
            raise AuthenticationError(
                "the token is unknown, expired or revoked: ask for a new one with `arraylake-core token create`"
            )
        self._known[key] = now, principal
        self._known.move_to_end(key)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return principal

    def forget(self) -> None:
        """Forget all, after a change of rights on this replica."""
        self._known.clear()

    def note_use(self, principal: Principal) -> None:
        """Note that a token was used, now and then, to be written beside the requests."""
        now = time.monotonic()
        last = self._touched.get(principal.id)
        if not principal.is_token or (last is not None and now - last < _TOUCHED_EVERY):
            return
        self._touched[principal.id] = now
        while len(self._touched) > _KEPT:
            self._touched.popitem(last=False)
        self._used.append(principal.id)

    async def write_uses(self) -> None:
        """Write which tokens were used."""
        used, self._used = self._used, []
        for token_id in used:
            await self._catalog.touch_token(token_id)


def _has_ended(principal: Principal) -> bool:
    return principal.expiration is not None and principal.expiration.timestamp() <= time.time()
