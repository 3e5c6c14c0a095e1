"""A role in the customer's AWS account, which the deployment assumes."""

import re

import msgspec

from arraylake_core.backends import Access, AuthMethod, Credentials, Location
from arraylake_core.backends.delegation import operator_setting
from arraylake_core.backends.exchange.aws import ask_sts, session_name, sts_endpoint
from arraylake_core.backends.scope import s3_session_policy
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.models import Identity
from arraylake_core.secret import Secret
from arraylake_s3.platform import S3Options

__all__ = ["AwsRole", "AwsRoleConfig"]

_ACCOUNT = re.compile(r"[0-9]{12}\Z", re.ASCII)
# A role's name, with its path before it.
_ROLE = re.compile(r"[A-Za-z0-9_+=,.@/-]{1,576}\Z", re.ASCII)
_HINTS = {
    "AccessDenied": "the role must exist, its trust policy must name the deployment's user, and where it asks for an external id, shared_secret must be that",
    "InvalidClientTokenId": "the key of the deployment, delegation.aws.access_key_id, is unknown to the STS",
    "NoSuchEntity": "there is no such role: check external_customer_id and external_role_name",
    "NoSuchRole": "there is no such role: check external_customer_id and external_role_name",
}


class AwsRoleConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "aws_customer_managed_role"}``.

    Parameters
    ----------
    external_customer_id
        The number of the AWS account that has the role, 12 digits.
    external_role_name
        The role's name, with its path if it has one.
    shared_secret
        The external id that the role's trust policy asks for; without one, whoever may use this deployment could name the role.
    """

    external_customer_id: str
    external_role_name: str
    shared_secret: Secret | None = None


class AwsRole(AuthMethod):
    """Keys by AssumeRole, limited to the place and the right by a session policy."""

    name = "aws_customer_managed_role"
    aliases = ("customer_managed_role",)
    config = AwsRoleConfig
    platforms = frozenset({"s3", "s3-compatible", "minio"})
    delegated = True

    def check(self, config: msgspec.Struct, platform: str) -> None:
        """Refuse what is no account or no role: they become parts of a name that is signed."""
        config = _checked(config)
        if not _ACCOUNT.match(config.external_customer_id):
            raise InvalidOptionError("external_customer_id is wrong: give the number of the AWS account, 12 digits")
        if not _ROLE.match(config.external_role_name):
            raise InvalidOptionError("external_role_name is wrong: give the role's name, as the IAM console shows it")

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return keys that end within the hour.

        Raises
        ------
        CredentialsError
            The STS refused; the message has its error code, and what to do about it.
        """
        from arraylake_s3.roles.signing import operator_keys, signer

        self.check(config, location.platform)
        config = _checked(config)
        options = location.options if isinstance(location.options, S3Options) else S3Options()
        region = options.region_name or "us-east-1"
        partition = next((f"aws-{part}" for part in ("cn", "us-gov") if region.startswith(f"{part}-")), "aws")
        form = {
            "Action": "AssumeRole",
            "RoleArn": f"arn:{partition}:iam::{config.external_customer_id}:role/{config.external_role_name}",
            "RoleSessionName": session_name(identity.principal),
            "Policy": s3_session_policy(location, access, partition=partition),
            "DurationSeconds": operator_setting("aws.duration_seconds") or "3600",
        }
        if config.shared_secret:
            form["ExternalId"] = config.shared_secret.reveal()
        endpoint = _endpoint(options, region)
        return await ask_sts(endpoint, form, hints=_HINTS, sign=signer(await operator_keys(), region))


def _checked(config: msgspec.Struct) -> AwsRoleConfig:
    if not isinstance(config, AwsRoleConfig):
        raise CredentialsError(f"aws_customer_managed_role needs an AwsRoleConfig, not a {type(config).__name__}")
    return config


def _endpoint(options: S3Options, region: str) -> str:
    """Return the STS: what the operator says, or AWS's own; the deployment's keys sign nothing for a place that a bucket config names."""
    chosen = operator_setting("aws.sts_endpoint")
    if chosen is not None:
        return chosen
    if options.endpoint_url is not None and not options.endpoint_url.lower().rstrip("/").endswith(
        (".amazonaws.com", ".amazonaws.com.cn")
    ):
        raise CredentialsError(
            "the bucket is not on AWS, and nothing says where the STS of its store is: the operator sets delegation.aws.sts_endpoint"
        )
    return sts_endpoint(region)
