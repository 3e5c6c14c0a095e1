"""Versioned Zarr on any file system, as a repo kind: ``v1``."""

from collections.abc import Iterable

from arraylake_core.backends import RepoBackend
from arraylake_core.hookspecs import hookimpl
from arraylake_v1_repo.backend import V1Backend

__all__ = ["ARRAYLAKE_SPI", "V1Backend", "arraylake_repo_kinds"]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_repo_kinds() -> Iterable[RepoBackend]:
    """Return the repo kind of this plugin."""
    return [V1Backend()]
