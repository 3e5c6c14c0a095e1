"""Bad input is answered with a 4xx that says what was wrong; nothing is changed, nothing is leaked, nothing hangs."""

import base64
import gzip
import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.people import Role
from arraylake_core.service.settings import ServiceSettings
from tests.service.conftest import Peopled, Template
from tests.service.running import running


def everything(peopled: Peopled) -> str:
    """Return all that the admin can see of the organization, to be compared."""
    service, admin = peopled.service, peopled.tokens["admin"]
    paths = (
        "/orgs/acme/buckets",
        "/orgs/acme/repos/paginated",
        "/orgs/acme/members",
        "/orgs/acme/api-clients",
        "/orgs/acme/audit",
    )
    return "\n".join(service.ask("GET", path, admin).body.decode() for path in paths)


DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BODIES = {
    "no JSON": (b"{", 400),
    "nothing": (b"", 400),
    "invalid UTF-8": (b'{"name":"\xff\xfe"}', 400),
    "a list": (b"[]", 422),
    "a number": (b"7", 422),
    "null": (b"null", 422),
    "a wrong type": (b'{"name": 5}', 422),
    "an unknown field": (b'{"name": "ocean", "owner": "me"}', 422),
    "deep nesting": (DEEP, 422),
    "deep nesting in a field": (b'{"name": "ocean", "metadata": {"k": ' + b"[" * 50_000 + b"]" * 50_000 + b"}}", 422),
    "a huge number": (b'{"name": "ocean", "spec_version": 1' + b"0" * 4000 + b"}", 422),
    "NaN": (b'{"name": "ocean", "metadata": {"k": NaN}}', 400),
    "half a surrogate pair": (b'{"name": "ocean", "description": "\\ud800"}', 400),
    "too much": (b" " * (3 * 1024 * 1024), 413),
    "a path as a name": (b'{"name": "../etc"}', 422),
    "a prefix that leads out": (b'{"name": "ocean", "prefix": "../../etc"}', 422),
    "a percent-encoded prefix": (b'{"name": "ocean", "prefix": "%2e%2e/etc"}', 422),
    "NUL in a prefix": (b'{"name": "ocean", "prefix": "a\\u0000b"}', 422),
    "an unknown kind": (b'{"name": "ocean", "kind": "hdf"}', 422),
    "a reserved name": (b'{"name": "settings"}', 422),
}


@pytest.mark.parametrize("what", BODIES)
def test_p25_bodies(peopled: Peopled, what: str) -> None:
    body, status = BODIES[what]
    bucket = {"nickname": "mem", "platform": "memory", "name": "lake"}
    assert peopled.service.ask("POST", "/orgs/acme/buckets", peopled.tokens["admin"], body=bucket).status == 201
    before = everything(peopled)
    answer = peopled.service.ask("POST", "/orgs/acme/repos", peopled.tokens["admin"], raw=body)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert len(answer.detail) > 20
    assert everything(peopled) == before


ENCODED = {
    "gzip that is none": ("gzip", b"garbage"),
    "deflate that is none": ("deflate", b"garbage"),
    "an encoding that nobody knows": ("rot13", b'{"name": "x"}'),
    "two encodings": ("gzip, gzip", b'{"name": "x"}'),
    "gzip that ends too early": ("gzip", gzip.compress(b'{"name": "x"}')[:12]),
    "much in little": ("gzip", gzip.compress(bytes(20_000_000))),
}


@pytest.mark.parametrize("what", ENCODED)
def test_p25_encoded_bodies(peopled: Peopled, what: str) -> None:
    encoding, raw = ENCODED[what]
    before = everything(peopled)
    answer = peopled.service.ask(
        "POST", "/orgs/acme/api-clients", peopled.tokens["admin"], raw=raw, headers={"Content-Encoding": encoding}
    )
    assert answer.status in (400, 413), answer.body
    assert everything(peopled) == before


@pytest.mark.parametrize("expires", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "10000-01-01T00:00:00Z"])
def test_p25_ends_beyond_what_a_calendar_holds(peopled: Peopled, expires: str) -> None:
    before = everything(peopled)
    answer = peopled.service.ask(
        "POST", "/orgs/acme/api-clients", peopled.tokens["admin"], body={"name": "x", "expires": expires}
    )
    assert answer.status == 422, answer.body
    assert everything(peopled) == before


