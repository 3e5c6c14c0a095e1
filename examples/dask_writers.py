"""Many processes fill one repo, and one commit keeps it all: Dask workers write into the session of the driver.

Run ``uv run examples/dask_writers.py``. The repo ``me/dask-writers`` stays on your disk; each run commits one more version of its array, and checks
that nothing of what the workers wrote is missing.
"""

import logging
import os
from typing import TYPE_CHECKING

import dask.array
import numpy as np
import xarray as xr
from dask.distributed import Client as DaskClient
from dask.distributed import LocalCluster
from rich.console import Console

from arraylake_core import Client

if TYPE_CHECKING:
    from arraylake_v1_repo.sync import Repo

NAME, SHAPE, CHUNKS = "me/dask-writers", (48, 180, 360), (4, 90, 180)
console = Console(highlight=False)


def field(seed: int) -> xr.Dataset:
    """Describe a field without computing it: each block is made by the worker that writes it."""

    def block(block_info: dict[int | None, dict[str, object]]) -> np.ndarray:
        where = block_info[None]
        axes = [np.arange(*limits) for limits in where["array-location"]]
        time, south, east = np.meshgrid(*axes, indexing="ij")
        return (seed + 1000 * time + south + east / 1000).astype("f8")

    chunks = dask.array.core.normalize_chunks(CHUNKS, SHAPE)
    data = dask.array.map_blocks(block, chunks=chunks, dtype="f8", meta=np.empty((0, 0, 0)))
    return xr.Dataset({"temperature": (("time", "lat", "lon"), data)})


def write(repo: "Repo", seed: int) -> str:
    """Let the workers fill the session of this checkout, and commit it once."""
    dataset = field(seed)
    # The driver writes the metadata, and each worker its blocks: the store pickles with its session.
    dataset.to_zarr(repo.store, mode="w", consolidated=False)
    session = repo.session
    console.print(f"session {session.id}, on top of {session.base}")
    return repo.commit(f"Field {seed}, by Dask workers", metadata={"seed": seed}) or ""


def main() -> None:
    """Start processes, let them write, and look at what is there."""
    # Dask logs a heartbeat that meets the end of the cluster as an error; what fails in a task is raised here, whatever is logged.
    with (
        Client() as client,
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None, silence_logs=logging.CRITICAL) as cluster,
        DaskClient(cluster) as dask_client,
    ):
        repo = client.get_or_create_repo(NAME, kind="v1")
        before = seed = len(repo.commit_log)
        commit = write(repo, seed)
        console.print(f"commit {commit}")

        stored = client.get_repo(NAME, read_only=True)
        found = stored.to_xarray(chunks=None)["temperature"].to_numpy()
        expected = field(seed)["temperature"].data.compute(scheduler="synchronous")
        wrong, commits = int((found != expected).sum()), len(stored.commit_log) - before
        writers = set(dask_client.run(os.getpid).values()) - {os.getpid()}
        console.print(f"{found.size:,} values by {len(writers)} processes, {commits} commit, {wrong} wrong values")
        if wrong or commits != 1:
            raise SystemExit("something that the workers wrote is missing")


if __name__ == "__main__":
    main()
