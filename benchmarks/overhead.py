"""What reading and writing through ``client.get_repo(...)`` costs over bare Icechunk, in the same bucket.

Run ``uv run --group dev benchmarks/overhead.py``. On a local disk and on a SeaweedFS server, the same array is written and committed, and read back in a new
session, through the client and through ``icechunk.Repository``, in turn, the one that begins changing from round to round. Shown are the medians, and the
median of the ratios within each round, which a machine that is busy elsewhere disturbs least. Opening a repo is shown too, since that is where the catalog
is asked; it happens once.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import icechunk
import numpy as np
import zarr

from arraylake_core import Client

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.servers.seaweedfs import running_seaweedfs

TARGET = 1.03

type Open = Callable[[], icechunk.Repository]


class Place(NamedTuple):
    """A bucket, with two ways to open the same two repos in it."""

    name: str
    ours: Open
    bare: Open


@contextmanager
def places(directory: Path) -> Iterator[list[Place]]:
    """Make a repo of each kind on a local disk and on a server."""
    with Client(f"sqlite:///{directory / 'catalog.db'}") as client, running_seaweedfs(directory) as server:
        key, secret = server.admin
        bucket = server.make_bucket("lake")
        client.create_bucket_config(
            org="me",
            nickname="our-s3",
            uri=f"s3://{bucket}",
            extra_config={"endpoint_url": server.endpoint, "region_name": "us-east-1"},
            auth_config={"method": "hmac", "access_key_id": key, "secret_access_key": secret},
        )
        client.create_repo("me/on-disk", prefix="disk")
        client.create_repo("me/on-s3", bucket_config_nickname="our-s3", prefix="s3")
        disk = client.get_repo_object("me/on-disk").bucket
        assert disk is not None
        path = str(Path("/", disk.name, disk.prefix, "disk"))

        def bare_s3() -> icechunk.Repository:
            storage = icechunk.s3_storage(
                bucket=bucket,
                prefix="s3",
                region="us-east-1",
                endpoint_url=server.endpoint,
                allow_http=True,
                force_path_style=True,
                access_key_id=key,
                secret_access_key=secret,
            )
            return icechunk.Repository.open(storage)

        yield [
            Place(
                "local disk",
                lambda: client.get_repo("me/on-disk"),
                lambda: icechunk.Repository.open(icechunk.local_filesystem_storage(path)),
            ),
            Place("SeaweedFS", lambda: client.get_repo("me/on-s3"), bare_s3),
        ]


def write(repo: icechunk.Repository, name: str, data: np.ndarray) -> None:
    """Write an array and commit it, with the same lines for both."""
    session = repo.writable_session("main")
    array = zarr.create_array(
        session.store, name=name, shape=data.shape, chunks=(1, *data.shape[1:]), dtype=data.dtype, compressors=None
    )
    array[:] = data
    session.commit(f"Write {name}")


def read(repo: icechunk.Repository, name: str, data: np.ndarray) -> None:
    """Read an array in a new session."""
    array = zarr.open_array(repo.readonly_session("main").store, path=name, mode="r")
    assert np.asarray(array[:]).nbytes == data.nbytes


def seconds(step: Callable[[], object]) -> float:
    """Time a step."""
    begin = time.perf_counter()
    step()
    return time.perf_counter() - begin


def measure(place: Place, data: np.ndarray, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Time each step through the client and bare, in turn."""
    repos = {"ours": place.ours(), "bare": place.bare()}
    times: dict[str, list[tuple[float, float]]] = {"open": [], "write": [], "read": []}
    for number in range(-1, rounds):
        order = ("ours", "bare") if number % 2 else ("bare", "ours")
        steps: dict[str, dict[str, float]] = {step: {} for step in times}
        for who in order:
            steps["open"][who] = seconds(place.ours if who == "ours" else place.bare)
        for who in order:
            steps["write"][who] = seconds(lambda who=who, number=number: write(repos[who], f"{who}-{number + 1}", data))
        for who in order:
            # The same array for both, each first in every second round.
            steps["read"][who] = seconds(lambda who=who, number=number: read(repos[who], f"bare-{number + 1}", data))
        if number >= 0:  # the first round warms up
            for step, found in steps.items():
                times[step].append((found["ours"], found["bare"]))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--megabytes", type=int, default=32, help="the size of the array, in chunks of 1 MB")
    arguments = parser.parse_args()
    data = np.random.default_rng(1).random((arguments.megabytes, 2**18), dtype="f4")
    print(f"{arguments.rounds} rounds in turn, an array of {arguments.megabytes} MiB in chunks of 1 MiB, without compression\n")
    print(f"{'':<12}{'':<7}{'client':>11}{'icechunk':>11}{'ratio':>9}")
    worst = 0.0
    with tempfile.TemporaryDirectory() as directory, places(Path(directory)) as found:
        for place in found:
            for step, times in measure(place, data, arguments.rounds).items():
                ours, bare = (median(column) * 1000 for column in zip(*times, strict=True))
                ratio = median(one / other for one, other in times)
                worst = max(worst, ratio) if step != "open" else worst
                print(f"{place.name:<12}{step:<7}{ours:>8.1f} ms{bare:>8.1f} ms{ratio:>9.3f}", flush=True)
    print(
        f"\nreading and writing cost at most {worst:.3f} times bare Icechunk, to be at most {TARGET}: {'met' if worst <= TARGET else 'MISSED'}"
    )
    raise SystemExit(0 if worst <= TARGET else 1)


if __name__ == "__main__":
    main()
