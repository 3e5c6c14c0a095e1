"""Auth methods of Google Cloud: a service account's key by reference, and a service account that is impersonated."""

import re

import msgspec

from arraylake_core.backends import Access, AuthMethod, Credentials, GCSCredentials, Location
from arraylake_core.backends.delegation import operator_flag, operator_setting
from arraylake_core.backends.exchange.google import GoogleToken, downscoped_token, impersonated_token
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.models import Identity

__all__ = ["GcpRole", "GcpRoleConfig", "GcpServiceAccount", "GcpServiceAccountConfig"]

_ACCOUNT = re.compile(r"[a-z0-9-]{1,63}@[a-z0-9.-]{1,128}\.gserviceaccount\.com\Z", re.ASCII)
_KEY_FILE = "google.key_file"


class GcpServiceAccountConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "gcp_service_account"}``.

    Parameters
    ----------
    key_file
        The path of the JSON file with the key, on the machine that opens the bucket. The catalog keeps the path, never the key.
    """

    key_file: str


class GcpServiceAccount(AuthMethod):
    """Tokens of a service account whose key file is on this machine."""

    name = "gcp_service_account"
    config = GcpServiceAccountConfig
    platforms = frozenset({"gs"})
    local = True

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return a token limited to the place and the right, for an hour."""
        from arraylake_gcs.keys import service_account_token

        if not isinstance(config, GcpServiceAccountConfig):
            raise CredentialsError(f"gcp_service_account needs a GcpServiceAccountConfig, not a {type(config).__name__}")
        whole = await service_account_token(config.key_file, "key_file")
        limited = await downscoped_token(whole, location, access)
        return GCSCredentials(access_token=limited.token, expiration=limited.expiration)


class GcpRoleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "gcp_customer_managed_role"}``.

    Parameters
    ----------
    target_service_account
        The e-mail address of the service account that may use the bucket, and that the deployment's own may impersonate.
    """

    target_service_account: str


class GcpRole(AuthMethod):
    """Tokens of a service account of the customer, which the deployment impersonates, limited to the place and the right."""

    name = "gcp_customer_managed_role"
    config = GcpRoleConfig
    platforms = frozenset({"gs"})
    delegated = True

    def check(self, config: msgspec.Struct, platform: str) -> None:
        """Refuse what is no service account's address: it becomes a part of a URL."""
        if not _ACCOUNT.match(_role(config).target_service_account):
            raise InvalidOptionError(
                "target_service_account is wrong: give the address of a service account, name@project.iam.gserviceaccount.com"
            )

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return a token limited to the place and the right, for an hour."""
        self.check(config, location.platform)
        account = _role(config).target_service_account
        own = await _operator_token(account)
        theirs = await impersonated_token(own, account)
        limited = await downscoped_token(theirs, location, access)
        return GCSCredentials(access_token=limited.token, principal=account, expiration=limited.expiration)


def _role(config: msgspec.Struct) -> GcpRoleConfig:
    if not isinstance(config, GcpRoleConfig):
        raise CredentialsError(f"gcp_customer_managed_role needs a GcpRoleConfig, not a {type(config).__name__}")
    return config


async def _operator_token(account: str) -> GoogleToken:
    """Return the token of the deployment's own service account, which may impersonate another."""
    from arraylake_gcs.keys import ambient_token, service_account_token

    path = operator_setting(_KEY_FILE)
    if path is not None:
        return await service_account_token(path, f"delegation.{_KEY_FILE}")
    if operator_flag("google.ambient"):
        return await ambient_token()
    raise CredentialsError(
        f"nobody may impersonate {account} here: set delegation.{_KEY_FILE} to the key file of a service account that has the role "
        "Service Account Token Creator on it, or delegation.google.ambient to take the machine's own identity"
    )
