"""A client works from scripts, notebooks, threads, tasks and processes, and leaves nothing behind."""

import asyncio
import multiprocessing
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import cloudpickle
import pytest

from arraylake_core import AsyncClient, Client
from arraylake_core import errors as ours


async def test_p27_the_blocking_client_works_inside_a_running_loop():
    """As in a notebook."""
    with Client("memory://") as client:
        repo = client.create_repo("me/ocean")
        repo.root_group.create_array("t", shape=(4,), dtype="f4")
        assert repo.commit("In a notebook")


def test_p27_one_async_client_serves_several_loops():
    client = AsyncClient("memory://")

    async def create(number: int) -> str:
        await client.create_repo(f"me/repo{number}")
        return (await client.get_repo_object(f"me/repo{number}")).name

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda number: asyncio.run(create(number)), range(8))) == [f"repo{n}" for n in range(8)]
    assert len(asyncio.run(client.list_repos("me"))) == 8
    asyncio.run(client.close())


@pytest.mark.parametrize("same_loop", [True, False])
def test_p27_new_catalogs_are_opened_by_many_threads_or_tasks_at_once(tmp_path, same_loop):
    uris = [*(f"sqlite:///{tmp_path}/{number}/catalog.db" for number in range(4)), *["memory://"] * 4]

    async def first(uri: str) -> list[str]:
        async with AsyncClient(uri) as client:
            return [org.name for org in await client.list_orgs()]

    async def all_at_once() -> list[list[str]]:
        return await asyncio.gather(*map(first, uris))

    if same_loop:
        assert asyncio.run(all_at_once()) == [["me"]] * 8
        return
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda uri: asyncio.run(first(uri)), uris)) == [["me"]] * 8


def _create_and_list(client: Client, worker: int) -> None:
    for number in range(5):
        client.create_repo(f"me/repo-{worker}-{number}")
        assert f"repo-{worker}-{number}" in [repo.name for repo in client.list_repos("me")]


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_p27_four_processes_create_and_list_in_one_catalog(tmp_path, method):
    """The fork happens in a process that has not loaded Icechunk, whose threads no fork survives."""
    script = f"""
        import multiprocessing, sys
        sys.path[:0] = {sys.path!r}
        from arraylake_core import Client
        from tests.client.test_everywhere import _create_and_list
        if __name__ == "__main__":
            client = Client("sqlite:///{tmp_path}/catalog.db")
            client.list_repos("me")
            context = multiprocessing.get_context({method!r})
            workers = [context.Process(target=_create_and_list, args=(client, number)) for number in range(4)]
            [worker.start() for worker in workers]
            [worker.join() for worker in workers]
            print([worker.exitcode for worker in workers], len(client.list_repos("me")))
    """
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(script))
    run = subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", path], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[0, 0, 0, 0] 20", run.stderr


def test_p27_a_script_that_closes_nothing_ends_in_silence(tmp_path, seaweedfs, bucket):
    """No warning, no unclosed session, no traceback at exit, on disk and on S3, with errors for warnings."""
    key, secret = seaweedfs.admin
    script = f"""
        import numpy
        from arraylake_core import Client
        client = Client("sqlite:///{tmp_path}/catalog.db")
        client.create_bucket_config(
            org="me", nickname="seaweed", uri="s3://{bucket}", endpoint_url="{seaweedfs.endpoint}",
            auth_config={{"method": "hmac", "access_key_id": "{key}", "secret_access_key": "{secret}"}},
        )
        print(client.probe_bucket_config(org="me", nickname="seaweed").ok)
        for name, nickname in (("me/disk", "local"), ("me/cloud", "seaweed")):
            repo = client.create_repo(name, bucket_config_nickname=nickname)
            repo.root_group.create_array("t", data=numpy.arange(4))
            repo.commit("Four numbers")
        client.delete_repo("me/cloud", imsure=True, imreallysure=True, immediate=True)
        print(len(client.list_repos("me")))
    """
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert (run.stdout.split(), run.stderr) == (["True", "1"], "")


def test_p11_clients_pickle_without_their_token(tmp_path):
    client = Client(f"sqlite:///{tmp_path}/catalog.db", token="ema_CANARY")
    client.create_repo("me/ocean")
    for dumps in (pickle.dumps, cloudpickle.dumps):
        pickled = dumps(client)
        assert b"CANARY" not in pickled
        assert [repo.name for repo in pickle.loads(pickled).list_repos("me")] == ["ocean"]
    assert "CANARY" not in repr(client) + str(vars(client)) + str(vars(client._aio))


def _names(client: Client, answers) -> None:
    answers.put([repo.full_name for repo in client.list_repos("me")])


def test_p11_a_spawned_process_gets_a_client_that_works(tmp_path):
    client = Client(f"sqlite:///{tmp_path}/catalog.db")
    client.create_repo("me/ocean")
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_names, args=(client, answers))
    child.start()
    assert answers.get(timeout=60) == ["me/ocean"]
    child.join()


def test_a_client_is_usable_after_close(tmp_path):
    client = Client(f"sqlite:///{tmp_path}/catalog.db")
    repo = client.create_repo("me/ocean")
    client.close()
    client.close()
    repo.root_group.create_array("t", shape=(4,), dtype="f4")
    assert repo.commit("After the client was closed")
    assert len(client.list_repos("me")) == 1


def test_login_and_logout_have_nothing_to_do_and_say_so(capsys):
    with Client("memory://") as client:
        client.login(org="me", browser=True)
        client.logout()
    assert capsys.readouterr().err.count("there is nothing to log") == 2


def test_get_or_create_by_many_at_once_makes_one(tmp_path):
    client = Client(f"sqlite:///{tmp_path}/catalog.db")

    def get(_: int) -> str:
        try:
            return client.get_or_create_repo("me/ocean").branches["main"]
        except ours.AlreadyExistsError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(get, range(8)))
    assert len(client.list_repos("me")) == 1
    assert client.get_repo("me/ocean").branches["main"] in answers


def test_orgs_and_bucket_configs_of_their_own(tmp_path):
    with Client("memory://") as client:
        assert [org.name for org in client.list_orgs()] == ["me"]
        client.create_org("team", display_name="The team")
        with pytest.raises(ours.BucketConfigNotFoundError, match="default"):
            client.create_repo("team/ocean")
        made = client.create_bucket_config(org="team", nickname="disk", uri=f"file://{tmp_path}/lake")
        assert made.is_default
        assert client.probe_bucket_config(org="team", nickname="disk").ok
        client.create_repo("team/ocean", description="Ours", metadata={"model": "NEMO"})
        changed = client.modify_repo(
            "team/ocean", description="Theirs", update_metadata={"model": "ICON"}, add_metadata={"year": 2015}
        )
        assert (changed.description, changed.metadata) == ("Theirs", {"model": "ICON", "year": 2015})
        client.rename_repo("team/ocean", "team/sea")
        assert [repo.full_name for repo in client.list_repos_for_bucket_config(org="team", nickname="disk")] == ["team/sea"]
        assert client.get_repo("team/sea").branches
        client.create_bucket_config(org="team", nickname="other", uri="memory://other")
        client.set_default_bucket_config(org="team", nickname="other")
        assert [bucket.nickname for bucket in client.list_bucket_configs("team") if bucket.is_default] == ["other"]
