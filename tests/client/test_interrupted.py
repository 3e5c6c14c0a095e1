"""Whatever is interrupted leaves nothing, or what repair finishes; a second repair finds nothing to do."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from arraylake_core import Client, config
from arraylake_core.errors import ArraylakeError, NotFoundError

NOW = timedelta(0)
STEPS = ["create_repo", "backend create", "activate_repo", "delete_repo", "begin_purge", "backend destroy", "purge_repo"]


class DiesAt:
    """Passes calls through to a catalog, and kills the process before or after one of them."""

    def __init__(self, inner: object, step: str, when: str) -> None:
        self._inner, self._step, self._when = inner, step, when

    def __getattr__(self, name: str) -> object:
        value = getattr(self._inner, name)
        return dying(value, self._when) if name == self._step else value


def dying(method: Callable[..., object], when: str) -> Callable[..., object]:
    async def call(*args: object, **kwargs: object) -> object:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await method(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    return call


def _run_and_die(uri: str, step: str, when: str, action: str, prefix: str | None) -> None:
    from arraylake_icechunk import IcechunkBackend

    client = Client(uri)
    aio = client._aio
    if step.startswith("backend "):
        name = step.removeprefix("backend ")
        setattr(IcechunkBackend, name, dying(getattr(IcechunkBackend, name), when))
    else:
        aio._catalog = DiesAt(aio._catalog, step, when)
    if action == "create":
        client.create_repo("me/ocean", prefix=prefix)
    else:
        client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
    os._exit(0)


def die(uri: str, step: str, when: str, action: str, prefix: str | None = None) -> None:
    child = multiprocessing.get_context("spawn").Process(target=_run_and_die, args=(uri, step, when, action, prefix))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL


@pytest.fixture
def uri(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/catalog.db"


def objects(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


@pytest.mark.parametrize("prefix", [None, "mine/ocean"], ids=["generated prefix", "given prefix"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS[:3])
def test_p22_a_creation_killed_at_any_step_is_repaired(tmp_path, uri, step, when, prefix):
    die(uri, step, when, "create", prefix)
    with Client(uri) as client:
        listed = [repo.full_name for repo in client.list_repos("me")]
        assert listed == (["me/ocean"] if (step, when) == ("activate_repo", "after") else [])
        actions = client.repair_repos("me", older_than=NOW)
        assert client.repair_repos("me", older_than=NOW) == []
        if (step, when) in {("create_repo", "before"), ("activate_repo", "after")}:
            assert actions == []
        else:
            written = (step, when) in {("backend create", "after"), ("activate_repo", "before")}
            assert [action.action for action in actions] == ["activated" if written else "dropped"]
        repo = client.get_or_create_repo("me/ocean", prefix=prefix)
        repo.root_group.create_array("t", shape=(4,), dtype="i4")
        assert repo.commit("It works")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS[3:])
def test_p22_a_deletion_killed_at_any_step_is_repaired(tmp_path, uri, step, when):
    with Client(uri) as client:
        client.create_repo("me/ocean")
        die(uri, step, when, "delete")
        client.repair_repos("me", older_than=NOW)
        assert client.repair_repos("me", older_than=NOW) == []
        try:
            client.get_repo("me/ocean")
        except NotFoundError:
            restorable = (step, when) in {("delete_repo", "after"), ("begin_purge", "before")}
            if restorable:
                client.restore_repo("me/ocean")
                assert client.get_repo("me/ocean").branches
            else:
                assert objects(tmp_path) == []
                with pytest.raises(ArraylakeError):
                    client.restore_repo("me/ocean")
        else:
            assert (step, when) == ("delete_repo", "before"), "only a deletion that had not begun leaves the repo"


def test_p22_repair_leaves_what_may_still_be_going_on(uri):
    die(uri, "backend create", "before", "create")
    with Client(uri) as client:
        assert client.repair_repos("me") == []
        with pytest.raises(ArraylakeError, match="repair"):
            client.create_repo("me/ocean")
        assert [action.action for action in client.repair_repos("me", older_than=NOW)] == ["dropped"]


@pytest.mark.parametrize(("step", "when"), [("create_repo", "after"), ("backend create", "after")])
def test_p22_a_script_that_died_while_creating_is_run_again(uri, step, when, monkeypatch):
    die(uri, step, when, "create")
    with Client(uri) as client:
        with pytest.raises(ArraylakeError, match="try again in a minute"):
            client.get_or_create_repo("me/ocean")
        monkeypatch.setattr("arraylake_core.client.repos.INTERRUPTED_AFTER", NOW)
        repo = client.get_or_create_repo("me/ocean")
        repo.root_group.create_array("t", shape=(4,), dtype="i4")
        assert repo.commit("It works")
        assert client.repair_repos("me", older_than=NOW) == []


def test_p22_repair_purges_what_can_no_longer_be_restored(tmp_path, uri):
    with Client(uri) as client:
        client.create_repo("me/ocean")
        client.create_repo("me/kept")
        client.delete_repo("me/ocean", imsure=True, imreallysure=True)
        client.delete_repo("me/kept", imsure=True, imreallysure=True, retain_data=True)
        assert client.repair_repos() == []
        before = len(objects(tmp_path))
        with config.set({"repo.restore_days": 0}):
            assert sorted((action.repo, action.action) for action in client.repair_repos()) == [
                ("me/kept", "purged"),
                ("me/ocean", "purged"),
            ]
        assert 0 < len(objects(tmp_path)) < before, "the bytes of the one that retains its data stay"
        with pytest.raises(ArraylakeError):
            client.restore_repo("me/ocean")


def test_p22_a_creation_that_fails_leaves_no_record_and_no_byte(tmp_path, uri, monkeypatch):
    from arraylake_icechunk import IcechunkBackend

    create = IcechunkBackend.create

    async def fails(self, context):
        await create(self, context)
        raise RuntimeError("the network went away")

    with Client(uri) as client:
        monkeypatch.setattr(IcechunkBackend, "create", fails)
        with pytest.raises(RuntimeError):
            client.create_repo("me/ocean")
        assert objects(tmp_path) == []
        monkeypatch.undo()
        assert client.repair_repos("me", older_than=NOW) == []
        assert client.create_repo("me/ocean")
