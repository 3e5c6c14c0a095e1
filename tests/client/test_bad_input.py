"""Bad input is refused with a sentence that says what to do, and changes nothing."""

import msgspec
import pytest

from arraylake_core import Client
from arraylake_core import errors as ours


@pytest.fixture
def client():
    with Client("memory://") as client:
        yield client


@pytest.fixture
def unchanged(client):
    """Nothing in the catalog may change during the test."""

    def state():
        return [client.list_orgs(), client.list_bucket_configs("me"), client.list_repos("me")]

    before = msgspec.json.encode(state(), enc_hook=str)
    yield
    assert msgspec.json.encode(state(), enc_hook=str) == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    "name",
    ["ocean", "me/", "me/two words", "me/a/b", "me/a..b", "me/..", "me/о", "me/x", "me/" + "x" * 300, "m/ocean", "me/settings"],
)
def test_repo_names(client, name):
    with pytest.raises(ours.InvalidNameError) as caught:
        client.create_repo(name)
    assert isinstance(caught.value, ValueError)
    assert len(str(caught.value)) > 40


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("prefix", ["../up", "a//b", "/a", "a/", "a b", "%2e%2e", "a\\b", "s3://x", "ａ", "a" * 300])
def test_p13_prefixes(client, prefix):
    with pytest.raises(ours.InvalidNameError, match="prefix"):
        client.create_repo("me/ocean", prefix=prefix)


@pytest.mark.usefixtures("unchanged")
def test_kinds(client):
    with pytest.raises(ours.PluginNotFoundError, match=r"'zip' \(installed: icechunk, v1\)"):
        client.create_repo("me/ocean", kind="zip")


BUCKET = {"org": "me", "nickname": "ours"}


@pytest.mark.usefixtures("unchanged")
def test_the_place_of_another_bucket_config(client):
    taken = client.get_bucket_config(org="me", nickname="local").uri
    with pytest.raises(ours.AlreadyExistsError, match="'local'"):
        client.create_bucket_config(org="me", nickname="ours", uri=taken)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (
            {"uri": "floppy://a-bucket"},
            ours.PluginNotFoundError,
            r"'floppy' \(installed: .*s3-compatible\)",
        ),
        ({"uri": "s3://a-bucket", "auth_config": {"method": "bucket_policy"}}, ours.PluginNotFoundError, "plans a plugin"),
        ({"uri": "a-bucket"}, ours.InvalidNameError, "'platform://bucket"),
        ({"uri": "s3://"}, ours.InvalidNameError, "bucket name"),
        ({"uri": "s3://ab"}, ours.InvalidNameError, "3 to 63"),
        ({"uri": "s3://user:CANARY@bucket"}, ours.InvalidNameError, "auth_config"),
        ({"uri": "file://relative"}, ours.InvalidNameError, "three slashes"),
        ({"uri": "file:///data/../etc"}, ours.InvalidNameError, "'..'"),
        ({"uri": "s3://bucket/a/../b"}, ours.InvalidNameError, "prefix"),
        (
            {"uri": "s3://bucket", "extra_config": {"endpoint": "CANARY"}},
            ours.InvalidOptionError,
            "'endpoint': known are endpoint_url",
        ),
        (
            {"uri": "s3://bucket", "extra_config": {"use_ssl": "CANARY"}},
            ours.InvalidOptionError,
            "'use_ssl' must be true or false",
        ),
        ({"uri": "s3://bucket", "extra_config": ["CANARY"]}, ours.InvalidOptionError, "extra_config is a mapping"),
        ({"uri": "s3://bucket", "use_ssl": True, "endpoint_url": "http://x.org"}, ours.InvalidOptionError, "use_ssl is True"),
        ({"uri": "minio://bucket"}, ours.InvalidOptionError, "endpoint_url"),
        ({"uri": "s3://bucket", "auth_config": {"method": "magic"}}, ours.PluginNotFoundError, "installed: anonymous, .*hmac"),
        ({"uri": "s3://bucket", "auth_config": {"key": "CANARY"}}, ours.InvalidOptionError, "must have a 'method'"),
        ({"uri": "s3://bucket", "auth_config": {"method": "hmac"}}, ours.InvalidOptionError, "'access_key_id' is missing"),
        (
            {"uri": "s3://bucket", "auth_config": {"method": "hmac", "access_key_id": "a", "secret_access_key": ["CANARY"]}},
            ours.InvalidOptionError,
            "'secret_access_key' must be text",
        ),
        (
            {"uri": "file:///data/lake", "auth_config": {"method": "hmac", "access_key_id": "a", "secret_access_key": "CANARY"}},
            ours.InvalidOptionError,
            "does not serve the platform 'file'",
        ),
        ({"uri": "s3://bucket", "nickname": "no spaces"}, ours.InvalidNameError, "nickname"),
        ({"uri": "s3://bucket", "nickname": "ab"}, ours.InvalidNameError, "3 to 64"),
        ({"uri": "s3://bucket", "org": "nobody"}, ours.OrgNotFoundError, "nobody"),
        ({"uri": "memory://other", "nickname": "local"}, ours.AlreadyExistsError, "local"),
    ],
)
def test_bucket_configs(client, arguments, error, says):
    with pytest.raises(error, match=says) as caught:
        client.create_bucket_config(**{**BUCKET, **arguments})
    assert "CANARY" not in str(caught.value)


