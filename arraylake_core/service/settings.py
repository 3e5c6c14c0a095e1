"""What an operator may set about the service; see docs/production.md."""

import msgspec

from arraylake_core import config
from arraylake_core.service.oidc.issuers import Issuer, parse_issuers

__all__ = ["ServiceSettings", "settings_from_config"]


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The limits and permissions of one replica.

    Parameters
    ----------
    authenticated
        Whether requests need a token. Without, everybody is an operator, and the service listens on loopback only.
    max_body
        The largest request body, in bytes.
    requests_per_second
        What one principal may ask for, with bursts of twice that; 0 is without limit.
    failures_per_minute
        How many requests of one address may fail to authenticate.
    principal_seconds
        How long a principal's rights are remembered: a revoked token is good for that long at most. At most 5.
    allow_networks
        Hosts and networks that URLs given by users may lead to although they are not public, such as ``10.1.0.0/16``.
    allow_endpoints
        Further ones to which the endpoints of buckets may lead, which clients call and the service does not.
    cors_origins
        Web origins whose pages may call the service.
    drain_seconds
        How long requests may take to finish when the service stops.
    logins_per_minute
        How many requests for codes and tokens one address may have passed on to identity providers.
    issuers
        The identity providers whose logins are taken.
    readers_get_keys
        Whether members who are readers get the keys of buckets whose auth method has one secret for all.
    domain
        The host by which clients reach the service over https: official ones log in there.
    """

    authenticated: bool = True
    max_body: int = 2 * 1024 * 1024
    requests_per_second: float = 0.0
    failures_per_minute: int = 60
    principal_seconds: float = 2.0
    allow_networks: tuple[str, ...] = ()
    allow_endpoints: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    drain_seconds: float = 30.0
    logins_per_minute: float = 60
    issuers: tuple[Issuer, ...] = ()
    readers_get_keys: bool = True
    domain: str | None = None


def settings_from_config(*, authenticated: bool = True, loopback: bool = False) -> ServiceSettings:
    """Return the settings that the config has.

    Parameters
    ----------
    authenticated
        Whether requests need a token.
    loopback
        Whether the service listens on this machine alone: then buckets may be on it as well. Webhooks, which the service calls, may not.
    """
    local = ("127.0.0.0/8", "::1/128", "localhost") if loopback else ()
    return ServiceSettings(
        authenticated=authenticated,
        requests_per_second=config.get_float("service.requests_per_second"),
        failures_per_minute=int(config.get_float("service.failures_per_minute")),
        allow_networks=tuple(config.get_list("service.allow_networks")),
        allow_endpoints=local,
        cors_origins=tuple(config.get_list("service.cors_origins")),
        drain_seconds=config.get_float("service.drain_seconds"),
        logins_per_minute=config.get_float("service.logins_per_minute"),
        issuers=parse_issuers(config.get_entries("service.issuers")),
        readers_get_keys=config.get_bool("service.readers_get_keys"),
        domain=config.get_str("service.domain"),
    )
