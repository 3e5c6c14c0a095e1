"""The official client, unmodified, works with the service, and its repos are ours."""

import json
import os

import pytest

from arraylake_core import Client
from tests.service.official.conftest import Deployed
from tests.service.official.venvs import RELEASES, official


@pytest.mark.parametrize("release", RELEASES)
def test_a_users_journey(deployed: Deployed, sea: tuple[str, ...], release: str) -> None:
    nickname = "sea-" + release.replace(".", "-")
    name = f"ocean-{nickname}"
    printed = deployed.python(official(release), "journey.py", "acme", *sea)
    steps = {step["step"]: step["found"] for step in map(json.loads, printed.splitlines())}
    assert steps["bucket"] == [nickname, True, sea[3], nickname]
    assert steps["buckets"] == [nickname]
    assert steps["default"] is True
    assert steps["read"] == list(range(10))
    assert sorted(steps["repos"]) == sorted(steps["paginated"]) == [name, f"second-{nickname}"]
    assert steps["filtered"] == [name]
    assert steps["modified"] == ["Deep sea", {"ocean": "antarctic", "depth": 2}]
    assert steps["of the bucket"] == [name, f"second-{nickname}"]
    assert "there is a repo" in steps["taken"]
    assert "409" in steps["in use"]
    assert name in steps["in use"]
    assert "there is no repo" in steps["gone"] or "was deleted" in steps["gone"]
    assert steps["left"] == [[], []]


@pytest.fixture
def bucket_config(deployed: Deployed, sea: tuple[str, ...]) -> str:
    """A default bucket config, made with our own client."""
    endpoint, key, secret, bucket = sea
    nickname = f"ours-{os.urandom(3).hex()}"
    with Client(deployed.uri, token=deployed.token) as client:
        client.create_bucket_config(
            org="acme",
            nickname=nickname,
            uri=f"s3://{bucket}/ours",
            extra_config={"endpoint_url": endpoint, "region_name": "us-east-1"},
            auth_config={"method": "hmac", "access_key_id": key, "secret_access_key": secret},
        )
        client.set_default_bucket_config(org="acme", nickname=nickname)
    return nickname


@pytest.mark.parametrize("release", RELEASES)
def test_its_command_line(deployed: Deployed, bucket_config: str, release: str) -> None:
    client, name = official(release), f"cli-{os.urandom(3).hex()}"
    deployed.command(client, "repo", "create", f"acme/{name}")
    assert name in deployed.command(client, "repo", "list", "acme")
    assert "empty" in deployed.command(client, "repo", "tree", f"acme/{name}")
    deployed.command(client, "repo", "delete", f"acme/{name}", "--confirm")
    assert name not in deployed.command(client, "repo", "list", "acme")


def test_repos_made_by_one_client_open_with_the_others(deployed: Deployed, bucket_config: str) -> None:
    newest, oldest = official("1.7.0"), official("0.33.0")
    name = f"acme/shared-{os.urandom(3).hex()}"
    with Client(deployed.uri, token=deployed.token) as client:
        repo = client.create_repo(name, bucket_config_nickname=bucket_config, spec_version=1)
        repo.root_group.create_array("t", shape=(4,), chunks=(2,), dtype="i4")[:] = [1, 2, 3, 4]
        repo.commit("Ours")
        for release in (newest, oldest):
            assert json.loads(deployed.python(release, "four_numbers.py", "write", name)) == [10, 11, 12, 13]
        assert client.get_repo(name).root_group["t"][:].tolist() == [10, 11, 12, 13]
        for release, version in ((newest, "1"), (oldest, "")):
            theirs = f"acme/theirs-{os.urandom(3).hex()}"
            deployed.python(release, "four_numbers.py", "create", theirs, *version)
            assert client.get_repo(theirs).root_group["t"][:].tolist() == [0, 1, 2, 3]
