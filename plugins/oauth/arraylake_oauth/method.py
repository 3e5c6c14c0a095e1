"""The auth method: one exchange for each cloud."""

import msgspec

from arraylake_core.backends import Access, AuthMethod, Credentials, GCSCredentials, Location
from arraylake_core.backends.exchange.aws import assume_role_with_web_identity, session_name, sts_endpoint
from arraylake_core.backends.exchange.azure import client_assertion_token
from arraylake_core.backends.exchange.azure_sas import is_confined, user_delegation_sas
from arraylake_core.backends.exchange.google import downscoped_token, federated_token, impersonated_token
from arraylake_core.backends.scope import s3_session_policy
from arraylake_core.errors import AuthenticationError, CredentialsError
from arraylake_core.models import Identity
from arraylake_core.secret import Secret
from arraylake_oauth.config import CLOUDS, OAuthConfig, check_config

__all__ = ["OAuth"]


class OAuth(AuthMethod):
    """Short-lived credentials for who is logged in, limited to a place and a right; nothing long-lived is stored anywhere."""

    name = "oauth"
    config = OAuthConfig
    platforms = frozenset(CLOUDS)
    identified = True
    delegated = True

    def check(self, config: msgspec.Struct, platform: str) -> None:
        """Refuse a config that lacks what the platform's cloud needs."""
        check_config(_checked(config), platform)

    def confines(self, location: Location) -> bool:
        """Tell whether credentials can be limited to a location: on Azure, where the account has directories."""
        return CLOUDS[location.platform] != "azure" or is_confined(location)

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Exchange the caller's login for credentials.

        Raises
        ------
        AuthenticationError
            The caller came with an API token, or is not logged in.
        CredentialsError
            The cloud refused; the message has its error code, and what to do about it.
        """
        config = _checked(config)
        check_config(config, location.platform)
        token = _login(identity)
        match CLOUDS[location.platform]:
            case "aws":
                return await _aws(config, location, access, identity.principal, token)
            case "google":
                return await _google(config, location, access, token)
            case _:
                return await _azure(config, location, access, token)


def _checked(config: msgspec.Struct) -> OAuthConfig:
    if not isinstance(config, OAuthConfig):
        raise CredentialsError(f"oauth needs an OAuthConfig, not a {type(config).__name__}")
    return config


def _login(identity: Identity) -> Secret:
    if identity.token is None:
        raise AuthenticationError("the bucket is opened by who is logged in: run `arraylake-core auth login`, or client.login()")
    if identity.token.reveal().count(".") != 2:
        raise AuthenticationError(
            "the bucket is opened by a person's login, which an API token is not: log in with `arraylake-core auth login`, "
            "or ask an admin for a bucket with a role"
        )
    return identity.token


async def _aws(config: OAuthConfig, location: Location, access: Access, principal: str, token: Secret) -> Credentials:
    options = msgspec.structs.asdict(location.options)
    region, endpoint = options.get("region_name"), options.get("endpoint_url")
    aws_region = str(region) if isinstance(region, str) else ""
    partition = next((f"aws-{part}" for part in ("cn", "us-gov") if aws_region.startswith(f"{part}-")), "aws")
    return await assume_role_with_web_identity(
        config.sts_endpoint or (str(endpoint) if endpoint else sts_endpoint(aws_region or None)),
        role_arn=config.role_arn or "",
        token=token,
        policy=s3_session_policy(location, access, partition=partition),
        name=session_name(principal),
        seconds=config.duration_seconds,
    )


async def _google(config: OAuthConfig, location: Location, access: Access, token: Secret) -> Credentials:
    found = await federated_token(token, config.audience or "")
    if config.service_account is not None:
        found = await impersonated_token(found, config.service_account, seconds=config.duration_seconds)
    limited = await downscoped_token(found, location, access)
    return GCSCredentials(access_token=limited.token, principal=config.service_account or "", expiration=limited.expiration)


async def _azure(config: OAuthConfig, location: Location, access: Access, token: Secret) -> Credentials:
    found = await client_assertion_token(config.tenant_id or "", config.client_id or "", token)
    account, endpoint = config.storage_account or "", msgspec.structs.asdict(location.options).get("endpoint_url")
    url = str(endpoint).rstrip("/") if endpoint else f"https://{account}.blob.core.windows.net"
    return await user_delegation_sas(found, account, url, location, access, seconds=config.duration_seconds)
