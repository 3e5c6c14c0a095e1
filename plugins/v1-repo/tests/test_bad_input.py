"""What can't be done is refused with an error that says what was asked, what was found and what to do, and nothing is changed."""

import os
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import zarr
from zarr.core.buffer import cpu
from zarr.core.sync import sync

from arraylake_core import Client
from arraylake_core.errors import (
    AlreadyExistsError,
    ConflictError,
    CredentialsError,
    InvalidNameError,
    InvalidOptionError,
    NotFoundError,
    PermissionDeniedError,
    ReadOnlyError,
    RefNotFoundError,
    StorageError,
)


@pytest.fixture
def client(client_on):
    return client_on("file")


@pytest.fixture
def repo(client):
    """Return a repo with one array; after the test, nothing in what was committed is another."""
    repo = client.create_repo(f"me/bad-{uuid4().hex[:12]}", kind="v1")
    repo.root_group.create_array("a", shape=(4,), chunks=(2,), dtype="i4", attributes={"depth": 3})[:] = [1, 2, 3, 4]
    repo.commit("Four numbers")
    before = repo.branches, repo.tags
    yield repo
    now = client.get_repo(repo.name)
    assert (now.branches, now.tags) == before
    assert zarr.open_array(now.store, path="a", mode="r")[:].tolist() == [1, 2, 3, 4]
    assert now.verify().problems == []


def write(store, key: str, data: bytes = b"x") -> None:
    sync(store.set(key, cpu.Buffer.from_bytes(data)))


@pytest.mark.parametrize("ref", ["mian", "", "0" * 24, "no/such", "a b", "../main", None, 7])
def test_an_unknown_ref(repo, ref):
    base = repo.session.base
    with pytest.raises(RefNotFoundError, match="has no branch, tag or commit .*it has branches main"):
        repo.checkout(ref)
    assert repo.session.base == base
    assert not repo.session.read_only


def test_an_unknown_ref_that_is_close_to_one(repo):
    with pytest.raises(RefNotFoundError, match="Did you mean 'main'"):
        repo.checkout("mian")


@pytest.mark.parametrize("make", ["new_branch", "new_tag"])
def test_a_ref_from_what_is_none(repo, make):
    with pytest.raises(RefNotFoundError, match="'nowhere'"):
        getattr(repo, make)("fresh", "nowhere")


def test_a_name_is_a_branch_or_a_tag_never_both(repo):
    with pytest.raises(AlreadyExistsError, match=r"has a branch 'main'.*ambiguous: choose another one"):
        repo.new_tag("main")
    with pytest.raises(AlreadyExistsError, match="has a branch 'main' already"):
        repo.new_branch("main")
    repo.new_tag("one")
    with pytest.raises(AlreadyExistsError, match=r"has a tag 'one'.*ambiguous"):
        repo.new_branch("one")
    with pytest.raises(AlreadyExistsError, match="has a tag 'one' already"):
        repo.new_tag("one")
    repo.delete_tag("one")


@pytest.mark.parametrize("name", ["", "a" * 201, "0123456789abcdef01234567", "a..b", "/a", "a/", "a b", "a\n", "é\0", None])
@pytest.mark.parametrize("make", ["new_branch", "new_tag"])
def test_a_name_that_no_ref_can_have(repo, make, name):
    with pytest.raises(InvalidNameError):
        getattr(repo, make)(name)


def test_a_commit_of_another_repo(client, repo):
    other = client.create_repo(f"me/other-{uuid4().hex[:12]}", kind="v1")
    other.create_group("g")
    commit = other.commit("Elsewhere")
    with pytest.raises(RefNotFoundError, match=commit):
        repo.checkout(commit)
    with pytest.raises(RefNotFoundError, match=commit):
        repo.new_branch("theirs", commit)


