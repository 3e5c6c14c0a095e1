"""What the repo kind v1 costs beside Icechunk and beside plain zarr, held to its targets.

Run ``uv run --group dev benchmarks/v1.py``. On a local disk and on a SeaweedFS server, the same steps are taken with a V1 repo, with bare
``icechunk.Repository`` and with zarr on its ``FsspecStore``, in turn, who comes first changing from round to round so that each comes before each other
equally often. Shown are medians, and ratios of medians. A second Icechunk repo, timed in the same rounds, is the control: how far its ratio is from 1 is the
noise. Steps whose memory counts, or that caches of the process would help, run in processes of their own, which first import all that the step will import;
their memory is the peak above what they held just before the step. The program ends with code 1 where a target is missed.
"""

import argparse
import importlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import uuid4

import msgspec

os.environ.setdefault("ICECHUNK_LOG", "error")

CHUNKS = {"1,024 x 16 KiB": (1024, 16 * 1024), "64 x 1 MiB": (64, 1024 * 1024)}
CONTESTANTS = ("v1", "icechunk", "control", "zarr")
MILLION = (1000, 1000)
THOUSAND = (10, 100)
CHUNK_BYTES = 16


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the repos of all contestants are: a directory, or a bucket of a server."""

    name: str
    catalog: str
    nickname: str
    sources: str
    directory: str = ""
    endpoint: str = ""
    bucket: str = ""
    key: str = ""
    secret: str = ""

    @property
    def source(self) -> str:
        """The URL of the file that virtual references point into."""
        return f"file://{self.sources}/raw.bin"

    def open_v1(self, name: str, *, create: bool = False):  # noqa: ANN201 - one of the handles of RepoHandle, with more than its methods
        """Open a V1 repo through a client of this process, which is made once."""
        client = client_of(self.catalog)
        if create:
            granted = {f"file://{self.sources}/": "sources"}
            client.create_repo(
                f"me/{name}",
                kind="v1",
                bucket_config_nickname=self.nickname,
                prefix=name,
                authorize_virtual_chunk_access=granted,
            )
        return client.get_repo(f"me/{name}")

    def open_icechunk(self, name: str, *, create: bool = False):  # noqa: ANN201 - icechunk is imported where it is needed
        """Open a bare Icechunk repository."""
        import icechunk
        from icechunk.credentials import LocalFileSystemAccess

        if self.directory:
            storage = icechunk.local_filesystem_storage(f"{self.directory}/{name}")
        else:
            storage = icechunk.s3_storage(
                bucket=self.bucket,
                prefix=name,
                region="us-east-1",
                endpoint_url=self.endpoint,
                allow_http=True,
                force_path_style=True,
                access_key_id=self.key,
                secret_access_key=self.secret,
            )
        url = f"file://{self.sources}/"
        config = icechunk.RepositoryConfig.default()
        config.set_virtual_chunk_container(
            icechunk.VirtualChunkContainer(url, store=icechunk.local_filesystem_store(self.sources))
        )
        make = icechunk.Repository.create if create else icechunk.Repository.open
        return make(storage, config, authorize_virtual_chunk_access={url: LocalFileSystemAccess})

    def open_zarr(self, name: str, *, read_only: bool):  # noqa: ANN201 - fsspec is imported where it is needed
        """Open a plain zarr store on fsspec."""
        from zarr.storage import FsspecStore

        if self.directory:
            return FsspecStore.from_url(f"file://{self.directory}/{name}", {"auto_mkdir": True}, read_only=read_only)
        options = {"key": self.key, "secret": self.secret, "endpoint_url": self.endpoint}
        return FsspecStore.from_url(f"s3://{self.bucket}/{name}", options, read_only=read_only)

    def chunk_objects(self, name: str) -> dict[str, object]:
        """List the chunk objects of a V1 repo, each with what changes when it is written again."""
        if self.directory:
            root = Path(self.directory, name, "chunks")
            stats = {path.name: path.stat() for path in root.rglob("*") if path.is_file()}
            return {key: (stat.st_mtime_ns, stat.st_ino) for key, stat in stats.items()}
        import s3fs

        server = s3fs.S3FileSystem(key=self.key, secret=self.secret, endpoint_url=self.endpoint, skip_instance_cache=True)
        found = server.find(f"{self.bucket}/{name}/chunks", detail=True)
        return {key: entry["LastModified"] for key, entry in found.items()}


_clients: dict[str, object] = {}


def client_of(catalog: str):  # noqa: ANN201 - the core is imported where it is needed
    """Return this process's client of a catalog, open."""
    from arraylake_core import Client

    if catalog not in _clients:
        _clients[catalog] = Client(catalog)
        _clients[catalog].list_orgs()
    return _clients[catalog]


