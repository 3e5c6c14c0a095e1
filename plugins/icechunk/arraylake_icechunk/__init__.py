"""Icechunk repositories as a repo kind: ``icechunk``."""

from collections.abc import Iterable

from arraylake_core.backends import RepoBackend
from arraylake_core.hookspecs import hookimpl
from arraylake_icechunk.backend import IcechunkBackend

__all__ = ["ARRAYLAKE_SPI", "IcechunkBackend", "arraylake_repo_kinds"]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_repo_kinds() -> Iterable[RepoBackend]:
    """Return the repo kind of this plugin."""
    return [IcechunkBackend()]
