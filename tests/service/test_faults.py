"""Two replicas on a real PostgreSQL, under load by the project's own client, while replicas, database and connections are killed.

Nothing that was acknowledged may be lost, nothing may be done twice, and no caller may see an error: the client repeats what is safe to repeat.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from uuid import uuid4

import aiohttp
import pytest
from msgspec.structs import replace

from arraylake_core import loops
from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog.base import NewRepo, OpenRepo
from arraylake_core.catalog.http import HttpCatalog
from arraylake_core.errors import AuthenticationError, ConflictError, RepoNotFoundError
from arraylake_core.models import RepoMode, RepoModel, RepoStatus, utc_now
from arraylake_core.people import NewToken, Role
from arraylake_core.secret import Secret
from arraylake_core.testing.catalog_samples import new_bucket
from tests.servers.faulty_proxy import faulty_proxy
from tests.servers.fixtures import _require_postgres
from tests.servers.postgres import Postgres, running_postgres
from tests.service.replicas import Deployment, deployed

WORKERS = 3
BUCKET = new_bucket("sea", name="lake")


@dataclass
class Lake:
    """A deployment whose database may be killed."""

    postgres: Postgres
    deployment: Deployment
    bucket_id: str = ""
    numbers: Iterator[int] = field(default_factory=count)

    def catalogs(self) -> list[HttpCatalog]:
        return [self.deployment.catalog(number) for number in range(len(self.deployment.replicas))]

    def new_repo(self) -> NewRepo:
        prefix = uuid4().hex[:20]
        place = StorageIdentity("", prefix)
        return NewRepo(
            name=f"repo-{next(self.numbers):05}",
            kind="icechunk",
            bucket_id=self.bucket_id,
            prefix=prefix,
            generated=True,
            identity=place,
        )


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    _require_postgres()
    with running_postgres() as postgres, deployed(postgres.uri(), tmp_path_factory.mktemp("lake")) as deployment:
        made = Lake(postgres, deployment)

        async def prepare() -> str:
            catalog = deployment.catalog(0)
            bucket = await catalog.create_bucket("acme", BUCKET)
            await catalog.close()
            return bucket.id

        made.bucket_id = asyncio.run(prepare())
        yield made
        # P25, of all that was done to it, killed databases and replicas included.
        logged = [one.logged(what) for one in deployment.replicas for what in ("status", "error", "frames")]
        assert 500 not in {status for statuses in logged[::3] for status in statuses}, logged


@pytest.fixture
async def catalogs(lake: Lake) -> AsyncIterator[list[HttpCatalog]]:
    """The catalog through each replica."""
    found = lake.catalogs()
    yield found
    for catalog in found:
        await catalog.close()


@dataclass
class Load:
    """What the workers were told is done."""

    lake: Lake
    shared: RepoModel
    increments: list[int] = field(default_factory=list)
    entries: list[tuple[int, bytes]] = field(default_factory=list)
    described: dict[str, str] = field(default_factory=dict)
    unfinished_before: frozenset[str] = frozenset()
    stopping: bool = False

    async def work(self, catalog: HttpCatalog) -> None:
        """Change things until told to stop; whatever raises ends the test."""
        refs = catalog.coordination(self.shared.id)
        while not self.stopping:
            await self.count(catalog)
            entry = uuid4().hex.encode()
            self.entries.append((await refs.append_journal("log", entry), entry))
            made = await catalog.create_repo("acme", self.lake.new_repo())
            active = await catalog.activate_repo(made.id)
            await catalog.modify_repo("acme", active.name, description=entry.decode())
            self.described[active.name] = entry.decode()

    async def count(self, catalog: HttpCatalog) -> None:
        """Add one to the counter, reading it again where somebody else was first."""
        refs = catalog.coordination(self.shared.id)
        while True:
            ref = await refs.get_ref("branch/count")
            try:
                await refs.put_ref("branch/count", {"n": ref.value["n"] + 1}, expected=ref.version)
            except ConflictError:
                continue
            self.increments.append(ref.value["n"] + 1)
            return

    @property
    def done(self) -> int:
        """How much was acknowledged."""
        return len(self.increments) + len(self.entries) + len(self.described)


@asynccontextmanager
async def load(lake: Lake, through: list[HttpCatalog]) -> AsyncIterator[Load]:
    """Let several workers at each catalog change things meanwhile; then look whether all that they were told is so, once."""
    first = through[0]
    before = await actions(first)
    shared = await first.activate_repo((await first.create_repo("acme", lake.new_repo())).id)
    await first.coordination(shared.id).put_ref("branch/count", {"n": 0}, expected=None)
    unfinished = frozenset(one.repo.id for one in await first.unfinished_repos("acme"))
    found = Load(lake, shared, unfinished_before=unfinished)
    workers = [asyncio.create_task(found.work(catalog)) for catalog in through for _ in range(WORKERS)]
    # And as blocking callers do it, from threads of their own.
    workers += [asyncio.create_task(asyncio.to_thread(loops.run, found.work(catalog))) for catalog in through]
    try:
        await progress(found, workers, 10)
        yield found
        await progress(found, workers, 30)
    finally:
        found.stopping = True
        results = await asyncio.gather(*workers, return_exceptions=True)
    assert results == [None] * len(workers)
    after = await actions(first)
    await check(found, first, after - before)


async def progress(found: Load, workers: list["asyncio.Task[None]"], more: int) -> None:
    """Wait until so much more was acknowledged."""
    goal, deadline = found.done + more, time.monotonic() + 30
    while found.done < goal:
        for worker in workers:
            if worker.done():
                worker.result()
        assert time.monotonic() < deadline, "the clients did not recover"
        await asyncio.sleep(0.02)


async def check(found: Load, catalog: HttpCatalog, audited: Counter[str]) -> None:
    refs = catalog.coordination(found.shared.id)
    counter = await refs.get_ref("branch/count")
    total = len(found.increments)
    assert sorted(found.increments) == list(range(1, total + 1))
    assert (counter.value["n"], counter.version) == (total, total + 1)
    journal = await refs.read_journal("log")
    assert [entry.sequence for entry in journal] == list(range(1, len(journal) + 1))
    assert {entry.sequence: entry.data for entry in journal} == dict(found.entries)
    assert len(journal) == len(found.entries)
    live = {repo.name: repo.description for repo in await all_repos(catalog) if repo.name in found.described}
    assert live == found.described
    assert [one for one in await catalog.unfinished_repos("acme") if one.repo.id not in found.unfinished_before] == []
    repos = len(found.described)
    changes = {
        "put_ref": total + 1,
        "create_repo": repos + 1,
        "activate_repo": repos + 1,
        "modify_repo": repos,
    }
    assert audited == changes


async def all_repos(catalog: HttpCatalog) -> list[RepoModel]:
    first = await catalog.list_repos("acme", size=100)
    more = [(await catalog.list_repos("acme", size=100, page=page)).items for page in range(2, first.pages + 1)]
    repos = [repo for items in (first.items, *more) for repo in items]
    assert len({repo.name for repo in repos}) == len(repos) == first.total
    return repos


async def actions(catalog: HttpCatalog) -> Counter[str]:
    """Return how many lines the audit log has of each operation."""
    first = await catalog.list_audit("acme", size=100)
    more = [(await catalog.list_audit("acme", size=100, page=page)).items for page in range(2, first.pages + 1)]
    return Counter(entry.action for items in (first.items, *more) for entry in items)


async def test_p21_a_replica_is_killed_mid_request(lake: Lake, catalogs: list[HttpCatalog]) -> None:
    async with load(lake, catalogs) as found:
        done = found.done
        await asyncio.to_thread(lake.deployment.replicas[0].kill9)
        await asyncio.to_thread(lake.deployment.replicas[0].start)
        # The other one was not disturbed.
        assert found.done > done


async def test_p21_the_database_is_killed_mid_request(lake: Lake, catalogs: list[HttpCatalog]) -> None:
    async with load(lake, catalogs):
        for end in (lake.postgres.kill9, lake.postgres.stop):
            await asyncio.to_thread(end)
            await asyncio.to_thread(lake.postgres.start)
            await asyncio.sleep(0.2)


async def test_p21_an_answer_cut_off_after_the_commit_is_given_again(lake: Lake, catalogs: list[HttpCatalog]) -> None:
    before = await actions(catalogs[0])
    with faulty_proxy(lake.deployment.replicas[0].port) as proxy:
        catalog = lake.deployment.catalog(f"http://127.0.0.1:{proxy.port}")

        async def cut[T](change: Callable[[], Awaitable[T]], after: int) -> T:
            told, replayed = proxy.faults_told, await replays(lake)
            await asyncio.to_thread(proxy.disturb, "cut", 2, after=after)
            answer = await change()
            assert proxy.faults_told == told + 2
            assert await replays(lake) == replayed + 2
            return answer

        await catalog.whoami()
        new = lake.new_repo()
        made = await cut(lambda: catalog.create_repo("acme", new), after=1)
        active = await cut(lambda: catalog.activate_repo(made.id), after=200)
        assert (active.id, active.name) == (made.id, new.name)
        refs = catalog.coordination(made.id)
        ref = await cut(lambda: refs.put_ref("branch/main", {"n": 1}, expected=None), after=20)
        again = await cut(lambda: refs.put_ref("branch/main", {"n": 2}, expected=ref.version), after=20)
        assert (ref.version, again.version) == (1, 2)
        assert await cut(lambda: refs.append_journal("log", b"entry"), after=1) == 1
        assert [entry.data for entry in await refs.read_journal("log")] == [b"entry"]
        issued = await cut(lambda: catalog.create_token("acme", NewToken(name="cut", role=Role.Reader)), after=50)
        assert [token.id for token in await catalog.list_tokens("acme") if token.name == "cut"] == [issued.id]
        # The secret that is shown once is the one that works, although its first answer never came.
        assert (await lake.deployment.catalog(1, issued.token.reveal()).whoami()).id == issued.id
        await cut(lambda: catalog.revoke_token("acme", issued.id), after=10)
        # Whoever may do this to the one repo only is told the same, although there is nothing left that it is permitted on.
        await catalog.set_grant("acme", new.name, "eve@example.org", Role.Admin)
        operator = lake.deployment.catalog(0, lake.deployment.operator)
        granted = await operator.create_token("acme", NewToken(name="eve", role=Role.Admin), email="eve@example.org")
        await operator.close()
        eve = lake.deployment.catalog(f"http://127.0.0.1:{proxy.port}", granted.token.reveal())
        await cut(lambda: eve.delete_repo("acme", new.name), after=100)
        await eve.close()
        await cut(lambda: catalog.begin_purge(made.id), after=1)
        await cut(lambda: catalog.purge_repo(made.id), after=1)
        await catalog.close()
    once = ["create_repo", "activate_repo", "revoke_token", "set_grant", "delete_repo", "begin_purge", "purge_repo"]
    assert await actions(catalogs[0]) - before == {"put_ref": 2, "create_token": 2, **dict.fromkeys(once, 1)}


async def replays(lake: Lake) -> int:
    """Return how many answers were given again since the replicas started."""
    count = 0
    async with aiohttp.ClientSession() as session:
        for replica in lake.deployment.replicas:
            async with session.get(f"{replica.uri}/metrics") as answer:
                lines = (await answer.text()).splitlines()
            count += sum(int(float(line.split()[1])) for line in lines if line.startswith("arraylake_replays_total "))
    return count


async def test_p21_one_key_on_two_replicas_at_once_is_one_change(lake: Lake, catalogs: list[HttpCatalog]) -> None:
    await catalogs[0].whoami()
    before = await actions(catalogs[0])
    name = lake.new_repo().name
    headers = {"authorization": f"Bearer {lake.deployment.token}", "idempotency-key": uuid4().hex}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def create(number: int, name: str = name) -> tuple[int, bool, bytes]:
            uri = lake.deployment.replicas[number % 2].uri
            async with session.post(f"{uri}/orgs/acme/repos", json={"name": name}) as answer:
                return answer.status, "idempotent-replay" in answer.headers, await answer.read()

        answers = await asyncio.gather(*map(create, range(12)))
        other = await create(1, "another-name")
    assert {status for status, _, _ in answers} == {201}
    assert len({body for _, _, body in answers}) == 1
    assert sum(replayed for _, replayed, _ in answers) == 11
    # The key is bound to what it was first used for.
    assert other[0] == 422
    assert await actions(catalogs[0]) - before == {"create_repo": 1}


async def test_p21_what_one_replica_changes_the_other_opens_so_at_once(lake: Lake, catalogs: list[HttpCatalog]) -> None:
    """A replica remembers what it has answered, and never answers so when it is not so any more."""
    opening, changing = catalogs
    here = await changing.create_bucket("acme", new_bucket("own", name="own-lake"))
    new = replace(lake.new_repo(), bucket_id=here.id)
    made = await changing.activate_repo((await changing.create_repo("acme", new)).id)
    keys = {"method": "hmac", "access_key_id": "AKIDTEST", "secret_access_key": Secret("CANARY-secret")}
    rotated = keys | {"secret_access_key": Secret("CANARY-rotated")}
    offline, online = RepoStatus(mode=RepoMode.Offline, message="moving"), RepoStatus(mode=RepoMode.Online)
    url = "s3://own-lake/x/"
    changes: list[tuple[Callable[[], Awaitable[object]], Callable[[OpenRepo], object], object]] = [
        (lambda: changing.modify_repo("acme", new.name, description="new"), lambda found: found.repo.description, "new"),
        (lambda: changing.modify_repo("acme", new.name, update_metadata={"a": 1}), lambda found: found.repo.metadata, {"a": 1}),
        (lambda: changing.modify_bucket("acme", "own", auth_config=keys), lambda found: found.repo.bucket.auth_config, keys),
        (
            lambda: changing.modify_bucket("acme", "own", auth_config=rotated),
            lambda found: found.repo.bucket.auth_config,
            rotated,
        ),
        (lambda: changing.modify_bucket("acme", "own", new_nickname="mine"), lambda found: found.repo.bucket.nickname, "mine"),
        (
            lambda: changing.modify_repo("acme", new.name, virtual_chunk_containers={url: "mine"}),
            lambda found: [*found.virtual_buckets],
            ["mine"],
        ),
        (
            lambda: changing.modify_bucket("acme", "mine", new_nickname="ours"),
            lambda found: ([*found.virtual_buckets], found.repo.virtual_chunk_containers, found.repo.bucket.nickname),
            (["ours"], {url: "ours"}, "ours"),
        ),
        (lambda: changing.modify_repo("acme", new.name, status=offline), lambda found: found.repo.status.mode, RepoMode.Offline),
        (lambda: changing.modify_repo("acme", new.name, status=online), lambda found: found.repo.status.mode, RepoMode.Online),
    ]
    for change, seen, expected in changes:
        for _ in range(2):
            assert (await opening.open_repo("acme", new.name)).repo.id == made.id
        await change()
        assert seen(await opening.open_repo("acme", new.name)) == expected
    await changing.rename_repo("acme", new.name, f"{new.name}-b")
    with pytest.raises(RepoNotFoundError):
        await opening.open_repo("acme", new.name)
    assert (await opening.open_repo("acme", f"{new.name}-b")).repo.id == made.id
    await changing.delete_repo("acme", f"{new.name}-b")
    with pytest.raises(RepoNotFoundError):
        await opening.open_repo("acme", f"{new.name}-b")


async def test_p2_a_token_stops_on_every_replica(lake: Lake, catalogs: list[HttpCatalog]) -> None:
    expires = utc_now() + timedelta(seconds=3)
    revoked, expiring = [
        await catalogs[0].create_token("acme", NewToken(name=name, role=Role.Admin, expires=end))
        for name, end in (("revoked", None), ("expiring", expires))
    ]
    both = {
        name: [lake.deployment.catalog(number, token.token.reveal()) for number in (0, 1)]
        for name, token in (("revoked", revoked), ("expiring", expiring))
    }
    for users in both.values():
        for catalog in users:
            await catalog.get_org("acme")

    async def stops(catalog: HttpCatalog, since: float) -> None:
        """Ask all the time, so that whatever is remembered is remembered anew, until it stops; it stays so."""
        while True:
            begun = time.monotonic()
            try:
                await catalog.get_org("acme")
            except AuthenticationError:
                break
            assert begun - since < 5
            await asyncio.sleep(0.02)
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                await catalog.get_org("acme")

    await catalogs[0].revoke_token("acme", revoked.id)
    now = time.monotonic()
    end = now + max(0.0, (expires - utc_now()).total_seconds())
    waiting = [stops(catalog, since) for name, since in (("revoked", now), ("expiring", end)) for catalog in both[name]]
    await asyncio.gather(*waiting)
    for users in both.values():
        for catalog in users:
            await catalog.close()


async def test_p2_a_lost_role_stops_on_every_replica(lake: Lake, catalogs: list[HttpCatalog]) -> None:
    member = await catalogs[0].set_member("acme", "bob@example.org", Role.Writer)
    operator = lake.deployment.catalog(0, lake.deployment.operator)
    token = await operator.create_token("acme", NewToken(name="bob", role=Role.Writer), email=member.email)
    await operator.close()
    users = [lake.deployment.catalog(number, token.token.reveal()) for number in (0, 1)]
    for catalog in users:
        assert (await catalog.whoami()).role_in("acme") is Role.Writer
    await catalogs[0].set_member("acme", member.email, Role.Reader)
    since = time.monotonic()
    for catalog in users:
        while (await catalog.whoami()).role_in("acme") is not Role.Reader:
            assert time.monotonic() - since < 5
            await asyncio.sleep(0.02)
        await catalog.close()


async def test_p25_a_database_that_is_away_gives_neither_500_nor_hang(lake: Lake, catalogs: list[HttpCatalog]) -> None:
    headers = {"authorization": f"Bearer {lake.deployment.token}"}
    asked = [
        ("GET", "/user/orgs", None),
        ("GET", "/orgs/acme/repos/paginated", None),
        ("POST", "/orgs/acme/repos", {"name": "x"}),
    ]
    asked += [("GET", "/ready", None), ("GET", "/health", None)]
    timeout = aiohttp.ClientTimeout(total=15)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:

        async def ask(uri: str, method: str, path: str, body: object) -> int:
            async with session.request(method, uri + path, json=body) as answer:
                if answer.status == 503:
                    assert answer.headers["retry-after"] == "1"
                    assert (await answer.json(content_type=None))["detail"]
                return answer.status

        await asyncio.to_thread(lake.postgres.kill9)
        try:
            for replica in lake.deployment.replicas:
                statuses = await asyncio.gather(*(ask(replica.uri, *what) for what in asked))
                assert statuses == [503, 503, 503, 503, 200]
        finally:
            await asyncio.to_thread(lake.postgres.start)
    # Callers that come meanwhile wait, and see nothing of it.
    assert [org.name for catalog in catalogs for org in await catalog.list_orgs()] == ["acme", "acme"]
