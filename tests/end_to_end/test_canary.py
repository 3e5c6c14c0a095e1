"""A marked secret goes in through every door, and comes out of none."""

import asyncio
import io
import logging
import pickle
import subprocess
import sys
import traceback

import cloudpickle
import pytest
from rich.console import Console

from arraylake_core import AsyncClient, Client, models
from arraylake_core import errors as ours

CANARY = "CANARY"


@pytest.fixture
def uri(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/catalog.db"


@pytest.fixture
def client(uri, s3_bucket_config):
    assert CANARY in s3_bucket_config["auth_config"]["secret_access_key"]
    with Client(uri) as client:
        client.create_bucket_config(org="me", **s3_bucket_config)
        client.set_default_bucket_config(org="me", nickname="seaweed")
        yield client


def shown(thing: object) -> str:
    console = Console(file=io.StringIO(), width=400, force_terminal=True)
    console.print(thing)
    html = thing._repr_html_() if hasattr(thing, "_repr_html_") else ""
    return "".join([repr(thing), str(thing), f"{thing}", console.file.getvalue(), html])


def test_p10_no_secret_is_shown_logged_or_encoded(client, caplog):
    caplog.set_level(logging.DEBUG)
    repo = client.create_repo("me/ocean")
    repo.root_group.create_array("t", shape=(40,), chunks=(4,), dtype="f8")[:] = 1
    repo.commit("Written")
    assert client.probe_bucket_config(org="me", nickname="seaweed").ok
    buckets, record = client.list_bucket_configs("me"), client.get_repo_object("me/ocean")
    session = repo.writable_session("main")
    things = [
        client,
        client._aio,
        repo,
        repo.storage,
        repo.store,
        session,
        session.store,
        repo.tree(),
        repo.status(),
        repo.commit_log,
    ]
    things += [buckets, *buckets, record, client.list_repos("me"), client.probe_bucket_config(org="me", nickname="seaweed")]
    text = "".join(map(shown, things))
    text += models.encode_json([buckets, record]).decode()
    client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
    assert len(caplog.text) > 1000, "the libraries below did log"
    assert CANARY not in text + caplog.text


def test_p10_no_secret_is_in_an_error_or_its_traceback(client, uri, s3_bucket_config):
    wrong = dict(s3_bucket_config["auth_config"], secret_access_key=f"{CANARY}-but-wrong")
    found = []
    for action in (
        lambda: client.modify_bucket_config(org="me", nickname="seaweed", auth_config={**wrong, "secret": CANARY}),
        lambda: client.modify_bucket_config(org="me", nickname="seaweed", auth_config={**wrong, "access_key_id": [CANARY]}),
        lambda: client.create_bucket_config(org="me", nickname="x", uri=f"s3://{CANARY}:{CANARY}@bucket"),
        lambda: client.create_bucket_config(org="me", nickname="xyz", uri="s3://bucket", endpoint_url=f"http://u:{CANARY}@h"),
        lambda: client.create_bucket_config(org="me", **s3_bucket_config),
        lambda: (client.modify_bucket_config(org="me", nickname="seaweed", auth_config=wrong), client.create_repo("me/ocean")),
    ):
        with pytest.raises(ours.ArraylakeError) as caught:
            action()
        found += traceback.format_exception(caught.value)
    assert CANARY not in "".join(line for line in found if "lambda" not in line and "auth_config=" not in line)
    report = client.probe_bucket_config(org="me", nickname="seaweed")
    assert "secret_access_key in auth_config" in "".join(report.problems)
    assert CANARY not in repr(report)


def test_p9_p10_no_secret_is_in_the_catalog_s_files(client, tmp_path):
    client.create_repo("me/ocean")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "catalog.db" for path in files)
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_p11_no_pickle_holds_a_secret_and_all_wake_up_elsewhere(client):
    repo = client.create_repo("me/ocean")
    repo.root_group.create_array("t", shape=(4,), dtype="f8", dimension_names=("x",))[:] = 1
    repo.commit("Written")
    reader = repo.readonly_session("main")
    fork = repo.writable_session("main").fork()
    readable = client.get_repo("me/ocean", read_only=True)
    array = readable.root_group["t"]
    for dumps in (pickle.dumps, cloudpickle.dumps):
        for thing in (client, client._aio, repo, reader, reader.store, fork, fork.store, array, readable.to_xarray()):
            assert CANARY.encode() not in dumps(thing), type(thing)
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer)[:].sum())"
    run = subprocess.run([sys.executable, "-c", script], input=pickle.dumps(array), capture_output=True, check=False)
    assert (run.stdout, run.stderr) == (b"4.0\n", b"")


def test_p11_a_process_forks_a_session_to_others_and_merges_what_they_wrote(client):
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    repo = client.create_repo("me/ocean")
    repo.root_group.create_array("t", shape=(4,), chunks=(1,), dtype="f8")
    repo.commit("Made")
    session = repo.writable_session("main")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        session.merge(*pool.map(_write, [session.fork() for _ in range(4)], range(4)))
    session.commit("Merged")
    assert client.get_repo("me/ocean").root_group["t"][:].tolist() == [1, 2, 3, 4]


def _write(fork, number: int):
    import zarr

    zarr.open_group(fork.store)["t"][number] = number + 1
    return fork


def test_p26_a_process_asks_for_keys_once_however_many_repos_threads_and_tasks_it_has(uri, client, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from arraylake_hmac import HmacAuth

    asked = []
    credentials = HmacAuth.credentials

    async def counted(self, config, location, access, identity):
        asked.append((location.prefix, access))
        return await credentials(self, config, location, access, identity)

    client.create_repo("me/ocean").root_group.create_array("t", shape=(40,), chunks=(1,), dtype="f8")
    monkeypatch.setattr(HmacAuth, "credentials", counted)

    def work(number: int) -> None:
        repo = Client(uri).get_repo("me/ocean", read_only=True)
        pickle.loads(pickle.dumps(repo)).list_branches()

    async def tasks() -> None:
        async with AsyncClient(uri) as other:
            await asyncio.gather(*(other.get_repo("me/ocean", read_only=True) for _ in range(8)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    asyncio.run(tasks())
    assert [access for _, access in asked] == ["read"]


def test_changed_keys_are_taken_by_who_opens_next(client, s3_bucket_config):
    client.create_repo("me/ocean")
    auth = s3_bucket_config["auth_config"]
    client.modify_bucket_config(org="me", nickname="seaweed", auth_config={**auth, "secret_access_key": "wrong"})
    with pytest.raises(ours.CredentialsError, match="bucket probe"):
        client.get_repo("me/ocean")
    client.modify_bucket_config(org="me", nickname="seaweed", auth_config=auth)
    assert client.get_repo("me/ocean").branches