PATHS = [
    "/repos/acme/..%2f..%2fetc",
    "/repos/acme/%2e%2e/%2e%2e/orgs",
    "/repos/acme/../rival/ocean",
    "/repos/./acme/ocean",
    "//repos/acme/ocean",
    "/repos/acme/a%00b",
    "/repos/acme/a%0d%0aset-cookie:x",
    "/repos/acme/a%5cb",
    "/repos/acme/%252e%252e",
    "/repos/acme/%ff%fe",
    "/repos/acme/%c0%ae%c0%ae",
    "/repos/acme/" + "a" * 5000,
    "/repos/acme/ocean/refs/branch/../main",
    "/repos/acme/ocean/refs/branch%2f..%2fmain",
]


@pytest.mark.parametrize("path", PATHS)
def test_p13_paths(peopled: Peopled, path: str) -> None:
    answer = peopled.service.ask("GET", path, peopled.tokens["admin"])
    assert answer.status in (400, 404, 422), answer.body
    assert "rival" not in answer.body.decode().replace(path, "")


QUERIES = [
    "page=0",
    "page=-1",
    "page=x",
    "page=1.5",
    "size=0",
    "size=101",
    "size=1000000",
    "page=1&page=2",
    "unknown=1",
    "filter_metadata=%7B",
    "filter_metadata=%5B%5D",
    "filter_metadata=%7B%22a%22%3A%7B%7D%7D",
    "filter_metadata=" + "%5B" * 4000,
    "include_ghosts=maybe",
]


@pytest.mark.parametrize("query", QUERIES)
def test_p25_queries(peopled: Peopled, query: str) -> None:
    answer = peopled.service.ask("GET", f"/orgs/acme/repos/paginated?{query}", peopled.tokens["admin"])
    assert answer.status == 422, answer.body
    assert answer.detail


def jwt(header: dict[str, str], claims: dict[str, object]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join([*parts, "c2lnbmF0dXJl"])


TOKENS = {
    "empty": "",
    "no token": "Basic",
    "a wrong checksum": "ema_" + "a" * 46,
    "another prefix": "sk_" + "a" * 46,
    "too long": "ema_" + "a" * 20_000,
    "SQL": "ema_' OR 1=1 --",
    "JWT of no algorithm": jwt({"alg": "none"}, {"sub": "admin@example.org", "aud": "arraylake"}),
    "JWT of a wrong audience": jwt({"alg": "RS256", "kid": "1"}, {"sub": "admin@example.org", "aud": "another"}),
    "JWT signed with a public key": jwt({"alg": "HS256"}, {"email": "admin@example.org"}),
}


@pytest.mark.parametrize("what", TOKENS)
def test_tokens(peopled: Peopled, what: str) -> None:
    for header in (f"Bearer {TOKENS[what]}", TOKENS[what]):
        answer = peopled.service.ask("GET", "/user", headers={"Authorization": header})
        assert answer.status in (400, 401), answer.body
        if TOKENS[what] and answer.status == 401:
            assert TOKENS[what] not in answer.body.decode()
            assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1:9000",
        "https://[fd00:ec2::254]",
        "http://metadata.google.internal.invalid",
        "http://2130706433:9000",
        "file:///etc/passwd",
        "gopher://10.0.0.1",
        "http://user:CANARY@93.184.215.14",
    ],
)
def test_p16_endpoints_of_buckets(peopled: Peopled, endpoint: str) -> None:
    before = everything(peopled)
    body = {"nickname": "sea", "platform": "s3", "name": "lake", "extra_config": {"endpoint_url": endpoint, "region_name": "x"}}
    answer = peopled.service.ask("POST", "/orgs/acme/buckets", peopled.tokens["admin"], body=body)
    assert answer.status == 422, answer.body
    assert "CANARY" not in answer.body.decode()
    assert everything(peopled) == before


def test_p16_loopback_is_refused_where_the_service_is_open_to_others(tmp_path: Path) -> None:
    with running(SqlCatalog(file_home(tmp_path / "catalog.db")), ServiceSettings(authenticated=False)) as service:
        for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0"):
            body = {"nickname": "sea", "platform": "s3", "name": "lake", "extra_config": {"endpoint_url": f"http://{host}:9000"}}
            assert service.ask("POST", "/orgs/me/buckets", body=body).status == 422


def test_p25_requests_that_are_no_http(peopled: Peopled) -> None:
    address = urlsplit(peopled.service.uri)
    for data in (
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /user HTTP/1.1\r\nA" + b"a" * 100_000 + b"\r\n\r\n",
    ):
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            assert b" 500 " not in connection.recv(200)
    assert peopled.service.ask("GET", "/health").status == 200