@contextmanager
def places(directory: Path) -> Iterator[list[Place]]:
    """Start the server, and make the bucket configs."""
    import numpy as np

    from arraylake_core import Client

    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.servers.seaweedfs import running_seaweedfs

    for name in ("disk", "sources", "server"):
        (directory / name).mkdir()
    with running_seaweedfs(directory / "server") as server:
        key, secret = server.admin
        shared = {"catalog": f"sqlite:///{directory / 'catalog.db'}", "sources": str(directory / "sources")}
        bucket = server.make_bucket("lake")
        found = [
            Place(name="local disk", nickname="disk", directory=str(directory / "disk"), **shared),
            Place(
                name="SeaweedFS", nickname="seaweed", endpoint=server.endpoint, bucket=bucket, key=key, secret=secret, **shared
            ),
        ]
        # Each reference's bytes are its number, so that a wrong one is seen.
        np.arange(1_000_000, dtype="<i4").repeat(CHUNK_BYTES // 4).tofile(directory / "sources" / "raw.bin")
        with Client(shared["catalog"]) as client:
            client.create_bucket_config(org="me", nickname="disk", uri=f"file://{directory / 'disk'}")
            client.create_bucket_config(org="me", nickname="sources", uri=f"file://{directory / 'sources'}")
            client.create_bucket_config(
                org="me",
                nickname="seaweed",
                uri=f"s3://{bucket}",
                extra_config={"endpoint_url": server.endpoint, "region_name": "us-east-1"},
                auth_config={"method": "hmac", "access_key_id": key, "secret_access_key": secret},
            )
        yield found


# Chunks


def write_array(store: object, name: str, data: object) -> None:
    import zarr

    array = zarr.create_array(
        store, name=name, shape=data.shape, chunks=(1, *data.shape[1:]), dtype=data.dtype, compressors=None, filters=None
    )
    array[:] = data


def read_array(store: object, name: str, data: object) -> None:
    import numpy as np
    import zarr

    found = np.asarray(zarr.open_array(store, path=name, mode="r")[:])
    assert found.nbytes == data.nbytes
    assert found[-1, -1] == data[-1, -1]


class Chunks:
    """The contestants at one place: who writes and commits, and who opens and reads."""

    def __init__(self, place: Place, data: object) -> None:
        self.place, self.data = place, data
        run = uuid4().hex[:6]
        self.names = {who: f"{who}-{run}" for who in CONTESTANTS}
        self.handles = {
            "v1": place.open_v1(self.names["v1"], create=True),
            **{who: place.open_icechunk(self.names[who], create=True) for who in ("icechunk", "control")},
        }

    def write(self, who: str, name: str) -> None:
        """Write an array in a new session, and commit it."""
        if who == "v1":
            self.handles[who].checkout("main")
            write_array(self.handles[who].store, name, self.data)
            self.handles[who].commit(f"Write {name}")
        elif who == "zarr":
            write_array(self.place.open_zarr(self.names[who], read_only=False), name, self.data)
        else:
            session = self.handles[who].writable_session("main")
            write_array(session.store, name, self.data)
            session.commit(f"Write {name}")

    def read(self, who: str, name: str) -> None:
        """Open the repo anew, and read an array."""
        if who == "v1":
            store = self.place.open_v1(self.names[who]).store
        elif who == "zarr":
            store = self.place.open_zarr(self.names[who], read_only=True)
        else:
            store = self.place.open_icechunk(self.names[who]).readonly_session("main").store
        read_array(store, name, self.data)


def seconds(step: Callable[[], object]) -> float:
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def in_turn(contestants: Sequence[str], rounds: int, step: Callable[[str, int], float]) -> dict[str, list[float]]:
    """Time a step of each, in orders that let each come before each other equally often; the first round warms up."""
    rotations = [[*contestants[start:], *contestants[:start]] for start in range(len(contestants))]
    orders = [order for rotation in rotations for order in (rotation, rotation[::-1])]
    times: dict[str, list[float]] = {who: [] for who in contestants}
    for number in range(rounds + 1):
        for who in orders[number % len(orders)]:
            found = step(who, number)
            if number:
                times[who].append(found)
    return times


def measure_chunks(place: Place, label: str, rounds: int, report: "Report") -> None:
    import numpy as np

    count, size = CHUNKS[label]
    random = np.random.default_rng(1)
    chunks = Chunks(place, None)
    times: dict[str, dict[str, list[float]]] = {}

    def writing(who: str, number: int) -> float:
        # V1 never sends the same bytes twice: everybody gets new ones each time.
        chunks.data = random.integers(0, 2**63, (count, size // 8), dtype="u8")
        taken = seconds(partial(chunks.write, who, f"a{number}"))
        reads[who].append(seconds(partial(chunks.read, who, f"a{number}")))
        return taken

    reads: dict[str, list[float]] = {who: [] for who in CONTESTANTS}
    times["write+commit"] = in_turn(CONTESTANTS, rounds, writing)
    times["open+read"] = {who: found[1:] for who, found in reads.items()}
    for step, found in times.items():
        middle = {who: median(taken) for who, taken in found.items()}
        bare = median([*found["icechunk"], *found["control"]])
        report.row(place.name, f"{label} {step}", middle["v1"], bare, middle["control"] / middle["icechunk"], middle["zarr"])
        report.target(f"{place.name}: {label} {step}, v1 / icechunk", middle["v1"] / bare, 1.0)
        report.target(f"{place.name}: {label} {step}, v1 / zarr on fsspec", middle["v1"] / middle["zarr"], 1.0)


# A million references, in processes of their own


class Cost(msgspec.Struct):
    """What a step took."""

    seconds: float
    megabytes: float
    modules: list[str]


class Task(msgspec.Struct):
    """A step for a process of its own."""

    step: str
    place: Place
    who: str
    name: str
    shape: tuple[int, int] = MILLION
    modules: list[str] = msgspec.field(default_factory=list)


def peak() -> float:
    """Return the most memory that this process has held, in MB; getrusage would count its parent's as well."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(step: Callable[[], object]) -> Cost:
    """Run a step; its memory is what comes on top of what is held now."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = peak()
    taken = seconds(step)
    return Cost(taken, peak() - before, sorted(sys.modules))


def references(source: str, shape: tuple[int, int]) -> dict[str, object]:
    """Make the columns of references, flat."""
    import numpy as np

    count = shape[0] * shape[1]
    return {"offsets": np.arange(count, dtype="u8") * CHUNK_BYTES, "lengths": np.full(count, CHUNK_BYTES, "u8"), "source": source}


def set_references(task: Task) -> Cost:
    """Set references and commit; the input is made before."""
    place, shape = task.place, task.shape
    columns = references(place.source, shape)
    dtype, chunks, whole = "<i4", (1, CHUNK_BYTES // 4), (shape[0], shape[1] * CHUNK_BYTES // 4)
    if task.who == "v1":
        import numpy as np
        from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore
        from virtualizarr.manifests.utils import create_v3_array_metadata

        manifest = ChunkManifest.from_arrays(
            paths=np.full(shape, place.source, np.dtypes.StringDType()),
            offsets=columns["offsets"].reshape(shape),
            lengths=columns["lengths"].reshape(shape),
            validate_paths=False,
        )
        document = create_v3_array_metadata(
            shape=whole,
            data_type=np.dtype(dtype),
            chunk_shape=chunks,
            codecs=[{"name": "bytes", "configuration": {"endian": "little"}}],
            fill_value=-1,
        )
        given = ManifestStore(ManifestGroup(arrays={"refs": ManifestArray(document, manifest)}))
        repo = place.open_v1(task.name, create=True)

        def step() -> None:
            repo.add_virtual("archive", given)
            repo.commit("By reference")
    else:
        import zarr

        locations = [place.source] * len(columns["offsets"])
        session = place.open_icechunk(task.name, create=True).writable_session("main")

        def step() -> None:
            zarr.create_array(
                session.store,
                name="archive/refs",
                shape=whole,
                chunks=chunks,
                dtype=dtype,
                compressors=None,
                filters=None,
                fill_value=-1,
            )
            # The fastest of its three inputs: no Python object for each reference.
            session.store.set_virtual_refs_arr("/archive/refs", shape, locations, columns["offsets"], columns["lengths"])
            session.commit("By reference")

    return measured(step)


def read_one(task: Task) -> Cost:
    """Open a repo and read one chunk of its million."""
    import zarr

    place = task.place
    small = zarr.create_array({}, shape=(4,), chunks=(4,), dtype="<i4", compressors=None)
    assert int(small[0]) == 0  # zarr's threads and pipeline stand
    if task.who == "v1":
        client_of(place.catalog)

    def step() -> None:
        bare = task.who == "icechunk"
        store = place.open_icechunk(task.name).readonly_session("main").store if bare else place.open_v1(task.name).store
        array = zarr.open_array(store, path="archive/refs", mode="r")
        assert int(array[500, 4 * 321]) == 500_321

    return measured(step)


def change_ten(task: Task) -> Cost:
    """Change ten chunks, all over the array, and commit; the process is new, the repo open."""
    import zarr

    place, (rows, columns) = task.place, task.shape
    width = CHUNK_BYTES // 4
    where = [divmod(index * rows * columns // 10, columns) for index in range(10)]
    value = time.time_ns() % 2**31
    if task.who == "v1":
        repo = place.open_v1(task.name)
        store, commit = repo.store, repo.commit
    else:
        session = place.open_icechunk(task.name).writable_session("main")
        store, commit = session.store, session.commit

    def step() -> None:
        array = zarr.open_array(store, path="archive/refs", mode="r+")
        for row, column in where:
            array[row, column * width : (column + 1) * width] = value
        assert commit("Ten chunks")

    return measured(step)


STEPS: Mapping[str, Callable[[Task], Cost]] = {
    "set references": set_references,
    "read one": read_one,
    "change ten": change_ten,
}


def work() -> None:
    """Be the process of its own: a task comes in, its cost goes out."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    for name in task.modules:
        with suppress(Exception):
            importlib.import_module(name)
    cost = STEPS[task.step](task)
    sys.stdout.buffer.write(msgspec.json.encode(cost))
    sys.stdout.flush()
    os._exit(0)


def apart(task: Task) -> Cost:
    """Run a task in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--work"]
    done = subprocess.run(command, input=msgspec.json.encode(task), capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{task.who}, {task.step}, {task.place.name}:\n{done.stderr.decode()[-4000:]}")
    return msgspec.json.decode(done.stdout, type=Cost)


def costs(make: Callable[[str, int], Task], contestants: Sequence[str], rounds: int) -> dict[str, Cost]:
    """Run a task of each contestant in turn, each process with the modules imported that the first ones needed; return medians."""
    modules: dict[str, list[str]] = {}
    found: dict[str, list[Cost]] = {who: [] for who in contestants}

    def step(who: str, number: int) -> float:
        task = make(who, number)
        task.modules = modules.get(who, [])
        cost = apart(task)
        modules.setdefault(who, cost.modules)
        if number:
            found[who].append(cost)
        return cost.seconds

    in_turn(contestants, rounds, step)
    return {
        who: Cost(median(cost.seconds for cost in all_of), median(cost.megabytes for cost in all_of), [])
        for who, all_of in found.items()
    }


def measure_references(place: Place, rounds: int, report: "Report") -> None:
    run = uuid4().hex[:6]
    both = ("v1", "icechunk")
    found = costs(lambda who, number: Task("set references", place, who, f"refs-{who}-{number}-{run}"), both, rounds)
    compare(report, place, "set 1,000,000 references", found)
    report.target(f"{place.name}: set 1,000,000 references, v1 / icechunk", ratio(found, lambda cost: cost.seconds), 1.0)
    report.target(f"{place.name}: its peak memory, v1 / icechunk", ratio(found, lambda cost: cost.megabytes), 0.5)

    found = costs(lambda who, number: Task("read one", place, who, f"refs-{who}-0-{run}"), both, rounds)
    compare(report, place, "open 1,000,000, read one chunk", found)
    report.target(f"{place.name}: open and read one chunk, v1 / icechunk", ratio(found, lambda cost: cost.seconds), 1.2)
    report.target(f"{place.name}: its peak memory above the imports, MB", found["v1"].megabytes, 100)

    for who in both:
        apart(Task("set references", place, who, f"few-{who}-{run}", THOUSAND))

    def changing(who: str, number: int) -> Task:
        kind, size = who.split()
        return Task(
            "change ten",
            place,
            kind,
            f"few-{kind}-{run}" if size == "few" else f"refs-{kind}-0-{run}",
            THOUSAND if size == "few" else MILLION,
        )

    found = costs(changing, ("v1 few", "v1 many", "icechunk few", "icechunk many"), rounds)
    for size, label in (("few", "1,000"), ("many", "1,000,000")):
        compare(report, place, f"commit 10 chunks of {label}", {who: found[f"{who} {size}"] for who in both})
    report.target(
        f"{place.name}: commit 10 chunks of 1,000,000 / 10 of 1,000", found["v1 many"].seconds / found["v1 few"].seconds, 1.5
    )


def ratio(found: Mapping[str, Cost], value: Callable[[Cost], float]) -> float:
    return value(found["v1"]) / value(found["icechunk"])


def compare(report: "Report", place: Place, label: str, found: Mapping[str, Cost]) -> None:
    report.row(place.name, label, found["v1"].seconds, found["icechunk"].seconds)
    report.memory(place.name, label, found["v1"].megabytes, found["icechunk"].megabytes)


# The same bytes again


def measure_again(place: Place, report: "Report") -> None:
    """Write the same array again in a new session of a newly opened repo, and count the chunk objects that were sent for it."""
    import numpy as np

    count, size = CHUNKS["64 x 1 MiB"]
    data = np.random.default_rng(7).integers(0, 2**63, (count, size // 8), dtype="u8")
    name = f"again-{uuid4().hex[:6]}"
    repo = place.open_v1(name, create=True)

    def first() -> None:
        write_array(repo.store, "a", data)
        repo.commit("First")

    def again() -> None:
        repo = place.open_v1(name)
        repo.root_group["a"][:] = data
        repo.commit("The same again")

    def elsewhere() -> None:
        repo = place.open_v1(name)
        write_array(repo.store, "b", data)
        repo.commit("The same, elsewhere")

    taken = seconds(first)
    before = place.chunk_objects(name)
    for label, step in (("in place", again), ("in another array", elsewhere)):
        time.sleep(1.1)  # S3 tells times of modification in whole seconds
        repeated = seconds(step)
        after = place.chunk_objects(name)
        sent = sum(before.get(key) != stamp for key, stamp in after.items())
        report.say(
            f"{place.name:<11} 64 x 1 MiB again, {label}: {repeated * 1000:.1f} ms (first {taken * 1000:.1f} ms), "
            f"{sent} chunk objects sent, beside {len(before)}"
        )
        report.target(f"{place.name}: chunk objects sent for identical data, {label}", sent, 0)
        before = after


class Named(NamedTuple):
    """A target, and what was found."""

    what: str
    found: float
    most: float


class Report:
    """The table, and the targets."""

    def __init__(self) -> None:
        self.targets: list[Named] = []

    def say(self, line: str) -> None:
        """Print a line at once."""
        print(line, flush=True)

    def row(
        self, place: str, what: str, v1: float, icechunk: float, control: float | None = None, zarr: float | None = None
    ) -> None:
        """Say times, in seconds here, in milliseconds there."""
        line = (
            f"{place:<11} {what:<34} v1 {v1 * 1000:>8.1f} ms   icechunk {icechunk * 1000:>8.1f} ms   ratio {v1 / icechunk:>6.3f}"
        )
        if zarr is not None:
            line += f"   control {control:.3f}   zarr {zarr * 1000:>8.1f} ms   ratio {v1 / zarr:>6.3f}"
        self.say(line)

    def memory(self, place: str, what: str, v1: float, icechunk: float) -> None:
        """Say peaks."""
        self.say(
            f"{place:<11} {what:<34} v1 {v1:>8.1f} MB   icechunk {icechunk:>8.1f} MB   ratio {v1 / max(icechunk, 1e-9):>6.3f}"
        )

    def target(self, what: str, found: float, most: float) -> None:
        """Hold a figure to its target."""
        self.targets.append(Named(what, found, most))

    def end(self) -> int:
        """Say which targets are met; return the exit code."""
        self.say("")
        for what, found, most in sorted(self.targets, key=itemgetter(0)):
            verdict = "met" if found <= most else "MISSED"
            self.say(f"{verdict:<7} {what}: {found:.3f}, at most {most}")
        missed = sum(target.found > target.most for target in self.targets)
        self.say(f"\n{len(self.targets) - missed} of {len(self.targets)} targets met")
        return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=8, help="of the chunks: a multiple of 8 lets every order occur equally often"
    )
    parser.add_argument("--apart", type=int, default=3, help="rounds of what runs in processes of its own")
    parser.add_argument("--only", choices=["chunks", "references", "again"], action="append", help="measure only this")
    parser.add_argument("--place", choices=["disk", "seaweed"], action="append", help="measure only there")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work()
    logging.disable(logging.ERROR)
    wanted = arguments.only or ["chunks", "references", "again"]
    report = Report()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory, places(Path(directory)) as found:
        for place in found:
            if arguments.place and place.nickname not in arguments.place:
                continue
            if "chunks" in wanted:
                for label in CHUNKS:
                    measure_chunks(place, label, arguments.rounds, report)
            if "references" in wanted:
                measure_references(place, arguments.apart, report)
            if "again" in wanted:
                measure_again(place, report)
    return report.end()


if __name__ == "__main__":
    raise SystemExit(main())
