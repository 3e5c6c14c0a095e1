"""An identity provider that holds its keys, and issues whatever it is told to: what a certified one would never sign."""

import base64
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.service.misbehaving import MisbehavingServer, answer, misbehaving_server

__all__ = ["BadIssuer", "bad_issuer"]


@dataclass
class BadIssuer:
    """A provider whose answers the test decides.

    Its endpoints are one script: each answers by its path, and ``told`` overrides what is answered there.
    """

    server: MisbehavingServer
    keys: list[RSAKey] = field(default_factory=lambda: [RSAKey.generate_key(2048, {"kid": "first"})])
    told: dict[str, object] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return self.server.uri

    def asked(self, path: str) -> int:
        """Return how often a path was asked for."""
        return sum(request.target.partition("?")[0] == path for request in self.server.requests)

    def metadata(self) -> dict[str, object]:
        return {
            "issuer": self.issuer,
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "authorization_endpoint": f"{self.issuer}/auth",
            "device_authorization_endpoint": f"{self.issuer}/device",
            "revocation_endpoint": f"{self.issuer}/revoke",
            **self.told.get("metadata", {}),
        }

    def jwks(self) -> dict[str, object]:
        return {"keys": [key.as_dict(private=False, use="sig") for key in self.keys]}

    def claims(self, **more: object) -> dict[str, object]:
        # With its fraction, so that of two tokens the later one is later.
        now = time.time()
        claims = {
            "iss": self.issuer,
            "aud": "cli",
            "sub": "ada",
            "email": "ada@example.org",
            "email_verified": True,
            "iat": now,
            "exp": now + 3600,
        }
        return {name: value for name, value in (claims | more).items() if value is not None}

    def token(self, *, key: RSAKey | None = None, header: dict[str, object] | None = None, **claims: object) -> str:
        """Return a token; claims that are None are left out."""
        key = key or self.keys[0]
        return jwt.encode({"alg": "RS256", "kid": key.kid, **(header or {})}, self.claims(**claims), key, algorithms=["RS256"])

    def unsigned(self, **claims: object) -> str:
        """Return a token of the algorithm "none"."""
        return _signed_part({"alg": "none", "kid": "first"}, self.claims(**claims)) + "."

    def shared_secret(self, **claims: object) -> str:
        """Return a token whose signature is made with the public key as if it were a shared secret."""
        part = _signed_part({"alg": "HS256", "kid": "first"}, self.claims(**claims))
        return f"{part}.{_base64(hmac.digest(self.keys[0].as_pem(private=False), part.encode(), 'sha256'))}"

    def stranger(self) -> RSAKey:
        """Return a key that is not the provider's, with the id of one that is."""
        return RSAKey.generate_key(2048, {"kid": "first"})


def _signed_part(*parts: dict[str, object]) -> str:
    return ".".join(_base64(json.dumps(part).encode()) for part in parts)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@contextmanager
def bad_issuer() -> Iterator[BadIssuer]:
    """Start one."""
    with misbehaving_server(b"") as server:
        made = BadIssuer(server)
        server.answer_by = lambda request: _answer(made, request.target.partition("?")[0])
        yield made


def _answer(issuer: BadIssuer, path: str) -> bytes:
    told = issuer.told.get(path)
    if isinstance(told, list):
        told = told.pop(0) if len(told) > 1 else told[0]
    if isinstance(told, bytes):
        return told
    if isinstance(told, tuple):
        return answer(told[0], told[1])
    match path:
        case "/.well-known/openid-configuration":
            return answer(200, issuer.metadata())
        case "/jwks":
            return answer(200, issuer.jwks())
    return answer(404, {"error": "not_found"})
