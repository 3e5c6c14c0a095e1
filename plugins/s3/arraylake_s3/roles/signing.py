"""AWS's request signatures, by the operator's keys and no others."""

from collections.abc import Mapping

from arraylake_core.backends import S3Credentials
from arraylake_core.backends.delegation import operator_flag, operator_secret, operator_setting
from arraylake_core.backends.exchange.aws import Signer
from arraylake_core.errors import CredentialsError
from arraylake_core.secret import Secret, reveal

__all__ = ["operator_keys", "signer"]


async def operator_keys() -> S3Credentials:
    """Return the keys of the deployment, which customers' roles trust.

    Raises
    ------
    CredentialsError
        There are none: it says what to set.
    """
    key, secret = operator_setting("aws.access_key_id"), operator_secret("aws.secret_access_key")
    if key is not None and secret is not None:
        return S3Credentials(
            aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=operator_secret("aws.session_token")
        )
    if operator_flag("aws.ambient"):
        return await _of_the_machine()
    raise CredentialsError(
        "nobody may assume roles here: set delegation.aws.access_key_id and delegation.aws.secret_access_key_file to the keys of the user that "
        "customers' roles trust, or delegation.aws.ambient to take the machine's own identity"
    )


async def _of_the_machine() -> S3Credentials:
    from aiobotocore.session import AioSession

    found = await AioSession().get_credentials()
    if found is None:
        raise CredentialsError("delegation.aws.ambient is set, but this machine has no AWS identity: give it one, or set keys")
    keys = await found.get_frozen_credentials()
    return S3Credentials(
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=Secret(keys.secret_key),
        aws_session_token=Secret(keys.token) if keys.token else None,
    )


def signer(keys: S3Credentials, region: str) -> Signer:
    """Return what signs requests to the STS of a region, with Signature Version 4."""

    def sign(url: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
        held = Credentials(keys.aws_access_key_id, keys.aws_secret_access_key.reveal(), reveal(keys.aws_session_token))
        SigV4Auth(held, "sts", region).add_auth(request)
        return dict(request.headers.items())

    return sign
