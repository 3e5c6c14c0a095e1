"""Where each storage platform and auth method is tried: a bucket config for each pair, on a real server.

The table is what joins a new platform or method to the tests that go through all of them.
"""

import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import uuid4

import pytest

from arraylake_core import config
from arraylake_core.login.account import account_of
from arraylake_core.login.provider import LoginSettings
from arraylake_core.login.storage import kept_login
from arraylake_core.login.tokens import TokenSet
from arraylake_core.secret import Secret
from tests.servers.azure_lake import TENANT as AZURE_TENANT
from tests.servers.azurite import ACCOUNT as AZURE_ACCOUNT
from tests.servers.azurite import KEY as AZURE_KEY
from tests.servers.gcs import PUBLIC_BUCKET
from tests.servers.google_tokens import POOL
from tests.servers.seaweedfs_sts import ACCOUNT, LOGIN_ROLE

__all__ = ["PLACES", "UNTRIED", "Place", "bucket_config"]

type BucketConfig = dict[str, object]


class Place(NamedTuple):
    """Makes a new place, and says which servers it needs.

    Parameters
    ----------
    make
        Returns the arguments of create_bucket_config, but for the org; it gets the pytest request, whose fixtures are the servers.
    kinds
        The repo kinds that can be written there; None is every one.
    """

    make: Callable[[pytest.FixtureRequest], BucketConfig]
    kinds: frozenset[str] | None = None


def _files(request: pytest.FixtureRequest) -> BucketConfig:
    directory = request.getfixturevalue("tmp_path") / "lake"
    return {"nickname": "tried", "uri": f"file://{directory}", "auth_config": {"method": "anonymous"}}


def _memory(request: pytest.FixtureRequest) -> BucketConfig:
    return {"nickname": "tried", "uri": f"memory://lake-{uuid4().hex}", "auth_config": {"method": "anonymous"}}


def _s3(platform: str, auth: str) -> Callable[[pytest.FixtureRequest], BucketConfig]:
    def make(request: pytest.FixtureRequest) -> BucketConfig:
        server = request.getfixturevalue("seaweedfs")
        public = auth == "anonymous"
        bucket = server.public_bucket if public else request.getfixturevalue("bucket")
        key, secret = server.admin
        keys = {} if public else {"access_key_id": key, "secret_access_key": secret}
        return {
            "nickname": "tried",
            "uri": f"{platform}://{bucket}/lake-{uuid4().hex[:12]}",
            "extra_config": {"endpoint_url": server.endpoint} | ({} if platform == "gs" else {"region_name": "us-east-1"}),
            "auth_config": {"method": auth, **keys},
        }

    return make


def _gcs(request: pytest.FixtureRequest) -> BucketConfig:
    return {
        "nickname": "tried",
        "uri": f"gs://{PUBLIC_BUCKET}/lake-{uuid4().hex[:12]}",
        "extra_config": {"endpoint_url": request.getfixturevalue("gcs").endpoint},
        "auth_config": {"method": "anonymous"},
    }


def _role(platform: str) -> Callable[[pytest.FixtureRequest], BucketConfig]:
    def make(request: pytest.FixtureRequest) -> BucketConfig:
        server = request.getfixturevalue("aws_operator")
        return {
            "nickname": "tried",
            "uri": f"{platform}://{server.make_bucket(f'lake-{uuid4().hex[:12]}')}/lake",
            "extra_config": {"endpoint_url": server.endpoint, "region_name": "us-east-1"},
            "auth_config": {
                "method": "aws_customer_managed_role",
                "external_customer_id": ACCOUNT,
                "external_role_name": "Lake",
            },
        }

    return make


def _logged_in(platform: str) -> Callable[[pytest.FixtureRequest], BucketConfig]:
    """Make a place for who is logged in with the OpenID provider."""

    def make(request: pytest.FixtureRequest) -> BucketConfig:
        provider, home = request.getfixturevalue("oidc_provider"), request.getfixturevalue("tmp_path")
        settings = LoginSettings(issuer=provider.issuer, client_id=provider.client_id)
        config.set(
            {
                "login.issuer": settings.issuer,
                "login.client_id": settings.client_id,
                "login.dir": str(home / "logins"),
                "login.store": "file",
            }
        )
        account_of.cache_clear()
        token = Secret(provider.id_token("ada@example.org"))
        kept_login(provider.issuer).write(TokenSet(settings=settings, id_token=token, expires=time.time() + 3000))
        if platform == "gs":
            store = request.getfixturevalue("google_config").store
            options, fields = {"endpoint_url": store.endpoint}, {"audience": POOL}
        else:
            store = request.getfixturevalue("seaweedfs_sts")
            options, fields = {"endpoint_url": store.endpoint, "region_name": "us-east-1"}, {"role_arn": LOGIN_ROLE}
        return {
            "nickname": "tried",
            "uri": f"{platform}://{store.make_bucket(f'lake-{uuid4().hex[:12]}')}/lake",
            "extra_config": options,
            "auth_config": {"method": "oauth", **fields},
        }

    return make


