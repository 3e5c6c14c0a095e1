"""Requests to a service: one HTTP session per event loop, retries that do nothing twice, and the service's errors as the errors they were.

Every change carries an Idempotency-Key, the same on each try: a try whose answer was lost gets the answer of the first.
"""

import asyncio
import os
import random
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple, override
from urllib.parse import urlencode
from uuid import uuid4
from weakref import WeakSet

import msgspec

from arraylake_core import config, errors
from arraylake_core.catalog.http_tokens import bearer_for
from arraylake_core.errors import ArraylakeError, AuthenticationError, CommitConflictError, InvalidOptionError, ServiceError
from arraylake_core.http_sessions import LoopSessions
from arraylake_core.names import shown
from arraylake_core.secret import Secret
from arraylake_core.version import __version__

if TYPE_CHECKING:
    from aiohttp import ClientSession

__all__ = ["Reply", "Transport", "transport_to"]

_LARGEST_ANSWER = 256 * 1024 * 1024
_STREAMED_FROM = 512 * 1024
_TRIES = 15
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
# A whole answer may take so many times as long as its next byte.
_WHOLE_ANSWER = 10
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_BUSY = frozenset({429, 502, 503, 504})
# A service that has never answered is more likely misspelled than restarting.
_FIRST_CONTACT_SECONDS = 5.0
_SESSION_ID = uuid4().hex


class Reply(NamedTuple):
    """A successful answer.

    Parameters
    ----------
    status, headers, body
        As they came; the headers' names are in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class _NoReply(NamedTuple):
    """Why no answer came, and whether one may come yet."""

    failure: ServiceError
    is_final: bool = False


class _TooLargeError(Exception):
    pass


class _Problem(msgspec.Struct):
    """What our service says of an error; others say less."""

    detail: object = ""
    error: str = ""
    paths: dict[str, list[str]] = msgspec.field(default_factory=dict)


@lru_cache(maxsize=256)
def transport_to(base: str, fingerprint: str) -> "Transport":
    """Return the way to a service that all its users in this process share.

    Parameters
    ----------
    base
        The service's URI, without a slash at its end.
    fingerprint
        Which token to take.
    """
    return Transport(base, fingerprint)


class Transport:
    """The way to one service for one token.

    Parameters
    ----------
    base
        The service's URI, without a slash at its end.
    fingerprint
        Which token to take.
    """

    def __init__(self, base: str, fingerprint: str) -> None:
        self.base = base
        self.fingerprint = fingerprint
        self._sessions = LoopSessions(_new_session)
        self._has_answered = False
        self._users: WeakSet[object] = WeakSet()

    def use(self, user: object) -> None:
        """Note who uses this way: while one does, another's ``close`` breaks off nothing."""
        self._users.add(user)

    async def leave(self, user: object) -> None:
        """Let a user go, and close the sessions after the last one."""
        self._users.discard(user)
        if not self._users:
            await self.close()

    @override
    def __repr__(self) -> str:
        return f"<transport to {self.base}>"

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | bool | None] | None = None,
        body: object = None,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        missing: int | None = None,
    ) -> Reply:
        """Send a request until it is answered for good.

        Parameters
        ----------
        method, path
            What is asked for; the path is encoded already.
        query
            Its parameters; those that are None are left out.
        body
            What goes as JSON; None sends no body.
        raw
            Bytes that go as they are, instead.
        headers
            Further headers.
        missing
            A status that is returned instead of raised.

        Raises
        ------
        ArraylakeError
            What the service raised.
        ServiceError
            It can't be reached, or what answers is no such service.
        """
        asked = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        url = f"{self.base}{path}" + (f"?{urlencode(asked)}" if asked else "")
        data = raw if raw is not None else None if body is None else _document(body)
        sent = self._headers(method, headers or {})
        deadline = time.monotonic() + config.get_float("service.retry_seconds")
        token = await bearer_for(self.base, self.fingerprint)
        renewed = False
        for number in range(_TRIES):
            reply = await self._try(method, url, data, sent, token)
            if isinstance(reply, Reply) and reply.status == 401 and token is not None and not renewed:
                renewed = True
                other = await bearer_for(self.base, self.fingerprint, unlike=token)
                if other is not None and other != token:
                    token = other
                    continue
            is_last = number + 1 == _TRIES or time.monotonic() >= deadline
            if isinstance(reply, Reply):
                if reply.status == missing or reply.status in (200, 201, 204, 304):
                    return reply
                failure: ArraylakeError = self._failure(reply)
                busy = reply.status in _BUSY or (reply.status == 500 and method not in _CHANGES)
                if is_last or not busy:
                    raise failure
                wait = _wait(number, reply.headers.get("retry-after"))
            else:
                failure = reply.failure
                if is_last or reply.is_final or (not self._has_answered and time.monotonic() > deadline - self._patience()):
                    raise failure
                wait = _wait(number)
            await asyncio.sleep(min(wait, max(deadline - time.monotonic(), 0)))
        raise failure

    def _patience(self) -> float:
        return max(config.get_float("service.retry_seconds") - _FIRST_CONTACT_SECONDS, 0.0)

    async def close(self) -> None:
        """Close the sessions of every loop; the next request opens a new one."""
        await self._sessions.close()

    def _headers(self, method: str, more: Mapping[str, str]) -> dict[str, str]:
        return {
            "accept": "application/json",
            "client-name": "arraylake-core",
            "client-version": __version__,
            "arraylake-session-id": _SESSION_ID,
            **({"idempotency-key": uuid4().hex} if method in _CHANGES else {}),
            **more,
        }

    async def _try(
        self, method: str, url: str, data: bytes | None, headers: Mapping[str, str], token: Secret | None
    ) -> Reply | _NoReply:
        """Send once; what kept an answer from coming is returned. Nothing that the library raises leaves here: it holds the request's headers."""
        from aiohttp import ClientConnectorError, ClientError
        from yarl import URL

        try:
            async with (await self._sessions.get()).request(
                method,
                URL(url, encoded=True),
                data=_streamed(data),
                headers={**headers, **_authorization(token)},
                allow_redirects=False,
            ) as answer:
                body = await _read(answer.content)
                self._has_answered = True
                return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)
        except ssl.SSLCertVerificationError as error:
            found = getattr(error, "certificate_error", error)
            why = getattr(found, "verify_message", None) or type(found).__name__
            return self._unanswered(
                f"its certificate is not to be trusted: {why}; set SSL_CERT_FILE to the file of an authority of your own",
                is_final=True,
            )
        except ssl.SSLError as error:
            return self._unanswered(f"TLS failed: {getattr(error, 'reason', None) or type(error).__name__}; does it speak https?")
        except _TooLargeError:
            return self._unanswered(f"its answer is larger than {_LARGEST_ANSWER} bytes", is_final=True)
        except ClientConnectorError as error:
            return self._unanswered(_reason(error.os_error))
        except TimeoutError:
            return self._unanswered(f"no answer within service.timeout, {config.get_float('service.timeout'):g} seconds")
        except (ClientError, OSError, RuntimeError) as error:
            # A RuntimeError: another user of this way has closed its sessions meanwhile; the next try opens a new one.
            return self._unanswered(_reason(error))

    def _unanswered(self, why: str, *, is_final: bool = False) -> _NoReply:
        said = f"the service {self.base} can't be reached ({why}): check the URI, the network, and that it runs"
        return _NoReply(ServiceError(said), is_final)

    def _failure(self, reply: Reply) -> ArraylakeError:
        """Return the error that the service raised, or what can be said of an answer that is none of such a service's."""
        request_id = reply.headers.get("x-request-id")
        try:
            problem = msgspec.json.decode(reply.body, type=_Problem)
        except (msgspec.DecodeError, RecursionError):
            kind = reply.headers.get("content-type", "no content type")
            where = f" It points to {shown(reply.headers['location'])}." if "location" in reply.headers else ""
            return ServiceError(
                f"{self.base} answered {reply.status} with {kind[:60]}, which no arraylake service does: check the URI.{where}",
                reply.status,
                request_id,
            )
        detail = problem.detail if isinstance(problem.detail, str) else msgspec.json.encode(problem.detail).decode()
        if reply.status == 401:
            return AuthenticationError(
                f"{self.base}: {detail[:2000]}; log in with `arraylake-core auth login`, or give a token with Client(token=...) or ARRAYLAKE_TOKEN"
            )
        kind_of_error = getattr(errors, problem.error, None)
        if kind_of_error is CommitConflictError:
            return CommitConflictError(detail, problem.paths)
        if isinstance(kind_of_error, type) and issubclass(kind_of_error, ArraylakeError) and kind_of_error is not ServiceError:
            return kind_of_error(detail)
        quoted = f" (request {request_id})" if request_id else ""
        return ServiceError(f"{self.base} answered {reply.status}: {detail[:2000]}{quoted}", reply.status, request_id)


