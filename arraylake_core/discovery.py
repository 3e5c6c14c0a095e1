"""Loading plugins: each apart from the others, beside whoever asks, so that one that is broken or takes its time keeps nobody from the rest."""

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import msgspec
import pluggy

from arraylake_core import hookspecs
from arraylake_core.backends.auth import AuthMethod
from arraylake_core.backends.repo_kind import RepoBackend
from arraylake_core.backends.storage import StoragePlatform
from arraylake_core.errors import PluginLoadError
from arraylake_core.names import shown
from arraylake_core.version import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["Backend", "Candidate", "Discovery", "Family", "PluginInfo", "given_plugins", "installed_plugins"]

type Family = Literal["repo kind", "storage platform", "auth method"]
type Backend = RepoBackend | StoragePlatform | AuthMethod

_HOOKS: dict[Family, tuple[str, type]] = {
    "repo kind": ("arraylake_repo_kinds", RepoBackend),
    "storage platform": ("arraylake_storage_platforms", StoragePlatform),
    "auth method": ("arraylake_auth_methods", AuthMethod),
}
# In seconds: a plugin that loads for longer is late, and the others go on without it.
_LATE = 0.25
# How long those who need all plugins, or one that nobody else provides, wait for late ones.
_LONGEST = 20.0

_ENTRY_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z", re.ASCII)
_ENTRY_VALUE = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?\Z", re.ASCII)
_LONGEST_ERROR = 500


class PluginInfo(msgspec.Struct, kw_only=True):
    """One installed plugin, loaded or not.

    Parameters
    ----------
    name
        The entry point's name.
    distribution, version
        What was installed.
    module
        What the entry point names.
    provides
        The names in each family.
    disabled
        Whether ``plugins.disabled`` names it.
    error
        Why it can't be used, or None.
    seconds
        How long it took to load, or None while it is loading.
    """

    name: str
    distribution: str
    version: str
    module: str
    provides: dict[str, list[str]] = msgspec.field(default_factory=dict)
    disabled: bool = False
    error: str | None = None
    seconds: float | None = None


class Candidate(NamedTuple):
    """A plugin that may be loaded."""

    info: PluginInfo
    load: Callable[[], object]


class _Answer(NamedTuple):
    """What a plugin provides."""

    backends: dict[tuple[Family, str], Backend]
    listener: Callable[..., object] | None


class Discovery:
    """Plugins being loaded.

    Parameters
    ----------
    candidates
        All that are installed.
    disabled
        The names of those that are not loaded.
    """

    def __init__(self, candidates: Iterable[Candidate], disabled: frozenset[str]) -> None:
        listed = list(candidates)
        self._order = {id(info): number for number, (info, _) in enumerate(listed)}
        self.plugins = [info for info, _ in listed]
        self._changed = threading.Condition()
        self._queue: deque[Candidate] = deque()
        self._loading: dict[int, float] = {}
        self._backends: dict[tuple[Family, str], list[tuple[PluginInfo, Backend]]] = {}
        self._listeners: list[tuple[PluginInfo, Callable[..., object]]] = []
        for candidate in listed:
            if candidate.info.name in disabled:
                candidate.info.disabled = True
            elif candidate.info.error is None:
                self._queue.append(candidate)
        self._start()

    def settle(self, *, late: bool) -> None:
        """Wait until the plugins are loaded; those that are late too, or not."""
        patience = _LONGEST if late else _LATE
        with self._changed:
            while self._queue or self._loading:
                youngest = min((time.monotonic() - begin for begin in self._loading.values()), default=0.0)
                if self._loading and youngest >= _LATE and self._queue:
                    self._start()
                    self._changed.wait(_LATE)
                elif self._loading and youngest >= patience:
                    return
                else:
                    self._changed.wait(_LATE if self._queue else max(patience - youngest, 0.001))

    def claims(self, family: Family, name: str) -> list[tuple[PluginInfo, Backend]]:
        """Return the plugins that provide a name, as far as they are loaded, in the order of their names."""
        with self._changed:
            found = self._backends.get((family, name), [])
            return sorted(found, key=lambda claim: self._order[id(claim[0])])

    def names(self, family: Family) -> list[str]:
        """Return the names of a family that are provided so far, without aliases."""
        with self._changed:
            return sorted(
                {backend.name for (kind, _), claims in self._backends.items() if kind == family for _, backend in claims}
            )

    def listeners(self) -> list[tuple[str, Callable[..., object]]]:
        """Return the plugins that listen to events, each with its hook."""
        with self._changed:
            found = sorted(self._listeners, key=lambda listener: self._order[id(listener[0])])
        return [(info.name, listener) for info, listener in found]

    def _start(self) -> None:
        threading.Thread(target=self._work, name="arraylake-plugins", daemon=True).start()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._queue:
                    return
                info, load = self._queue.popleft()
                begin = self._loading[id(info)] = time.monotonic()
            answer, error = None, None
            try:
                answer = _ask(info, load())
            except SystemExit as raised:
                error = f"it tried to end the process (SystemExit: {raised})"
            except BaseException as raised:  # noqa: BLE001 - a plugin may raise anything, and nothing else may suffer for it
                error = _described(raised)
            with self._changed:
                del self._loading[id(info)]
                info.seconds = time.monotonic() - begin
                info.error = None if error is None else _harmless(error)
                if answer is not None:
                    for key, backend in answer.backends.items():
                        self._backends.setdefault(key, []).append((info, backend))
                    if answer.listener is not None:
                        self._listeners.append((info, answer.listener))
                self._changed.notify_all()


