"""The hooks that a plugin may implement.

A plugin is a distribution with an entry point in the group ``arraylake`` that names a module (or object) with any of these functions, each marked with
``hookimpl``, and says with ``ARRAYLAKE_SPI = 1`` which version of the interface it was written for. All are asked, and what they return is collected.

The version counts up when a plugin that follows the documentation would have to change. What is to go is first deprecated: it works, with a
DeprecationWarning and an entry in the changelog, for two minor releases of arraylake-core and six months at least. Then the version is raised, and a plugin
that declares an older one than OLDEST_SPI is refused with the advice to upgrade it.
"""

from collections.abc import Iterable

import pluggy

from arraylake_core.backends.auth import AuthMethod
from arraylake_core.backends.repo_kind import RepoBackend
from arraylake_core.backends.storage import StoragePlatform
from arraylake_core.events import Event

__all__ = ["OLDEST_SPI", "PROJECT", "SPI", "hookimpl", "hookspec"]

PROJECT = "arraylake"

SPI = 1
"""The version of the plugin interface that this release has."""
OLDEST_SPI = 1
"""The oldest version of it that this release still takes."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def arraylake_on_event(event: Event) -> None:
    """Listen to what happens in a catalog that a service serves.

    Called after the change was committed, on the replica that made it, in a thread beside the requests: an error is logged and harms nobody, a listener
    that takes its time keeps other listeners waiting. An event may be missed when the process ends, and none is told twice; for one that must arrive,
    take a webhook.

    Parameters
    ----------
    event
        What happened.
    """


@hookspec
def arraylake_repo_kinds() -> Iterable[RepoBackend]:  # type: ignore[empty-body]
    """Return the repo kinds that the plugin provides."""


@hookspec
def arraylake_storage_platforms() -> Iterable[StoragePlatform]:  # type: ignore[empty-body]
    """Return the storage platforms that the plugin provides."""


@hookspec
def arraylake_auth_methods() -> Iterable[AuthMethod]:  # type: ignore[empty-body]
    """Return the auth methods that the plugin provides."""
