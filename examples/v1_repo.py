"""A V1 repo on real ocean data: branches, two writers in conflict, tags, time travel, and a NetCDF file that is read where it lies.

Run ``uv run examples/v1_repo.py``; with pip, it needs ``arraylake-core[all]``, ``arraylake-v1-repo[hdf]``, ``iris-sample-data`` and ``netcdf4``.
The repo ``me/ocean-v1`` stays on your disk; running it again adds no month twice, and plays the conflict anew.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import iris_sample_data
import xarray as xr
import zarr
from rich.console import Console

from arraylake_core import Client
from arraylake_core.errors import CommitConflictError

if TYPE_CHECKING:
    from arraylake_v1_repo.sync import Repo

NAME, GROUP, TIME, REVIEW = "me/ocean-v1", "nemo", "time_counter", "review"
SAMPLES = Path(iris_sample_data.path, "NEMO")
console = Console(highlight=False)


def model_months() -> Iterator[xr.Dataset]:
    """Read the sea surface temperature of the sample files, one file a month."""
    for file in sorted(SAMPLES.glob("nemo_1m_*_grid-T.nc")):
        with xr.open_dataset(file) as raw:
            temperature = raw["tos"].drop_encoding().assign_coords({TIME: raw["time_centered"].to_numpy()})
            yield temperature.drop_vars("time_centered").to_dataset()


def store_months(repo: "Repo") -> dict[str, str]:
    """Commit each month that is not there yet, and return each month's commit."""
    commits = {str(commit.metadata["month"]): commit.id for commit in repo.commit_log if "month" in commit.metadata}
    for dataset in model_months():
        month = dataset[TIME].dt.strftime("%Y-%m").item()
        if month in commits:
            console.print(f"  {month}  [dim]{commits[month]}  is there already[/]")
            continue
        options = {"append_dim": TIME} if commits else {"mode": "w-"}
        dataset.to_zarr(repo.store, group=GROUP, consolidated=False, **options)
        commits[month] = repo.commit(f"Add {month}", metadata={"month": month}) or ""
        console.print(f"  {month}  [green]{commits[month]}[/]")
    if "q1" not in repo.tags:
        repo.new_tag("q1")
    return commits


def write_at_once(client: Client, repo: "Repo") -> None:
    """Let two writers work on one branch: what is disjoint goes together by itself, one chunk that both wrote does not."""
    if REVIEW in repo.branches:
        repo.checkout("main")
        repo.delete_branch(REVIEW)
    repo.new_branch(REVIEW, "q1")
    ana, ben = repo, client.get_repo(NAME)
    ben.checkout(REVIEW)

    # Ana takes a bias of 0.1 °C off January; nothing that she does is seen by Ben, who writes on top of the same commit.
    january = zarr.open_array(ana.store, path=f"{GROUP}/tos", mode="r+")
    january[0] = january[0] - 0.1
    console.print(f"  Ana   [green]{ana.commit('January without its bias')}[/]")

    # Ben lets no water of January be colder than it can be, and says what the array is, which conflicts with nothing.
    theirs = zarr.open_array(ben.store, path=f"{GROUP}/tos", mode="r+")
    theirs[0] = theirs[0].clip(-1.8, None)
    theirs.update_attributes({"comment": "reviewed by Ben"})
    try:
        ben.commit("No water below freezing")
    except CommitConflictError as error:
        console.print(f"  Ben   [red]conflict[/] in {', '.join(error.paths)}")
        console.print("        his changes are still there; he lets Ana's chunk stand, and keeps the rest of his")
        resolved = ben.commit("No water below freezing", on_conflict=dict.fromkeys(error.paths, "theirs"))
        console.print(f"  Ben   [green]{resolved}[/]")
    merged = ben.to_xarray(GROUP)["tos"]
    coldest = float(merged[0].min())
    console.print(f"  on {REVIEW}: January from {coldest:.2f} °C on (Ana's), comment {merged.attrs['comment']!r} (Ben's)")
    console.print(f"  what differs between the tag q1 and the branch {REVIEW}:")
    for path, change in ben.diff("q1", REVIEW).items():
        console.print(f"    {path}: {change}")


def travel(repo: "Repo", commit: str) -> None:
    """Read the repo as it was at a commit, at a tag, and as it is now."""
    for ref, what in ((commit, "at the first commit"), ("q1", "at the tag q1"), ("main", "now, on main")):
        repo.checkout(ref)
        months = repo.to_xarray(GROUP)[TIME].dt.strftime("%Y-%m").to_numpy()
        console.print(f"  {what:<20} {len(months)} month{'s' * (len(months) > 1)}: [bold]{', '.join(months)}[/]")


def read_in_place(repo: "Repo") -> None:
    """Put a NetCDF file into the repo as references: its bytes stay in the file, and are read from there."""
    file = min(SAMPLES.glob("*.nc"))
    repo.checkout("main")
    if "january" in repo.root_group:
        repo.delete("january")
    repo.add_virtual_netcdf("january", file.as_uri())
    repo.commit(f"Refer to {file.name}")
    here, there = repo.to_xarray("january")["tos"], repo.to_xarray(GROUP)["tos"].isel({TIME: 0})
    same = bool((here.squeeze().fillna(-99).to_numpy() == there.fillna(-99).to_numpy()).all())
    console.print(f"  {file.name}: {here.size:,} values, {'the same as' if same else 'not'} those stored")


def main() -> None:
    """Do it all, step by step."""
    with Client() as client:
        names = [bucket.nickname for bucket in client.list_bucket_configs("me")]
        if "samples" not in names:
            client.create_bucket_config(org="me", nickname="samples", uri=SAMPLES.as_uri())
        repo = client.get_or_create_repo(NAME, kind="v1", authorize_virtual_chunk_access={f"{SAMPLES.as_uri()}/": "samples"})
        console.print(f"\n[bold cyan]1  One commit a month[/] to {NAME}, a repo of the kind {repo.kind}")
        commits = store_months(repo)
        console.print("\n[bold cyan]2  Two writers, one branch[/]")
        write_at_once(client, repo)
        console.print("\n[bold cyan]3  Time travel[/]")
        travel(repo, commits[min(commits)])
        console.print("\n[bold cyan]4  A NetCDF file, where it lies[/]")
        read_in_place(repo)
        console.print("\n[bold cyan]5  History[/]", repo.commit_log, sep="\n")
        report = repo.verify()
        console.print(f"verified: {report.commits} commits, {'all is well' if report.ok else report.problems}")


if __name__ == "__main__":
    main()