def _ask(info: PluginInfo, plugin: object) -> _Answer:
    """Ask one plugin for its backends; all of them are taken, or, if one is wrong, none."""
    _check_spi(plugin)
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, info.name)
    manager.check_pending()
    taken: dict[tuple[Family, str], Backend] = {}
    for family, (hook, base) in _HOOKS.items():
        for backends in getattr(manager.hook, hook)():
            for backend in backends:
                if not isinstance(backend, base):
                    raise PluginLoadError(f"{hook} returned {type(backend).__name__}, which is no {base.__name__} instance")
                name = getattr(backend, "name", None)
                if not isinstance(name, str) or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                    raise PluginLoadError(
                        f"{hook} returned a {family} whose name is {shown(name)}: use letters, digits, '-', '_'"
                    )
                info.provides.setdefault(family, []).append(name)
                for known in (name, *getattr(backend, "aliases", ())):
                    taken[family, known] = cast("Backend", backend)
    listens = manager.hook.arraylake_on_event.get_hookimpls()
    return _Answer(taken, partial(manager.hook.arraylake_on_event) if listens else None)


def _check_spi(plugin: object) -> None:
    """Refuse a plugin that was written for an SPI which this release does not have; one that declares none is of the first."""
    declared = getattr(plugin, "ARRAYLAKE_SPI", 1)
    if not isinstance(declared, int) or isinstance(declared, bool):
        raise PluginLoadError(f"its ARRAYLAKE_SPI must be a whole number, such as {hookspecs.SPI}, not {shown(declared)}")
    if declared > hookspecs.SPI:
        raise PluginLoadError(
            f"it was written for version {declared} of the plugin interface, and arraylake-core {__version__} has version "
            f"{hookspecs.SPI}: upgrade arraylake-core"
        )
    if declared < hookspecs.OLDEST_SPI:
        raise PluginLoadError(
            f"it was written for version {declared} of the plugin interface, and arraylake-core {__version__} takes version "
            f"{hookspecs.OLDEST_SPI} and later: upgrade the plugin"
        )


def given_plugins(plugins: Mapping[str, object]) -> list[Candidate]:
    """Return plugins that are at hand."""
    return [
        Candidate(PluginInfo(name=name, distribution=name, version="", module="given"), partial(plugins.__getitem__, name))
        for name in plugins
    ]


def installed_plugins() -> list[Candidate]:
    """Return the plugins that entry points name; what is odd about a name is an error of the plugin, which then is not loaded."""
    from importlib.metadata import entry_points

    found = sorted(entry_points(group=hookspecs.PROJECT), key=lambda entry: (entry.name, entry.value))
    return [Candidate(_info(entry), entry.load) for entry in found]


def _info(entry: "EntryPoint") -> PluginInfo:
    name, version = "unknown", ""
    if entry.dist is not None:
        metadata = entry.dist.metadata  # read once: each of name and version would take the file apart anew
        name, version = str(metadata["Name"] or name), str(metadata["Version"] or version)
    info = PluginInfo(
        name=_harmless(entry.name, 100),
        distribution=_harmless(name, 100),
        version=_harmless(version, 100),
        module=_harmless(entry.value, 200),
    )
    if not _ENTRY_NAME.match(entry.name):
        info.error = "it was not loaded, since the name of its entry point is odd: use letters, digits, '-', '_' and '.'"
    elif not _ENTRY_VALUE.match(entry.value):
        info.error = f"it was not loaded, since its entry point names {shown(entry.value)}: name a module, such as 'acme_lake'"
    elif not _ENTRY_NAME.match(name):
        info.error = "it was not loaded, since the name of its distribution is odd: use letters, digits, '-', '_' and '.'"
    return info


def _described(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the text of a stranger's error may fail too
        return type(error).__name__


def _harmless(text: str, longest: int = _LONGEST_ERROR) -> str:
    """Return a stranger's text without what a terminal obeys, and not without end."""
    plain = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text[:longest])
    return plain if len(text) <= longest else f"{plain}…"