def test_one_place_has_one_bucket_config_however_it_is_spelled(client):
    endpoint = {"endpoint_url": "http://localhost:9000"}
    client.create_bucket_config(**BUCKET, uri="s3://bucket/lake", extra_config=endpoint)
    for uri, url in [
        ("s3://bucket/lake", "http://127.0.0.1:9000/"),
        ("minio://bucket/lake", "http://LOCALHOST:9000"),
        ("s3-compatible://bucket/lake", "http://[::1]:9000"),
    ]:
        with pytest.raises(ours.AlreadyExistsError, match="'ours'"):
            client.create_bucket_config(org="me", nickname="again", uri=uri, extra_config={"endpoint_url": url})


@pytest.mark.parametrize("sure", [{}, {"imsure": True}, {"imreallysure": True}])
def test_deleting_wants_both_confirmations(client, sure):
    client.create_repo("me/ocean")
    with pytest.raises(ours.ConfirmationError, match="imreallysure=True. Nothing was deleted"):
        client.delete_repo("me/ocean", **sure)
    with pytest.raises(ours.ConfirmationError):
        client.delete_bucket_config(org="me", nickname="local", **sure)
    assert client.get_repo("me/ocean")


def test_a_bucket_config_in_use_is_neither_moved_nor_deleted_but_renamed(client):
    client.create_repo("me/ocean")
    for change in ({"uri": "memory://elsewhere"}, {"extra_config": {}, "uri": "memory://else"}):
        with pytest.raises(ours.InUseError, match="'ocean'"):
            client.modify_bucket_config(org="me", nickname="local", **change)
    with pytest.raises(ours.InUseError, match="'ocean'"):
        client.delete_bucket_config(org="me", nickname="local", imsure=True, imreallysure=True)
    client.modify_bucket_config(org="me", nickname="local", new_nickname="renamed", auth_config={"method": "anonymous"})
    assert client.get_repo("me/ocean").branches
    client.delete_repo("me/ocean", imsure=True, imreallysure=True)
    with pytest.raises(ours.InUseError, match="restored"):
        client.delete_bucket_config(org="me", nickname="renamed", imsure=True, imreallysure=True)


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"metadata": {"long": "x" * 5000}}, "4096 bytes as JSON"),
        ({"metadata": {"nested": {"a": 1}}}, "'nested' must be a string"),
        ({"metadata": [1]}, "mapping"),
        ({"metadata": {"a": float("nan")}}, "'a'"),
        ({"description": "x" * 256}, "255 characters"),
        ({"description": 7}, "255 characters"),
        ({"bucket_config_nickname": "nope"}, "nope"),
    ],
)
def test_descriptions_metadata_and_buckets_of_repos(client, arguments, says):
    with pytest.raises(ours.ArraylakeError, match=says):
        client.create_repo("me/ocean", **arguments)


def test_what_does_not_exist_says_what_does(client):
    client.create_repo("me/ocean")
    with pytest.raises(ours.RepoNotFoundError, match="did you mean 'me/ocean'") as caught:
        client.get_repo("me/ocaen")
    assert isinstance(caught.value, ValueError)
    with pytest.raises(ours.OrgNotFoundError):
        client.list_repos("them")
    with pytest.raises(ours.BucketConfigNotFoundError, match="local"):
        client.get_bucket_config(org="me", nickname="locl")
    with pytest.raises(ours.InvalidOptionError, match="keeps its organization"):
        client.rename_repo("me/ocean", "them/ocean")
    client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
    with pytest.raises(ours.RepoNotFoundError, match="no deleted repo"):
        client.restore_repo("me/ocean")


@pytest.mark.parametrize("uri", ["", "sqlite://", "sqlite:///", "oracle://u:CANARY@h/db", "catalog.db"])
def test_catalog_uris(uri):
    with pytest.raises(ours.InvalidOptionError, match="sqlite:///path") as caught:
        Client(uri or "x").list_orgs()
    assert "CANARY" not in str(caught.value)


def test_a_database_that_is_not_there():
    with pytest.raises(ours.CatalogError, match="host is unknown") as caught:
        Client("postgresql://u:CANARY@host.invalid/d").list_orgs()
    assert "CANARY" not in str(caught.value)


def test_pages(client):
    for number in range(5):
        client.create_repo(f"me/repo{number}", metadata={"even": number % 2 == 0})
    assert [repo.name for repo in client.list_repos("me", page=2, size=2)] == ["repo2", "repo3"]
    assert [repo.name for repo in client.list_repos("me", {"even": True})] == ["repo0", "repo2", "repo4"]
    assert [repo.name for repo in client.list_repos_paginated("me", page_size=2)] == [f"repo{n}" for n in range(5)]
    assert client.list_repos("me", page=9) == []
    for wrong in ({"page": 0}, {"size": 101}, {"size": 0}):
        with pytest.raises(ours.InvalidOptionError):
            client.list_repos("me", **{"page": 1, **wrong})
