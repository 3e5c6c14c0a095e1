"""What writers that were killed have left on a disk goes with the garbage, and nothing else does."""

import os
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import zarr

from arraylake_core import Client

DAY = timedelta(days=1)
# As a process that was killed between writing a file and giving it its name leaves them.
LEFT = (f"chunks/ab/{'ab' * 32}~~0123456789ab.part", "refs/branch/main~~0123456789ab.part", "repo.json~~0123456789ab.part")


@pytest.fixture
def client(tmp_path):
    with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
        client.create_bucket_config(org="me", nickname="disk", uri=f"file://{tmp_path}/bucket")
        yield client


@pytest.fixture
def ocean(client):
    repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname="disk", prefix="ocean")
    zarr.create_array(repo.store, name="a", shape=(4, 400), chunks=(1, 400), dtype="<i4", compressors=None)[:] = 7
    repo.commit("a")
    return repo


def leave(bucket: Path, *keys: str, age: timedelta) -> list[Path]:
    made = [bucket / "ocean" / key for key in keys]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half of")
        then = path.stat().st_mtime - age.total_seconds()
        os.utime(path, (then, then))
    return made


def test_gc_collects_the_half_written_files_of_the_dead_when_they_are_old(ocean, tmp_path):
    old = leave(tmp_path / "bucket", *LEFT, age=9 * DAY)
    young = leave(tmp_path / "bucket", *(f"{key[:-6]}ff.part" for key in LEFT), age=DAY)
    before = ocean.verify()
    assert before.ok
    report = ocean.gc()
    assert (report.deleted, report.deleted_bytes) == (3, 21)
    assert not [path for path in old if path.exists()]
    assert [path for path in young if path.exists()] == young
    assert ocean.gc(grace=timedelta(0)).deleted == 3
    after = ocean.verify()
    assert after.ok
    assert after.objects == before.objects


def test_gc_spares_what_a_live_session_may_be_writing(ocean, client, tmp_path):
    writer = client.get_repo("me/ocean")
    writer.root_group["a"][0] = np.arange(400)
    being_written = leave(tmp_path / "bucket", *LEFT, age=timedelta(0))
    assert ocean.gc(grace=timedelta(0)).deleted == 0
    assert all(path.exists() for path in being_written)
    writer.commit("done")
    assert ocean.gc(grace=timedelta(0)).deleted == 3


def test_a_branch_that_is_called_like_a_part_is_none(ocean, client):
    """It is mirrored, survives a collection, and comes back when the catalog is lost."""
    names = ["release.part", "main.0123456789ab.part", "team/main/0123456789ab.part"]
    for name in names:
        ocean.new_branch(name, checkout=False)
    ocean.gc(grace=timedelta(0))
    client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True, retain_data=True)
    again = client.import_repo("me/again", "disk", "ocean", kind="v1")
    assert sorted(again.branches) == sorted(["main", *names])
