"""Migrating a repo with its whole history to another kind: as a copy under a new name, checked byte for byte before it is said to be done.

Every commit that a branch or tag reaches is written in order on a working branch of the copy, stamped with the id that it had; with the stamps, a second try
knows what the first one did. The working branch goes away when all was compared, so that its presence means that a migration is not finished.
"""

import asyncio
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from arraylake_core.backends.history import (
    GivesHistory,
    History,
    HistoryWriter,
    NodeChange,
    StoredChunk,
    TakesHistory,
    VirtualChunk,
)
from arraylake_core.backends.repo_kind import RepoBackend, RepoOptions
from arraylake_core.client.repos import RepoRequest, Repos
from arraylake_core.errors import AlreadyExistsError, InvalidOptionError, RepoNotFoundError, StorageError
from arraylake_core.models import CommitInfo, RepoModel
from arraylake_core.names import RepoName, parse_repo_name, shown

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["MigrationReport", "migrate_repo"]

_AT_ONCE = 32
_ROOM = 256 * 2**20
_VIRTUAL_AT_ONCE = 100_000

type Report = Callable[[str, int, int], None]


class MigrationReport(msgspec.Struct, kw_only=True):
    """What a migration did.

    Parameters
    ----------
    repo, kind
        The full name of the copy, and its kind.
    migrated_from
        The full name of the repo that it is a copy of.
    commits
        How many commits this call has written.
    branches, tags
        Each branch and tag of the other repo, and the id of its commit in the copy.
    verified_keys, verified_bytes
        How much was compared by this call; 0 where an earlier one had finished.
    digests
        Of each commit of the copy that was compared: of all its keys and bytes, BLAKE2b in hex digits.
    """

    repo: str
    kind: str
    migrated_from: str
    commits: int = 0
    branches: dict[str, str] = {}
    tags: dict[str, str] = {}
    verified_keys: int = 0
    verified_bytes: int = 0
    digests: dict[str, str] = {}


class _Pending(NamedTuple):
    info: CommitInfo
    since: str | None


async def migrate_repo(
    repos: Repos,
    name: RepoName,
    to: str,
    new_name: str | None,
    nickname: str | None,
    progress: Report | None = None,
) -> MigrationReport:
    """Copy a repo to another kind, or go on with a copy that was interrupted or that the repo has outgrown."""
    report = progress or (lambda what, done, total: None)
    record = await repos.catalog.get_repo(*name)
    if record.kind == to:
        raise InvalidOptionError(f"{name} is of the kind {to} already: there is nothing to migrate")
    giver, taker = repos.registry.repo_kind(record.kind), repos.registry.repo_kind(to)
    if not isinstance(giver, GivesHistory):
        raise InvalidOptionError(f"repos of the kind {record.kind} can't be migrated: the kind does not give its history")
    if not isinstance(taker, TakesHistory):
        raise InvalidOptionError(f"{name} can't be migrated to the kind {to}: the kind does not take the history of others")
    target = parse_repo_name(new_name or f"{name}-{to}", new=True)
    if target.org != name.org:
        raise InvalidOptionError(f"the copy stays in the organization: take new_name='{name.org}/{target.repo}'")
    options = RepoOptions()
    source = await repos.open(name, read_only=True, checkout=False, options=options, virtual=None)
    history = giver.history(source)
    plan = _Plan(history, taker, record.virtual_chunk_containers)
    try:
        copy = await repos.open(target, read_only=False, checkout=False, options=options, virtual=None)
    except RepoNotFoundError:
        await plan.make({}, report)
        copy = await repos.create(target, _request(record, to, nickname))
    if copy.kind != to:
        raise AlreadyExistsError(f"{target} is a repo of the kind {copy.kind}: take another new_name")
    writer = taker.history_writer(copy, sorted(await history.branches()))
    stamp = f"{history.kind}_commit"
    if await writer.is_foreign(stamp):
        raise AlreadyExistsError(f"{target} is another repo, no copy of {name}: take another new_name")
    result = MigrationReport(repo=str(target), kind=to, migrated_from=str(name))
    await _Migration(history, writer, stamp, result, report).run(plan)
    return result


