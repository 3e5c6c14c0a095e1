"""Roles on buckets whose keys can't be made smaller: who has a right to one repo only gets each request signed, and never the keys."""

import asyncio
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import aiohttp
import numpy
import pytest
from yarl import URL

from arraylake_core import Client
from arraylake_core.catalog.home import file_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import CredentialsError, PermissionDeniedError, ReadOnlyError, StorageError
from arraylake_core.people import Role
from arraylake_core.service.settings import ServiceSettings
from arraylake_core.testing.storage_addresses import BAD_PATHS
from tests.service.conftest import KEYS, Peopled, Template
from tests.service.running import LOCAL, running

OURS = {"client-name": "arraylake-core"}
VERBS = ("GET", "HEAD", "PUT", "DELETE", "LIST")


@pytest.fixture
def lake(populated: Template, tmp_path: Path, s3_bucket_config: dict[str, object]) -> Iterator[Peopled]:
    """A bucket with keys that open all of it, and two V1 repos in it: ``ocean``, to which ``member`` gets a grant, and ``secret``."""
    settings = ServiceSettings(allow_networks=LOCAL, failures_per_minute=0, principal_seconds=0)
    with running(populated.copied_to(tmp_path), settings) as service:
        service.people |= populated.people
        peopled = Peopled(service, dict(populated.tokens))
        with Client(service.uri, token=peopled.tokens["admin"]) as admin:
            admin.create_bucket_config(org="acme", **s3_bucket_config)
            for name in ("ocean", "secret"):
                repo = admin.create_repo(f"acme/{name}", kind="v1", bucket_config_nickname="seaweed")
                repo.root_group.create_array("t", data=numpy.arange(5000), chunks=(1000,), dimension_names=("x",))
                repo.commit("Five thousand")
        yield peopled


def grant(lake: Peopled, role: str, repo: str = "ocean") -> None:
    body = {"email": "member@example.org", "role": role}
    assert lake.service.ask("PUT", f"/repos/acme/{repo}/grants", lake.tokens["admin"], body=body).status == 200
    lake.tokens["member"] = lake.service.token("acme", "member@example.org", Role(role)).token.reveal()


def sign(lake: Peopled, caller: str, *requests: dict[str, str], repo: str = "ocean", **more: object):
    body = {"requests": list(requests), **more}
    return lake.service.ask("POST", f"/repos/acme/{repo}/sign", lake.tokens[caller], body=body)


def signed(lake: Peopled, verb: str, key: str = "", **more: object) -> str:
    answer = sign(lake, "member", {"verb": verb, "key": key}, **more)
    assert answer.status == 200, answer.body
    return answer.json["urls"][0]


def send(verb: str, url: str, **more: object) -> tuple[int, bytes]:
    async def sent() -> tuple[int, bytes]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(verb, URL(url, encoded=True), allow_redirects=False, **more) as answer,
        ):
            return answer.status, await answer.read()

    return asyncio.run(sent())


def secret_of(s3_bucket_config: dict[str, object]) -> str:
    auth = s3_bucket_config["auth_config"]
    assert isinstance(auth, dict)
    return str(auth["secret_access_key"])


# What people do


def test_p12_a_grant_on_one_repo_is_enough_to_work_in_it_and_the_keys_stay(lake: Peopled, s3_bucket_config) -> None:
    grant(lake, "writer")
    with Client(lake.service.uri, token=lake.tokens["member"]) as member:
        repo = member.get_repo("acme/ocean")
        repo.root_group["t"][1000:3000] = 7
        repo.root_group.create_array("u", data=numpy.arange(300), chunks=(10,))
        assert repo.commit("By a guest") is not None
        again = member.get_repo("acme/ocean", read_only=True)
        assert int(again.root_group["t"][:].sum()) == int(numpy.arange(5000).sum() - numpy.arange(1000, 3000).sum() + 14_000)
        assert numpy.array_equal(again.root_group["u"][:], numpy.arange(300))
        assert list(again.verify().problems) == []
    for path in ("/repos/acme/ocean/open", "/repos/acme/ocean/open?full=true", "/repos/acme/ocean"):
        answer = lake.service.ask("GET", path, lake.tokens["member"], headers=OURS)
        assert answer.status == 200
        assert secret_of(s3_bucket_config) not in answer.body.decode()
    opened = lake.service.ask("GET", "/repos/acme/ocean/open", lake.tokens["member"], headers=OURS).json
    assert (opened["repo_credentials"], opened["repo_access"]) == (None, "signed")
    bucket = lake.service.ask("GET", "/repos/acme/ocean/bucket-credentials", lake.tokens["member"])
    assert bucket.status == 403


