"""Asking the endpoints of OAuth: what goes there and what comes back is secret, and is in no variable that a traceback could show."""

from collections.abc import Mapping

import msgspec

from arraylake_core.backends.exchange.http import post_raw
from arraylake_core.errors import AuthenticationError, CredentialsError
from arraylake_core.secret import Secret

__all__ = ["EndpointAnswer", "ask_endpoint"]

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz_")


class EndpointAnswer:
    """What an endpoint answered; its fields are seen only by who asks for them by name.

    Parameters
    ----------
    status
        The HTTP status.
    body
        What should be a JSON object.

    Examples
    --------
    >>> answer = EndpointAnswer(200, b'{"id_token": "eyJh"}')
    >>> answer, answer.error, answer.secret("id_token")
    (<answer 200>, None, Secret('***'))
    """

    __slots__ = ("_fields", "error", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self._fields = _object(body)
        self.error = None if 200 <= status < 300 else self._code()

    def __repr__(self) -> str:
        return f"<answer {self.status}>"

    @property
    def is_json(self) -> bool:
        """Whether it was a JSON object at all, or empty."""
        return self._fields is not None

    def secret(self, name: str) -> Secret | None:
        """Return a field that is text, or None."""
        value = (self._fields or {}).get(name)
        return Secret(value) if isinstance(value, str) and value else None

    def number(self, name: str) -> float | None:
        """Return a field that is a number, or None."""
        value = (self._fields or {}).get(name)
        return float(value) if isinstance(value, int | float) else None

    def read_as[T](self, kind: type[T]) -> T:
        """Return all of it as a Struct; raises as ``msgspec.convert`` does."""
        return msgspec.convert({name: value for name, value in (self._fields or {}).items() if value is not None}, kind)

    def _code(self) -> str:
        code = (self._fields or {}).get("error")
        known = isinstance(code, str) and 0 < len(code) <= 64 and _ALLOWED.issuperset(code)
        return str(code) if known else f"status {self.status}"


async def ask_endpoint(
    url: str, form: Mapping[str, str | Secret], what: str, *, authorization: Secret | None = None, says_more: bool = True
) -> EndpointAnswer:
    """Post a form to an endpoint of OAuth, and return what it answered, be it an error.

    Parameters
    ----------
    url
        The endpoint.
    form
        What is sent.
    what
        Whose it is, for messages.
    authorization
        How the client authenticates, if it does.
    says_more
        Whether what it answers is of interest beyond whether it did what it was asked.

    Raises
    ------
    AuthenticationError
        It can't be reached, or answered no JSON object.
    """
    try:
        answer = EndpointAnswer(*await post_raw(url, form, what=what, headers=_headers(authorization)))
    except CredentialsError as error:
        raise AuthenticationError(str(error)) from None
    if not answer.is_json and (says_more or answer.error is not None):
        raise AuthenticationError(f"{what} answered with something other than a JSON object: try again")
    return answer


def _headers(authorization: Secret | None) -> dict[str, str | Secret]:
    return {} if authorization is None else {"authorization": authorization}


def _object(body: bytes) -> dict[str, object] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, object]) if body else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
