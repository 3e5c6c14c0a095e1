"""Make the golden repo of format 1 anew: ``python plugins/v1-repo/tests/data/make_golden.py``.

Run it only while the format has not been released: from then on, the files are what every later release must read. Beside the repo lies what
must be found in it (golden.json), and the file that its virtual chunks refer to, which the tests put to the place that the references name.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import zarr
from zarr.core.sync import sync

HERE = Path(__file__).parent / "v1-format-1"
PLACE = Path("/tmp/arraylake-v1-golden")
SOURCE, MODIFIED = "source.h5", 1_700_000_000_000_000_000
AUTHOR = {"user.name": "Golden", "user.email": "golden@example.org"}


def arrays() -> dict[str, np.ndarray]:
    """Return each array of the branch main, by its path."""
    return {
        "ocean/native": (np.arange(64 * 64).reshape(64, 64) * 7919 % 10_007).astype("f4"),
        "ocean/inline": np.arange(1, 9, dtype="i8"),
        "ocean/sparse": np.where(np.arange(12) // 4 == 1, np.arange(12), -1).astype("i2"),
        "ocean/scalar": np.array(42.5),
        "ocean/many": (np.arange(5_000) % 250 + 1).astype("u1"),
        "deep/er/sharded": (np.arange(96 * 96).reshape(96, 96) * 31 % 1009).astype("u2"),
        "old/v2": np.arange(600, dtype="<f8").reshape(20, 30) / 8,
        "moved/array": np.arange(5, dtype="u4"),
        "virtual/pressure": (np.arange(48).reshape(6, 8) * 1.5).astype("<f4"),
    }


def put_source(source: Path) -> None:
    """Put the file that virtual chunks refer to where the references look for it, whole and as old as it was."""
    PLACE.mkdir(exist_ok=True)
    aside = PLACE / f"{os.getpid()}.part"
    shutil.copyfile(source, aside)
    os.utime(aside, ns=(MODIFIED, MODIFIED))
    aside.replace(PLACE / SOURCE)


def write_source(path: Path) -> None:
    """Write the file that virtual chunks refer to."""
    import h5py

    with h5py.File(path, "w", track_order=False) as file:
        file.create_dataset("pressure", data=arrays()["virtual/pressure"], chunks=(3, 8), track_times=False)


def fill(repo) -> None:
    """Write the versions."""
    values = arrays()
    repo.create_group("ocean", attributes={"title": "An ocean", "depth": 4000.5, "missing": None})
    group = repo.root_group["ocean"]
    group.create_array("native", shape=(64, 64), chunks=(32, 32), dtype="f4", attributes={"units": "m"})[:] = 0.5
    group.create_array("inline", shape=(4,), chunks=(2,), dtype="i8")[:] = values["ocean/inline"][:4]
    group.create_array("sparse", shape=(12,), chunks=(4,), dtype="i2", fill_value=-1)[4:8] = values["ocean/sparse"][4:8]
    group.create_array("scalar", shape=(), dtype="f8")[...] = 42.5
    repo.create_group("gone/with/all")
    repo.root_group["gone"].create_array("array", data=np.arange(1000, dtype="i4"))
    repo.commit("First things", metadata={"step": 1, "nested": {"list": [1, 2.5, None, "ü"]}})

    repo.root_group["ocean/native"][:] = values["ocean/native"]
    repo.root_group["ocean/inline"].append(values["ocean/inline"][4:])
    many = repo.root_group["ocean"].create_array("many", shape=(5_000,), chunks=(1,), dtype="u1", compressors=None)
    many[:] = values["ocean/many"]
    sharded = repo.root_group.create_array("deep/er/sharded", shape=(96, 96), chunks=(16, 16), shards=(48, 48), dtype="u2")
    sharded[:] = values["deep/er/sharded"]
    old = zarr.create_array(repo.store, name="old/v2", shape=(20, 30), chunks=(10, 10), dtype="<f8", zarr_format=2)
    old[:] = values["old/v2"]
    old.update_attributes({"is": "Zarr 2"})
    for beside in (".zgroup", ".zattrs"):  # which zarr writes beside the root's zarr.json
        sync(repo.store.delete(beside))
    repo.commit("More, of both Zarr formats")
    repo.new_tag("v1.0")

    repo.new_branch("team/ocean")
    repo.root_group["ocean/inline"][0] = -77
    repo.commit("An experiment")

    repo.checkout("main")
    repo.delete("gone")
    repo.root_group.create_array("before/array", data=values["moved/array"])
    repo.commit("Before the move")
    repo.move("before", "moved")
    repo.add_virtual_hdf("virtual", (PLACE / SOURCE).as_uri())
    repo.commit("Moved, deleted, and virtual")


def main() -> None:
    """Make it all."""
    from arraylake_core import Client, config

    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir(parents=True)
    write_source(HERE / SOURCE)
    put_source(HERE / SOURCE)
    with TemporaryDirectory() as home, config.set(AUTHOR), Client(f"sqlite:///{home}/catalog.db") as client:
        client.create_bucket_config(org="me", nickname="golden", uri=HERE.as_uri())
        client.create_bucket_config(org="me", nickname="sources", uri=PLACE.as_uri())
        repo = client.create_repo(
            "me/golden",
            bucket_config_nickname="golden",
            kind="v1",
            prefix="repo",
            authorize_virtual_chunk_access={f"{PLACE.as_uri()}/": "sources"},
        )
        fill(repo)
        assert repo.verify().ok
        for path, values in arrays().items():
            np.testing.assert_array_equal(zarr.open_array(repo.store, path=path, mode="r")[...], values)
        log = [{"id": commit.id, "message": commit.message, "metadata": commit.metadata} for commit in repo.commit_log]
        golden = {"branches": repo.branches, "tags": repo.tags, "log": log}
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")
    size = sum(file.stat().st_size for file in HERE.rglob("*") if file.is_file())
    sys.stdout.write(f"{HERE}: {size} bytes in {sum(file.is_file() for file in HERE.rglob('*'))} files\n")


if __name__ == "__main__":
    main()