def test_readers_of_a_public_repo_and_tokens_for_one_repo_read_it(lake: Peopled) -> None:
    with Client(lake.service.uri, token=lake.tokens["admin"]) as admin:
        admin.set_repo_visibility("acme/ocean", public=True)
    token = lake.service.token("acme", "admin@example.org", Role.Reader, repos=["ocean"]).token.reveal()
    for caller in (lake.tokens["rival"], token):
        with Client(lake.service.uri, token=caller) as client:
            repo = client.get_repo("acme/ocean")
            assert int(repo.to_xarray()["t"].sum()) == 12_497_500
            assert repo.read_only
            with pytest.raises(ReadOnlyError):
                repo.commit("No")
    written = sign(lake, "rival", {"verb": "PUT", "key": "chunks/aa"})
    assert written.status == 403
    assert "writer" in written.detail


def test_members_with_a_role_have_the_keys_as_before(lake: Peopled) -> None:
    opened = lake.service.ask("GET", "/repos/acme/ocean/open", lake.tokens["reader"], headers=OURS).json
    assert opened["repo_credentials"]["aws_access_key_id"]
    assert "repo_access" not in opened


@pytest.fixture
def reserved(lake: Peopled, tmp_path: Path) -> Iterator[Peopled]:
    """The same lake, by a replica that keeps readers from keys."""
    settings = ServiceSettings(allow_networks=LOCAL, failures_per_minute=0, principal_seconds=0, readers_get_keys=False)
    with running(SqlCatalog(file_home(tmp_path / "catalog.db")), settings) as service:
        yield Peopled(service, lake.tokens)


def test_p12_readers_get_no_keys_where_the_operator_keeps_them(reserved: Peopled, s3_bucket_config) -> None:
    """In no answer at all, to official clients neither; their V1 repos they read all the same."""
    with Client(reserved.service.uri, token=reserved.tokens["writer"]) as writer:
        bucket_id = writer.get_bucket_config(org="acme", nickname="seaweed").id
        assert writer.get_bucket_config(org="acme", nickname="seaweed").auth_config["secret_access_key"] is not None
        writer.create_repo("acme/ice", kind="icechunk", bucket_config_nickname="seaweed")
    paths = ("/orgs/acme/buckets", f"/orgs/acme/buckets/{bucket_id}", f"/buckets/{bucket_id}", "/orgs/acme/repos/paginated")
    paths += ("/repos/acme/ocean", "/repos/acme/ocean/open", "/repos/acme/ocean/open?full=true", "/repos/acme/ice/open")
    paths += ("/repos/acme/ocean/bucket-credentials?access=read", f"/orgs/acme/buckets/{bucket_id}/credentials?access=read")
    for path in (*paths, f"/buckets/{bucket_id}/credentials", "/repos/acme/ice/bucket-credentials"):
        for headers in ({}, OURS):
            answer = reserved.service.ask("GET", path, reserved.tokens["reader"], headers=headers)
            assert answer.status in (200, 403), (path, answer.body)
            assert secret_of(s3_bucket_config) not in answer.body.decode()
    assert reserved.service.ask("GET", "/repos/acme/ocean/open", reserved.tokens["reader"]).status == 403
    with Client(reserved.service.uri, token=reserved.tokens["reader"]) as reader:
        repo = reader.get_repo("acme/ocean")
        assert (int(repo.to_xarray()["t"].sum()), repo.read_only) == (12_497_500, True)
        with pytest.raises(CredentialsError, match="aws_customer_managed_role"):
            reader.get_repo("acme/ice")
    written = reserved.service.ask(
        "POST", "/repos/acme/ocean/sign", reserved.tokens["reader"], body={"requests": [{"verb": "PUT", "key": "chunks/aa"}]}
    )
    assert written.status == 403