def _request(record: RepoModel, kind: str, nickname: str | None) -> RepoRequest:
    return RepoRequest(
        nickname=nickname or (record.bucket.nickname if record.bucket else None),
        kind=kind,
        prefix=None,
        description=record.description,
        metadata=record.metadata,
        options=RepoOptions(),
        virtual=record.virtual_chunk_containers,
    )


class _Plan:
    """Which commits are to be written, in which order.

    Parameters
    ----------
    history
        What is copied.
    taker
        The kind that it is copied to.
    containers
        Where virtual chunks may lie.
    """

    def __init__(self, history: History, taker: RepoBackend, containers: Mapping[str, str]) -> None:
        self._history, self._containers = history, [url.rstrip("/") + "/" for url in containers]
        assert isinstance(taker, TakesHistory)
        self._taker = taker
        self._everything: list[_Pending] | None = None

    async def make(self, known: Mapping[str, str], report: Report) -> list[_Pending]:
        """Return the commits that are not known yet, parents first.

        Raises
        ------
        InvalidOptionError
            The other kind can't take one of them.
        """
        if self._everything is not None and not known:
            return self._everything
        pending: dict[str, _Pending] = {}
        for head in [*(await self._history.branches()).values(), *(await self._history.tags()).values()]:
            chain: list[_Pending] = []
            async for info in self._history.ancestry(head):
                if chain:
                    chain[-1] = chain[-1]._replace(since=info.id)
                if info.id in known or info.id in pending:
                    break
                chain.append(_Pending(info, None))
            pending.update((found.info.id, found) for found in reversed(chain))
        for number, commit in enumerate(pending.values()):
            report("Looking at commits", number, len(pending))
            async for change in self._history.changes(commit.info.id, commit.since):
                self._taker.check_change(change)
                async for _, chunk in change.chunks():
                    if isinstance(chunk, VirtualChunk) and not chunk.url.startswith(tuple(self._containers)):
                        raise InvalidOptionError(
                            f"a chunk of {shown(f'/{change.path}')} lies in {shown(chunk.url)}, which no virtual chunk container of the repo covers any "
                            "more: nothing was written; client.update_virtual_chunk_containers adds one"
                        )
        if not known:
            self._everything = list(pending.values())
        return list(pending.values())


