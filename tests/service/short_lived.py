"""A third party's auth method for the tests: keys of a role, from a token service that lets them live for seconds."""

from collections.abc import Iterable

import msgspec
from aiobotocore.session import get_session

from arraylake_core.backends import Access, AuthMethod, Credentials, Location, S3Credentials
from arraylake_core.backends.scope import s3_session_policy
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import Identity
from arraylake_core.secret import Secret


class ShortLivedConfig(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    role_arn: str
    access_key_id: str
    secret_access_key: Secret


class ShortLived(AuthMethod):
    """Assumes a role for a place and a right, and counts the sets."""

    name = "short_lived_role"
    config = ShortLivedConfig
    delegated = True

    def __init__(self) -> None:
        self.minted: list[tuple[str, Access]] = []

    async def credentials(self, config, location: Location, access: Access, identity: Identity) -> Credentials:
        keys = {"aws_access_key_id": config.access_key_id, "aws_secret_access_key": config.secret_access_key.reveal()}
        async with get_session().create_client("sts", endpoint_url=config.endpoint, region_name="us-east-1", **keys) as sts:
            answer = await sts.assume_role(
                RoleArn=config.role_arn, RoleSessionName="long-job", Policy=s3_session_policy(location, access)
            )
        found = answer["Credentials"]
        self.minted.append((location.prefix, access))
        return S3Credentials(
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=Secret(found["SecretAccessKey"]),
            aws_session_token=Secret(found["SessionToken"]),
            expiration=found["Expiration"],
        )


class Plugin:
    """The plugin that brings it."""

    def __init__(self) -> None:
        self.method = ShortLived()

    @hookimpl
    def arraylake_auth_methods(self) -> Iterable[AuthMethod]:
        return [self.method]