def test_other_clients_are_told_and_get_nothing_they_can_not_use(lake: Peopled) -> None:
    grant(lake, "reader")
    refused = lake.service.ask("GET", "/repos/acme/ocean/open", lake.tokens["member"])
    assert refused.status == 403
    assert "keys that open more than you have a right to" in refused.detail


def test_icechunk_says_which_auth_method_helps(lake: Peopled) -> None:
    with Client(lake.service.uri, token=lake.tokens["admin"]) as admin:
        admin.create_repo("acme/ice", kind="icechunk", bucket_config_nickname="seaweed")
    grant(lake, "writer", "ice")
    with (
        Client(lake.service.uri, token=lake.tokens["member"]) as member,
        pytest.raises(CredentialsError, match="aws_customer_managed_role"),
    ):
        member.get_repo("acme/ice")


def test_a_repo_is_deleted_by_signed_requests(lake: Peopled) -> None:
    grant(lake, "writer")
    prefix = lake.service.ask("GET", "/repos/acme/ocean", lake.tokens["admin"]).json["prefix"]
    listed = signed(lake, "LIST")
    assert prefix.encode() in send("GET", listed)[1]
    with Client(lake.service.uri, token=lake.tokens["member"]) as member:
        member.delete_repo("acme/ocean", imsure=True, imreallysure=True, immediate=True)
    status, body = send("GET", listed)
    assert status == 200
    assert b"<Key>" not in body


def test_p11_other_processes_sign_with_their_own_token(lake: Peopled, s3_bucket_config) -> None:
    grant(lake, "writer")
    token = lake.tokens["member"]
    assert token is not None
    with Client(lake.service.uri, token=token) as member:
        repo = member.get_repo("acme/ocean")
        handed = pickle.dumps(repo.root_group["t"])
        for hidden in (token, secret_of(s3_bucket_config), "X-Amz-Signature"):
            assert hidden.encode() not in handed
        script = "import pickle, sys; array = pickle.load(sys.stdin.buffer); array[:1000] = 1; print(int(array[:].sum()))"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ARRAYLAKE_TOKEN", token)
            run = subprocess.run([sys.executable, "-c", script], input=handed, capture_output=True, check=True, timeout=120)
        assert int(run.stdout) == 12_497_500 - 499_500 + 1000
        assert repo.commit("By another process") is not None


# What the store refuses


def test_p15_a_signed_url_is_for_one_key_and_one_verb(lake: Peopled) -> None:
    grant(lake, "writer")
    other = lake.service.ask("GET", "/repos/acme/secret", lake.tokens["admin"]).json["prefix"]
    ours = lake.service.ask("GET", "/repos/acme/ocean", lake.tokens["admin"]).json["prefix"]
    get, put, delete, listing = (signed(lake, verb, key) for verb, key in
                                 (("GET", "repo.json"), ("PUT", "chunks/new"), ("DELETE", "chunks/new"), ("LIST", "")))  # fmt: skip
    assert send("GET", get)[0] == 200
    assert send("PUT", put, data=b"new")[0] == 200
    refused = {
        "another repo's object": ("GET", get.replace(ours, other)),
        "a sibling": ("GET", get.replace(f"{ours}/", f"{ours}x/")),
        "another key": ("GET", get.replace("repo.json", "chunks/new")),
        "out by dots": ("GET", get.replace(f"{ours}/", f"{ours}/../{other.rpartition('/')[2]}/")),
        "out by encoded dots": ("GET", get.replace(f"{ours}/", f"{ours}/%2e%2e%2f{other.rpartition('/')[2]}/")),
        "another verb": ("DELETE", get),
        "a write with what reads": ("PUT", get),
        "a look with what reads": ("HEAD", get),
        "a read with what writes": ("GET", put),
        "a write with what deletes": ("PUT", delete),
        "the bucket": ("GET", get.replace(f"/{ours}/repo.json", "/")),
        "a subresource": ("GET", f"{get}&acl="),
        "a version": ("GET", f"{get}&versionId=1"),
        "a multipart upload": ("POST", f"{put}&uploads="),
        "another list": ("GET", listing.replace(quote(f"{ours}/", safe=""), quote(f"{other}/", safe=""))),
        "a list with a second prefix": ("GET", f"{listing}&prefix={quote(other, safe='')}"),
        "a list with a first prefix": ("GET", listing.replace("?", f"?prefix={quote(other, safe='')}&", 1)),
        "a longer life": ("GET", get.replace("X-Amz-Expires=300", "X-Amz-Expires=900")),
    }
    answers = {what: send(*asked)[0] for what, asked in refused.items()}
    # What is no path at all is a bad request.
    assert {what: status for what, status in answers.items() if status not in (400, 403)} == {}
    copied = send("PUT", put, headers={"x-amz-copy-source": f"/{other.partition('/')[0]}/{other}/repo.json"})
    assert copied[0] == 403
    assert send("GET", signed(lake, "GET", "chunks/new"))[1] == b"new"
    assert send("DELETE", delete)[0] == 204


