"""Threads of one process write to a checkout while others commit it, and nothing that was written gets lost."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from arraylake_core import Client
from arraylake_core.errors import ConflictError, StorageError


@pytest.mark.parametrize("place", ["file", "s3"])
def test_p21_what_is_written_during_a_commit_is_in_the_next_one(client_on, place):
    with client_on(place) as client:
        repo = client.create_repo("me/ocean", kind="v1")
        array = repo.root_group.create_array("t", shape=(240, 1000), chunks=(1, 1000), dtype="f8", compressors=None)
        written = np.random.default_rng(1).random((240, 1000))

        def write(number: int) -> None:
            for row in range(number, 240, 4):
                array[row] = written[row]

        with ThreadPoolExecutor(5) as pool:
            writers = [pool.submit(write, number) for number in range(4)]
            while not all(writer.done() for writer in writers):
                repo.commit("What there is by now")
            for writer in writers:
                writer.result()
        repo.commit("The rest")
        again = client.get_repo("me/ocean")
        assert np.array_equal(again.root_group["t"][:], written)
        assert again.verify().ok


def test_a_store_of_a_checkout_that_was_left_says_so(tmp_path):
    with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
        repo = client.create_repo("me/ocean", kind="v1")
        array = repo.root_group.create_array("t", shape=(4,), chunks=(1,), dtype="i4")
        repo.commit("An array")
        repo.new_tag("v1")
        repo.checkout("v1")
        with pytest.raises(ConflictError, match="left for another checkout"):
            array[0] = 1
        assert array[0] == 0


def test_p21_a_commit_whose_mirror_failed_is_ended_by_committing_again(tmp_path):
    with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
        repo = client.create_repo("me/ocean", kind="v1", prefix="ocean")
        repo.root_group.attrs["title"] = "Ocean"
        mirror = tmp_path / "data" / "ocean" / "refs" / "branch" / "main"
        mirror.unlink()
        mirror.mkdir()
        with pytest.raises(StorageError, match="refs/branch/main"):
            repo.commit("A title")
        mirror.rmdir()
        head = repo.branches["main"]
        assert repo.commit("A title") == head
        assert [entry.message for entry in repo.commit_log] == ["A title", "Repository initialized"]
        assert head in mirror.read_text()
        assert repo.commit("Nothing") is None


def test_groups_that_mean_the_same_do_not_conflict(client_on):
    with client_on("memory") as client:
        client.create_repo("me/ocean", kind="v1")
        first, second = client.get_repo("me/ocean"), client.get_repo("me/ocean")
        # This makes the group above along with it, and spells it otherwise than zarr does.
        first.create_group("deep/below")
        second.create_group("deep")
        second.commit("A group")
        assert first.commit("The same group, and one below it")
        assert sorted(path for path, _ in first.root_group.members(max_depth=None)) == ["deep", "deep/below"]


def test_a_document_that_is_only_spelled_anew_does_not_hide_what_the_other_side_changed(client_on):
    with client_on("memory") as client:
        client.create_repo("me/spelled", kind="v1")
        first = client.get_repo("me/spelled")
        first.create_group("deep/below")
        first.commit("The group above was made along with it")
        second = client.get_repo("me/spelled")
        second.root_group["deep"].attrs["kept"] = 1
        second.commit("An attribute")
        first.root_group["deep"].attrs["brief"] = 1
        del first.root_group["deep"].attrs["brief"]
        first.create_group("more")
        assert first.commit("Changes that add up to one group")
        assert dict(first.root_group["deep"].attrs) == {"kept": 1}
        assert "more" in first.root_group
