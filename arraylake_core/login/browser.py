"""The code flow in this machine's browser: PKCE (RFC 7636) on a loopback redirect that takes one request (RFC 8252)."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qs, urlencode, urlsplit

from arraylake_core.errors import AuthenticationError
from arraylake_core.login.endpoint import ask_endpoint
from arraylake_core.login.provider import LoginSettings, Provider
from arraylake_core.login.tokens import TokenSet, accepted, signing_keys
from arraylake_core.secret import Secret

__all__ = ["by_browser"]

_SECONDS = 300
_LONGEST_REQUEST = 16384
_PATH = "/callback"
_PAGE = (
    "<!doctype html><meta charset=utf-8><title>arraylake-core</title><body style='font-family:sans-serif;margin:4em'>"
    "<p>{}</p><p>You can close this page.</p>"
)


async def by_browser(settings: LoginSettings, provider: Provider, open_page: Callable[[str], None]) -> TokenSet:
    """Log in with a page that the browser opens.

    Parameters
    ----------
    settings, provider
        With whom, as which client.
    open_page
        Opens a URL in the browser.

    Raises
    ------
    AuthenticationError
        It was denied, nobody came back in time, or what came back is not an answer to this login.
    """
    if provider.authorization_endpoint is None:
        raise AuthenticationError(
            f"the identity provider {provider.issuer} has no page to log in on: log in without browser=True"
        )
    if not provider.has_pkce():
        raise AuthenticationError(
            f"the identity provider {provider.issuer} takes no code challenges by S256, without which a login could be stolen on its way: it must"
        )
    keys = await signing_keys(provider)
    state, nonce, verifier = (Secret(secrets.token_urlsafe(32)) for _ in range(3))
    answered: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(_answering(answered), "127.0.0.1", 0, limit=_LONGEST_REQUEST)
    redirect = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{_PATH}"
    separator = "&" if urlsplit(provider.authorization_endpoint).query else "?"
    query = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": redirect,
        "scope": settings.scopes,
        "state": state.reveal(),
        "nonce": nonce.reveal(),
        "code_challenge": _challenge(verifier),
        "code_challenge_method": "S256",
        # Providers give what renews a login only where the person consents to it.
        **({"prompt": "consent"} if "offline_access" in settings.scopes.split() else {}),
    }
    try:
        open_page(f"{provider.authorization_endpoint}{separator}{urlencode(query)}")
        answer = await asyncio.wait_for(answered, _SECONDS)
    except TimeoutError:
        raise AuthenticationError(f"nobody logged in within {_SECONDS // 60} minutes: log in again") from None
    finally:
        server.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1)
    code = _code(answer, state, provider)
    form: dict[str, str | Secret] = {
        "grant_type": "authorization_code",
        "client_id": settings.client_id,
        "code": code,
        "redirect_uri": redirect,
        "code_verifier": verifier,
    }
    what = f"the identity provider {provider.issuer}"
    tokens = await ask_endpoint(provider.token_endpoint, form, what)
    if tokens.error == "invalid_grant":
        raise AuthenticationError("the code of this login was used already, or is not valid: log in again")
    if tokens.error is not None:
        raise AuthenticationError(f"{what} refused the login ({tokens.error}): log in again")
    return await accepted(tokens, settings, provider, keys, nonce=nonce.reveal())


def _challenge(verifier: Secret) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.reveal().encode()).digest()).rstrip(b"=").decode()


class _Answer(dict[str, str]):
    """The parameters that the browser came back with, among them the code."""

    def __repr__(self) -> str:
        return f"<answer with {', '.join(sorted(self))}>"


def _code(answer: _Answer, state: Secret, provider: Provider) -> Secret:
    """Return the code of an answer that belongs to this login, and to this provider."""
    if not secrets.compare_digest(answer.get("state", "").encode(), state.reveal().encode()):
        raise AuthenticationError("what came back answers another login (its state is not the one that was sent): log in again")
    issuer = answer.get("iss")
    if issuer != provider.issuer and (issuer is not None or provider.authorization_response_iss_parameter_supported):
        raise AuthenticationError("what came back is from another identity provider than was asked: log in again")
    if answer.get("error") == "access_denied":
        raise AuthenticationError("the login was denied in the browser: nothing was changed; log in again, and permit it")
    if "error" in answer or not answer.get("code"):
        code = answer.get("error", "no_code")
        shown = code if code.replace("_", "").isalnum() and len(code) <= 64 else "an error"
        raise AuthenticationError(f"the identity provider refused the login ({shown}): log in again")
    return Secret(answer["code"])


def _answering(answered: "asyncio.Future[_Answer]"):  # type: ignore[no-untyped-def]  # noqa: ANN202 - asyncio's own type of handler
    """Return the handler of a server that takes the browser's answer: once, on its own path, and nothing else."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), 10)
            while (await asyncio.wait_for(reader.readline(), 10)).strip():
                pass
            method, target, _ = line.decode("ascii").split(" ")
            parts = urlsplit(target)
            if method != "GET" or parts.path != _PATH or answered.done():
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            else:
                answer = _Answer({name: values[0] for name, values in parse_qs(parts.query).items() if len(values) == 1})
                said = (
                    "The login was not permitted."
                    if "error" in answer
                    else "The program that you log in to has your answer, and says what came of it."
                )
                body = _PAGE.format(said).encode()
                head = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncache-control: no-store\r\nreferrer-policy: no-referrer"
                writer.write(f"{head}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
                answered.set_result(answer)
            await writer.drain()
        except (OSError, ValueError, TimeoutError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    return handle