def test_p15_a_list_shows_one_repo_and_none_of_its_siblings(lake: Peopled) -> None:
    grant(lake, "reader")
    prefixes = [
        lake.service.ask("GET", f"/repos/acme/{name}", lake.tokens["admin"]).json["prefix"] for name in ("ocean", "secret")
    ]
    found = send("GET", signed(lake, "LIST"))[1].decode()
    assert f"{prefixes[0]}/repo.json" in found
    assert prefixes[1] not in found
    below = send("GET", signed(lake, "LIST", "refs"))[1].decode()
    assert f"{prefixes[0]}/refs/" in below
    assert "repo.json" not in below


def test_p15_a_signed_url_ends(lake: Peopled) -> None:
    grant(lake, "reader")
    url = signed(lake, "GET", "repo.json", seconds=1)
    statuses = [send("GET", url)[0]]
    while statuses[-1] == 200 and len(statuses) < 1000:
        statuses.append(send("GET", url)[0])
    assert statuses[0] == 200
    assert statuses[-1] == 403


# What the service refuses


@pytest.mark.parametrize("verb", VERBS)
def test_p13_no_key_leads_out_of_the_repo(lake: Peopled, verb: str) -> None:
    grant(lake, "writer")
    for key in (
        *BAD_PATHS,
        "a/",
        "..%2f..",
        "chunks/..",
        "a b",
        "é",
        "a?versionId=1",
        "x" * 1100,
        *([""] if verb != "LIST" else []),
    ):
        answer = sign(lake, "member", {"verb": verb, "key": "repo.json"}, {"verb": verb, "key": key})
        assert answer.status == 422, (key, answer.body)
        assert b"Signature" not in answer.body


def test_bad_batches_are_refused_whole(lake: Peopled) -> None:
    grant(lake, "reader")
    get = {"verb": "GET", "key": "repo.json"}
    assert sign(lake, "member", *[get] * 250).status == 200
    for requests, more in (
        ([get] * 251, {}),
        ([], {}),
        ([get], {"seconds": 0}),
        ([get], {"seconds": 901}),
        ([get], {"forever": True}),
        ([{**get, "verb": "POST"}], {}),
        ([{**get, "bucket": "other"}], {}),
        ([{**get, "after": "x"}], {}),
        ([{"verb": "LIST", "after": "x" * 1100}], {}),
    ):
        answer = sign(lake, "member", *requests, **more)
        assert answer.status == 422, (requests[:1], more, answer.body)
    # One that the caller may not fails all of it.
    assert sign(lake, "member", get, {"verb": "DELETE", "key": "repo.json"}).status == 403


def test_p20_signing_follows_the_role_and_the_mode_of_now(lake: Peopled) -> None:
    put, get = {"verb": "PUT", "key": "chunks/x"}, {"verb": "GET", "key": "repo.json"}
    assert sign(lake, "member", get).status == 404
    grant(lake, "reader")
    assert (sign(lake, "member", get).status, sign(lake, "member", put).status) == (200, 403)
    grant(lake, "writer")
    assert sign(lake, "member", put).status == 200
    assert sign(lake, "member", get, repo="secret").status == 404
    for mode, answers in (("maintenance", (200, 403)), ("offline", (403, 403)), ("online", (200, 200))):
        changed = lake.service.ask("PUT", "/orgs/acme/ocean/status", lake.tokens["admin"], body={"mode": mode})
        assert changed.status == 200
        assert (sign(lake, "member", get).status, sign(lake, "member", put).status) == answers
    user = lake.service.people["member@example.org"].id
    assert lake.service.ask("DELETE", f"/repos/acme/ocean/grants/{user}", lake.tokens["admin"]).status == 204
    assert sign(lake, "member", get).status == 404


