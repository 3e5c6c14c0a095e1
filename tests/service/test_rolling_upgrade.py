"""P24: one replica after the other is replaced by the next release, while requests go on and replicas of the former release come and go."""

import asyncio
import subprocess
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog.base import NewRepo
from arraylake_core.catalog.http import HttpCatalog
from arraylake_core.testing.catalog_samples import new_bucket
from tests.later_release import later_migrations, later_program
from tests.servers.postgres import Postgres
from tests.service.replicas import Replica, deployed


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.uri(postgres.new_database())


class Load:
    """Requests to every replica that is there, one after the other."""

    def __init__(self, bucket_id: str, *replicas: HttpCatalog) -> None:
        self.made: list[str] = []
        self.ended = asyncio.Event()
        self.replicas = list(replicas)
        self._bucket_id = bucket_id
        self._numbers = count()

    async def run(self) -> None:
        while not self.ended.is_set():
            for catalog in list(self.replicas):
                name = f"repo-{next(self._numbers):05}"
                prefix = uuid4().hex[:20]
                place = StorageIdentity("", prefix)
                new = NewRepo(
                    name=name, kind="icechunk", bucket_id=self._bucket_id, prefix=prefix, generated=True, identity=place
                )
                repo = await catalog.create_repo("acme", new)
                await catalog.activate_repo(repo.id)
                self.made.append(name)
                assert (await catalog.open_repo("acme", name)).repo.name == name

    async def more(self, number: int = 4) -> None:
        """Wait until that many more repos are made."""
        until = len(self.made) + number
        while len(self.made) < until:
            await asyncio.sleep(0.01)


async def test_p24_a_rolling_upgrade_while_requests_go_on(database: str, tmp_path: Path) -> None:
    with deployed(database, tmp_path, replicas=1) as deployment:
        (former,) = deployment.replicas
        program = later_program(later_migrations(tmp_path))
        later = Replica(database, deployment.environment, tmp_path / "later.log", program)

        def migrate() -> subprocess.CompletedProcess[str]:
            command = [*program, "admin", "migrate", "--database", database]
            return subprocess.run(command, capture_output=True, text=True, env=deployment.environment, timeout=60, check=False)

        by_former = deployment.catalog(0)
        bucket = await by_former.create_bucket("acme", new_bucket("sea", name="lake"))
        load = Load(bucket.id, by_former)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load.run())
                await load.more()
                done = await asyncio.to_thread(migrate)
                assert (done.returncode, "revision later" in done.stderr) == (0, True), done
                await load.more()
                await asyncio.to_thread(later.start)
                by_later = deployment.catalog(later.uri)
                load.replicas = [by_former, by_later]
                await load.more()
                # A replica of the former release restarts, as when its machine does.
                load.replicas = [by_later]
                await load.more()
                await asyncio.to_thread(former.stop)
                await asyncio.to_thread(former.start)
                load.replicas = [by_former, by_later]
                await load.more(6)
                load.ended.set()
            found = await by_former.list_repos("acme", size=100)
            assert [repo.name for repo in found.items] == load.made[:100]
            assert found.total == len(load.made)
            for one in load.replicas:
                await one.close()
        finally:
            await asyncio.to_thread(later.stop)
        assert {status for one in (former, later) for status in one.logged("status")} <= {200, 201, 204}
