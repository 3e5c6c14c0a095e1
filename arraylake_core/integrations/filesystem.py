"""The fsspec protocol ``al``: the keys of a repo's zarr store as files, at any branch, tag or commit."""

import asyncio
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

from fsspec.asyn import AbstractAsyncStreamedFile, AsyncFileSystem, _run_coros_in_chunks, sync
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.config import apply_config
from fsspec.spec import AbstractBufferedFile

from arraylake_core.errors import InvalidNameError, InvalidOptionError, NotFoundError, ReadOnlyError, RefNotFoundError
from arraylake_core.integrations.keys import file_size, is_directory, keys_below, names_in, read
from arraylake_core.integrations.url import PROTOCOL, RepoUrl
from arraylake_core.integrations.versions import Version, Versions
from arraylake_core.loops import on_shared_loop
from arraylake_core.names import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fsspec.callbacks import Callback

    from arraylake_core.client.aio import AsyncClient
    from arraylake_core.client.sync import Client

__all__ = ["ArraylakeFileSystem", "PathNotFoundError"]

type Info = dict[str, object]

# What fsspec itself gives to every file system.
_GENERAL = frozenset(
    {"asynchronous", "loop", "batch_size", "skip_instance_cache", "use_listings_cache", "listings_expiry_time", "max_paths"}
)
_OWN = frozenset({"client", "service_uri", "pinned", "pins"})


class PathNotFoundError(NotFoundError, FileNotFoundError):
    """Nothing is there: no such key, repo or version; for fsspec a missing file like any other."""


class _Keyed(type(AsyncFileSystem)):  # type: ignore[misc]  # fsspec is untyped
    """Sees to it that instances are shared where, and only where, they read the same of the same catalog."""

    def __call__(cls, **options: object) -> "ArraylakeFileSystem":
        options = apply_config(cls, options)
        unknown = sorted(options.keys() - _GENERAL - _OWN)
        if unknown:
            raise InvalidOptionError(
                f"unknown storage option {shown(unknown[0])} of {PROTOCOL}://: known are {', '.join(sorted(_OWN | _GENERAL))}. "
                "A token belongs to the client: client=Client(uri, token=...), or ARRAYLAKE_TOKEN"
            )
        if options.get("client") is None:
            options.pop("client", None)
            options["service_uri"] = _handle(options.get("service_uri"))
        elif options.get("service_uri") is not None:
            raise InvalidOptionError("give either client or service_uri: a client has its own catalog")
        if _is_pinned(options) or "client" in options:
            # A pinned instance is of one moment, and fsspec can't tell two clients of the same catalog from each other.
            options["skip_instance_cache"] = True
        return super().__call__(**options)  # type: ignore[no-any-return]


def _is_pinned(options: "Mapping[str, object]") -> bool:
    pinned = options.get("pinned")
    return bool(options.get("asynchronous") or options.get("pins")) if pinned is None else bool(pinned)


def _handle(service_uri: object) -> str:
    """Return what opens the catalog of a URI again, without any secret that the URI may have."""
    from arraylake_core.catalog.open import catalog_from_uri, default_uri

    if service_uri is None:
        service_uri = default_uri()
    if not isinstance(service_uri, str):
        raise InvalidOptionError(f"service_uri is text, as Client takes it, not a {type(service_uri).__name__}")
    return service_uri if service_uri.startswith("memory:") else catalog_from_uri(service_uri).handle


