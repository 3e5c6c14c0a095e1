"""Google's token endpoints, as far as the tests need them: keys, federation, impersonation, downscoping.

There is no server of Google's to be had. This one checks what Google's do: signatures, audiences, lifetimes, who may impersonate whom, and it reads access
boundaries strictly, so that a token is worth no more at the store than its boundary says.
"""

import asyncio
import base64
import json
import re
import secrets
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from tests.servers.gcs import FakeGCS, TokenGrant

__all__ = ["POOL", "GoogleTokens"]

POOL = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/lake/providers/logins"
# Google's libraries name it wherever they are told to go.
_AUDIENCE = "https://oauth2.googleapis.com/token"
_EXPRESSION = re.compile(
    r"resource\.name\.startsWith\('projects/_/buckets/(?P<bucket>[^'\\]+)/objects/(?P<prefix>[^'\\]+)/'\) \|\| "
    r"api\.getAttribute\('storage\.googleapis\.com/objectListPrefix', ''\)\.startsWith\('(?P<listed>[^'\\]+)/'\)"
)
_ROLES = {"inRole:roles/storage.objectViewer": False, "inRole:roles/storage.objectUser": True}


@dataclass
class GoogleTokens:
    """The endpoints; beside the store, whose tokens they give.

    Parameters
    ----------
    store
        The store.
    issuer
        The OpenID provider whose logins the identity pool takes.
    """

    store: FakeGCS
    issuer: str = ""
    seconds: float = 3600
    keys: dict[str, bytes] = field(default_factory=dict)
    impersonators: dict[str, set[str]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def service_account(self, directory: Path, email: str) -> Path:
        """Make a service account, and return its key file."""
        key = rsa.generate_private_key(65537, 2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.keys[email] = public
        path = directory / f"{email.partition('@')[0]}.json"
        path.write_text(
            json.dumps({"type": "service_account", "client_email": email, "private_key": pem, "private_key_id": "CANARY-key-id"})
        )
        return path

    async def handle(self, request: web.Request) -> web.Response | None:
        """Answer a request for a token; None where it is for something else."""
        path = request.path
        if path == "/token":
            return self._by_key(await _form(request), [f"{self.store.endpoint}/token", _AUDIENCE])
        if path == "/v1/token":
            # Whoever tests that nothing blocks has this server in the same process.
            return await asyncio.to_thread(self._exchanged, await _form(request))
        if path.startswith("/v1/projects/-/serviceAccounts/") and path.endswith(":generateAccessToken"):
            account = path.removeprefix("/v1/projects/-/serviceAccounts/").removesuffix(":generateAccessToken")
            return self._impersonated(request.headers.get("authorization", "").removeprefix("Bearer "), account)
        return None

    def _by_key(self, form: dict[str, str], audience: list[str]) -> web.Response:
        self.asked.append("key")
        try:
            unverified = jwt.decode(form["assertion"], verify=False)
            claims = jwt.decode(form["assertion"], certs=self.keys[unverified["iss"]], audience=audience)
        except (ValueError, KeyError):
            return _refused("invalid_grant")
        return self._issued(claims["iss"], TokenGrant())

    def _impersonated(self, token: str, account: str) -> web.Response:
        self.asked.append("impersonate")
        owner = self._owner(token)
        if owner is None:
            return web.json_response({"error": {"code": 401, "status": "UNAUTHENTICATED"}}, status=401)
        if owner not in self.impersonators.get(account, ()):
            return web.json_response({"error": {"code": 403, "status": "PERMISSION_DENIED", "message": token}}, status=403)
        found = json.loads(self._issued(account, TokenGrant()).text or "")
        end = datetime.fromtimestamp(time.time() + self.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response({"accessToken": found["access_token"], "expireTime": end})

    def _exchanged(self, form: dict[str, str]) -> web.Response:
        if form.get("subject_token_type", "").endswith(":id_token"):
            self.asked.append("federate")
            owner = self._person(form)
            return _refused("invalid_grant") if owner is None else self._issued(owner, TokenGrant())
        self.asked.append("downscope")
        owner, grant = self._owner(form["subject_token"]), _boundary(form.get("options", ""))
        return _refused("invalid_request") if owner is None or grant is None else self._issued(owner, grant, told=False)

    def _person(self, form: dict[str, str]) -> str | None:
        """Return the subject of a login, if the issuer signed it and it is for the pool."""
        if form.get("audience") != POOL:
            return None
        with urllib.request.urlopen(f"{self.issuer}/jwks", timeout=10) as answer:
            keys = {key["kid"]: _pem(key) for key in json.load(answer)["keys"]}
        try:
            claims = jwt.decode(form["subject_token"], certs=keys, audience="cli")
        except ValueError:
            return None
        return str(claims["sub"]) if claims["iss"] == self.issuer else None

    def _owner(self, token: str) -> str | None:
        grant = self.store.tokens.get(token)
        return self.owners.get(token) if grant is not None and time.time() < grant.ends else None

    def _issued(self, owner: str, grant: TokenGrant, *, told: bool = True) -> web.Response:
        token = f"ya29.CANARY-{secrets.token_hex(8)}"
        self.owners[token] = owner
        self.store.tokens[token] = TokenGrant(grant.bucket, grant.prefix, grant.write, time.time() + self.seconds)
        # Google tells no lifetime of a token that was downscoped.
        lifetime = {"expires_in": int(self.seconds)} if told else {}
        return web.json_response({"access_token": token, "token_type": "Bearer", **lifetime})


def _boundary(text: str) -> TokenGrant | None:
    try:
        (rule,) = json.loads(text)["accessBoundary"]["accessBoundaryRules"]
        (role,) = rule["availablePermissions"]
        bucket = rule["availableResource"].removeprefix("//storage.googleapis.com/projects/_/buckets/")
        found = _EXPRESSION.fullmatch(rule["availabilityCondition"]["expression"]) if "availabilityCondition" in rule else None
    except (ValueError, KeyError):
        return None
    if "availabilityCondition" in rule and (found is None or found["bucket"] != bucket or found["prefix"] != found["listed"]):
        return None
    return TokenGrant(bucket, found["prefix"] if found else "", _ROLES[role])


def _pem(key: dict[str, str]) -> bytes:
    number, exponent = (int.from_bytes(base64.urlsafe_b64decode(key[name] + "==")) for name in ("n", "e"))
    public = rsa.RSAPublicNumbers(exponent, number).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


async def _form(request: web.Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs((await request.read()).decode()).items()}


def _refused(code: str) -> web.Response:
    return web.json_response({"error": code, "error_description": "CANARY: what was sent is repeated here"}, status=400)
