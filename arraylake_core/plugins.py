"""Which plugins are installed, and which of them provides a name.

Plugins are found through entry points, each loaded and asked apart from the others: one that fails to import, or breaks the SPI, is kept with its error, and
the error is raised only when what it provides is asked for.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import cast
from uuid import uuid4
from weakref import WeakValueDictionary

from arraylake_core import config
from arraylake_core.backends.auth import AuthMethod
from arraylake_core.backends.repo_kind import RepoBackend
from arraylake_core.backends.storage import StoragePlatform
from arraylake_core.discovery import Backend, Discovery, Family, PluginInfo, given_plugins, installed_plugins
from arraylake_core.errors import PluginConflictError, PluginError, PluginLoadError, PluginNotFoundError
from arraylake_core.names import shown

__all__ = ["Family", "PluginInfo", "PluginRegistry", "default_registry", "registry_of"]

# The names that the project's own plugins provide, and the extra that brings each.
EXTRAS: dict[Family, dict[str, str]] = {
    "repo kind": {"icechunk": "icechunk", "v1": "v1"},
    "storage platform": {
        "file": "local",
        "memory": "local",
        "s3": "s3",
        "s3-compatible": "s3",
        "minio": "s3",
        "gs": "gcs",
        "azure": "azure",
    },
    "auth method": {
        "anonymous": "local",
        "hmac": "s3",
        "oauth": "oauth",
        "aws_customer_managed_role": "s3",
        "r2_customer_managed_role": "s3",
        "azure_account_key": "azure",
        "azure_sas": "azure",
        "azure_credential_delegation": "azure",
        "gcp_service_account": "gcs",
        "gcp_customer_managed_role": "gcs",
    },
}
# The names that the Arraylake API knows, and that no plugin of this release provides yet.
PLANNED: dict[Family, tuple[str, ...]] = {
    "repo kind": (),
    "storage platform": (),
    "auth method": ("bucket_policy",),
}


class PluginRegistry:
    """The plugins of this process, found when they are first asked for.

    Parameters
    ----------
    plugins
        Modules or objects with hook implementations, by name, instead of those that entry points name: for tests and for embedding.
    disabled
        Entry points that are not loaded; None takes ``plugins.disabled`` of the config.
    prefer
        Which distribution provides a name that several claim; None takes ``plugins.prefer`` of the config.

    Examples
    --------
    >>> PluginRegistry({}).names("repo kind")
    []
    """

    def __init__(
        self,
        plugins: Mapping[str, object] | None = None,
        *,
        disabled: Iterable[str] | None = None,
        prefer: Mapping[str, str] | None = None,
    ) -> None:
        self._given = plugins
        self._disabled = disabled
        self._prefer = prefer
        self._lock = threading.Lock()
        self.token = ""
        if plugins is not None or disabled is not None or prefer is not None:
            self.token = uuid4().hex
            _registries[self.token] = self
        self._found: Discovery | None = None

    def __repr__(self) -> str:
        return f"<PluginRegistry: {'not asked yet' if self._found is None else f'{len(self._found.plugins)} plugins'}>"

    def plugins(self) -> list[PluginInfo]:
        """Return every installed plugin, the broken and the disabled ones too, by name."""
        return self._all().plugins

    def names(self, family: Family) -> list[str]:
        """Return the names that installed plugins provide in a family, without aliases."""
        return self._all().names(family)

    def repo_kind(self, name: str) -> RepoBackend:
        """Return the repo kind of a name; PluginNotFoundError, PluginLoadError or PluginConflictError where there is none or too many."""
        return cast("RepoBackend", self._backend("repo kind", name))

    def storage_platform(self, name: str) -> StoragePlatform:
        """Return the storage platform of a name, as ``repo_kind`` does."""
        return cast("StoragePlatform", self._backend("storage platform", name))

    def auth_method(self, name: str) -> AuthMethod:
        """Return the auth method of a name, as ``repo_kind`` does."""
        return cast("AuthMethod", self._backend("auth method", name))

    def platform_for_scheme(self, scheme: str) -> StoragePlatform:
        """Return the storage platform that claims a URI scheme."""
        for found in (self._discovery, self._all):
            discovery = found()
            for name in discovery.names("storage platform"):
                claims = discovery.claims("storage platform", name)
                if any(scheme in cast("StoragePlatform", backend).schemes for _, backend in claims):
                    return self.storage_platform(name)
        return self.storage_platform(scheme)

    def listeners(self) -> list[tuple[str, "Callable[..., object]"]]:
        """Return the plugins that listen to events, each with its name and the hook, which takes ``event=``."""
        return self._all().listeners()

    def _backend(self, family: Family, name: str) -> Backend:
        claimants = self._discovery().claims(family, str(name)) or self._all().claims(family, str(name))
        if not claimants:
            raise self._missing(family, str(name))
        if len(claimants) > 1:
            prefer = config.get_mapping("plugins.prefer") if self._prefer is None else self._prefer
            claimants = [claim for claim in claimants if claim[0].distribution == prefer.get(name)] or claimants
        if len(claimants) > 1:
            who = " and ".join(f"{info.distribution} {info.version}" for info, _ in claimants)
            raise PluginConflictError(
                f"the {family} {name!r} is provided by {who}: uninstall one, or say which to take with the setting "
                f"plugins.prefer, for example {{{name!r}: {claimants[0][0].distribution!r}}}"
            )
        return claimants[0][1]

    def _missing(self, family: Family, name: str) -> PluginError:
        broken = [info for info in self.plugins() if info.error]
        for info in broken:
            if name == info.name or name in info.provides.get(family, ()):
                return PluginLoadError(
                    f"the {family} {shown(name)} comes from {info.distribution} {info.version}, which can't be used: {info.error}"
                )
        installed = ", ".join(self.names(family)) or "none"
        message = f"no installed plugin provides the {family} {shown(name)} (installed: {installed})"
        disabled = [info.name for info in self.plugins() if info.disabled]
        if name in EXTRAS[family]:
            message += f'. It comes with: pip install "arraylake-core[{EXTRAS[family][name]}]"'
        elif name in PLANNED[family]:
            message += ". The project plans a plugin for it; this release has none"
        if disabled:
            message += f". Disabled by the setting plugins.disabled: {', '.join(disabled)}"
        if waited := [info.name for info in self.plugins() if info.seconds is None and not info.error and not info.disabled]:
            message += f". Still loading, and too late: {', '.join(waited)}"
        if broken:
            message += f". Broken: {', '.join(info.name for info in broken)}; see `arraylake-core plugins list`"
        return PluginNotFoundError(message)

    def _discovery(self) -> Discovery:
        """Return the loaded plugins, but for those that are late."""
        with self._lock:
            if self._found is None:
                disabled = frozenset(config.get_list("plugins.disabled") if self._disabled is None else self._disabled)
                self._found = Discovery(installed_plugins() if self._given is None else given_plugins(self._given), disabled)
            found = self._found
        found.settle(late=False)
        return found

    def _all(self) -> Discovery:
        found = self._discovery()
        found.settle(late=True)
        return found


# Registries with choices of their own, so that what is pickled and woken up in this process finds them again.
_registries: WeakValueDictionary[str, PluginRegistry] = WeakValueDictionary()


def registry_of(token: str) -> PluginRegistry:
    """Return the registry with a token; "" is the process's own.

    Raises
    ------
    PluginError
        The registry was made by hand in another process, or is gone.
    """
    if not token:
        return default_registry()
    registry = _registries.get(token)
    if registry is None:
        raise PluginError("this was opened with a plugin registry of its own, which exists only in the process that made it")
    return registry


@cache
def default_registry() -> PluginRegistry:
    """Return the registry of the process, which reads the installed distributions once."""
    return PluginRegistry()