class ArraylakeFileSystem(AsyncFileSystem, metaclass=_Keyed):  # type: ignore[misc]  # fsspec is untyped
    """The keys of repos as files to read: ``al://org/repo@ref/group/array/zarr.json``.

    ``al://`` lists the organizations, ``al://org`` its repos, ``al://org/repo@ref`` what the root group has in that version. Without a ref it is
    that of ``main``; a slash in a ref is written ``%2F``.

    Parameters
    ----------
    service_uri
        The catalog, as ``Client`` takes it; by default that of the settings.
    client
        A ``Client`` or ``AsyncClient`` instead.
    pinned
        Whether a branch is read for good as it was when this instance first came to it. By default so where the instance is asynchronous, as those
        are that zarr and xarray make of a URL, each its own: what was opened never changes under their hands. Else every call reads what the branch
        has then.
    pins
        Commits to read instead of branches; pickles of pinned instances carry them, so that all workers read the same.
    **options
        What fsspec gives to every file system.

    Examples
    --------
    >>> import fsspec
    >>> from arraylake_core import Client
    >>> client = Client("memory://")
    >>> repo = client.create_repo("me/ocean")
    >>> group = repo.root_group
    >>> commit = repo.commit("An empty group")
    >>> fsspec.filesystem("al", client=client).ls("al://me/ocean", detail=False)
    ['me/ocean/zarr.json']
    """

    protocol = PROTOCOL
    # What is there is asked of the catalog and of the repo, which keep what they know: no listing is kept here that could be stale.
    use_listings_cache = False

    def __init__(
        self,
        *,
        service_uri: str | None = None,
        client: "Client | AsyncClient | None" = None,
        pinned: bool | None = None,
        pins: "Mapping[str, str] | None" = None,
        **options: object,
    ) -> None:
        super().__init__(**options)
        aio = _async_client(client if client is not None else service_uri)
        self._client = aio
        self._versions = Versions(aio, pinned=_is_pinned({"pinned": pinned, "pins": pins, **options}), pins=pins)

    @classmethod
    def _strip_protocol(cls, path: str | os.PathLike[str] | list[str]) -> str | list[str]:
        stripped: str | list[str] = super()._strip_protocol(path)
        return stripped.lstrip("/") if isinstance(stripped, str) else stripped

    @property
    def pinned(self) -> bool:
        """Whether a branch is read for good as it was when it was first read."""
        return self._versions.pinned

    @property
    def fsid(self) -> str:
        """What tells catalogs apart."""
        return f"{PROTOCOL}_{self._client.service_uri}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._client.service_uri}{', pinned' if self.pinned else ''}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArraylakeFileSystem) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity()[:-1])

    def _identity(self) -> tuple[object, ...]:
        catalog, registry = self._client._catalog.handle, self._client._registry.token
        return type(self).__name__, catalog, registry, self.pinned, tuple(sorted(self._versions.pins.items()))

    def __dask_tokenize__(self) -> tuple[object, ...]:
        return self._identity()

    def __reduce__(self) -> tuple[object, ...]:
        options = dict(self.storage_options)
        if self.pinned:
            options |= {"pinned": True, "pins": dict(self._versions.pins)}
        return _wake_up, (type(self), options)

    def to_dict(self, *, include_password: bool = True) -> dict[str, object]:
        """Return what makes the same file system again, as JSON has it; a client by the URI of its catalog."""
        options = {name: value for name, value in self.storage_options.items() if name not in ("client", "loop")}
        options["service_uri"] = self._client._catalog.handle
        if self._versions.pins:
            options["pins"] = dict(self._versions.pins)
        kind = type(self)
        return {"cls": f"{kind.__module__}:{kind.__name__}", "protocol": PROTOCOL, "args": (), **options}

    # Finding what is there. The catalog is asked on the loop that blocking callers share, which closes its connections when the process ends; fsspec's
    # own loop is never shut down.

    async def _info(self, path: str, **options: object) -> Info:
        with _missing():
            url = RepoUrl.parse(path)
            name = str(self._strip_protocol(path))
            if not url.repo:
                if url.org:
                    await on_shared_loop(self._client.list_repos(url.org, page=1, size=1))
                return _directory(name)
            version = await self._versions.at(url)
            if not url.path:
                return _directory(name, version)
            return await self._entry(version, url.path, name, url)

    async def _entry(self, version: Version, key: str, name: str, url: RepoUrl | None = None) -> Info:
        size = await file_size(version.store, key)
        if size is not None:
            return {"name": name, "size": size, "type": "file", "commit": version.commit}
        # What was found in a listing, and is no key, is a directory.
        if url is None or await is_directory(version.store, key):
            return _directory(name, version)
        raise _no_such(url)

    async def _exists(self, path: str, **options: object) -> bool:
        try:
            await self._info(path)
        except FileNotFoundError:
            return False
        return True

    async def _ls(self, path: str, detail: bool = True, **options: object) -> list[Info] | list[str]:
        with _missing():
            url = RepoUrl.parse(path)
            name = str(self._strip_protocol(path))
            if not url.repo:
                found = await self._directories(url.org)
                return found if detail else [str(info["name"]) for info in found]
            version = await self._versions.at(url)
            names = await names_in(version.store, url.path)
            if not names and url.path:
                info = await self._entry(version, url.path, name, url)
                return [info] if detail else [name]
            if not detail:
                return [f"{name}/{child}" for child in names]
            prefix = f"{url.path}/" if url.path else ""
            return await self._gather([self._entry(version, f"{prefix}{child}", f"{name}/{child}") for child in names])

    async def _directories(self, org: str) -> list[Info]:
        if not org:
            return [_directory(each.name) for each in await on_shared_loop(self._client.list_orgs())]
        repos = await on_shared_loop(self._client.list_repos(org))
        return [{**_directory(repo.full_name), "kind": repo.kind, "description": repo.description} for repo in repos]

    async def _find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, **options: object
    ) -> list[str] | dict[str, Info]:
        if maxdepth is not None and maxdepth < 1:
            raise ValueError("maxdepth must be at least 1")
        url = RepoUrl.parse(path)
        if not url.repo:
            found: list[str] | dict[str, Info] = await super()._find(path, maxdepth, withdirs, **options)
            return found
        name = str(self._strip_protocol(path))
        try:
            with _missing():
                version = await self._versions.at(url)
        except FileNotFoundError:
            return {} if options.get("detail") else []
        root = len(url.path) + 1 if url.path else 0
        files, directories = set[str](), set[str]()
        async for key in keys_below(version.store, url.path):
            parts = key[root:].split("/")
            if maxdepth is None or len(parts) <= maxdepth:
                files.add(f"{name}/{key[root:]}")
            if withdirs:
                directories |= {"/".join((name, *parts[:depth])) for depth in range(len(parts[:-1][:maxdepth]) + 1)}
        if not files and not directories and url.path and await file_size(version.store, url.path) is not None:
            files.add(name)
        if not options.get("detail"):
            return sorted(files | directories)
        ordered, cut = sorted(files), len(name) - len(url.path)
        infos = await self._gather([self._entry(version, each[cut:].lstrip("/"), each) for each in ordered])
        return dict(
            sorted(
                {**{each: _directory(each, version) for each in directories}, **dict(zip(ordered, infos, strict=True))}.items()
            )
        )

    async def _gather(self, entries: "Sequence[object]") -> list[Info]:
        found: list[Info] = await _run_coros_in_chunks(entries, batch_size=self.batch_size or 128)
        return found

    # Reading

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> bytes:
        # That a repo or version is missing is an error of ours here, and neither FileNotFoundError nor KeyError: zarr would take these for an empty
        # store, and begin to write one.
        url = RepoUrl.parse(path)
        if not url.repo:
            raise _no_such(url)
        try:
            version = await self._versions.at(url)
        except RefNotFoundError as error:
            raise NotFoundError(str(error)) from error
        return await self._read(version, url, start, end)

    async def _read(self, version: Version, url: RepoUrl, start: int | None, end: int | None) -> bytes:
        data = await read(version.store, url.path, start, end)
        if data is None:
            raise _no_such(url)
        return data

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: int | list[int] | None,
        ends: int | list[int] | None,
        max_gap: int | None = None,
        **options: object,
    ) -> list[bytes]:
        # Every range is a request of its own anyway: the store knows how it best reads them.
        found: list[bytes] = await super()._cat_ranges(paths, starts, ends, **options)
        return found

    async def _get_file(
        self, rpath: str, lpath: str | os.PathLike[str], callback: "Callback" = DEFAULT_CALLBACK, **options: object
    ) -> None:
        if await self._isdir(rpath):
            await asyncio.to_thread(Path(lpath).mkdir, parents=True, exist_ok=True)
            return
        data = await self._cat_file(rpath)
        callback.set_size(len(data))
        await asyncio.to_thread(_write, Path(lpath), data)
        callback.relative_update(len(data))

    def _open(self, path: str, mode: str = "rb", **options: object) -> "_File":
        if mode != "rb":
            _refuse(path)
        version, size = sync(self.loop, self._start, path)
        return _File(self, path, version, {**options, "size": size})

    async def open_async(self, path: str, mode: str = "rb", **options: object) -> "_AsyncFile":
        """Open a key for reading by asyncio."""
        if mode != "rb":
            _refuse(path)
        version, size = await self._start(path)
        return _AsyncFile(self, path, version, {**options, "size": size})

    async def _start(self, path: str) -> tuple[Version, int]:
        """Return the version that a file is read from to its end, whatever is committed meanwhile, and the size of the file."""
        with _missing():
            url = RepoUrl.parse(path)
            version = await self._versions.at(url) if url.repo else None
            size = await file_size(version.store, url.path) if version is not None and url.path else None
            if version is None or size is None:
                raise _no_such(url)
            return version, size

    # Writing, which goes through the repo

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> NoReturn:
        _refuse(path)

    async def _put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **options: object) -> NoReturn:
        _refuse(rpath)

    async def _cp_file(self, path1: str, path2: str, **options: object) -> NoReturn:
        _refuse(path2)

    async def _rm_file(self, path: str, **options: object) -> NoReturn:
        _refuse(path)

    async def _rm(self, path: str | list[str], recursive: bool = False, **options: object) -> NoReturn:
        _refuse(path if isinstance(path, str) else path[0])

    async def _mkdir(self, path: str, create_parents: bool = True, **options: object) -> NoReturn:
        _refuse(path)

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        if not (exist_ok and await self._isdir(path)):
            _refuse(path)

    def rmdir(self, path: str) -> NoReturn:
        """Refuse."""
        _refuse(path)

    def touch(self, path: str, truncate: bool = True, **options: object) -> NoReturn:
        """Refuse."""
        _refuse(path)

    def mv(self, path1: str, path2: str, **options: object) -> NoReturn:
        """Refuse."""
        _refuse(path1)


