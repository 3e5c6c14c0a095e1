"""The long work on repos: migrations, exports, garbage, expiry, verification."""

from pathlib import Path

import pytest
import zarr

from arraylake_core import Client

from .conftest import Run


def test_an_export_is_plain_zarr_and_is_brought_up_to_date(old: Run, uri: str, tmp_path: Path) -> None:
    dest = str(tmp_path / "exported")
    first = old("repo", "export", "me/old", dest, "-o", "json").json
    assert (first["dest"], first["zarr_format"], first["chunks"], first["from_commit"]) == (dest, 3, 2, None)
    assert zarr.open_array(f"{dest}/temperature", mode="r")[:].tolist() == [1, 1, 1, 1]
    with Client(uri) as client:
        repo = client.get_repo("me/old")
        repo.root_group["temperature"][3] = 7
        repo.commit("Warmer")
    refused = old("repo", "export", "me/old", dest)
    assert refused.code == 1
    assert f"from_ref='{first['commit']}'" in refused.err
    second = old("repo", "export", "me/old", dest, "--from-ref", first["commit"], "-o", "json").json
    assert (second["chunks"], second["from_commit"]) == (1, first["commit"])
    assert zarr.open_array(f"{dest}/temperature", mode="r")[:].tolist() == [1, 1, 1, 7]


def test_a_migrated_repo_has_the_history(old: Run) -> None:
    report = old("repo", "migrate", "me/old", "-o", "json").json
    assert (report["repo"], report["commits"]) == ("me/old-icechunk", 2)
    log = old("repo", "log", "me/old-icechunk", "-o", "json").json
    before = old("repo", "log", "me/old", "-o", "json").json
    assert [commit["metadata"]["v1_commit"] for commit in log[:2]] == [commit["id"] for commit in before]
    assert "it was finished before" in old("repo", "migrate", "me/old").out


def test_a_damaged_repo_is_told_by_the_exit_code(old: Run, uri: str) -> None:
    assert old("repo", "verify", "me/old", "-o", "json").json["problems"] == []
    with Client(uri) as client:
        record = client.get_repo_object("me/old")
    chunks = sorted(Path(record.bucket.name, record.prefix, "manifests").iterdir())
    chunks[0].write_bytes(chunks[0].read_bytes()[:-1])
    result = old("repo", "verify", "me/old", "-o", "json")
    assert result.code == 1
    assert len(result.json["problems"]) == 1


def test_old_commits_are_let_go_and_collected(old: Run) -> None:
    assert old("repo", "expire", "me/old", "--older-than", "1h", "-o", "json").json == {"repo": "me/old", "expired_commits": 0}
    assert old("repo", "expire", "me/old", "--older-than", "2999-01-01T00:00Z", "-o", "json").json["expired_commits"] == 1
    assert len(old("repo", "log", "me/old", "-o", "json").json) == 1
    assert old("repo", "gc", "me/old", "--grace", "0m", "-o", "json").code == 0
    assert old("repo", "verify", "me/old").code == 0


@pytest.mark.parametrize("what", ["export", "gc", "verify", "expire"])
def test_a_kind_that_does_not_offer_it_says_which_ones_do(old: Run, what: str) -> None:
    more = {"export": ["nowhere"], "expire": ["--older-than", "1d"]}.get(what, [])
    result = old("repo", what, "me/ocean", *more)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"error: me/ocean is a repo of the kind icechunk, which offers no {what}: v1 does\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["migrate", "me/ocean"], 1),
        (["migrate", "me/old", "--to", "nothing"], 1),
        (["migrate", "me/nothing"], 1),
        (["migrate", "me/old", "--new-name", "them/old"], 1),
        (["export", "me/nothing", "out"], 1),
        (["export", "me/old", "nosuch://place"], 1),
        (["export", "me/old", "out", "--ref", "nothing"], 1),
        (["export", "me/old", "out", "--zarr-format", "1"], 2),
        (["export", "me/old"], 2),
        (["gc", "me/old", "--grace", "soon"], 2),
        (["gc", "me/old", "--grace", "-1d"], 2),
        (["expire", "me/old"], 2),
        (["expire", "me/old", "--older-than", "2026-01-01"], 2),
    ],
    ids=str,
)
def test_what_is_wrong_is_said(
    old: Run, arguments: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = old("repo", *arguments)
    assert result.code == code, result.err
    if result.code == 1:
        assert result.err.startswith("error: ")
        assert result.err.count("\n") == 1
        assert not (tmp_path / "out").exists()
