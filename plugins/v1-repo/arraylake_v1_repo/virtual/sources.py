"""Source files of virtual chunks: fingerprinted when they are added, and read only while they are what they were."""

import asyncio
import os
import stat
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.backends import VirtualSource
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.errors import StorageError
from arraylake_core.loops import submit
from arraylake_v1_repo.virtual.grants import GrantedFile, find_grant, granted_path, shown_url

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

__all__ = ["SourceFile", "SourceReader"]


_LISTED_TOGETHER = 32
"""So many files below one prefix are fingerprinted by listing it, fewer by asking for each."""

_AT_ONCE = 32


class SourceFile(msgspec.Struct, frozen=True):
    """A source file as it was when references into it were made.

    Parameters
    ----------
    url
        Where it is.
    size
        In bytes.
    etag
        What the object store calls this version of it; None for local files.
    modified
        When it was last modified, in nanoseconds since the epoch: of local files, and of objects without an ETag.
    """

    url: str
    size: int
    etag: str | None = None
    modified: int | None = None

    def describe(self) -> str:
        """Say which version it is, for messages."""
        version = f"ETag {self.etag}" if self.etag is not None else f"modified {self.modified} ns after the epoch"
        return f"{self.size} bytes, {version}"


class SourceReader:
    """Reads source files below granted prefixes, each with the credentials of its own grant, and nothing else.

    It may be used from any event loop, and pickles without secrets.

    Parameters
    ----------
    grants
        ``RepoContext.virtual_sources``.
    """

    def __init__(self, grants: Sequence[VirtualSource]) -> None:
        self._grants = tuple(grants)
        self._stores: dict[str, ObjectStore] = {}

    def __reduce__(self) -> "tuple[type[SourceReader], tuple[tuple[VirtualSource, ...]]]":
        return SourceReader, (self._grants,)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The granted URL prefixes."""
        return tuple(grant.prefix for grant in self._grants)

    def check(self, url: str) -> GrantedFile:
        """Return the grant by which a file is read, before anything is asked of its store.

        Raises
        ------
        PermissionDeniedError
            There is none.
        """
        file = find_grant(url, self._grants)
        if file.grant.store.protocol == "file":
            granted_path(file)
        return file

    async def fingerprint(self, url: str) -> SourceFile:
        """Return what a source file is now.

        Raises
        ------
        PermissionDeniedError
            It does not lie below a granted prefix.
        StorageError
            It can't be read.
        """
        file = self.check(url)
        if file.grant.store.protocol == "file":
            return await asyncio.to_thread(_fingerprint_local, file)
        found = await self._head(file)
        if found is None:
            raise StorageError(f"the source file {shown_url(url)} does not exist: check the URL")
        return found

    async def fingerprints(self, urls: Iterable[str]) -> list[SourceFile]:
        """Return what ``fingerprint`` returns for each of many files, with few requests where they lie together."""
        files = [self.check(url) for url in urls]
        found: dict[str, SourceFile] = {}
        for grant in self._grants:
            remote = [file for file in files if file.grant is grant and grant.store.protocol != "file"]
            if len(remote) > _LISTED_TOGETHER:
                found |= await self._list(remote)
        missing = [file for file in files if file.url not in found]
        if all(file.grant.store.protocol == "file" for file in missing):
            local = await asyncio.to_thread(lambda: [_fingerprint_local(file) for file in missing])
            found |= {source.url: source for source in local}
        else:
            turn = asyncio.Semaphore(_AT_ONCE)

            async def one(url: str) -> SourceFile:
                async with turn:
                    return await self.fingerprint(url)

            for source in await asyncio.gather(*(one(file.url) for file in missing)):
                found[source.url] = source
        return [found[file.url] for file in files]

    async def read(self, source: SourceFile, offset: int, length: int) -> bytes:
        """Return a part of a source file, which must be what it was when it was fingerprinted.

        Raises
        ------
        PermissionDeniedError
            It does not lie below a granted prefix.
        StorageError
            It has changed or vanished since, or can't be read.
        """
        file = self._checked(source, offset, length)
        if file.grant.store.protocol == "file":
            return await asyncio.to_thread(_read_local, file, source, offset, length)
        return await self._read_object(file, source, offset, length) if length else b""

    def read_blocking(self, source: SourceFile, offset: int, length: int) -> bytes:
        """Do what ``read`` does, from a thread without an event loop; local files are read in that very thread."""
        file = self._checked(source, offset, length)
        if file.grant.store.protocol == "file":
            return _read_local(file, source, offset, length)
        return submit(self.read(source, offset, length)).result()

    def _checked(self, source: SourceFile, offset: int, length: int) -> GrantedFile:
        file = find_grant(source.url, self._grants)
        if offset < 0 or length < 0 or offset + length > source.size:
            raise StorageError(
                f"{length} bytes at {offset} of the source file {shown_url(source.url)} were asked for, which has {source.size}: "
                "the reference is wrong, add the file again"
            )
        return file

    async def store(self, grant: VirtualSource) -> "ObjectStore":
        """Return the obstore store of a grant, rooted at its prefix."""
        if grant.prefix not in self._stores:
            self._stores[grant.prefix] = await open_object_store(grant.store)
        return self._stores[grant.prefix]

    async def _read_object(self, file: GrantedFile, source: SourceFile, offset: int, length: int) -> bytes:
        from obstore.exceptions import BaseError, NotFoundError, PreconditionError

        store = await self.store(file.grant)
        options: dict[str, object] = {"range": (offset, offset + length)}
        if source.etag is not None:
            # The check and the read are one request, so that nothing can come between them.
            options["if_match"] = source.etag
        try:
            answer = await store.get_async(file.key, options=options)  # type: ignore[arg-type]
            now = _from_meta(file.url, answer.meta)
            body = bytes(await answer.bytes_async()) if now == source else b""
        except (NotFoundError, FileNotFoundError):
            raise _changed(source, None) from None
        except PreconditionError:
            raise _changed(source, await self._head(file)) from None
        except BaseError as error:
            now_or_none = await self._head(file)
            if now_or_none != source:
                raise _changed(source, now_or_none) from None
            raise _failed(source.url, error) from None
        if now != source:
            raise _changed(source, now)
        if len(body) != length:
            raise StorageError(
                f"{length} bytes at {offset} of the source file {shown_url(source.url)} were asked for, and {len(body)} came: try again"
            )
        return body

    async def _head(self, file: GrantedFile) -> SourceFile | None:
        from obstore.exceptions import BaseError, NotFoundError

        store = await self.store(file.grant)
        try:
            return _from_meta(file.url, await store.head_async(file.key))
        except (NotFoundError, FileNotFoundError):
            return None
        except BaseError as error:
            raise _failed(file.url, error) from None

    async def _list(self, files: Sequence[GrantedFile]) -> dict[str, SourceFile]:
        """Fingerprint files of one grant by listing the deepest prefix that they share."""
        from obstore.exceptions import BaseError

        wanted = {file.key: file.url for file in files}
        first, last = (directory.split("/")[:-1] for directory in (min(wanted), max(wanted)))
        # Whatever the two ends of the sorted keys share, all of them share.
        shared = "/".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
        store = await self.store(files[0].grant)
        found: dict[str, SourceFile] = {}
        try:
            async for batch in store.list_async(prefix=shared or None):
                for meta in batch:
                    if url := wanted.get(meta["path"]):
                        found[url] = _from_meta(url, meta)
        except BaseError as error:
            raise _failed(files[0].url, error) from None
        return found


def _from_meta(url: str, meta: "ObjectMeta") -> SourceFile:
    etag = meta["e_tag"]
    modified = None if etag is not None else int(meta["last_modified"].timestamp() * 1_000_000) * 1000
    return SourceFile(url, meta["size"], etag, modified)


def _open_local(file: GrantedFile) -> int:
    """Open a local file below its grant; return the descriptor."""
    path = granted_path(file)
    # The path has no link left; should one be put there now, it is not followed. A pipe must not make the reader wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if granted_path(file) != path:
            raise StorageError(f"the source file {shown_url(file.url)} was moved while it was opened: try again")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _from_descriptor(file: GrantedFile, descriptor: int) -> SourceFile:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(f"the source file {shown_url(file.url)} is no regular file: check the URL")
    return SourceFile(file.url, status.st_size, None, status.st_mtime_ns)


def _fingerprint_local(file: GrantedFile) -> SourceFile:
    try:
        descriptor = _open_local(file)
    except FileNotFoundError:
        raise StorageError(f"the source file {shown_url(file.url)} does not exist: check the URL") from None
    except OSError as error:
        raise _failed(file.url, error) from None
    try:
        return _from_descriptor(file, descriptor)
    finally:
        os.close(descriptor)


def _read_local(file: GrantedFile, source: SourceFile, offset: int, length: int) -> bytes:
    try:
        descriptor = _open_local(file)
    except (FileNotFoundError, NotADirectoryError):
        raise _changed(source, None) from None
    except OSError as error:
        raise _failed(file.url, error) from None
    try:
        body = bytearray()
        while len(body) < length and (part := os.pread(descriptor, length - len(body), offset + len(body))):
            body += part
        # Looked at after the bytes were read: a change that came between would show.
        now = _from_descriptor(file, descriptor)
    except OSError as error:
        raise _failed(file.url, error) from None
    finally:
        os.close(descriptor)
    if now != source:
        raise _changed(source, now)
    return bytes(body)


def _changed(source: SourceFile, now: SourceFile | None) -> StorageError:
    found = "is gone" if now is None else f"is another now ({now.describe()})"
    return StorageError(
        f"the source file {shown_url(source.url)} {found}: references into it were made when it had {source.describe()}. "
        "Put that version back, or add the file again and commit"
    )


def _failed(url: str, error: Exception) -> StorageError:
    reason = str(error).strip().partition("\n")[0][:300]
    return StorageError(
        f"the source file {shown_url(url)} can't be read: {type(error).__name__}: {reason}. Check its bucket config and try again"
    )
