"""From an ID token to a principal."""

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from arraylake_core.backends.exchange.http import CONNECTOR
from arraylake_core.errors import ArraylakeError, AuthenticationError
from arraylake_core.login.provider import Provider
from arraylake_core.login.verify import SKEW, checked_claims, unverified_header
from arraylake_core.people import Login, Principal
from arraylake_core.secret import Secret
from arraylake_core.service.netguard import guarded_connector
from arraylake_core.service.oidc.issuers import Issuer
from arraylake_core.service.oidc.keys import IssuerKeys

if TYPE_CHECKING:
    from arraylake_core.catalog.sql_catalog import SqlCatalog

__all__ = ["Logins"]

_KEPT = 10_000


class _Known(NamedTuple):
    """A token that was checked: who it is, and when it ends."""

    login: Login
    expires: float


class Logins:
    """The logins that a deployment takes.

    Parameters
    ----------
    catalog
        Where people are.
    issuers
        The identity providers.
    allow
        Hosts and networks that may be called although they are not public.
    """

    def __init__(self, catalog: "SqlCatalog", issuers: Sequence[Issuer], allow: Sequence[str]) -> None:
        self._catalog = catalog
        self._allow = tuple(allow)
        self.issuers = tuple(issuers)
        self._keys = {issuer.issuer: IssuerKeys(issuer.issuer) for issuer in issuers}
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def provider(self, issuer: Issuer) -> Provider:
        """Return the metadata of an identity provider."""
        self.confine()
        return await self._keys[issuer.issuer].provider()

    def confine(self) -> None:
        """Keep what this request asks of identity providers out of the service's own network (P16)."""
        CONNECTOR.set(partial(guarded_connector, self._allow))

    async def principal(self, token: str) -> Principal:
        """Return whom an ID token stands for, as of now.

        Raises
        ------
        AuthenticationError
            What is wrong with the token.
        """
        digest = hashlib.blake2b(token.encode(), digest_size=32).digest()
        known = self._known.get(digest)
        if known is None:
            return await self._first(token, digest)
        alive = known.expires + SKEW > time.time()
        found = await self._catalog.principal_of_login(known.login) if alive else None
        if found is None:
            self._known.pop(digest, None)
            raise AuthenticationError("the login has expired: renew it, or log in again")
        return _bounded(found, known)

    async def _first(self, token: str, digest: bytes) -> Principal:
        self.confine()
        issuer, claims = await self._checked(token)
        email, login = _email(issuer, claims), _login(issuer, claims)
        issued, expires = _time(claims, "iat"), _time(claims, "exp").timestamp()
        names = (_text(claims, "given_name") or _text(claims, "name"), _text(claims, "family_name"))
        try:
            found = await self._catalog.log_in(
                email,
                login=login,
                issued=issued,
                names=names,
                roles=issuer.roles_of(claims),
            )
        except ValueError as error:
            # The address is none that people can have here.
            raise AuthenticationError(str(error)) from None
        known = _Known(login, expires)
        self._known[digest] = known
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return _bounded(found, known)

    async def _checked(self, token: str) -> tuple[Issuer, Mapping[str, object]]:
        """Return who issued a token, and its claims, once they are seen to hold."""
        asserted = _unverified_claims(token)
        audience = asserted.get("aud")
        for issuer in self.issuers:
            if issuer.issuer == asserted.get("iss") and issuer.client_id in (
                audience if isinstance(audience, list) else [audience]
            ):
                keys = await self._keys[issuer.issuer].keys(unverified_header(Secret(token)).get("kid"))
                return issuer, checked_claims(Secret(token), keys, issuer=issuer.issuer, client_id=issuer.client_id)
        raise AuthenticationError(
            "the login is of an identity provider, or for a client, that this service does not know: log in to this one"
        )


def _email(issuer: Issuer, claims: Mapping[str, object]) -> str:
    email = _text(claims, "email")
    if not email:
        raise AuthenticationError("the login has no e-mail address: its client must be allowed the scope 'email'")
    if claims.get("email_verified") is not True:
        raise AuthenticationError(
            "the e-mail address of the login is not verified: verify it with the identity provider, then log in again"
        )
    if not issuer.speaks_for(email):
        raise AuthenticationError(
            "the identity provider does not speak for people with this e-mail address: log in with your own"
        )
    return email


def _login(issuer: Issuer, claims: Mapping[str, object]) -> Login:
    subject = claims.get(issuer.subject)
    if not isinstance(subject, str):
        raise AuthenticationError(
            f"the login has no claim {issuer.subject!r}, which says who it is: the identity provider must put it into the ID token"
        )
    return Login(issuer=issuer.issuer, subject=subject, org=issuer.org)


def _bounded(principal: Principal, known: _Known) -> Principal:
    """Limit a principal to what its issuer may speak for: operators never log in by the provider of one organization."""
    from msgspec.structs import replace

    only = known.login.org
    if only is None:
        return principal
    roles = {org: role for org, role in principal.roles.items() if org == only}
    return replace(principal, roles=roles, operator=False)


def _unverified_claims(token: str) -> dict[str, object]:
    import base64

    try:
        _, part, _ = token.split(".")
        return msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)), type=dict[str, object])
    except (ValueError, msgspec.MsgspecError, ArraylakeError):
        raise AuthenticationError("the token is neither an API token nor a JWT: log in again") from None


def _time(claims: Mapping[str, object], name: str) -> datetime:
    value = claims[name]
    try:
        return datetime.fromtimestamp(value if isinstance(value, int | float) else math.nan, UTC)
    except (ValueError, OverflowError, OSError):
        raise AuthenticationError(
            f"the login says {name!r} in a form that is no time: the identity provider must give seconds since 1970"
        ) from None


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) and value.isprintable() else ""