def _google(auth: str) -> Callable[[pytest.FixtureRequest], BucketConfig]:
    def make(request: pytest.FixtureRequest) -> BucketConfig:
        tokens, directory = request.getfixturevalue("google_config"), request.getfixturevalue("tmp_path")
        bucket = tokens.store.make_bucket(f"lake-{uuid4().hex[:12]}")
        key = tokens.service_account(directory, f"lake-{uuid4().hex[:8]}@deployment.iam.gserviceaccount.com")
        target = f"ocean-{uuid4().hex[:8]}@customer.iam.gserviceaccount.com"
        tokens.impersonators[target] = {f"{key.stem}@deployment.iam.gserviceaccount.com"}
        config.set({"delegation.google.key_file": str(key)})
        fields = {"gcp_service_account": {"key_file": str(key)}, "gcp_customer_managed_role": {"target_service_account": target}}
        return {
            "nickname": "tried",
            "uri": f"gs://{bucket}/lake",
            "extra_config": {"endpoint_url": tokens.store.endpoint},
            "auth_config": {"method": auth, **fields[auth]},
        }

    return make


def _azure(auth: str) -> Callable[[pytest.FixtureRequest], BucketConfig]:
    def make(request: pytest.FixtureRequest) -> BucketConfig:
        server = request.getfixturevalue("azurite")
        container = server.make_container(f"lake-{uuid4().hex[:12]}")
        secrets = {"azure_account_key": {"account_key": AZURE_KEY}, "azure_sas": {"sas_token": server.sas(container)}}
        return {
            "nickname": "tried",
            "uri": f"azure://{container}/lake",
            "extra_config": {"endpoint_url": server.endpoint},
            "auth_config": {"method": auth, "storage_account": AZURE_ACCOUNT, **secrets[auth]},
        }

    return make


def _azure_lake(request: pytest.FixtureRequest) -> BucketConfig:
    server = request.getfixturevalue("azure_operator")
    return {
        "nickname": "tried",
        "uri": f"azure://{server.azurite.make_container(f'lake-{uuid4().hex[:12]}')}/lake",
        "extra_config": {"endpoint_url": server.endpoint, "hierarchical_namespace": True},
        "auth_config": {"method": "azure_credential_delegation", "tenant_id": AZURE_TENANT, "storage_account": AZURE_ACCOUNT},
    }


PLACES: dict[tuple[str, str], Place] = {
    ("file", "anonymous"): Place(_files),
    ("memory", "anonymous"): Place(_memory),
    ("gs", "anonymous"): Place(_gcs, frozenset({"v1"})),
    **{("azure", auth): Place(_azure(auth)) for auth in ("azure_account_key", "azure_sas")},
    ("azure", "azure_credential_delegation"): Place(_azure_lake),
    # Google's S3-compatible API, by HMAC keys, at a server that speaks the S3 API.
    ("gs", "hmac"): Place(_s3("gs", "hmac")),
    **{(name, "oauth"): Place(_logged_in(name)) for name in ("s3", "s3-compatible", "minio", "gs")},
    **{(name, "aws_customer_managed_role"): Place(_role(name)) for name in ("s3", "s3-compatible", "minio")},
    **{("gs", auth): Place(_google(auth)) for auth in ("gcp_service_account", "gcp_customer_managed_role")},
    **{(name, auth): Place(_s3(name, auth)) for name in ("s3", "s3-compatible", "minio") for auth in ("anonymous", "hmac")},
}
"""By platform and auth method."""

UNTRIED: dict[tuple[str, str], str] = {
    ("azure", "oauth"): "needs Microsoft Entra: tried with Azurite, for signatures, in plugins/azure/tests/test_delegation.py",
    ("azure", "anonymous"): "read only: Azure lets nobody write without credentials; plugins/azure/tests read a public container",
    ("gs", "anonymous"): "read only: Icechunk would sign what it writes with the identity of the machine",
    **{
        (name, "r2_customer_managed_role"): "needs Cloudflare, of which there is no server to be had"
        for name in ("s3", "s3-compatible")
    },
}
"""Why a pair that the plugins offer is not among them, in the words of docs/backends.md."""


def bucket_config(request: pytest.FixtureRequest, platform: str, auth: str) -> BucketConfig:
    """Return the arguments of create_bucket_config, but for the org, for a new place."""
    return PLACES[platform, auth].make(request)
