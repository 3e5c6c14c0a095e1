"""What the service costs: opening repos under load, its memory, listing a million repos, and ``get_repo`` through it.

Run ``uv run --group dev benchmarks/service.py``. Everything runs on this machine, over loopback, on a PostgreSQL of its own. Opening is compared with the least
that an aiohttp handler can do: one indexed SELECT through asyncpg's pool, and constant JSON of the same size. Both are loaded in turn, from a process of its
own, and shown is the median of the ratios within each round, which a machine that is busy elsewhere disturbs least.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import msgspec

from arraylake_core import Client
from arraylake_core.catalog.http import HttpCatalog

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers.postgres import Postgres, running_postgres
from tests.servers.seaweedfs import SeaweedFS, running_seaweedfs
from tests.service.replicas import Deployment, deployed

CONNECTIONS = 16
MANY, FEW = 1_000_000, 1_000
OPEN = "/repos/acme/ocean/open"


class Target(NamedTuple):
    """What is to be reached."""

    name: str
    found: float
    least: float | None = None
    most: float | None = None

    @property
    def is_met(self) -> bool:
        """Tell whether it is reached."""
        return (self.least is None or self.found >= self.least) and (self.most is None or self.found <= self.most)

    def __str__(self) -> str:
        limit = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{self.name:<66}{self.found:>9.3f}   to be {limit:<14} {'met' if self.is_met else 'MISSED'}"


# The load, in a process of its own


class Run(msgspec.Struct):
    """What one run under load has shown; seconds."""

    rate: float
    p50: float
    p99: float
    bad: int


class _Connection(asyncio.Protocol):
    """Sends one request after the other, each as soon as the one before is answered: as little work as can be, so that the server is what is measured."""

    def __init__(self, request: bytes, times: list[float], count: int) -> None:
        self.request, self.times, self.left = request, times, count
        self.bad = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.left -= 1
        self.begun = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        _, _, rest = head.lower().partition(b"content-length: ")
        if len(body) < int(rest.partition(b"\r\n")[0]):
            return
        self.times.append(time.perf_counter() - self.begun)
        self.bad += not head.startswith(b"HTTP/1.1 200 ")
        self.buffer = b""
        if self.left > 0:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.bad += max(0, self.left)
        if not self.ended.done():
            self.ended.set_result(None)


async def load(uri: str, token: str, requests: int) -> Run:
    """Send so many requests over several connections."""
    parts = urlsplit(uri)
    request = (
        f"GET {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nAccept: application/json\r\nclient-name: arraylake-core\r\n\r\n"
    ).encode()
    times: list[float] = []
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    connections = [
        (await loop.create_connection(lambda: _Connection(request, times, requests // CONNECTIONS), parts.hostname, parts.port))[
            1
        ]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(connection.ended for connection in connections))
    seconds = time.perf_counter() - begun
    ordered = quantiles(times, n=100)
    return Run(len(times) / seconds, ordered[49], ordered[98], sum(connection.bad for connection in connections))


def loaded(uri: str, token: str, requests: int) -> Run:
    """Load a server from a process of its own."""
    command = [sys.executable, __file__, "--load", uri, token, str(requests)]
    done = subprocess.run(command, capture_output=True, check=True)
    run = msgspec.json.decode(done.stdout, type=Run)
    if run.bad:
        raise SystemExit(f"{run.bad} requests to {uri} failed")
    return run


# What the service is compared with


async def serve_least(database: str, body: str) -> None:
    """Serve one indexed SELECT and constant JSON."""
    import asyncpg
    from aiohttp import web

    pool = await asyncpg.create_pool(database, min_size=10, max_size=10)
    answer = body.encode()

    async def handle(request: web.Request) -> web.Response:
        row = await pool.fetchrow(
            "SELECT repos.id, repos.name FROM repos JOIN orgs ON orgs.id = repos.org_id "
            "WHERE orgs.name = $1 AND repos.name = $2 AND deleted_at IS NULL",
            request.match_info["org"],
            request.match_info["repo"],
        )
        assert row is not None
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_get("/repos/{org}/{repo}/open", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


@contextmanager
def least(database: str, body: bytes) -> Iterator[str]:
    """Start what the service is compared with."""
    command = [sys.executable, __file__, "--least", database, body.decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


# What is measured


def get(uri: str, token: str) -> bytes:
    """Ask once."""
    with urlopen(Request(uri, headers={"Authorization": f"Bearer {token}", "client-name": "arraylake-core"})) as answer:
        return bytes(answer.read())


def prepare(deployment: Deployment, server: SeaweedFS) -> None:
    """Make a repo in a bucket of the server."""
    key, secret = server.admin
    bucket = server.make_bucket("lake")
    with Client(deployment.replicas[0].uri, token=deployment.token) as client:
        client.create_bucket_config(
            org="acme",
            nickname="sea",
            uri=f"s3://{bucket}",
            extra_config={"endpoint_url": server.endpoint, "region_name": "us-east-1"},
            auth_config={"method": "hmac", "access_key_id": key, "secret_access_key": secret},
        )
        client.create_repo("acme/ocean", prefix="ocean")


def measure_open(deployment: Deployment, rounds: int, requests: int) -> list[Target]:
    """Load both in turn."""
    uri, token = deployment.replicas[0].uri, deployment.token
    body = get(uri + OPEN, token)
    rates, tails = [], []
    print(f"{len(body)} bytes, {CONNECTIONS} connections, {rounds} rounds of {requests} requests each\n")
    print(f"{'':<10}{'requests/s':>12}{'p50':>10}{'p99':>10}")
    with least(deployment.database, body) as other:
        bases = {"least": other, "service": uri}
        orders = list(permutations(bases))
        for number in range(rounds + 1):
            runs = {who: loaded(bases[who] + OPEN, token, requests) for who in orders[number % 2]}
            if number:  # the first round warms up
                rates.append(runs["service"].rate / runs["least"].rate)
                tails.append(runs["service"].p99 / runs["least"].p99)
                for who in bases:
                    run = runs[who]
                    print(f"{who:<10}{run.rate:>12.0f}{run.p50 * 1000:>7.2f} ms{run.p99 * 1000:>7.2f} ms", flush=True)
    return [
        Target("opening: rate, of the least that a handler can do", median(rates), least=0.5),
        Target("opening: p99, of the least that a handler can do", median(tails), most=3),
    ]


def resident(pid: int) -> float:
    """Return the memory of a process in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def measure_memory(deployment: Deployment, requests: int) -> list[Target]:
    """Watch the memory of a replica that has warmed up."""
    replica = deployment.replicas[0]
    loaded(replica.uri + OPEN, deployment.token, 16_000)
    sizes = [resident(replica.pid)]
    for _ in range(10):
        loaded(replica.uri + OPEN, deployment.token, requests // 10)
        sizes.append(resident(replica.pid))
    print("\nresident MB after each tenth of", requests, "requests:", " ".join(f"{size:.1f}" for size in sizes))
    return [Target(f"memory after {requests} requests, of that before", sizes[-1] / sizes[0], most=1.05)]


_FILL = """
INSERT INTO repos (id, org_id, bucket_id, name, kind, prefix, generated, state, metadata, virtual_chunk_containers, status,
    created, updated, retain_data, ref_floor)
SELECT substr(md5('{org}' || n), 1, 24), o.id, b.id, 'repo-' || lpad(n::text, 7, '0'), 'icechunk', 'p' || n, true, 'active', '{{}}', '{{}}',
    '{{"mode":"online"}}', now(), now(), false, 0
FROM generate_series(1, {count}) n, orgs o JOIN buckets b ON b.org_id = o.id WHERE o.name = '{org}';
UPDATE orgs SET live_repos = {count} WHERE name = '{org}'
"""


def measure_lists(deployment: Deployment, postgres: Postgres, rounds: int, many: int) -> list[Target]:
    """List an organization of very many repos, and one of few."""
    counts = {"few": FEW, "many": many}
    uri = deployment.replicas[0].uri
    for org, count in counts.items():
        operator = HttpCatalog(uri, deployment.catalog(0, deployment.operator).handle.partition("#")[2])

        async def make(operator: HttpCatalog = operator, org: str = org) -> None:
            from arraylake_core.testing.catalog_samples import new_bucket

            await operator.create_org(org)
            await operator.create_bucket(org, new_bucket("own", name=f"lake-{org}"))
            await operator.close()

        asyncio.run(make())
        postgres.execute(_FILL.format(org=org, count=count))
    postgres.execute("VACUUM ANALYZE repos")
    targets = []
    # Pages that both have; and beside them the thousandth of 50 each, which only the many have, as against the last one of the few.
    for size, page, of_few in ((1, 1, 1), (1, 1000, 1000), (50, 1, 1), (50, 1000, 20)):
        times: dict[str, list[float]] = {"few": [], "many": []}
        for number in range(rounds + 5):
            for org, at in (("few", of_few), ("many", min(page, many // size))):
                begun = time.perf_counter()
                answer = get(f"{uri}/orgs/{org}/repos/paginated?page={at}&size={size}", deployment.operator)
                if number >= 5:
                    times[org].append(time.perf_counter() - begun)
                assert len(msgspec.json.decode(answer)["items"]) == size
        few, some = (median(times[org]) * 1000 for org in counts)
        print(f"page {page:>4} of {size:>2}: {few:.2f} ms of {FEW}, {some:.2f} ms of {many}", flush=True)
        targets.append(Target(f"listing page {page} of {size} each, of {many} / of {FEW} repos", some / few, most=2))
    return targets


def measure_get_repo(deployment: Deployment, server: SeaweedFS, rounds: int) -> list[Target]:
    """Open a repo through the service, and without anything."""
    import icechunk

    key, secret = server.admin
    uri = deployment.replicas[0].uri
    times: dict[str, list[float]] = {"service": [], "bare": []}
    with Client(uri, token=deployment.token) as client:

        def bare() -> object:
            return icechunk.Repository.open(
                icechunk.s3_storage(
                    bucket="lake",
                    prefix="ocean",
                    region="us-east-1",
                    endpoint_url=server.endpoint,
                    allow_http=True,
                    force_path_style=True,
                    access_key_id=key,
                    secret_access_key=secret,
                )
            )

        ways: dict[str, Callable[[], object]] = {"service": lambda: client.get_repo("acme/ocean"), "bare": bare}
        before = 0.0
        for number in range(rounds + 5):
            if number == 5:
                before = answered(uri)
            for who in list(ways)[:: 1 if number % 2 else -1]:
                begun = time.perf_counter()
                ways[who]()
                if number >= 5:
                    times[who].append(time.perf_counter() - begun)
        trips = (answered(uri) - before) / rounds
    added = median(ours - theirs for ours, theirs in zip(times["service"], times["bare"], strict=True)) * 1000
    print(
        f"\nget_repo {median(times['service']) * 1000:.1f} ms, bare Icechunk {median(times['bare']) * 1000:.1f} ms, {trips:.2f} requests to the service"
    )
    return [
        Target("get_repo through the service: ms above bare Icechunk's open", added, most=10),
        Target("get_repo through the service: round trips to it", trips, most=1),
    ]


def answered(uri: str) -> float:
    """Return how many requests a replica has answered, but for those that ask this."""
    lines = get(f"{uri}/metrics", "").decode().splitlines()
    counts = [line for line in lines if line.startswith("arraylake_requests_total") and "metrics" not in line]
    return sum(float(line.split()[1]) for line in counts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8, help="rounds of loading both; even, so that each begins as often")
    parser.add_argument("--requests", type=int, default=8000, help="requests of each run")
    parser.add_argument("--memory", type=int, default=200_000, help="requests during which memory is watched")
    parser.add_argument("--repos", type=int, default=MANY, help="how many repos the large organization has")
    parser.add_argument("--only", choices=["open", "memory", "lists", "get"], action="append", help="measure only this")
    parser.add_argument("--load", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--least", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        uri, token, requests = arguments.load
        sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(load(uri, token, int(requests)))))
        return 0
    if arguments.least:
        asyncio.run(serve_least(*arguments.least))
        return 0
    wanted = arguments.only or ["open", "memory", "lists", "get"]
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary, running_postgres() as postgres:
        directory = Path(temporary)
        with running_seaweedfs(directory) as server, deployed(postgres.uri(), directory, 1) as deployment:
            prepare(deployment, server)
            if "open" in wanted:
                targets += measure_open(deployment, arguments.rounds, arguments.requests)
            if "get" in wanted:
                targets += measure_get_repo(deployment, server, 40)
            if "memory" in wanted:
                targets += measure_memory(deployment, arguments.memory)
            if "lists" in wanted:
                targets += measure_lists(deployment, postgres, 40, arguments.repos)
    print("", *targets, sep="\n")
    missed = sum(not target.is_met for target in targets)
    print(f"\n{len(targets) - missed} of {len(targets)} targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
