"""The identity providers that a deployment trusts, and for what: the setting ``service.issuers``."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from urllib.parse import urlsplit

import msgspec

from arraylake_core.errors import InvalidOptionError
from arraylake_core.names import shown, validate_org
from arraylake_core.people import Role, highest

__all__ = ["Issuer", "issuer_for", "parse_issuers"]

_DOMAIN = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+\Z", re.ASCII)


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity provider.

    Parameters
    ----------
    issuer
        Its URL, exactly as it names itself.
    client_id
        The public client that stands for users of this service: the audience of their tokens.
    org
        The one organization that it speaks for; None is the whole deployment.
    domains
        The domains of the e-mail addresses that it speaks for; none is every one, which only a provider of the whole deployment may.
    claim
        The claim that has a person's groups.
    roles
        What groups mean: ``{"lake-admins": {"acme": "admin"}}``.
    scopes
        What clients ask for.
    subject
        The claim that says who somebody is, and is never given to another person: ``sub``, but for providers that give each client another one.
    """

    issuer: str
    client_id: str
    org: str | None = None
    domains: tuple[str, ...] = ()
    claim: str = "groups"
    roles: dict[str, dict[str, Role]] = msgspec.field(default_factory=dict)
    scopes: str = "openid email profile offline_access"
    subject: str = "sub"

    def speaks_for(self, email: str) -> bool:
        """Tell whether it may say that somebody has an e-mail address."""
        return not self.domains or email.rpartition("@")[2].lower() in self.domains

    def roles_of(self, claims: Mapping[str, object]) -> dict[str, Role]:
        """Return the roles that a person's claims give, by organization."""
        groups = claims.get(self.claim)
        found: dict[str, Role] = {}
        for group in groups if isinstance(groups, list) else [groups]:
            for org, role in self.roles.get(group, {}).items() if isinstance(group, str) else ():
                best = highest(found.get(org), role)
                if best is not None and self.org in (None, org):
                    found[org] = best
        return found


def parse_issuers(value: Sequence[object]) -> tuple[Issuer, ...]:
    """Check the setting ``service.issuers``.

    Raises
    ------
    InvalidOptionError
        An entry is wrong: the service does not start with it (P8).

    Examples
    --------
    >>> parse_issuers([{"issuer": "https://login.example.org", "client_id": "lake"}])[0].client_id
    'lake'
    """
    try:
        issuers = tuple(msgspec.convert(entry, Issuer) for entry in value)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    seen: set[tuple[str, str | None]] = set()
    for entry in issuers:
        _check(entry)
        if (entry.issuer, entry.client_id) in seen:
            raise _wrong(f"{entry.issuer} is there twice with the same client_id")
        seen.add((entry.issuer, entry.client_id))
    whole = [entry.issuer for entry in issuers if entry.org is None]
    if len(whole) > 1 and not all(entry.domains for entry in issuers if entry.org is None):
        raise _wrong(
            "of several providers for the whole deployment, each must name its domains, so that none speaks for another's people"
        )
    for one, other in combinations(issuers, 2):
        _check_pair(one, other)
    return issuers


def issuer_for(issuers: Sequence[Issuer], org: str | None) -> Issuer | None:
    """Return the provider that people of an organization log in with: its own, or else the deployment's first."""
    own = next((entry for entry in issuers if org is not None and entry.org == org), None)
    return own or next((entry for entry in issuers if entry.org is None), None)


def _check(entry: Issuer) -> None:
    try:
        parts = urlsplit(entry.issuer)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    except ValueError:
        raise _wrong("an issuer is no URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise _wrong(f"{shown(entry.issuer)} must begin with https://")
    if not parts.hostname or parts.query or parts.fragment or parts.username is not None or not entry.issuer.isascii():
        raise _wrong(f"{shown(entry.issuer)} must be a URL without user, query and fragment")
    if not entry.client_id or not (entry.client_id.isascii() and entry.client_id.isprintable()):
        raise _wrong(f"{entry.issuer} has no client_id, or none in plain ASCII")
    if entry.org is not None:
        validate_org(entry.org)
        if not entry.domains:
            raise _wrong(
                f"{entry.issuer} speaks for the organization {entry.org}: name the domains of its people's e-mail addresses"
            )
        if any(org != entry.org for given in entry.roles.values() for org in given):
            raise _wrong(f"{entry.issuer} speaks for the organization {entry.org}, and can't give roles in others")
    for org in {org for given in entry.roles.values() for org in given}:
        validate_org(org)
    if not all(_DOMAIN.match(domain) for domain in entry.domains):
        raise _wrong(f"the domains of {entry.issuer} are written in lower case and whole, as in example.org")
    if _no_identity(entry.subject):
        raise _wrong(f"subject of {entry.issuer} names the claim by which people are known for good, such as sub or oid")
    if not {"openid", "email"} <= set(entry.scopes.split(" ")) or not (entry.scopes.isascii() and entry.scopes.isprintable()):
        raise _wrong(f"the scopes of {entry.issuer} are words with a space between, openid and email among them")


def _no_identity(claim: str) -> bool:
    """Tell whether a claim can't say who somebody is: what people have for a while, or may choose themselves."""
    return not (claim and claim.isascii() and claim.isprintable()) or claim in _PASSING


_PASSING = frozenset(
    {"email", "preferred_username", "nickname", "name", "given_name", "family_name", "phone_number", "upn", "unique_name"}
)


def _check_pair(one: Issuer, other: Issuer) -> None:
    """Check what two entries mean together."""
    if one.issuer != other.issuer:
        if one.client_id == other.client_id:
            raise _wrong(
                f"{one.issuer} and {other.issuer} have the same client_id: give each its own, since official clients, which log in through the service, "
                "say nothing else of where they belong"
            )
        if one.org == other.org and (both := set(one.domains) & set(other.domains)):
            raise _wrong(f"{one.issuer} and {other.issuer} both speak for {', '.join(sorted(both))}: keep it with one of them")
        return
    if one.subject != other.subject:
        raise _wrong(f"the clients of {one.issuer} have different claims as subject: people are the same by each of them")
    if one.org is None and other.org is None and (one.claim, one.roles) != (other.claim, other.roles):
        raise _wrong(f"the clients of {one.issuer} give different roles, and a login by one would take away what another gave")
    for whole, own in ((one, other), (other, one)):
        if whole.org is None and own.org is not None and any(own.org in given for given in whole.roles.values()):
            raise _wrong(f"{one.issuer} gives roles in {own.org} by two of its clients: keep them with that of the organization")


def _wrong(problem: str) -> InvalidOptionError:
    return InvalidOptionError(
        f"the setting service.issuers is wrong: {problem}. Each entry has issuer and client_id, and may have org, domains, claim, roles, scopes, subject"
    )