@pytest.mark.parametrize("ref", ["tag", "commit"])
def test_a_tag_or_commit_is_not_written_to(repo, ref):
    name = repo.new_tag("fixed") if ref == "commit" else (repo.new_tag("fixed"), "fixed")[1]
    with pytest.raises(ReadOnlyError, match=f"is no branch of .*but a {ref}: only branches are written to"):
        repo.checkout(name, writable=True)
    repo.checkout(name)
    with pytest.raises((ReadOnlyError, ValueError), match="read-only"):
        write(repo.store, "a/c/0")
    with pytest.raises(ReadOnlyError, match="read-only"):
        repo.delete("a")
    with pytest.raises(ReadOnlyError, match=r"read-only.*checkout\(branch\)"):
        repo.commit("On a tag")
    repo.delete_tag("fixed")


def test_a_read_only_repo(client, repo):
    reader = client.get_repo(repo.name, read_only=True)
    with pytest.raises(ReadOnlyError, match="was opened read-only: open it with client.get_repo"):
        reader.commit("No")
    with pytest.raises(ReadOnlyError, match="read-only"):
        reader.checkout("main", writable=True)
    for change in (
        lambda: reader.delete("a"),
        lambda: reader.move("a", "b"),
        lambda: reader.new_branch("b"),
        lambda: reader.gc(),
    ):
        with pytest.raises(ReadOnlyError, match="read-only"):
            change()


@pytest.mark.parametrize("shared", [False, True])
def test_an_abandoned_session(repo, shared):
    store = repo.store
    write(store, "a/c/0", b"garbage!")
    if shared:
        repo.session.share()
    repo.session.abandon()
    with pytest.raises(ConflictError, match="abandoned.*check out the branch again"):
        write(store, "a/c/0", b"garbage?")
    with pytest.raises(ConflictError, match="abandoned"):
        repo.commit("No")


@pytest.mark.parametrize("shared", [False, True])
def test_an_expired_session(repo, shared):
    write(repo.store, "a/c/0", b"garbage!")
    if shared:
        repo.session.share()
    end = repo.session.update_expiration(timedelta(microseconds=1))
    assert end == repo.session.expires
    for late in (lambda: write(repo.store, "a/c/1", b"garbage!"), lambda: repo.commit("Late")):
        with pytest.raises(ConflictError, match="expired.*check out the branch again"):
            late()


@pytest.mark.parametrize("lifetime", [timedelta(days=8), timedelta(0), timedelta(days=-1), "tomorrow", 5])
def test_a_lifetime_that_no_session_has(repo, lifetime):
    with pytest.raises(InvalidOptionError, match="session"):
        repo.checkout("main", expires_in=lifetime)


@pytest.mark.parametrize("id", ["", "nothing", "../main", None])
def test_a_session_that_is_none(repo, id):  # noqa: A002
    with pytest.raises(NotFoundError, match=r"has no session .*list_active_sessions"):
        repo.join_session(id)


@pytest.mark.parametrize(
    ("expression", "where"),
    [("a[", "at character 3"), ("a = b", "at character 3"), ("", "expression"), ("foo(@)", "foo"), (None, "text")],
)
def test_no_jmespath(repo, expression, where):
    with pytest.raises(InvalidOptionError, match=where):
        repo.filter_metadata(expression)


@pytest.mark.parametrize("path", ["../other", "a/../../b", "a//b", ".", "a/./b", "a\\b", "a\0b"])
def test_a_path_that_escapes_the_repo(repo, path):
    for use in (
        lambda: repo.create_group(path),
        lambda: repo.delete(path),
        lambda: repo.move("a", path),
        lambda: repo.copy(path, "b"),
        lambda: repo.tree(path),
        lambda: repo.add_virtual_hdf(path, "file:///nowhere.h5"),
    ):
        with pytest.raises((InvalidNameError, PermissionDeniedError)):
            use()
    assert repo.status().modified == {}


