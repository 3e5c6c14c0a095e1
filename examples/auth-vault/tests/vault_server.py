"""A small vault: an HTTP server that knows one token, keeps one pair of keys, and mints others that expire."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["TOKEN", "VaultServer", "running_vault"]

TOKEN = "hvs.the-token-of-the-tests"


class VaultServer(ThreadingHTTPServer):
    """The server, and how often it was asked."""

    daemon_threads = True

    def __init__(self, secret: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secret = secret
        self.asked = 0

    @property
    def address(self) -> str:
        """The URL."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: VaultServer

    def do_GET(self) -> None:
        self.server.asked += 1
        keys = {"access_key": "AKIA", "secret_key": self.server.secret}
        answers = {
            "/v1/secret/data/lake": {"data": {"data": keys, "metadata": {"version": 3}}, "lease_duration": 0},
            "/v1/aws/creds/lake": {
                "data": {**keys, "security_token": f"{self.server.secret}-{self.server.asked}"},
                "lease_duration": 900,
            },
            "/v1/secret/data/odd": {"data": {"colour": self.server.secret}},
        }
        found = answers.get(self.path)
        if self.headers["X-Vault-Token"] != TOKEN:
            self._answer(403, {"errors": ["permission denied"]})
        else:
            self._answer(200 if found else 404, found or {"errors": []})

    def _answer(self, status: int, body: object) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as it is called above
        """Say nothing."""


@contextmanager
def running_vault(secret: str) -> Iterator[VaultServer]:
    """Start a server whose keys have this secret, and end it."""
    with VaultServer(secret) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