class _Migration:
    """One migration that goes on.

    Parameters
    ----------
    history, writer
        From where and where to.
    stamp
        The key of the commit metadata that holds the id that a commit had.
    result
        What was done.
    report
        Is told how far it is.
    """

    def __init__(self, history: History, writer: HistoryWriter, stamp: str, result: MigrationReport, report: Report) -> None:
        self._history, self._writer, self._stamp, self._result, self._report = history, writer, stamp, result, report

    async def run(self, plan: _Plan) -> None:
        """Write what is missing, and compare."""
        history, writer, result = self._history, self._writer, self._result
        branches, tags = await history.branches(), await history.tags()
        known = await writer.commits(self._stamp)
        pending = await plan.make(known, self._report)
        for number, commit in enumerate(pending):
            self._report("Writing commits", number, len(pending))
            known[commit.info.id] = await self._write(commit, known)
            await self._point(commit.info.id, known, branches, tags)
        for head in {*branches.values(), *tags.values()}:
            await self._point(head, known, branches, tags)
        result.commits = len(pending)
        result.branches = {branch: known[commit] for branch, commit in branches.items()}
        result.tags = {tag: known[commit] for tag, commit in tags.items()}
        if pending or await writer.is_going_on():
            heads = list(dict.fromkeys([*branches.values(), *tags.values()]))
            for number, head in enumerate(heads):
                self._report("Comparing versions", number, len(heads))
                await self._compare(head, known[head])
            await writer.finish()

    async def _write(self, pending: _Pending, known: Mapping[str, str]) -> str:
        info = pending.info
        await self._writer.begin(known[pending.since] if pending.since is not None else None)
        async for change in self._history.changes(info.id, pending.since):
            await self._apply(change)
        kind = self._history.kind
        stamps: dict[str, object] = {self._stamp: info.id, f"{kind}_time": info.time.isoformat()}
        if overwritten := {key: value for key, value in info.metadata.items() if key in {*stamps, "author_name", "author_email"}}:
            stamps[f"{kind}_metadata"] = overwritten
        return await self._writer.commit(info, {**info.metadata, **stamps})

    async def _apply(self, change: NodeChange) -> None:
        writer = self._writer
        start = f"{change.path}/" if change.path else ""
        if change.anew or not (change.documents or change.loose):
            await writer.delete_node(change.path)
        if not change.anew:
            # Before the documents: an array that has shrunk has no place for them afterwards.
            async for name, chunk in change.chunks():
                if chunk is None:
                    await writer.delete(start + name)
        for name, document in change.documents.items():
            await writer.put(start + name, document)
        waiting: set[asyncio.Task[None]] = set()
        held = 0
        virtual: list[tuple[str, VirtualChunk]] = []
        try:
            async for name, chunk in change.chunks():
                if isinstance(chunk, VirtualChunk):
                    virtual.append((name, chunk))
                    if len(virtual) >= _VIRTUAL_AT_ONCE:
                        await writer.put_virtual(change.path, virtual)
                        virtual = []
                elif chunk is not None:
                    if len(waiting) >= _AT_ONCE or (waiting and held + chunk.length > _ROOM):
                        await asyncio.gather(*waiting)
                        waiting.clear()
                        held = 0
                    held += chunk.length
                    waiting.add(asyncio.ensure_future(self._copy(start + name, chunk)))
            await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()
        if virtual:
            await writer.put_virtual(change.path, virtual)

    async def _copy(self, key: str, chunk: StoredChunk) -> None:
        await self._writer.put(key, await chunk.read())

    async def _point(self, commit: str, known: Mapping[str, str], branches: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Let the branches and tags that end at a commit point to its copy, as soon as that is there."""
        for name, head in branches.items():
            if head == commit:
                await self._writer.point_branch(name, known[head])
        for name, head in tags.items():
            if head == commit:
                await self._writer.point_tag(name, known[head])

    async def _compare(self, commit: str, copy: str) -> None:
        """Compare all keys and bytes of a version with those of its copy."""
        one, two = await self._history.store(commit), await self._writer.store(copy)
        mine, theirs = await _digests(one), await _digests(two)
        wrong = sorted(key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key))
        if wrong:
            raise StorageError(
                f"the copy of the commit {commit} in {self._result.repo} is not the same: {len(wrong)} keys differ, such as {shown(wrong[0])}; nothing was "
                f"said to be done. Run verify on {self._result.migrated_from}, delete {self._result.repo}, and migrate again"
            )
        whole = blake2b(digest_size=32)
        for key, found in sorted(mine.items()):
            whole.update(key.encode() + b"\0" + found.digest)
        self._result.digests[copy] = whole.hexdigest()
        self._result.verified_keys += len(mine)
        self._result.verified_bytes += sum(found.length for found in mine.values())


class _Digest(NamedTuple):
    digest: bytes
    length: int


async def _digests(store: "Store") -> dict[str, _Digest]:
    from zarr.core.buffer import default_buffer_prototype

    prototype = default_buffer_prototype()

    async def one(key: str) -> tuple[str, _Digest]:
        found = await store.get(key, prototype)
        data = found.to_bytes() if found is not None else b""
        return key, _Digest(blake2b(data, digest_size=32).digest(), len(data) if found is not None else -1)

    keys = sorted([key async for key in store.list()])
    digests: dict[str, _Digest] = {}
    begin, largest = 0, 1
    while begin < len(keys):
        # As many at once as fit into memory, if they are like those that were seen.
        count = max(1, min(_AT_ONCE, _ROOM // largest))
        found = await asyncio.gather(*map(one, keys[begin : begin + count]))
        largest = max(largest, *(digest.length for _, digest in found))
        digests.update(found)
        begin += count
    return digests