def test_p21_an_idempotency_key_is_for_one_request(peopled: Peopled) -> None:
    service, admin, writer = peopled.service, peopled.tokens["admin"], peopled.tokens["writer"]
    service.ask("POST", "/orgs/acme/buckets", admin, body={"nickname": "mem", "platform": "memory", "name": "lake"})
    key = {"Idempotency-Key": "one-key-for-one-request"}
    first = service.ask("POST", "/orgs/acme/repos", writer, body={"name": "ocean"}, headers=key)
    again = service.ask("POST", "/orgs/acme/repos", writer, body={"name": "ocean"}, headers=key)
    assert (first.status, again.status, first.body) == (201, 201, again.body)
    assert again.headers["idempotent-replay"] == "true"
    assert service.ask("POST", "/orgs/acme/repos", writer, body={"name": "other"}, headers=key).status == 422
    assert service.ask("DELETE", "/orgs/acme/ocean", writer, headers=key).status == 422
    # Another's key is another key.
    assert service.ask("POST", "/orgs/acme/repos", admin, body={"name": "ocean"}, headers=key).status == 409
    for bad in ("short", "with space in the middle", "a" * 200):
        assert (
            service.ask("POST", "/orgs/acme/repos", writer, body={"name": "more"}, headers={"Idempotency-Key": bad}).status == 422
        )
    names = [repo["name"] for repo in service.ask("GET", "/orgs/acme/repos/paginated", admin).json["items"]]
    assert names == ["ocean"]
    assert "server" not in service.ask("GET", "/health").headers
    created = [entry for entry in service.ask("GET", "/orgs/acme/audit", admin).json["items"] if entry["action"] == "create_repo"]
    assert len(created) == 1


def test_p1_a_repeated_token_request_gets_the_same_token_and_none_is_kept_in_the_clear(peopled: Peopled, tmp_path: Path) -> None:
    key = {"Idempotency-Key": "one-key-for-one-token"}
    service, admin = peopled.service, peopled.tokens["admin"]
    first, again = (service.ask("POST", "/orgs/acme/api-clients", admin, body={"name": "t"}, headers=key) for _ in range(2))
    token = first.json["token"]
    assert again.json["token"] == token
    for file in tmp_path.rglob("catalog.db*"):
        data = file.read_bytes()
        assert not any(token[start : start + 12].encode() in data for start in range(4, len(token) - 12))


def test_p25_deep_documents_of_any_shape(peopled: Peopled) -> None:
    """A ref takes any JSON document, but none that nests without end."""
    service, admin = peopled.service, peopled.tokens["admin"]
    service.ask("POST", "/orgs/acme/buckets", admin, body={"nickname": "mem", "platform": "memory", "name": "lake"})
    service.ask("POST", "/orgs/acme/repos", admin, body={"name": "ocean"})
    for raw in (DEEP, b"[" * 100_000 + b"]" * 100_000):
        answer = service.ask("PUT", "/repos/acme/ocean/refs/deep", admin, raw=raw, headers={"If-None-Match": "*"})
        assert answer.status == 400, answer.body
    assert service.ask("GET", "/repos/acme/ocean/refs", admin).json == []


def test_refs_are_changed_by_compare_and_swap_only(peopled: Peopled) -> None:
    service, admin = peopled.service, peopled.tokens["admin"]
    service.ask("POST", "/orgs/acme/buckets", admin, body={"nickname": "mem", "platform": "memory", "name": "lake"})
    service.ask("POST", "/orgs/acme/repos", admin, body={"name": "ocean"})
    ref = "/repos/acme/ocean/refs/branch/main"
    assert service.ask("PUT", ref, admin, body=1).status == 428
    assert service.ask("PUT", ref, admin, body=1, headers={"If-None-Match": "*"}).headers["ETag"] == '"1"'
    assert service.ask("PUT", ref, admin, body=2, headers={"If-None-Match": "*"}).status == 412
    assert service.ask("PUT", ref, admin, body=2, headers={"If-Match": '"1"'}).headers["ETag"] == '"2"'
    assert service.ask("PUT", ref, admin, body=3, headers={"If-Match": '"1"'}).status == 412
    assert service.ask("PUT", ref, admin, body=3, headers={"If-Match": "nonsense"}).status == 422
    assert service.ask("GET", ref, admin, headers={"If-None-Match": '"2"'}).status == 304
    assert service.ask("GET", ref, admin).json == {"name": "branch/main", "value": 2, "version": 2}
    assert service.ask("DELETE", ref, admin).status == 428
    assert service.ask("DELETE", ref, admin, headers={"If-Match": '"1"'}).status == 412
    assert service.ask("DELETE", ref, admin, headers={"If-Match": '"2"'}).status == 204
    assert service.ask("GET", ref, admin).status == 404