class _File(AbstractBufferedFile):  # type: ignore[misc]  # fsspec is untyped
    """A key that is read from one version to its end."""

    def __init__(self, fs: ArraylakeFileSystem, path: str, version: Version, options: dict[str, object]) -> None:
        super().__init__(fs, path, "rb", **options)
        self._version, self._url = version, RepoUrl.parse(path)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return sync(self.fs.loop, self.fs._read, self._version, self._url, start, end)  # type: ignore[no-any-return]


class _AsyncFile(AbstractAsyncStreamedFile):  # type: ignore[misc]  # fsspec is untyped
    """The same by asyncio."""

    def __init__(self, fs: ArraylakeFileSystem, path: str, version: Version, options: dict[str, object]) -> None:
        super().__init__(fs, path, "rb", **options)
        self._version, self._url = version, RepoUrl.parse(path)

    async def _fetch_range(self, start: int, end: int) -> bytes:
        return await self.fs._read(self._version, self._url, start, end)  # type: ignore[no-any-return]

    async def __aenter__(self) -> Self:
        return self


@contextmanager
def _missing() -> "Iterator[None]":
    """Say in fsspec's way that something is not there: what has no valid name is not there either."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (NotFoundError, InvalidNameError) as error:
        raise PathNotFoundError(str(error)) from error


def _no_such(url: RepoUrl) -> PathNotFoundError:
    return PathNotFoundError(f"there is no key {shown(url.path)} in {url._replace(path='')}" if url.repo else f"{url} is no file")


def _refuse(path: str) -> NoReturn:
    try:
        url = RepoUrl.parse(path)
    except InvalidNameError:
        url = RepoUrl()
    repo = url.full_name if url.repo else "org/repo"
    raise ReadOnlyError(
        f"{PROTOCOL}:// URLs are for reading, and {shown(path)} was not changed: open the repo, repo = Client().get_repo({repo!r}), write to "
        "repo.store, and repo.commit(...)"
    )


def _directory(name: str, version: Version | None = None) -> Info:
    return {"name": name, "size": 0, "type": "directory", **({"commit": version.commit} if version else {})}


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _wake_up(kind: "Callable[..., ArraylakeFileSystem]", options: dict[str, object]) -> ArraylakeFileSystem:
    return kind(**options)


def _async_client(given: object) -> "AsyncClient":
    from arraylake_core.client.aio import AsyncClient
    from arraylake_core.client.sync import Client

    if isinstance(given, Client):
        return given._aio
    if isinstance(given, AsyncClient):
        return given
    if isinstance(given, str):
        return AsyncClient(given)
    raise InvalidOptionError(f"client is a Client or an AsyncClient of arraylake-core, not a {type(given).__name__}")
