"""Three months of a real ocean model: stored, versioned, read back and plotted, offline.

Run ``uv run examples/quickstart.py``. The repo ``me/ocean`` stays on your disk, and running it again adds nothing twice:
a month that is committed already is left alone, and so is everything that you did to the repo in between.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import iris_sample_data
import matplotlib as mpl
import numpy as np
import xarray as xr
from rich.console import Console

from arraylake_core import Client

if TYPE_CHECKING:
    from arraylake_icechunk.repo import IcechunkRepo

GROUP, TIME = "nemo", "time_counter"
console = Console(highlight=False)


def model_months() -> Iterator[xr.Dataset]:
    """Read the sea surface temperature of the sample files, one file a month, with a time axis that says when."""
    for file in sorted(Path(iris_sample_data.path, "NEMO").glob("nemo_1m_*_grid-T.nc")):
        with xr.open_dataset(file) as raw:
            temperature = raw["tos"].drop_encoding().assign_coords({TIME: raw["time_centered"].to_numpy()})
            yield temperature.drop_vars("time_centered").to_dataset()


def store_months(repo: "IcechunkRepo") -> dict[str, str]:
    """Commit each month that is not there yet, and return each month's commit."""
    repo.checkout("main")
    commits = {str(commit.metadata["month"]): commit.id for commit in repo.commit_log if "month" in commit.metadata}
    for dataset in model_months():
        month = dataset[TIME].dt.strftime("%Y-%m").item()
        if month in commits:
            console.print(f"  {month}  [dim]{commits[month]}  is there already[/]")
            continue
        if commits:
            dataset.to_zarr(repo.store, group=GROUP, append_dim=TIME, consolidated=False)
        else:
            dataset.to_zarr(repo.store, group=GROUP, mode="w-", consolidated=False)
        commits[month] = repo.commit(f"Add {month}", metadata={"month": month})
        console.print(
            f"  {month}  [green]{commits[month]}[/]  {float(dataset.tos.min()):.1f} to {float(dataset.tos.max()):.1f} °C"
        )
    if "q1" not in repo.tags:
        repo.create_tag("q1", snapshot_id=list(commits.values())[-1])
    return commits


def travel(repo: "IcechunkRepo", commit: str) -> None:
    """Read the repo as it was at a commit, and as it is now."""
    for ref, what in ((commit, "at the first commit"), ("q1", "at the tag q1"), ("main", "now, on main")):
        repo.checkout(ref)
        months = repo.to_xarray(GROUP)[TIME].dt.strftime("%Y-%m").to_numpy()
        console.print(f"  {what:<20} {len(months)} month{'s' * (len(months) > 1)}: [bold]{', '.join(months)}[/]")


def plot_change(dataset: xr.Dataset, path: Path) -> None:
    """Draw how much the last month is warmer or colder than the first, and save the picture."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    change = dataset["tos"].isel({TIME: -1}) - dataset["tos"].isel({TIME: 0})
    first, last = dataset[TIME].isel({TIME: [0, -1]}).dt.strftime("%B %Y").to_numpy()
    limit = float(np.ceil(abs(change).quantile(0.99)))
    longitude = (dataset["nav_lon"] - 73) % 360 + 73  # the model's grid begins in the Indian Ocean, at 73° east
    figure, axes = plt.subplots(figsize=(11, 5.6), layout="constrained")
    image = axes.pcolormesh(
        longitude, dataset["nav_lat"], change.to_masked_array(), cmap="RdBu_r", vmin=-limit, vmax=limit, shading="gouraud"
    )
    axes.set_title(f"Sea surface temperature: {last} minus {first}")
    axes.set(xlabel="longitude (° east)", ylabel="latitude (° north)", ylim=(-80, 88), facecolor="0.8")
    figure.colorbar(image, label="difference (°C)", extend="both", shrink=0.9)
    figure.savefig(path, dpi=120)
    console.print(f"  from {float(change.min()):+.1f} to {float(change.max()):+.1f} °C; see [bold]{path}[/]")


def show(repo: "IcechunkRepo", picture: Path) -> None:
    """Do it all, step by step; the same whether the repo lies on this disk or in a bucket."""
    console.print("\n[bold cyan]1  One commit a month[/]")
    console.print(f"  to {repo}", style="dim", markup=False, soft_wrap=True)
    commits = store_months(repo)
    console.print("\n[bold cyan]2  What is in it[/]", repo.tree(), sep="\n")
    console.print("\n[bold cyan]3  Its history[/]", repo.commit_log, sep="\n")
    console.print("\n[bold cyan]4  Time travel[/]")
    travel(repo, commits[min(commits)])
    console.print("\n[bold cyan]5  What changed in the ocean[/]")
    plot_change(repo.to_xarray(GROUP), picture)


if __name__ == "__main__":
    with Client() as client:
        show(client.get_or_create_repo("me/ocean", description="Three months of NEMO"), Path("ocean-change.png"))