def test_a_right_that_ends_while_a_repo_is_open_ends_its_requests(lake: Peopled) -> None:
    grant(lake, "writer")
    with Client(lake.service.uri, token=lake.tokens["member"]) as member:
        repo = member.get_repo("acme/ocean")
        array = repo.root_group["t"]
        # Of what can't be compressed: small chunks never become objects.
        one, two = numpy.random.default_rng(1).integers(0, 2**62, (2, 1000))
        array[:1000] = one
        grant(lake, "reader")
        array[1000:2000] = two
        with pytest.raises(PermissionDeniedError):
            repo.commit("No")
        assert array[4500] == 4500


def test_what_can_not_be_signed_says_so(peopled: Peopled) -> None:
    service, admin = peopled.service, peopled.tokens["admin"]
    place = {"platform": "s3", "extra_config": {"endpoint_url": "http://127.0.0.1:9"}}
    for nickname, auth in (("open", {"method": "anonymous"}), ("keys", KEYS)):
        body = {"nickname": nickname, "name": f"acme-{nickname}", "auth_config": auth, **place}
        assert service.ask("POST", "/orgs/acme/buckets", admin, body=body).status == 201
        made = {"name": f"in-{nickname}", "kind": "v1", "bucket_nickname": nickname}
        assert service.ask("POST", "/orgs/acme/repos", admin, body=made).status == 201
    body = {"requests": [{"verb": "GET", "key": "repo.json"}]}
    anonymous = service.ask("POST", "/repos/acme/in-open/sign", admin, body=body)
    assert anonymous.status == 424
    assert "need no signature" in anonymous.detail
    # Nothing is sent: it is all the same whether the store is there.
    assert service.ask("POST", "/repos/acme/in-keys/sign", admin, body=body).status == 200


# Many at once


def test_many_readers_share_few_calls(lake: Peopled) -> None:
    grant(lake, "reader")
    with Client(lake.service.uri, token=lake.tokens["admin"]) as admin:
        repo = admin.get_repo("acme/ocean")
        repo.root_group.create_array("many", data=numpy.arange(100_000), chunks=(100,))
        repo.commit("A thousand chunks")
    with Client(lake.service.uri, token=lake.tokens["member"]) as member:
        array = member.get_repo("acme/ocean").root_group["many"]
        before = _signings(lake)
        with ThreadPoolExecutor(4) as threads:
            parts = list(threads.map(lambda begin: int(array[begin : begin + 25_000].sum()), range(0, 100_000, 25_000)))
        assert sum(parts) == int(numpy.arange(100_000).sum())
        first = _signings(lake) - before
        assert int(array[:].sum()) == sum(parts)
        assert _signings(lake) - before == first, "signatures that are good are used again"
    assert first < 200


def _signings(lake: Peopled) -> float:
    text = lake.service.ask("GET", "/metrics").body.decode()
    lines = [line for line in text.splitlines() if "sign_requests" in line and "_count" in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_p10_what_goes_wrong_at_the_store_is_told_without_the_url(lake: Peopled, s3_bucket_config) -> None:
    grant(lake, "reader")
    key = lake.service.ask("GET", "/repos/acme/ocean/refs/branch/main", lake.tokens["admin"]).json["value"]
    changed = {"auth_config": s3_bucket_config["auth_config"] | {"secret_access_key": "CANARY-of-yesterday"}}
    assert key
    assert lake.service.ask("PATCH", "/orgs/acme/buckets/seaweed", lake.tokens["admin"], body=changed).status == 200
    with Client(lake.service.uri, token=lake.tokens["member"]) as member, pytest.raises(StorageError, match="403") as caught:
        member.get_repo("acme/ocean").root_group["t"][:]
    shown = "".join(traceback.format_exception(caught.value))
    for hidden in ("X-Amz", "Signature=", "CANARY"):
        assert hidden not in shown
