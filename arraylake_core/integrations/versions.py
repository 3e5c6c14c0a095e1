"""Which version of a repo a URL reads: looked up at every call, or once and for all."""

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

from arraylake_core.errors import ArraylakeError, RefNotFoundError
from arraylake_core.integrations.url import RepoUrl
from arraylake_core.loops import on_shared_loop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zarr.abc.store import Store

    from arraylake_core.backends.repo_kind import RepoHandle
    from arraylake_core.client.aio import AsyncClient

__all__ = ["Version", "Versions"]


class Version(NamedTuple):
    """One version of a repo.

    Parameters
    ----------
    store
        Its zarr store.
    commit
        The id of its commit; "" for a kind that keeps no versions.
    """

    store: "Store"
    commit: str


class _Repo:
    """A repo that was opened for one ref; its checkout moves along with a branch."""

    def __init__(self) -> None:
        self.id = ""
        self.handle: RepoHandle | None = None
        self.turn = asyncio.Lock()
        self.next: asyncio.Task[Version] | None = None


class Versions:
    """The versions that URLs name.

    Parameters
    ----------
    client
        Whose catalog to look in.
    pinned
        Whether a branch is read for good as it was when it was first looked up.
    pins
        Commits that URLs are pinned to, by what ``RepoUrl.version`` says.
    """

    def __init__(self, client: "AsyncClient", *, pinned: bool, pins: "Mapping[str, str] | None" = None) -> None:
        self._client, self.pinned, self.pins = client, pinned, dict(pins or {})
        self._process = os.getpid()
        self._repos: dict[str, _Repo] = {}
        self._kept: dict[str, Version] = {}

    async def at(self, url: RepoUrl) -> Version:
        """Return the version that a URL names now, or for good where versions are pinned.

        Raises
        ------
        RepoNotFoundError, RefNotFoundError
            There is no such repo, or no such branch, tag or commit in it.
        """
        if self._process != os.getpid():
            # What is going on in a forked process's parent never comes to its end here.
            self._process, self._repos, self._kept = os.getpid(), {}, {}
        kept = self._kept.get(url.version)
        return kept if kept is not None else await on_shared_loop(self._next_look(url))

    async def _next_look(self, url: RepoUrl) -> Version:
        # Whoever comes while one look is going on shares the next one: however many ask at once, two looks do, and none is older than its question.
        repo = self._repos.setdefault(url.version, _Repo())
        if repo.next is None:
            repo.next = asyncio.create_task(self._take_turn(repo, url))
        return await asyncio.shield(repo.next)

    async def _take_turn(self, repo: _Repo, url: RepoUrl) -> Version:
        async with repo.turn:
            repo.next = None
            if url.version in self._kept:
                return self._kept[url.version]
            version = await self._look(repo, url)
            if self.pinned:
                self._kept[url.version] = version
                if version.commit:
                    self.pins[url.version] = version.commit
            return version

    async def _look(self, repo: _Repo, url: RepoUrl) -> Version:
        record = await self._client.get_repo_object(url.full_name)
        if repo.handle is None or repo.id != record.id:
            opened = await self._client.get_repo(url.full_name, read_only=True, checkout=False)
            repo.id, repo.handle = record.id, self._client.blocking(opened)
        return await asyncio.to_thread(_check_out, repo.handle, self.pins.get(url.version, url.ref), url)


def _check_out(handle: "RepoHandle", ref: str | None, url: RepoUrl) -> Version:
    # The protocol of handles blocks, whatever the kind, so that this runs in a thread.
    try:
        handle.checkout("main" if ref is None else ref, writable=False)
    except ArraylakeError as error:
        if handle.branches:
            raise _with_hint(error, url, handle) from None
        if ref is not None:
            raise RefNotFoundError(str(error)) from error
        # A kind without branches keeps no versions: its store is what there is.
        return Version(handle.store, "")
    return Version(handle.store, handle.status().base)


def _with_hint(error: ArraylakeError, url: RepoUrl, handle: "RepoHandle") -> ArraylakeError:
    # Where the ref was written with its slashes, its first part alone was taken for the ref.
    written = f"{url.ref}/{url.path}/"
    meant = [name for name in (*handle.branches, *handle.tags) if written.startswith(f"{name}/")]
    if not isinstance(error, RefNotFoundError) or not meant:
        return error
    return RefNotFoundError(f"{error}. A slash in a ref is written %2F, as in {url._replace(ref=meant[0], path='')}")