@pytest.mark.parametrize(
    "key", ["", "/", "a//c/0", "../zarr.json", "a/../zarr.json", "./zarr.json", "a/c/", "\\a", "a\0", "a/\ud800"]
)
def test_a_key_that_is_none(repo, key):
    with pytest.raises(InvalidNameError, match="is no Zarr key"):
        write(repo.store, key)
    assert repo.commit("Nothing") is None


@pytest.mark.parametrize(
    "metadata", [{"a": float("nan")}, {"a": {1, 2}}, {"a": np.float32(1)}, {1: "a"}, {"a": (1, 2)}, [1], "text", {"a": "\ud800"}]
)
def test_commit_metadata_that_is_not_json(repo, metadata):
    repo.create_group("new")
    with pytest.raises(InvalidOptionError, match="commit metadata is a JSON object"):
        repo.commit("No", metadata=metadata)
    assert repo.session.base == repo.branches["main"]


@pytest.mark.parametrize("document", [b"no json", b"\xff\xfe", b"[1", b"{"])
def test_a_metadata_document_that_is_not_json(repo, document):
    write(repo.store, "b/zarr.json", document)
    with pytest.raises(InvalidOptionError, match="'b/zarr.json' is no JSON.*nothing was committed"):
        repo.commit("No")


@pytest.mark.parametrize("choice", ["mine", None, {"a": "both"}, {"a": "raise"}])
def test_a_choice_that_is_none(repo, choice):
    repo.create_group("new")
    with pytest.raises(InvalidOptionError, match="on_conflict is"):
        repo.commit("No", on_conflict=choice)


def test_nodes_that_are_not_there_or_in_the_way(repo):
    with pytest.raises(NotFoundError, match="has nothing at 'b'"):
        repo.delete("b")
    with pytest.raises(NotFoundError, match="has nothing at 'b'"):
        repo.move("b", "c")
    with pytest.raises(InvalidOptionError, match="one lies in the other"):
        repo.move("a", "a/b")
    with pytest.raises(AlreadyExistsError, match="overwrite=True"):
        repo.create_group("a")
    assert repo.commit("Nothing") is None


@pytest.mark.parametrize("change", ["grown", "touched", "gone"])
def test_a_virtual_source_that_changed(client, tmp_path: Path, change):
    source = tmp_path / "source.zarr"
    zarr.create_group(source).create_array("n", shape=(4,), chunks=(4,), dtype="i4", compressors=None)[:] = [1, 2, 3, 4]
    name = f"virtual-{uuid4().hex[:8]}"
    client.create_bucket_config(org="me", nickname=name, uri=tmp_path.as_uri())
    repo = client.create_repo(f"me/{name}", kind="v1", authorize_virtual_chunk_access={f"{tmp_path.as_uri()}/": name})
    repo.add_virtual_zarr("v", source.as_uri())
    commit = repo.commit("Virtual")
    chunk = source / "n" / "c" / "0"
    if change == "grown":
        chunk.write_bytes(chunk.read_bytes() + b"more")
    elif change == "touched":
        os.utime(chunk, ns=(1, 1))
    else:
        chunk.unlink()
    with pytest.raises(StorageError, match="source.zarr/n/c/0"):
        zarr.open_array(repo.store, path="v/n", mode="r")[:]
    assert repo.branches["main"] == commit


def test_a_secret_that_is_wrong_is_told_as_such(seaweedfs, bucket):
    key, _ = seaweedfs.admin
    with Client("memory://") as client:
        client.create_bucket_config(
            org="me",
            nickname="wrong",
            uri=f"s3://{bucket}/lake",
            extra_config={"endpoint_url": seaweedfs.endpoint, "region_name": "us-east-1"},
            auth_config={"method": "hmac", "access_key_id": key, "secret_access_key": "CANARY"},
        )
        with pytest.raises(CredentialsError, match="refused the credentials.*bucket probe") as caught:
            client.create_repo("me/refused", bucket_config_nickname="wrong", kind="v1")
    assert "CANARY" not in str(caught.value)
