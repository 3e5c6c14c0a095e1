"""The SQL catalogs: in a file, in memory, or in a PostgreSQL database.

What they are made of is imported when one is first used, so that a Client is there at once.
"""

import atexit
import os
import re
import secrets
import shutil
import tempfile
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, cast, override

from arraylake_core.errors import CatalogError, InvalidOptionError
from arraylake_core.names import shown

if TYPE_CHECKING:
    from arraylake_core.catalog.base import Catalog
    from arraylake_core.catalog.dsn import Dsn
    from arraylake_core.catalog.sql_catalog import SqlCatalog

__all__ = ["memory_catalog", "postgres_catalog", "sqlite_catalog"]


def sqlite_catalog(path: Path) -> "Catalog":
    """Return the catalog in a SQLite file, which is made on first use.

    Parameters
    ----------
    path
        The file; its keys and the default bucket lie beside it.
    """
    if path.suffix == ".key":
        raise InvalidOptionError(
            f"{path.name} would be the catalog's own key file: name the catalog differently, such as catalog.db"
        )
    return cast("Catalog", _FileCatalog(path.absolute()))


def memory_catalog(name: str) -> "Catalog":
    """Return the catalog of this name that the process shares, which vanishes when the last of its users closes it, or with the process.

    Parameters
    ----------
    name
        Its name; an empty one gets a random one.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]{0,100}", name, re.ASCII):
        raise InvalidOptionError(
            f"{shown(name)} is no name for a memory catalog: use up to 100 ASCII letters, digits, '_', '-' and '.'"
        )
    return cast("Catalog", _MemoryCatalog(name or secrets.token_hex(8)))


def postgres_catalog(uri: str) -> "Catalog":
    """Return the catalog in a PostgreSQL database; all that open the same one in a process share its connections.

    Parameters
    ----------
    uri
        The database. A password in it is remembered by this process, and shown nowhere.
    """
    from arraylake_core.catalog.dsn import Dsn

    return cast("Catalog", _PostgresCatalog(Dsn(uri)))


class _Deferred(ABC):
    """Stands for a catalog, and makes it when anything but its URI is asked for."""

    def __init__(self, uri: str) -> None:
        self.uri = self.handle = uri
        self._catalog: SqlCatalog | None = None

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(f"a catalog has no attribute {name!r}")
        if self._catalog is None:
            with _lock:
                self._catalog = self._catalog or self._open()
        return getattr(self._catalog, name)

    def coordination(self, repo_id: str) -> "_DeferredCoordination":
        """Return the refs and journals of a repo, which pickle by the catalog's URI."""
        return _DeferredCoordination(self, repo_id)

    async def close(self) -> None:
        """Let go of everything; the catalog opens again when it is next used."""
        catalog, self._catalog = self._catalog, None
        await self._let_go(catalog)

    @abstractmethod
    def _open(self) -> "SqlCatalog": ...

    @abstractmethod
    async def _let_go(self, catalog: "SqlCatalog | None") -> None: ...

    @override
    def __reduce__(self) -> tuple[object, tuple[str]]:
        from arraylake_core.catalog.open import catalog_from_uri

        return catalog_from_uri, (self.uri,)

    @override
    def __repr__(self) -> str:
        return f"<catalog {self.uri}>"


class _DeferredCoordination:
    """The refs and journals of a repo, which open their catalog when first used, and pickle without it."""

    def __init__(self, catalog: _Deferred, repo_id: str) -> None:
        self._catalog, self._repo_id = catalog, repo_id

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(f"refs and journals have no attribute {name!r}")
        return getattr(self._catalog.__getattr__("coordination")(self._repo_id), name)  # type: ignore[operator]

    @override
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        if self._catalog.uri.startswith("memory:"):
            raise CatalogError(
                f"the catalog {self._catalog.uri} lives in the memory of this process, and others can't reach it: "
                "use a catalog in a file, Client('sqlite:///path'), or a service"
            )
        from arraylake_core.catalog.open import coordination_from_handle

        return coordination_from_handle, (self._catalog.uri, self._repo_id)


class _FileCatalog(_Deferred):
    def __init__(self, path: Path) -> None:
        super().__init__(f"sqlite:///{path}")
        self._path = path

    @override
    def _open(self) -> "SqlCatalog":
        from arraylake_core.catalog.home import file_home
        from arraylake_core.catalog.sql_catalog import SqlCatalog

        return SqlCatalog(file_home(self._path))

    @override
    async def _let_go(self, catalog: "SqlCatalog | None") -> None:
        if catalog is not None:
            await catalog.close()


class _PostgresCatalog(_Deferred):
    def __init__(self, dsn: "Dsn") -> None:
        super().__init__(dsn.uri)
        self._dsn = dsn

    @override
    def _open(self) -> "SqlCatalog":
        if self.uri not in _databases:
            from arraylake_core.catalog.home import postgres_home
            from arraylake_core.catalog.sql_catalog import SqlCatalog

            _databases[self.uri] = SqlCatalog(postgres_home(self._dsn))
        return _databases[self.uri]

    @override
    async def _let_go(self, catalog: "SqlCatalog | None") -> None:
        shared = catalog or _databases.get(self.uri)
        if shared is not None:
            await shared.close()


class _MemoryCatalog(_Deferred):
    def __init__(self, name: str) -> None:
        super().__init__(f"memory://{name}")
        self._name = name
        with _lock:
            _memories.setdefault(name, _Memory(name)).users.add(id(self))

    @override
    def _open(self) -> "SqlCatalog":
        memory = _memories.setdefault(self._name, _Memory(self._name))
        memory.users.add(id(self))
        return memory.open()

    @override
    async def _let_go(self, catalog: "SqlCatalog | None") -> None:
        with _lock:
            memory = _memories.get(self._name)
            if memory is not None:
                memory.users.discard(id(self))
                if not memory.users:
                    _memories.pop(self._name).remove()


class _Memory:
    """What the users of one memory catalog share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.users: set[int] = set()
        self._process = os.getpid()
        self._directory: Path | None = None
        self._catalog: SqlCatalog | None = None

    def open(self) -> "SqlCatalog":
        if self._catalog is None:
            from arraylake_core.catalog.home import memory_home
            from arraylake_core.catalog.sql_catalog import SqlCatalog

            self._directory = Path(tempfile.mkdtemp(prefix="arraylake-core-"))
            self._catalog = SqlCatalog(memory_home(self.name, self._directory))
        return self._catalog

    def remove(self) -> None:
        # A forked child shares the parent's files, and must not remove them when it ends.
        if self._directory is not None and self._process == os.getpid():
            shutil.rmtree(self._directory, ignore_errors=True)


_lock = threading.Lock()
_memories: dict[str, _Memory] = {}
_databases: "dict[str, SqlCatalog]" = {}


@atexit.register
def _remove_all() -> None:
    for memory in _memories.values():
        memory.remove()
    _memories.clear()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
