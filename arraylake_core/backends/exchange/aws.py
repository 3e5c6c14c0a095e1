"""AWS's Security Token Service, and those that speak its API."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlencode
from xml.etree import ElementTree

from arraylake_core.backends.credentials import S3Credentials
from arraylake_core.backends.exchange.http import post_raw
from arraylake_core.errors import CredentialsError
from arraylake_core.models import as_utc
from arraylake_core.secret import Secret

__all__ = ["Signer", "ask_sts", "assume_role_with_web_identity", "session_name", "sts_endpoint"]

_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z", re.ASCII)
_HINTS = {
    "RequestExpired": "the clock of this machine is off: set it",
    "SignatureDoesNotMatch": "the secret of the deployment's key is wrong, or the clock of this machine is off",
    "MalformedPolicyDocument": "the prefix is too long or odd for a session policy: choose another one",
    "PackedPolicyTooLarge": "the prefix is too long for a session policy: choose a shorter one",
    "RegionDisabledException": "STS is off in the region: switch it on, or set another endpoint",
}
_LOGIN_HINTS = {
    "AccessDenied": "the role's trust policy must name the issuer and the audience of the login, and its subject where it is limited to some",
    "ExpiredTokenException": "log in again",
    "IDPCommunicationError": "try again: the cloud did not reach the issuer",
    "InvalidIdentityToken": "the cloud must know the issuer of the login as an OIDC provider, with the login's client as its audience",
}

type Signer = Callable[[str, bytes, Mapping[str, str]], Mapping[str, str]]


def sts_endpoint(region: str | None) -> str:
    """Return the endpoint of AWS's STS in a region."""
    region = region or "us-east-1"
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def session_name(principal: str) -> str:
    """Return a role session name, which AWS's logs show, for a principal.

    Examples
    --------
    >>> session_name("ada lovelace"), session_name("")
    ('arraylake-ada-lovelace', 'arraylake')
    """
    return "-".join(["arraylake", *re.findall(r"[A-Za-z0-9_=,.@-]+", principal)])[:64]


async def assume_role_with_web_identity(
    endpoint: str, *, role_arn: str, token: Secret, policy: str, name: str, seconds: int
) -> S3Credentials:
    """Exchange an OIDC token for S3 credentials.

    Parameters
    ----------
    endpoint
        The URL of the STS.
    role_arn
        The role.
    token
        The id_token.
    policy
        The session policy, which limits what the role may.
    name
        The session's name.
    seconds
        The lifetime.

    Raises
    ------
    CredentialsError
        It was refused; the message has the STS's error code and what to do about it.

    Notes
    -----
    https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
    """
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": role_arn,
        "RoleSessionName": name,
        "WebIdentityToken": token.reveal(),
        "Policy": policy,
        "DurationSeconds": str(seconds),
    }
    return await ask_sts(endpoint, form, hints=_LOGIN_HINTS)


async def ask_sts(
    endpoint: str, form: Mapping[str, str], *, hints: Mapping[str, str], sign: Signer | None = None
) -> S3Credentials:
    """Ask an STS for credentials.

    Parameters
    ----------
    endpoint
        Its URL.
    form
        The action and its parameters.
    hints
        What to do about an error, by its code; beyond those that every action has.
    sign
        Returns the headers that sign a request: of its URL, its body, and its headers.

    Raises
    ------
    CredentialsError
        It was refused; the message has the STS's error code and what to do about it.
    """
    body = urlencode({"Version": "2011-06-15", **form}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    url = f"{endpoint.rstrip('/')}/"
    if sign is not None:
        headers |= sign(url, body, headers)
    status, answer = await post_raw(url, body, what="the STS", headers=headers)
    found = _fields(answer)
    if status != 200 or "AccessKeyId" not in found:
        code = found.get("Code", "")
        code = code if _CODE.match(code) else "no code"
        hint = {**_HINTS, **hints}.get(code, "check the role of the bucket config, and the endpoint of the STS")
        raise CredentialsError(f"the STS refused the role with {status} ({code}): {hint}")
    try:
        expiration = as_utc(datetime.fromisoformat(found["Expiration"]))
        return S3Credentials(
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=Secret(found["SecretAccessKey"]),
            aws_session_token=Secret(found["SessionToken"]),
            expiration=expiration,
        )
    except (KeyError, ValueError):
        raise CredentialsError("the STS answered with credentials that lack a part: check that its endpoint is one") from None


def _fields(body: bytes) -> dict[str, str]:
    """Return the texts of an XML document by the names of their elements, whatever their namespace."""
    if b"<!" in body:
        raise CredentialsError("the STS answered with a document type, which no STS has: check its endpoint")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - documents that define entities are refused above
    except ElementTree.ParseError:
        raise CredentialsError("the STS answered with something other than XML: check that its endpoint is one") from None
    return {element.tag.rpartition("}")[2]: element.text.strip() for element in root.iter() if element.text}
