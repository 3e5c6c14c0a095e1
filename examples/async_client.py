"""Several repos at once with AsyncClient: made, written and read concurrently from one event loop.

Run ``uv run examples/async_client.py``. The catalog is one in memory, so that nothing of it stays.
"""

import asyncio

import numpy as np
import xarray as xr
from rich.console import Console

from arraylake_core import AsyncClient

BASINS = {"atlantic": 15.2, "pacific": 17.1, "indian": 18.4, "arctic": -0.7}
console = Console(highlight=False)


def sample(mean: float) -> xr.Dataset:
    """Make a year of daily temperatures around a mean."""
    days = np.arange(365)
    season = mean + 4 * np.sin(2 * np.pi * days / 365)
    return xr.Dataset({"temperature": ("day", season, {"units": "degree_C"})}, {"day": days})


async def store(client: AsyncClient, basin: str) -> str:
    """Make the repo of a basin, and commit its data; zarr does its own waiting in a thread."""
    repo = await client.create_repo(f"me/{basin}", metadata={"ocean": basin})
    session = await repo.checkout_async()
    await asyncio.to_thread(sample(BASINS[basin]).to_zarr, session.store, mode="w", consolidated=False)
    return await repo.commit_async(f"A year of the {basin}")


async def mean(client: AsyncClient, basin: str) -> float:
    """Open the repo of a basin, and read from it."""
    repo = await client.get_repo(f"me/{basin}", read_only=True)
    dataset = await asyncio.to_thread(repo.to_xarray)
    return float(await asyncio.to_thread(dataset["temperature"].mean))


async def main() -> None:
    """Store all basins at once, then read them all at once."""
    async with AsyncClient("memory://") as client:
        commits = await asyncio.gather(*(store(client, basin) for basin in BASINS))
        means = await asyncio.gather(*(mean(client, basin) for basin in BASINS))
        for basin, commit, value in zip(BASINS, commits, means, strict=True):
            console.print(f"me/{basin:<10} {commit}  mean {value:5.1f} °C")
        console.print(await client.list_repos("me"))
        arctic = await client.list_repos("me", filter_metadata={"ocean": "arctic"})
        console.print("with the metadata ocean=arctic:", ", ".join(repo.full_name for repo in arctic))


if __name__ == "__main__":
    asyncio.run(main())