def test_rates_are_limited(tmp_path: Path) -> None:
    settings = ServiceSettings(requests_per_second=1, failures_per_minute=3)
    with running(SqlCatalog(file_home(tmp_path / "catalog.db")), settings) as service:
        service.member("me", "ada@example.org", Role.Reader)
        token = service.token("me", "ada@example.org", Role.Reader).token.reveal()
        found = [service.ask("GET", "/user", token).status for _ in range(4)]
        assert found[:2] == [200, 200]
        assert 429 in found
        refused = [service.ask("GET", "/user", "ema_wrong") for _ in range(6)]
        assert refused[0].status == 401
        assert refused[-1].status == 429
        assert int(refused[-1].headers["Retry-After"]) >= 1


def test_failures_of_others_do_not_lock_anybody_out(populated: Template, tmp_path: Path) -> None:
    """Behind a proxy, all callers come from one address."""
    with running(populated.copied_to(tmp_path / "strict"), ServiceSettings(failures_per_minute=1)) as service:
        assert [service.ask("GET", "/user", "ema_wrong").status for _ in range(4)] == [401, 429, 429, 429]
        assert service.ask("GET", "/user", populated.tokens["reader"]).status == 200


def test_origins_of_web_pages(tmp_path: Path) -> None:
    origin = {"Origin": "https://lake.example.org"}
    with running(SqlCatalog(file_home(tmp_path / "off.db")), ServiceSettings()) as service:
        assert "access-control-allow-origin" not in {
            name.lower() for name in service.ask("GET", "/health", headers=origin).headers
        }
    with running(
        SqlCatalog(file_home(tmp_path / "on.db")), ServiceSettings(cors_origins=("https://lake.example.org",))
    ) as service:
        assert service.ask("GET", "/health", headers=origin).headers["Access-Control-Allow-Origin"] == "https://lake.example.org"
        asked = service.ask("OPTIONS", "/user", headers={**origin, "Access-Control-Request-Method": "GET"})
        assert (asked.status, "GET" in asked.headers["Access-Control-Allow-Methods"]) == (204, True)
        assert service.ask("OPTIONS", "/user", headers={"Origin": "https://evil.example.org"}).status in (401, 405)
        other = service.ask("GET", "/health", headers={"Origin": "https://evil.example.org"})
        assert "Access-Control-Allow-Origin" not in other.headers


def test_every_answer_has_a_request_id(peopled: Peopled) -> None:
    service = peopled.service
    assert (
        service.ask("GET", "/health", headers={"x-request-id": "given-by-a-proxy"}).headers["x-request-id"] == "given-by-a-proxy"
    )
    for path in ("/health", "/user", "/nothing"):
        assert len(service.ask("GET", path, headers={"x-request-id": "\t<script>"}).headers["x-request-id"]) == 32


def test_p10_no_secret_in_metrics_errors_and_documents(peopled: Peopled, caplog: pytest.LogCaptureFixture) -> None:
    service, admin = peopled.service, peopled.tokens["admin"]
    caplog.set_level("DEBUG")
    keys = {"method": "hmac", "access_key_id": "AKID", "secret_access_key": "CANARY-secret"}
    place = {"nickname": "sea", "platform": "s3", "name": "lake"}
    assert service.ask("POST", "/orgs/acme/buckets", admin, body={**place, "auth_config": keys}).status == 201
    wrong = [
        {**place, "auth_config": keys | {"secret_access_key": ["CANARY-secret"]}},
        {**place, "auth_config": keys | {"secretAccessKey": "CANARY-secret"}},
        {**place, "auth_config": {"method": "CANARY-secret"}},
        {**place, "extra_config": {"secret_access_key": "CANARY-secret"}},
    ]
    answers = [service.ask("POST", "/orgs/acme/buckets", admin, body=body).body for body in wrong[:2] + wrong[3:]]
    answers += [service.ask("GET", path, admin).body for path in ("/metrics", "/openapi.json", "/orgs/acme/audit")]
    assert all(b"CANARY" not in answer for answer in answers)
    assert "CANARY" not in caplog.text
    assert admin not in caplog.text
    assert all(admin.encode() not in answer for answer in answers)


def test_the_document_is_openapi(peopled: Peopled) -> None:
    document = peopled.service.ask("GET", "/openapi.json").json
    assert document["openapi"].startswith("3.1")
    identifiers = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(identifiers) == len(set(identifiers))
    assert msgspec.json.encode(document)
