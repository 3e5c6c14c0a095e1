"""Plain Zarr stores, without versions, as a repo kind: ``plain-zarr``."""

from collections.abc import Iterable

from arraylake_core.backends import RepoBackend
from arraylake_core.hookspecs import hookimpl
from arraylake_plain_zarr.backend import PlainZarrBackend

__all__ = ["ARRAYLAKE_SPI", "PlainZarrBackend", "arraylake_repo_kinds"]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_repo_kinds() -> Iterable[RepoBackend]:
    """Return the repo kind of this plugin."""
    return [PlainZarrBackend()]
