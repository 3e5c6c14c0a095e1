"""An Azure Data Lake account: Azurite over https, which signs for who has a token, behind what Azurite lacks.

There is no server of Microsoft's to be had. Azurite gives user delegation keys and takes signatures made with them, for containers. In front of it stand, in
plain http: Entra's token endpoint, and the check of signatures for directories, which Azurite does not know: their HMAC, their times, their rights, and that
whatever a request names lies in the directory. What passes goes on to Azurite with a signature for its container that has the same rights.
"""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlencode, urlsplit
from xml.etree import ElementTree

from azure.storage.blob import UserDelegationKey, generate_blob_sas
from joserfc import jwt
from joserfc.jwk import OctKey

from arraylake_core.models import utc_now
from tests.servers.azurite import ACCOUNT, Azurite, running_azurite

__all__ = ["CLIENT_ID", "CLIENT_SECRET", "TENANT", "AzureLake", "running_azure_lake", "storage_token"]

TENANT = "8c3a2b6e-3c6f-4b7e-9d55-0b6d7a1f2e4c"
CLIENT_ID, CLIENT_SECRET = "0d1f7b1e-93d0-4a3a-a6a0-52f4ab2c9a10", "CANARY-client-secret"
_RIGHTS = {"GET": "r", "HEAD": "r", "PUT": "w", "DELETE": "d"}
_HOP = {"connection", "transfer-encoding", "keep-alive", "host", "content-length"}


def storage_token(seconds: float = 3600) -> str:
    """Return a token of Azure Storage, as Entra gives; Azurite does not look at its signature."""
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + int(seconds),
        "oid": "5f1d0c56-6d53-4ab4-8f0e-bf2e1cbb0001",
        "tid": TENANT,
    }
    return jwt.encode({"alg": "HS256"}, claims, OctKey.generate_key(256))


class AzureLake:
    """The account.

    Parameters
    ----------
    azurite
        Azurite, over https.
    trusted
        How to reach it.
    """

    def __init__(self, azurite: Azurite, trusted: ssl.SSLContext) -> None:
        self.azurite, self.trusted = azurite, trusted
        self.asked: list[str] = []
        self.keys: dict[tuple[str, str, str], str] = {}
        self.refused = 0
        self.port = 0

    @property
    def origin(self) -> str:
        """Its URL, which is the token endpoint's too."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """The URL of its blob service."""
        return f"{self.origin}/{ACCOUNT}"

    def permits(self, method: str, url: str) -> bool:
        """Tell whether the signature for a directory in a URL permits a request."""
        parts, query = urlsplit(url), {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        container, _, blob = unquote(parts.path).removeprefix(f"/{ACCOUNT}/").partition("/")
        named, needed = blob, _RIGHTS.get(method, "?")
        if query.get("comp") == "list" and query.get("restype") == "container":
            named, needed = query.get("prefix", ""), "l"
        directory = "/".join(named.split("/")[: int(query["sdd"])])
        if not named.startswith(f"{directory}/") or len(directory.split("/")) != int(query["sdd"]):
            return False
        begin, end = (datetime.fromisoformat(query[name]) for name in ("st", "se"))
        return self._signed(container, directory, query) and needed in query["sp"] and begin <= datetime.now(UTC) < end

    def _signed(self, container: str, directory: str, query: dict[str, str]) -> bool:
        key = UserDelegationKey()
        key.signed_oid, key.signed_tid, key.signed_service = query["skoid"], query["sktid"], query["sks"]
        key.signed_start, key.signed_expiry, key.signed_version = query["skt"], query["ske"], query["skv"]
        key.value = self.keys.get((query["skoid"], query["skt"], query["ske"]), "")
        expected = generate_blob_sas(
            ACCOUNT,
            container,
            directory,
            user_delegation_key=key,
            permission=query["sp"],
            start=query["st"],
            expiry=query["se"],
            is_directory=True,
        )
        return bool(key.value) and parse_qs(expected)["sig"][0] == query["sig"]


def _handler(lake: AzureLake) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            """Say nothing."""

        def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path.endswith("/oauth2/v2.0/token"):
                self._token({name: values[0] for name, values in parse_qs(body.decode()).items()})
                return
            path = self.path
            query = parse_qs(urlsplit(path).query)
            if query.get("sr") == ["d"]:
                if not lake.permits(self.command, path):
                    lake.refused += 1
                    said = b"<Error><Code>AuthorizationPermissionMismatch</Code><Message>No.</Message></Error>"
                    code = {"x-ms-error-code": "AuthorizationPermissionMismatch", "Content-Type": "application/xml"}
                    self._answer(403, said, code)
                    return
                path = _resigned(lake, path)
            self._forward(path, body)

        def _token(self, form: dict[str, str]) -> None:
            lake.asked.append("token")
            if (form["client_id"], form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
                self._answer(401, b'{"error": "invalid_client", "error_description": "CANARY"}', {})
            elif f"/{TENANT}/" not in self.path:
                self._answer(400, b'{"error": "invalid_request"}', {})
            else:
                found = {"access_token": storage_token(), "token_type": "Bearer", "expires_in": 3599}
                self._answer(200, json.dumps(found).encode(), {"Content-Type": "application/json"})

        def _forward(self, path: str, body: bytes) -> None:
            host = urlsplit(lake.azurite.endpoint)
            onward = http.client.HTTPSConnection(str(host.hostname), host.port, context=lake.trusted, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
            onward.request(self.command, path, body=body, headers=headers)
            answer = onward.getresponse()
            content = answer.read()
            found = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            if self.command == "HEAD":
                found["Content-Length"] = answer.getheader("content-length") or "0"
            if "comp=userdelegationkey" in path and answer.status == 200:
                lake.asked.append("key")
                key = {item.tag: item.text or "" for item in ElementTree.fromstring(content.removeprefix(b"\xef\xbb\xbf"))}
                lake.keys[key["SignedOid"], key["SignedStart"], key["SignedExpiry"]] = key["Value"]
            onward.close()
            self._answer(answer.status, content, found)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    return Handler


def _resigned(lake: AzureLake, url: str) -> str:
    """Return a URL with a signature for the container, of the same rights, instead of that for the directory."""
    parts = urlsplit(url)
    signature = {"sdd", "sr", "st", "se", "sp", "sv", "sig", "skoid", "sktid", "skt", "ske", "sks", "skv", "spr"}
    query = parse_qs(parts.query, keep_blank_values=True)
    rest = {name: values[0] for name, values in query.items() if name not in signature}
    container = unquote(parts.path).removeprefix(f"/{ACCOUNT}/").partition("/")[0]
    return f"{parts.path}?{urlencode(rest)}&{lake.azurite.sas(container, query['sp'][0], utc_now() + timedelta(minutes=10))}"


@contextmanager
def running_azure_lake(directory: Path) -> Iterator[AzureLake]:
    """Start an account, and end it."""
    with running_azurite(directory, https=True) as azurite:
        lake = AzureLake(azurite, ssl.create_default_context(cafile=str(azurite.authority)))
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(lake))
        server.daemon_threads = True
        lake.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield lake
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
