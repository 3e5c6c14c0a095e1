"""Keys and shared access signatures; what a signature lacks is said before anything is changed."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from arraylake_azure import AzureKey, AzureOptions, AzurePlatform, AzureSas, AzureSasConfig

from arraylake_core import Client
from arraylake_core.backends import Location
from arraylake_core.errors import ArraylakeError, CredentialsError, InvalidOptionError
from arraylake_core.models import Identity, utc_now
from arraylake_core.secret import Secret
from arraylake_core.testing.auth import AuthMethodTests
from tests.servers.azurite import ACCOUNT, PUBLIC_CONTAINER, Azurite

CANARY_SAS = "sv=2022-11-02&sr=c&sp=rwdl&se=2999-01-01T00%3A00%3A00Z&sig=CANARY-of-the-kit"


class TestKey(AuthMethodTests):
    method = AzureKey()
    config = {"storage_account": "ourdata", "account_key": "CANARYoftheKit=="}
    location = Location(platform="azure", bucket="lake", options=AzureOptions(storage_account="ourdata"))


class TestSas(AuthMethodTests):
    method = AzureSas()
    config = {"storage_account": "ourdata", "sas_token": CANARY_SAS}
    location = Location(platform="azure", bucket="lake", options=AzureOptions(storage_account="ourdata"))


@pytest.mark.parametrize(
    ("token", "access", "says"),
    [
        ("CANARY", "read", "no shared access signature"),
        ("sp=rwdl&se=2999-01-01&sr=c", "read", "no shared access signature"),
        ("sp=rwdl&sr=c&sig=CANARY", "read", "does not say when it ends"),
        ("sp=rwdl&se=2020-01-01T00:00:00Z&sr=c&sig=CANARY", "read", "it ended at 2020-01-01"),
        ("sp=rwdl&st=2990-01-01&se=2999-01-01&sr=c&sig=CANARY", "read", "begins at 2990-01-01.*clock"),
        ("sp=w&se=2999-01-01&sr=c&sig=CANARY", "read", r"read \(r\), list \(l\)"),
        ("sp=rl&se=2999-01-01&sr=c&sig=CANARY", "write", r"write \(w\), delete \(d\)"),
        ("sp=rwdl&se=2999-01-01&sr=b&sig=CANARY", "read", r"single blob \(sr\)"),
        ("ss=q&srt=co&sp=rwdl&se=2999-01-01&sig=CANARY", "read", r"other services.*\(ss\)"),
        ("ss=b&srt=o&sp=rwdl&se=2999-01-01&sig=CANARY", "read", r"\(srt\)"),
    ],
)
async def test_p10_a_signature_that_will_not_do_says_what_it_lacks(token: str, access, says: str) -> None:
    config = AzureSasConfig(storage_account="ourdata", sas_token=Secret(token))
    with pytest.raises(CredentialsError, match=says) as caught:
        await AzureSas().credentials(config, TestSas.location, access, Identity())
    assert "CANARY" not in str(caught.value)


def test_a_signature_that_has_ended_is_refused_when_it_is_set(azurite: Azurite) -> None:
    with Client("memory://") as client:
        with pytest.raises(InvalidOptionError, match="it ended at"):
            client.create_bucket_config(
                org="me",
                nickname="lake",
                uri=f"az://{PUBLIC_CONTAINER}",
                auth_config={
                    "method": "azure_sas",
                    "storage_account": ACCOUNT,
                    "sas_token": azurite.sas(PUBLIC_CONTAINER, end=utc_now() - timedelta(hours=1)),
                },
            )
        assert [bucket.nickname for bucket in client.list_bucket_configs("me")] == ["local"]


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except Exception as error:
        return "Authoriz" in f"{error}{error.__cause__}" or "403" in f"{error}{error.__cause__}"
    return False


async def test_p15_the_store_holds_a_signature_to_its_container_and_rights(azurite: Azurite) -> None:
    own, other = (azurite.make_container(f"lake-{uuid4().hex[:8]}") for _ in range(2))
    location = Location(
        platform="azure", bucket=own, prefix="a", options=AzureOptions(storage_account=ACCOUNT, endpoint_url=azurite.endpoint)
    )
    reading = AzureSasConfig(storage_account=ACCOUNT, sas_token=Secret(azurite.sas(own, "rl")))
    writing = AzureSasConfig(storage_account=ACCOUNT, sas_token=Secret(azurite.sas(own)))
    writer = AzurePlatform().filesystem(location, await AzureSas().credentials(writing, location, "write", Identity()))
    writer.pipe_file(f"{own}/a/x", b"bytes")
    reader = AzurePlatform().filesystem(location, await AzureSas().credentials(reading, location, "read", Identity()))
    assert reader.cat_file(f"{own}/a/x") == b"bytes"
    assert refused(lambda: reader.pipe_file(f"{own}/a/x", b"new"))
    assert refused(lambda: reader.rm_file(f"{own}/a/x"))
    assert refused(lambda: writer.pipe_file(f"{other}/a/x", b"new"))


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
@pytest.mark.parametrize("wrong", ["key", "container", "endpoint"])
def test_what_is_wrong_is_said(azurite: Azurite, kind: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "d3Jvbmc=" if wrong == "key" else __import__("tests.servers.azurite", fromlist=["KEY"]).KEY
    endpoint = f"http://127.0.0.1:1/{ACCOUNT}" if wrong == "endpoint" else azurite.endpoint
    container = "no-such-container" if wrong == "container" else PUBLIC_CONTAINER
    with Client("memory://") as client:
        client.create_bucket_config(
            org="me",
            nickname="lake",
            uri=f"az://{container}/lake",
            extra_config={"endpoint_url": endpoint},
            auth_config={"method": "azure_account_key", "storage_account": ACCOUNT, "account_key": key},
        )
        report = client.probe_bucket_config(org="me", nickname="lake")
        assert not report.ok
        assert report.problems
        if wrong != "endpoint":
            with pytest.raises(ArraylakeError):
                client.create_repo("me/ocean", bucket_config_nickname="lake", kind=kind)
            assert list(client.list_repos("me")) == []
