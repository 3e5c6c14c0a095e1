"""Webhooks: messages about what happens in an organization, posted to a URL and signed.

Messages follow the Standard Webhooks specification (https://www.standardwebhooks.com): whoever receives them checks ``verify_signature`` first.
"""

import hashlib
import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime

import msgspec

from arraylake_core.errors import AuthenticationError
from arraylake_core.models import utc_now
from arraylake_core.secret import Secret, reveal

__all__ = ["IssuedWebhook", "Webhook", "signed_headers", "verify_signature"]

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300


class Webhook(msgspec.Struct, kw_only=True):
    """Where an organization's events are posted to.

    Parameters
    ----------
    url
        An https URL.
    events
        The types of event that are posted; empty: all of them.
    waiting
        How many messages are on their way to it.
    problem
        Why the one that has waited longest has not arrived.
    """

    id: str
    url: str
    events: list[str] = msgspec.field(default_factory=list)
    created: datetime = msgspec.field(default_factory=utc_now)
    created_by: str | None = None
    waiting: int = 0
    problem: str | None = None


class IssuedWebhook(Webhook, kw_only=True):
    """A webhook that was just made, with the secret that its messages are signed with: it is shown this once."""

    secret: Secret


def signed_headers(secret: Secret, message_id: str, body: bytes, now: int) -> dict[str, str]:
    """Return the headers that sign a message.

    Parameters
    ----------
    secret
        The webhook's secret, ``whsec_...``.
    message_id
        The message's id, the same on each try.
    body
        What is posted.
    now
        The time, in seconds since 1970.
    """
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{_signature(secret, message_id, str(now), body)}",
    }


def verify_signature(
    secret: Secret | str, headers: Mapping[str, str], body: bytes, *, tolerance: float = TOLERANCE_SECONDS
) -> None:
    """Make sure that a message comes from the service, unchanged, and now; for whoever receives webhooks.

    Parameters
    ----------
    secret
        The webhook's secret, as it was shown when the webhook was made.
    headers
        The request's headers, by their names in lower case.
    body
        The request's body, as it came.
    tolerance
        By how many seconds the message may be older or newer than now.

    Raises
    ------
    AuthenticationError
        It is not signed with the secret, was changed, or is too old.

    Examples
    --------
    >>> secret = Secret("whsec_" + b64encode(b"0" * 32).decode())
    >>> headers = signed_headers(secret, "msg_1", b"{}", int(time.time()))
    >>> verify_signature(secret, headers, b"{}")
    >>> verify_signature(secret, headers, b'{"a":1}')
    Traceback (most recent call last):
        ...
    arraylake_core.errors.AuthenticationError: the message is not signed with this webhook's secret: drop it
    """
    stamp, given = headers.get("webhook-timestamp", ""), headers.get("webhook-signature", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > tolerance:
        raise AuthenticationError(
            f"the message is older or newer than {tolerance:g} seconds: drop it, and set this machine's clock"
        )
    expected = _signature(secret, headers.get("webhook-id", ""), stamp, body)
    if not any(hmac.compare_digest(f"v1,{expected}".encode(), one.encode()) for one in given.split(" ")):
        raise AuthenticationError("the message is not signed with this webhook's secret: drop it")


def _signature(secret: Secret | str, message_id: str, stamp: str, body: bytes) -> str:
    key = b64decode((reveal(secret) or "").removeprefix(PREFIX))
    return b64encode(hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)).decode()
