"""al:// URLs over a service: each client reads what its caller may read."""

import pickle

import fsspec
import pytest
import zarr

from arraylake_core import Client
from arraylake_core.errors import RepoNotFoundError
from tests.service.conftest import Peopled


def test_a_url_reads_what_the_caller_may_read(peopled: Peopled, tmp_path):
    service, tokens = peopled.service, peopled.tokens
    (tmp_path / "lake").mkdir()
    with Client(service.uri, token=tokens["admin"]) as admin:
        admin.create_bucket_config(org="acme", nickname="disk", uri=f"file://{tmp_path}/lake")
        repo = admin.create_repo("acme/ocean", bucket_config_nickname="disk")
        repo.root_group.create_array("sst", shape=(4,), dtype="f4")[:] = 7
        repo.commit("Seven")
    with Client(service.uri, token=tokens["reader"]) as reader, Client(service.uri, token=tokens["rival"]) as rival:
        fs = fsspec.filesystem("al", client=reader)
        assert fs.ls("al://", detail=False) == ["acme"]
        assert fs.find("al://acme") == ["acme/ocean/sst/c/0", "acme/ocean/sst/zarr.json", "acme/ocean/zarr.json"]
        array = zarr.open_array("al://acme/ocean@main/sst", mode="r", storage_options={"client": reader})
        assert array[3] == 7
        # In this process the token is known by its fingerprint, which is all that a pickle has of it.
        assert tokens["reader"].encode() not in pickle.dumps(fs)
        assert pickle.loads(pickle.dumps(fs)).cat("al://acme/ocean/zarr.json") == fs.cat("al://acme/ocean/zarr.json")
        assert not fsspec.filesystem("al", client=rival).exists("al://acme/ocean")


def test_p2_a_role_that_was_taken_away_ends_reading_by_url(peopled: Peopled, tmp_path):
    """At the next call where the same replica took it away; others follow within seconds (tests/service/test_faults.py)."""
    service, tokens = peopled.service, peopled.tokens
    (tmp_path / "lake").mkdir()
    with Client(service.uri, token=tokens["admin"]) as admin, Client(service.uri, token=tokens["reader"]) as reader:
        admin.create_bucket_config(org="acme", nickname="disk", uri=f"file://{tmp_path}/lake")
        repo = admin.create_repo("acme/ocean", bucket_config_nickname="disk")
        repo.root_group.create_array("sst", shape=(4,), dtype="f4")
        repo.commit("Zeros")
        fs = fsspec.filesystem("al", client=reader)
        assert fs.cat("al://acme/ocean/zarr.json")
        admin.set_member("acme", "reader@example.org", None)
        assert not fs.exists("al://acme/ocean/zarr.json")
        with pytest.raises(RepoNotFoundError, match="or you may not see it"):
            fs.cat("al://acme/ocean/zarr.json")
        with pytest.raises(RepoNotFoundError):
            reader.get_repo("acme/ocean")
        assert reader.list_repos("acme") == []
