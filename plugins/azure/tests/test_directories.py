"""Signatures of the deployment's application: for one directory, one right, and an hour; the store refuses the rest."""

from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from arraylake_azure import AzureDelegation, AzureDelegationConfig, AzureOptions, AzurePlatform

from arraylake_core import config
from arraylake_core.backends import AzureCredentials, Location
from arraylake_core.errors import CredentialsError
from arraylake_core.models import Identity, utc_now
from tests.servers.azure_lake import TENANT, AzureLake
from tests.servers.azurite import ACCOUNT

CONFIG = AzureDelegationConfig(tenant_id=TENANT, storage_account=ACCOUNT)


@pytest.fixture
def location(azure_operator: AzureLake) -> Location:
    container = azure_operator.azurite.make_container(f"lake-{uuid4().hex[:12]}")
    options = AzureOptions(storage_account=ACCOUNT, endpoint_url=azure_operator.endpoint, hierarchical_namespace=True)
    return Location(platform="azure", bucket=container, prefix="team/ocean", options=options)


async def opened(location: Location, access):
    found = await AzureDelegation().credentials(CONFIG, location, access, Identity())
    assert isinstance(found, AzureCredentials)
    return AzurePlatform().filesystem(location, found)


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except Exception as error:
        return "AuthorizationPermissionMismatch" in f"{error}{error.__cause__}"
    return False


async def test_p15_the_store_refuses_all_but_the_directory_and_the_right(location: Location) -> None:
    own = f"{location.bucket}/team/ocean"
    writer, reader = await opened(location, "write"), await opened(location, "read")
    writer.pipe_file(f"{own}/deep/x", b"bytes")
    assert reader.cat_file(f"{own}/deep/x") == b"bytes"
    assert reader.find(own) == [f"{own}/deep/x"]
    for change in (lambda: reader.pipe_file(f"{own}/new", b""), lambda: reader.rm_file(f"{own}/deep/x")):
        assert refused(change)
    for sibling in ("team/oceans/x", "team/x", "x", "team/sea/ocean/x"):
        place = f"{location.bucket}/{sibling}"
        assert refused(lambda place=place: writer.pipe_file(place, b"new"))
        assert refused(lambda place=place: writer.cat_file(place))
    writer.rm_file(f"{own}/deep/x")
    assert not reader.exists(f"{own}/deep/x")


async def test_p15_signatures_end_within_the_hour_and_say_so(location: Location) -> None:
    found = await AzureDelegation().credentials(CONFIG, location, "read", Identity())
    assert isinstance(found, AzureCredentials)
    assert found.expiration is not None
    assert utc_now() + timedelta(minutes=50) < found.expiration <= utc_now() + timedelta(hours=1)
    assert found.sas_token is not None
    assert "sdd=2" in found.sas_token.reveal()


async def test_p12_the_token_of_the_application_is_shown_to_nobody_whom_a_bucket_config_names(
    location: Location, azure_lake
) -> None:
    asked = len(azure_lake.asked)
    for trusted in (None, "https://elsewhere.example.org"):
        with (
            config.set({"delegation.azure.blob_endpoint": trusted}),
            pytest.raises(CredentialsError, match="goes to Azure over https only"),
        ):
            await AzureDelegation().credentials(CONFIG, location, "read", Identity())
    # Entra was asked, and the store that is not Azure's was not.
    assert azure_lake.asked[asked:] == ["token"] * 2
