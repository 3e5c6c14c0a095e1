"""Asking a token endpoint: bounded, direct, and discreet.

No redirects, no proxies of the environment, an end in time and size; and what the endpoint says of a failure is cut down to its error code, since such
texts repeat what they were given.
"""

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.errors import CredentialsError
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from aiohttp import StreamReader, TCPConnector

__all__ = ["CONNECTOR", "error_code", "get_json", "post_form", "post_json", "post_raw"]

CONNECTOR: ContextVar["Callable[[], TCPConnector] | None"] = ContextVar("arraylake_connector", default=None)
"""Makes the connector of each request. A service sets it, so that no URL of a bucket config leads into its own network (P16)."""

_SECONDS = 20
_LARGEST = 1 << 20
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}\Z", re.ASCII)


async def post_form(
    url: str, fields: Mapping[str, str | Secret], *, what: str, bearer: Secret | None = None
) -> dict[str, object]:
    """Post a form, and return the JSON object that comes back.

    Parameters
    ----------
    url
        The endpoint.
    fields
        The form.
    what
        What is asked for, for messages: "AWS STS", "the token endpoint of ...".
    bearer
        The token to authenticate with.

    Raises
    ------
    CredentialsError
        It can't be reached, refused, or answered something else.
    """
    return _object(*await post_raw(url, fields, what=what, bearer=bearer), what=what)


async def post_json(url: str, body: Mapping[str, object], *, what: str, bearer: Secret | None = None) -> dict[str, object]:
    """Post a JSON document, and return the JSON object that comes back; parameters and errors as of ``post_form``."""
    return _object(*await post_raw(url, msgspec.json.encode(body), what=what, bearer=bearer), what=what)


async def post_raw(
    url: str,
    body: "Mapping[str, str | Secret] | bytes",
    *,
    what: str,
    bearer: Secret | None = None,
    headers: Mapping[str, str | Secret] | None = None,
) -> tuple[int, bytes]:
    """Post a form, or bytes that are JSON unless ``headers`` say otherwise, and return the status and the body that come back."""
    return await _asked("POST", url, body, what=what, bearer=bearer, headers=headers)


async def get_json(url: str, *, what: str) -> dict[str, object]:
    """Return the JSON object at a URL; errors as of ``post_form``."""
    return _object(*await _asked("GET", url, None, what=what), what=what)


async def _asked(
    method: str,
    url: str,
    body: "Mapping[str, str | Secret] | bytes | None",
    *,
    what: str,
    bearer: Secret | None = None,
    headers: Mapping[str, str | Secret] | None = None,
) -> tuple[int, bytes]:
    import aiohttp

    connector = CONNECTOR.get()
    sent: dict[str, str | Secret] = {"accept": "application/json"}
    if isinstance(body, bytes):
        sent["content-type"] = "application/json"
    sent |= dict(headers or {})
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(connector=connector() if connector else None, timeout=timeout, trust_env=False) as session,
            session.request(
                method, url, data=_revealed(body), headers={**_texts(sent), **_authorization(bearer)}, allow_redirects=False
            ) as answer,
        ):
            return answer.status, await _read(answer.content, what)
    except TimeoutError:
        problem = f"did not answer in {_SECONDS} s: try again, and check its endpoint"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        problem = f"can't be reached ({type(error).__name__}): check its endpoint and the network"
    # Raised out here, it does not carry the library's error along, whose frames hold the request.
    raise CredentialsError(f"{what} {problem}")


def _revealed(body: "Mapping[str, str | Secret] | bytes | None") -> "dict[str, str] | bytes | None":
    """Return what is sent, which no variable holds: tools that print variables show them all."""
    return body if body is None or isinstance(body, bytes) else _texts(body)


def _texts(fields: Mapping[str, str | Secret]) -> dict[str, str]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in fields.items()}


def _authorization(bearer: Secret | None) -> dict[str, str]:
    return {} if bearer is None else {"authorization": f"Bearer {bearer.reveal()}"}


async def _read(content: "StreamReader", what: str) -> bytes:
    parts, size = [], 0
    async for part in content.iter_chunked(65536):
        size += len(part)
        if size > _LARGEST:
            raise CredentialsError(f"{what} answered with more than {_LARGEST} bytes, which is no token: check its endpoint")
        parts.append(part)
    return b"".join(parts)


def _object(status: int, body: bytes, *, what: str) -> dict[str, object]:
    try:
        found = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise CredentialsError(f"{what} answered {status}, and no JSON object: check that its endpoint is one") from None
    if not 200 <= status < 300:
        raise CredentialsError(
            f"{what} refused with {status} ({error_code(found)}): check what the bucket config and its cloud say"
        )
    return found


def error_code(document: Mapping[str, object]) -> str:
    """Return the code in an error document of OAuth (RFC 6749, 5.2) or Google, or "no code"; never its text.

    Examples
    --------
    >>> error_code({"error": "invalid_grant", "error_description": "the token eyJhbGciOi... is old"})
    'invalid_grant'
    >>> error_code({"error": {"status": "PERMISSION_DENIED"}})
    'PERMISSION_DENIED'
    """
    error = document.get("error")
    code = error.get("status") if isinstance(error, dict) else error
    return code if isinstance(code, str) and _CODE.match(code) else "no code"
