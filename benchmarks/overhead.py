"""What reading and writing through ``client.get_repo(...)`` costs over bare Icechunk, in the same bucket.

Run ``uv run --group dev benchmarks/overhead.py``. On a local disk and on a SeaweedFS server, the same array is written and committed, and read back in a new
session, through the client and through ``icechunk.Repository``, in turn, the one that begins changing from round to round. Shown are the medians, and the
median of the ratios within each round, which a machine that is busy elsewhere disturbs least. A second bare repository, timed in the same rounds, is the
control: how far its ratio is from 1 is the noise. Opening a repo is shown too, since that is where the catalog is asked; it happens once.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import permutations
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


def measure(place: Place, data: np.ndarray, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Time each step in turn: through the client, bare, and bare once more as the control."""
    opens = {"client": place.ours, "bare": place.bare, "control": place.bare}
    repos = {who: opening() for who, opening in opens.items()}
    times: dict[str, list[dict[str, float]]] = {"open": [], "write": [], "read": []}
    # Whoever comes first in a round pays for what the round before left to be done; so each comes before each other equally often.
    orders = list(permutations(opens))
    for number in range(rounds + 1):
        order = orders[number % len(orders)]
        # Each reads what it wrote itself, so that all have as much of it at hand.
        steps: dict[str, Callable[[str], object]] = {
            "open": lambda who: opens[who](),
            "write": lambda who, number=number: write(repos[who], f"{who}-{number}", data),
            "read": lambda who, number=number: read(repos[who], f"{who}-{number}", data),
        }
        for name, step in steps.items():
            found = {who: seconds(partial(step, who)) for who in order}
            if number:  # the first round warms up
                times[name].append(found)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=36, help="a multiple of 6, so that every order occurs equally often")
    parser.add_argument("--megabytes", type=int, default=32, help="the size of the array, in chunks of 1 MB")
    arguments = parser.parse_args()
    data = np.random.default_rng(1).random((arguments.megabytes, 2**18), dtype="f4")
    print(f"{arguments.rounds} rounds in turn, an array of {arguments.megabytes} MiB in chunks of 1 MiB, without compression\n")
    print(f"{'':<12}{'':<7}{'client':>11}{'icechunk':>11}{'ratio':>9}{'control':>9}")
    worst = 0.0
    with tempfile.TemporaryDirectory() as directory, places(Path(directory)) as found:
        for place in found:
            for step, times in measure(place, data, arguments.rounds).items():
                client = median(found["client"] for found in times) * 1000
                bare = median(found[who] for found in times for who in ("bare", "control")) * 1000
                ratio = client / bare
                control = median(found["control"] for found in times) / median(found["bare"] for found in times)
                worst = max(worst, ratio) if step != "open" else worst
                print(f"{place.name:<12}{step:<7}{client:>8.1f} ms{bare:>8.1f} ms{ratio:>9.3f}{control:>9.3f}", flush=True)
    print(
        f"\nreading and writing cost at most {worst:.3f} times bare Icechunk, to be at most {TARGET}: {'met' if worst <= TARGET else 'MISSED'}"
    )
    raise SystemExit(0 if worst <= TARGET else 1)


if __name__ == "__main__":
    main()
