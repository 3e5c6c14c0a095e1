"""What a repo's store does with the keys of Zarr's nodes: their documents and chunks, which every kind keeps."""

from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import cpu, default_buffer_prototype

from arraylake_core.backends.repo_kind import RepoHandle

__all__ = ["NodeKeyTests"]

CHUNK = np.arange(10, dtype="<i8").tobytes()


async def _read(store: Store, key: str, part: RangeByteRequest | OffsetByteRequest | SuffixByteRequest | None = None) -> bytes:
    found = await store.get(key, default_buffer_prototype(), part)
    assert found is not None
    return found.to_bytes()


async def _sorted(keys: AsyncIterator[str]) -> list[str]:
    return sorted([key async for key in keys])


class NodeKeyTests:
    """Keys of nodes; the attributes and the fixture ``repo``, a repo with nothing in it, are those of RepoStoreTests."""

    @pytest.fixture
    def nodes(self, repo: RepoHandle) -> Store:
        """Return the store of the repo with a root, a group and an array of four chunks in it, of which the third has not been written."""
        root = zarr.open_group(repo.store, mode="w")
        array = root.create_array("deep/array", shape=(40,), chunks=(10,), dtype="<i8", compressors=None, fill_value=0)
        array[:20], array[30:] = np.tile(np.arange(10), 2), np.arange(10)
        root.create_group("deeper")
        return repo.store

    @pytest.mark.parametrize(
        ("part", "expected"),
        [
            (None, CHUNK),
            (RangeByteRequest(8, 24), CHUNK[8:24]),
            (OffsetByteRequest(72), CHUNK[72:]),
            (SuffixByteRequest(16), CHUNK[-16:]),
        ],
        ids=["whole", "range", "offset", "suffix"],
    )
    async def test_nodes_are_read_whole_and_in_part(
        self, nodes: Store, part: RangeByteRequest | OffsetByteRequest | SuffixByteRequest | None, expected: bytes
    ) -> None:
        """A chunk, and a document."""
        assert await _read(nodes, "deep/array/c/1", part) == expected
        assert b'"node_type"' in await _read(nodes, "deep/zarr.json")

    async def test_nodes_that_are_not_there_have_no_content(self, nodes: Store) -> None:
        """Neither a chunk that was never written, nor one outside, nor a document."""
        for key in ("deep/array/c/2", "deep/nothing/zarr.json", "nothing/c/0"):
            assert await nodes.get(key, default_buffer_prototype()) is None
            assert not await nodes.exists(key)

    async def test_nodes_have_sizes(self, nodes: Store) -> None:
        """Of what is there."""
        assert await nodes.getsize("deep/array/c/0") == len(CHUNK)
        assert await nodes.exists("deep/array/c/0")
        with pytest.raises(FileNotFoundError):
            await nodes.getsize("deep/array/c/2")

    async def test_nodes_are_written_and_overwritten(self, nodes: Store) -> None:
        """Chunks by their keys, as zarr does it."""
        for body in (CHUNK, CHUNK[::-1]):
            await nodes.set("deep/array/c/2", cpu.Buffer.from_bytes(body))
            assert await _read(nodes, "deep/array/c/2") == body
        await nodes.set_if_not_exists("deep/array/c/2", cpu.Buffer.from_bytes(CHUNK))
        assert await _read(nodes, "deep/array/c/2") == CHUNK[::-1]

    async def test_nodes_are_listed(self, nodes: Store) -> None:
        """All, below a prefix, and one level."""
        array = ["deep/array/c/0", "deep/array/c/1", "deep/array/c/3", "deep/array/zarr.json"]
        everything = sorted([*array, "deep/zarr.json", "deeper/zarr.json", "zarr.json"])
        assert await _sorted(nodes.list()) == everything
        assert await _sorted(nodes.list_prefix("deep/array")) == array
        assert await _sorted(nodes.list_dir("")) == ["deep", "deeper", "zarr.json"]
        assert await _sorted(nodes.list_dir("deep")) == ["array", "zarr.json"]
        assert await _sorted(nodes.list_dir("deep/array/")) == ["c", "zarr.json"]

    async def test_nodes_that_are_deleted_are_gone(self, nodes: Store) -> None:
        """A chunk, twice, which does no harm; a directory, with all that is in it and nothing beside it; everything."""
        for _ in range(2):
            await nodes.delete("deep/array/c/1")
        assert await _sorted(nodes.list_prefix("deep/array")) == ["deep/array/c/0", "deep/array/c/3", "deep/array/zarr.json"]
        await nodes.delete_dir("deep")
        assert await _sorted(nodes.list()) == ["deeper/zarr.json", "zarr.json"]
        assert await nodes.is_empty("deep")
        assert not await nodes.is_empty("")
        await nodes.clear()
        assert await nodes.is_empty("")

    async def test_nodes_of_a_read_only_store_stay_as_they_are(self, nodes: Store) -> None:
        """It refuses, and says why."""
        reader = nodes.with_read_only(read_only=True)
        assert reader.read_only
        body = cpu.Buffer.from_bytes(CHUNK[::-1])
        attempts: list[Callable[[], Awaitable[None]]] = [
            lambda: reader.set("deep/array/c/0", body),
            lambda: reader.set_if_not_exists("deep/array/c/2", body),
            lambda: reader.delete("deep/array/c/0"),
            lambda: reader.delete_dir("deep"),
            lambda: reader.clear(),
        ]
        for attempt in attempts:
            with pytest.raises(Exception, match=r"read.only"):
                await attempt()
        array = zarr.open_array(nodes, path="deep/array", mode="r")
        with pytest.raises(Exception, match=r"read.only"):
            array[:] = 7
        assert np.asarray(array[:]).tolist() == [*range(10), *range(10), *([0] * 10), *range(10)]
