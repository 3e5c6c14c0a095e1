"""What a bucket config says of the exchange: fields for one cloud each, none of them a secret."""

import re

import msgspec

from arraylake_core.errors import InvalidOptionError

__all__ = ["CLOUDS", "OAuthConfig", "check_config"]

CLOUDS = {"s3": "aws", "s3-compatible": "aws", "minio": "aws", "gs": "google", "azure": "azure"}
"""The platforms that are served, and whose exchange each takes."""

_NEEDED = {"aws": ("role_arn",), "google": ("audience",), "azure": ("tenant_id", "client_id", "storage_account")}
_TAKEN = {
    "aws": {"role_arn", "sts_endpoint"},
    "google": {"audience", "service_account"},
    "azure": {"tenant_id", "client_id", "storage_account"},
}
_PLAIN = re.compile(r"[\x21-\x7e]{1,2048}\Z")
_SHORTEST, _LONGEST = 900, 43200


class OAuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "oauth"}``.

    Parameters
    ----------
    role_arn
        S3: the role that logins may assume, ``arn:aws:iam::123456789012:role/lake``.
    sts_endpoint
        S3: the URL of the token service; by default AWS's in the bucket's region, or the bucket's own endpoint where that is not AWS.
    audience
        Google: the provider of the identity pool, ``//iam.googleapis.com/projects/…/locations/global/workloadIdentityPools/…/providers/…``.
    service_account
        Google: the service account that logins may impersonate, where the bucket is not open to the pool's identities themselves.
    tenant_id, client_id
        Azure: the directory, and the application that has the login's issuer and subject as a federated credential.
    storage_account
        Azure: the storage account.
    duration_seconds
        The lifetime of credentials, 900 to 43200; the cloud may allow less.
    """

    role_arn: str | None = None
    sts_endpoint: str | None = None
    audience: str | None = None
    service_account: str | None = None
    tenant_id: str | None = None
    client_id: str | None = None
    storage_account: str | None = None
    duration_seconds: int = 3600


def check_config(config: OAuthConfig, platform: str) -> None:
    """Refuse a config that does not say what the exchange of a platform's cloud needs.

    Parameters
    ----------
    config
        The config.
    platform
        The platform of the bucket.

    Examples
    --------
    >>> check_config(OAuthConfig(), "s3")
    Traceback (most recent call last):
      ...
    arraylake_core.errors.InvalidOptionError: oauth on the platform 's3' needs role_arn: see the README of arraylake-oauth
    """
    cloud = CLOUDS[platform]
    given = {name for name, value in msgspec.structs.asdict(config).items() if value is not None} - {"duration_seconds"}
    missing = [name for name in _NEEDED[cloud] if name not in given]
    if missing:
        raise InvalidOptionError(
            f"oauth on the platform {platform!r} needs {' and '.join(missing)}: see the README of arraylake-oauth"
        )
    if odd := sorted(given - _TAKEN[cloud]):
        raise InvalidOptionError(
            f"oauth on the platform {platform!r} takes {', '.join(sorted(_TAKEN[cloud]))}, not {', '.join(odd)}: leave that out"
        )
    for name in sorted(given):
        if not _PLAIN.match(getattr(config, name)):
            raise InvalidOptionError(f"the option {name!r} is wrong: it is plain ASCII without spaces, at most 2048 characters")
    if not _SHORTEST <= config.duration_seconds <= _LONGEST:
        raise InvalidOptionError(f"duration_seconds is {_SHORTEST} to {_LONGEST}, not {config.duration_seconds}")
