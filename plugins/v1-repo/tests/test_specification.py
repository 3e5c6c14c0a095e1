"""docs/v1-format.md is enough: a reader that was written from it, and shares no code with the real one, finds the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import blake3
import msgspec
import numpy as np
import pytest
import zarr
from numcodecs import zstd
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync

SNAPSHOT, TABLE, SHARD = 1, 2, 3


class SpecificationReader:
    """Reads a repo in a directory, with no catalog: docs/v1-format.md in code."""

    def __init__(self, root: Path) -> None:
        self.root = root
        assert json.loads((root / "repo.json").read_bytes())["kind"] == "v1"

    def refs(self) -> dict[str, str]:
        """Return each branch and tag and its commit."""
        documents = [json.loads(file.read_bytes()) for file in (self.root / "refs").glob("*/*")]
        return {document["name"]: document["commit"] for document in documents}

    def history(self, commit: str | None) -> list[dict[str, object]]:
        """Return a commit and those before it."""
        found = []
        while commit is not None and (self.root / "commits" / commit).exists():
            data = (self.root / "commits" / commit).read_bytes()
            assert blake3.blake3(data).digest()[:12].hex() == commit
            found.append({"id": commit} | json.loads(data))
            commit = found[-1]["parent"]
        return found

    def keys(self, commit: str) -> dict[str, bytes]:
        """Return the Zarr keys of a commit, and what is stored at each."""
        snapshot = self._object("snapshots", self.history(commit)[0]["snapshot"], SNAPSHOT)
        found: dict[str, bytes] = {}
        before = None
        for first, digest, count in snapshot["leaves"]:
            nodes = self._object("snapshots", digest.hex(), TABLE)["nodes"]
            assert len(nodes) == count
            assert nodes[0][0].replace("/", "\0") == first
            for path, documents, grid, loose in nodes:
                sort_key = path.replace("/", "\0")
                assert before is None or before < sort_key
                before = sort_key
                above = f"{path}/" if path else ""
                found |= {above + name: data for name, data in documents.items()}
                found |= {above + name: self._bytes(*reference) for name, reference in loose.items()}
                if grid is not None:
                    found |= {above + self._chunk_key(documents, place): data for place, data in self._chunks(*grid)}
        return found

    def _object(self, family: str, name: str, kind: int):
        data = (self.root / family / name).read_bytes()
        assert blake3.blake3(data).hexdigest() == name
        assert data[:8] == b"ALV1" + bytes([kind, 1, 0, 0])
        return msgspec.msgpack.decode(zstd.decompress(data[8:]))

    def _chunks(self, block: list[int], coords: bytes, digests: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
        shards = [digests[begin : begin + 32].hex() for begin in range(0, len(digests), 32)]
        outer = np.frombuffer(coords, "<i8").reshape(len(shards), len(block))
        for place, name in zip(outer, shards, strict=True):
            shard = self._object("manifests", name, SHARD)
            columns = (
                np.frombuffer(shard[column], type_).tolist()
                for column, type_ in (("index", "<u4"), ("kind", "u1"), ("offset", "<u8"), ("length", "<u8"), ("source", "<u4"))
            )
            natives = 0
            for index, kind, offset, length, source in zip(*columns, strict=True):
                if kind == 0:
                    data = self._bytes("n", shard["digest"][32 * natives : 32 * natives + 32], length)
                    natives += 1
                elif kind == 1:
                    data = shard["inlined"][offset : offset + length]
                else:
                    data = self._bytes("v", shard["sources"][source], offset, length)
                within = np.unravel_index(index, block) if block else ()
                yield tuple(int(a * b + c) for a, b, c in zip(place, block, within, strict=True)), data

    def _bytes(self, kind: str, what, *numbers: int) -> bytes:
        if kind == "i":
            return what
        if kind == "n":
            data = (self.root / "chunks" / what.hex()[:2] / what.hex()).read_bytes()
            assert (len(data), blake3.blake3(data).digest()) == (numbers[0], what)
            return data
        file = Path(unquote(urlsplit(what["url"]).path))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (what["size"], what["modified"])
        return file.read_bytes()[numbers[0] : sum(numbers)]

    @staticmethod
    def _chunk_key(documents: dict[str, bytes], place: tuple[int, ...]) -> str:
        encoding = {"name": "v2"}
        if "zarr.json" in documents:
            encoding = json.loads(documents["zarr.json"])["chunk_key_encoding"]
        else:
            encoding["configuration"] = {"separator": json.loads(documents[".zarray"]).get("dimension_separator", ".")}
        old = encoding["name"] == "v2"
        separator = encoding.get("configuration", {}).get("separator", "." if old else "/")
        numbers = list(map(str, place))
        return (separator.join(numbers) or "0") if old else separator.join(["c", *numbers])


def stored(repo) -> dict[str, bytes]:
    """Return what the real reader gives for each key of a checkout."""

    async def read() -> dict[str, bytes]:
        prototype = default_buffer_prototype()
        return {key: (await repo.store.get(key, prototype)).to_bytes() async for key in repo.store.list()}

    return sync(read())


def assert_agrees(root: Path, repo) -> None:
    """Check that both readers find the same refs, commits, keys and bytes."""
    reader = SpecificationReader(root)
    refs = reader.refs()
    assert refs == {f"branch/{name}": commit for name, commit in repo.branches.items()} | {
        f"tag/{name}": commit for name, commit in repo.tags.items()
    }
    for ref, commit in refs.items():
        repo.checkout(ref.partition("/")[2])
        assert [(entry["id"], entry["message"], entry["metadata"], entry["author"]) for entry in reader.history(commit)] == [
            (info.id, info.message, info.metadata, msgspec.to_builtins(info.author)) for info in repo.commit_log
        ]
        assert reader.keys(commit) == stored(repo)


@pytest.mark.parametrize("nodes", [3, 700])
def test_a_reader_written_from_the_specification_agrees(client_on, tmp_path, nodes):
    client, nickname = client_on("file"), f"spec-{uuid4().hex[:8]}"
    client.create_bucket_config(org="me", nickname=nickname, uri=tmp_path.as_uri())
    repo = client.create_repo(f"me/{nickname}", bucket_config_nickname=nickname, kind="v1", prefix="repo")
    random = np.random.default_rng(3)
    values = {
        "a/three": random.normal(size=(20, 30, 40)).astype("f4"),
        "a/two": random.integers(1, 9, (120, 50)).astype("u1"),
        "a/none": np.array(3.5),
    }
    group = repo.root_group
    for path, value in values.items():
        chunks = {"a/three": (7, 8, 9), "a/two": (1, 1)}.get(path, value.shape)
        group.create_array(path, shape=value.shape, chunks=chunks, dtype=value.dtype)[...] = value
    for separator in "./":
        encoding = {"name": "v2", "separator": separator}
        group.create_array(f"keys/{ord(separator)}", shape=(4, 4), chunks=(2, 2), dtype="f8", chunk_key_encoding=encoding)[:] = 1
        old = zarr.create_array(
            repo.store,
            name=f"old/{ord(separator)}",
            shape=(4, 4),
            chunks=(2, 2),
            dtype="f8",
            zarr_format=2,
            chunk_key_encoding=encoding,
        )
        old[:] = 2
        sync(repo.store.delete(".zgroup"))  # which zarr writes beside the root's zarr.json
    for number in range(nodes):
        repo.create_group(f"many/{number}-x")
    repo.commit("All", metadata={"a": [1, None]})
    repo.new_tag("one")
    repo.new_branch("two/three")
    repo.root_group["a/two"][5:9, 3] = 77
    repo.delete("keys")
    repo.commit("Changed")

    assert_agrees(tmp_path / "repo", repo)
    reader = SpecificationReader(tmp_path / "repo")
    plain = {key: cpu.Buffer.from_bytes(data) for key, data in reader.keys(reader.refs()["tag/one"]).items()}
    found = zarr.open_group(zarr.storage.MemoryStore(plain), mode="r")
    for path, value in values.items():
        np.testing.assert_array_equal(found[path][...], value)
