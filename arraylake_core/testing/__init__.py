"""Conformance kits: pytest classes that the author of a backend subclasses. Our own backends pass the same.

Each kit, and each fault that a kit or a test of your own can inject, is imported from here::

    from arraylake_core.testing import StoragePlatformTests

    class TestShelf(StoragePlatformTests):
        uris = ("shelf://books/history",)
"""

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from arraylake_core.testing.auth import AuthMethodTests
    from arraylake_core.testing.catalog import CatalogTests
    from arraylake_core.testing.checks import CANARY
    from arraylake_core.testing.directory import DirectoryPlatform, Nobody
    from arraylake_core.testing.expiring import ExpiringCredentials
    from arraylake_core.testing.faults import (
        Fault,
        FaultyPlatform,
        Flaky,
        Injected,
        LostAnswer,
        Slow,
        StaleListing,
        TornWrite,
    )
    from arraylake_core.testing.repo_kind import RepoKindTests
    from arraylake_core.testing.repo_kind_faults import RepoFaultTests, Trouble
    from arraylake_core.testing.repo_kind_plain import UnversionedRepoKindTests
    from arraylake_core.testing.repo_kind_xarray import RepoXarrayTests
    from arraylake_core.testing.repo_kind_zarr import RepoStoreTests
    from arraylake_core.testing.storage import StoragePlatformTests

__all__ = [
    "CANARY",
    "AuthMethodTests",
    "CatalogTests",
    "DirectoryPlatform",
    "ExpiringCredentials",
    "Fault",
    "FaultyPlatform",
    "Flaky",
    "Injected",
    "LostAnswer",
    "Nobody",
    "RepoFaultTests",
    "RepoKindTests",
    "RepoStoreTests",
    "RepoXarrayTests",
    "Slow",
    "StaleListing",
    "StoragePlatformTests",
    "TornWrite",
    "Trouble",
    "UnversionedRepoKindTests",
]

_MODULES = {
    "CANARY": "checks",
    "AuthMethodTests": "auth",
    "CatalogTests": "catalog",
    "DirectoryPlatform": "directory",
    "ExpiringCredentials": "expiring",
    "Fault": "faults",
    "FaultyPlatform": "faults",
    "Flaky": "faults",
    "Injected": "faults",
    "LostAnswer": "faults",
    "Nobody": "directory",
    "RepoFaultTests": "repo_kind_faults",
    "RepoKindTests": "repo_kind",
    "RepoStoreTests": "repo_kind_zarr",
    "RepoXarrayTests": "repo_kind_xarray",
    "Slow": "faults",
    "StaleListing": "faults",
    "StoragePlatformTests": "storage",
    "TornWrite": "faults",
    "Trouble": "repo_kind_faults",
    "UnversionedRepoKindTests": "repo_kind_plain",
}

# So that a failing kit says what it found, and not only that it failed.
_KITS = (
    "auth",
    "catalog",
    "catalog_repos",
    "checks",
    "coordination",
    "people",
    "repo_kind",
    "repo_kind_commits",
    "repo_kind_faults",
    "repo_kind_machines",
    "repo_kind_nodes",
    "repo_kind_plain",
    "repo_kind_stored",
    "repo_kind_xarray",
    "repo_kind_zarr",
    "storage",
    "storage_addresses",
    "storage_files",
    "storage_secrets",
)
pytest.register_assert_rewrite(*(f"{__name__}.{kit}" for kit in _KITS))


def __getattr__(name: str) -> object:
    # Each when it is asked for: a kit of storage platforms needs no numpy, and one of auth methods no file system.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
