"""What commits reach: the snapshots, shards and chunks that they are made of."""

from collections.abc import Iterable

from arraylake_core.errors import RefNotFoundError
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.commits import expired_parents
from arraylake_v1_repo.format import Native, chunk_key, commit_key, manifest_key, snapshot_key
from arraylake_v1_repo.hierarchy import blocks

__all__ = ["Reached"]


class Reached:
    """The keys of all objects that some commits reach.

    Parameters
    ----------
    binding
        The repo.
    """

    def __init__(self, binding: Binding) -> None:
        self._binding = binding
        self.commits: set[str] = set()
        self.keys: set[str] = set()
        self.lengths: dict[str, int] = {}

    async def add(self, commits: Iterable[str], *, history: bool = True) -> None:
        """Add commits.

        Parameters
        ----------
        commits
            Their ids.
        history
            Whether those before them are added too, as far as they were not expired.
        """
        horizon = await expired_parents(self._binding) if history else frozenset()
        waiting = list(commits)
        while waiting:
            commit = waiting.pop()
            if commit in self.commits:
                continue
            found = await self._binding.reader.commit(commit)
            self.commits.add(commit)
            self.keys.add(commit_key(commit))
            await self._snapshot(bytes.fromhex(found.snapshot))
            if history and found.parent is not None and commit not in horizon:
                waiting.append(found.parent)

    async def try_add(self, commits: Iterable[str], *, history: bool = True) -> None:
        """Add commits, without those that are gone already."""
        for commit in commits:
            try:
                await self.add([commit], history=history)
            except RefNotFoundError:
                continue

    async def _snapshot(self, digest: bytes) -> None:
        key = snapshot_key(digest)
        if key in self.keys:
            return
        self.keys.add(key)
        for leaf in (await self._binding.reader.snapshot(digest)).leaves:
            key = snapshot_key(leaf.digest)
            if key in self.keys:
                continue
            self.keys.add(key)
            for node in (await self._binding.reader.table(leaf.digest)).nodes:
                for ref in node.loose.values():
                    if isinstance(ref, Native):
                        self._chunk(ref.digest, ref.length)
                if node.grid is not None:
                    for shard in blocks(node.grid).values():
                        await self._shard(shard)

    async def _shard(self, digest: bytes) -> None:
        key = manifest_key(digest)
        if key in self.keys:
            return
        self.keys.add(key)
        shard = await self._binding.reader.shard(digest)
        lengths = shard.length[shard.kind == 0].tolist()
        for chunk, length in zip(shard.digests(), lengths, strict=True):
            self._chunk(chunk, length)

    def _chunk(self, digest: bytes, length: int) -> None:
        key = chunk_key(digest)
        self.keys.add(key)
        self.lengths[key] = length
