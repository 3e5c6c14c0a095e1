"""Cloudflare R2's temporary credentials: https://developers.cloudflare.com/r2/api/s3/tokens/."""

import re
from datetime import timedelta
from urllib.parse import quote

import msgspec

from arraylake_core.backends import Access, AuthMethod, Credentials, Location, S3Credentials
from arraylake_core.backends.delegation import operator_setting
from arraylake_core.backends.exchange.http import post_json
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.models import Identity, utc_now
from arraylake_core.secret import Secret

__all__ = ["R2Role", "R2RoleConfig"]

_ACCOUNT = re.compile(r"[0-9a-f]{32}\Z", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9]{1,128}\Z", re.ASCII)
_PERMISSIONS = {"read": "object-read-only", "write": "object-read-write"}
_SHORTEST, _LONGEST = 900, 604_800


class R2RoleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "r2_customer_managed_role"}``.

    Parameters
    ----------
    external_account_id
        The Cloudflare account, 32 hexadecimal digits.
    parent_access_key_id
        The R2 access key whose rights the temporary credentials have at most.
    api_token
        A Cloudflare API token that may create them.
    duration_seconds
        Their lifetime, 900 to 604,800.
    """

    external_account_id: str
    parent_access_key_id: str
    api_token: Secret
    duration_seconds: int = 3600


class R2Role(AuthMethod):
    """Keys limited to the place and the right by R2 itself."""

    name = "r2_customer_managed_role"
    config = R2RoleConfig
    platforms = frozenset({"s3", "s3-compatible"})
    delegated = True

    def check(self, config: msgspec.Struct, platform: str) -> None:
        """Refuse what is no account or no key."""
        config = _checked(config)
        if not _ACCOUNT.match(config.external_account_id):
            raise InvalidOptionError("external_account_id is wrong: give the id of the Cloudflare account, 32 of 0-9 and a-f")
        if not _KEY.match(config.parent_access_key_id):
            raise InvalidOptionError("parent_access_key_id is wrong: give the id of an R2 access key, letters and digits")
        if not _SHORTEST <= config.duration_seconds <= _LONGEST:
            raise InvalidOptionError(f"duration_seconds is {_SHORTEST} to {_LONGEST}, not {config.duration_seconds}")

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return keys that end after ``duration_seconds``."""
        self.check(config, location.platform)
        config = _checked(config)
        endpoint = operator_setting("r2.api_endpoint") or "https://api.cloudflare.com/client/v4"
        url = f"{endpoint.rstrip('/')}/accounts/{quote(config.external_account_id)}/r2/temp-access-credentials"
        body = {
            "bucket": location.bucket,
            "parentAccessKeyId": config.parent_access_key_id,
            "permission": _PERMISSIONS[access],
            "ttlSeconds": config.duration_seconds,
            **({"prefixes": [f"{location.prefix}/"]} if location.prefix else {}),
        }
        # Before the call, so that the end is never later than R2's own.
        expiration = utc_now() + timedelta(seconds=config.duration_seconds)
        answer = await post_json(url, body, what="Cloudflare's API", bearer=config.api_token)
        try:
            keys = msgspec.convert(answer["result"], dict[str, str])
            return S3Credentials(
                aws_access_key_id=keys["accessKeyId"],
                aws_secret_access_key=Secret(keys["secretAccessKey"]),
                aws_session_token=Secret(keys["sessionToken"]),
                expiration=expiration,
            )
        except (KeyError, msgspec.ValidationError):
            raise CredentialsError(
                "Cloudflare's API answered without credentials: check external_account_id, parent_access_key_id and the rights of api_token"
            ) from None


def _checked(config: msgspec.Struct) -> R2RoleConfig:
    if not isinstance(config, R2RoleConfig):
        raise CredentialsError(f"r2_customer_managed_role needs an R2RoleConfig, not a {type(config).__name__}")
    return config