def _authorization(token: Secret | None) -> dict[str, str]:
    """Return the header that no variable holds, as tools that print variables show them all."""
    return {} if token is None else {"authorization": f"Bearer {token.reveal()}"}


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None and number > 0 else getattr(error, "strerror", None) or type(error).__name__


def _document(body: object) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, TypeError, OverflowError, RecursionError) as error:
        problem = type(error).__name__
    raise InvalidOptionError(
        f"what was given has no form in JSON ({problem}): use valid Unicode text, numbers, lists and mappings"
    )


def _streamed(data: bytes | None) -> bytes | BytesIO | None:
    """Return a large body as a stream, which aiohttp sends without holding up the loop."""
    return BytesIO(data) if data is not None and len(data) > _STREAMED_FROM else data


async def _read(content: object) -> bytes:
    from aiohttp import StreamReader

    if not isinstance(content, StreamReader):
        return b""
    parts, size = [], 0
    async for part in content.iter_any():
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise _TooLargeError
        parts.append(part)
    return b"".join(parts)


def _text(value: str | int | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wait(number: int, retry_after: str | None = None) -> float:
    """Return how long to wait before the next try: as long as the service says, or growing, and never the same for two clients."""
    if retry_after is not None and retry_after.isdigit():
        return min(float(retry_after), 60.0)
    longest = min(_FIRST_WAIT * 2**number, _LONGEST_WAIT)
    return random.uniform(longest / 2, longest)  # noqa: S311 - it only spreads the tries


def _new_session() -> "ClientSession":
    from aiohttp import ClientSession, ClientTimeout, TCPConnector

    seconds = config.get_float("service.timeout")
    timeout = ClientTimeout(total=_WHOLE_ANSWER * seconds, sock_connect=min(seconds, 10.0), sock_read=seconds)
    return ClientSession(connector=TCPConnector(limit=64), timeout=timeout, trust_env=False)
