"""Both repo kinds pass the kit on GCS, by a role whose tokens reach one repo."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from arraylake_core import Client, config
from arraylake_core.testing.repo_kind import RepoKindTests
from tests.servers.google_tokens import GoogleTokens

CUSTOMER = "kinds@customer.iam.gserviceaccount.com"


@pytest.fixture
def role(google_config: GoogleTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The arguments of create_bucket_config for a new bucket; processes that are started from here mint for themselves."""
    store = google_config.store
    key_file = google_config.service_account(tmp_path, "kinds@deployment.iam.gserviceaccount.com")
    google_config.impersonators[CUSTOMER] = {"kinds@deployment.iam.gserviceaccount.com"}
    for name, value in {
        "KEY_FILE": str(key_file),
        "TOKEN_ENDPOINT": f"{store.endpoint}/token",
        "STS_ENDPOINT": store.endpoint,
        "IAM_ENDPOINT": store.endpoint,
    }.items():
        monkeypatch.setenv(f"ARRAYLAKE_DELEGATION__GOOGLE__{name}", value)
    config.refresh()
    return {
        "nickname": "google",
        "uri": f"gs://{store.make_bucket(f'kinds-{uuid4().hex[:8]}')}/lake",
        "extra_config": {"endpoint_url": store.endpoint},
        "auth_config": {"method": "gcp_customer_managed_role", "target_service_account": CUSTOMER},
    }


class ByRole(RepoKindTests):
    processes, commits = 2, 4

    @pytest.fixture
    def client(self, tmp_path: Path, role: dict[str, object]) -> Iterator[Client]:
        with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
            client.create_bucket_config(org="me", **role)
            client.set_default_bucket_config(org="me", nickname="google")
            yield client


class TestIcechunk(ByRole):
    kind = "icechunk"


class TestV1(ByRole):
    kind = "v1"
