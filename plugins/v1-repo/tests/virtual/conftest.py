"""Readers on grants, and a small read-only zarr store over references, so that what is read can be compared."""

import json
from collections.abc import Callable
from pathlib import Path

import iris_sample_data
import msgspec
import pytest
import xarray as xr
import zarr
from arraylake_v1_repo.virtual.references import MISSING, VirtualArray, VirtualGroup
from arraylake_v1_repo.virtual.sources import SourceReader
from obstore.store import S3Store
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype

from arraylake_core.backends import ObjectStoreSpec, S3Credentials, VirtualSource
from arraylake_core.backends.credentials import provider_for
from arraylake_core.secret import Secret
from tests.servers.seaweedfs import ADMIN

SAMPLES = Path(iris_sample_data.path)


def grant(directory: Path, prefix: str | None = None) -> VirtualSource:
    """Grant a local directory."""
    return VirtualSource(prefix=prefix or f"file://{directory}/", store=ObjectStoreSpec(protocol="file", prefix=str(directory)))


class ReferenceStore(Store):
    """Zarr keys, answered from what a parser gave and read through a SourceReader."""

    supports_writes = supports_deletes = supports_partial_writes = False
    supports_listing = True

    def __init__(self, nodes: list[VirtualGroup | VirtualArray], sources: SourceReader) -> None:
        super().__init__(read_only=True)
        self.nodes = {node.path: node for node in nodes}
        self.sources = sources

    def __eq__(self, other: object) -> bool:
        return self is other

    async def get(self, key, prototype=None, byte_range=None):
        body = await self._get(key)
        if body is None:
            return None
        if byte_range is not None:
            start = getattr(byte_range, "start", getattr(byte_range, "offset", None))
            body = body[-byte_range.suffix :] if start is None else body[start : getattr(byte_range, "end", None)]
        return (prototype or default_buffer_prototype()).buffer.from_bytes(body)

    async def _get(self, key: str) -> bytes | None:
        path, _, name = key.rpartition("/") if "/" in key else ("", "", key)
        if name == "zarr.json":
            return self.nodes[path].document if path in self.nodes else None
        for path, node in self.nodes.items():
            inside = f"{path}/c" if path else "c"
            if isinstance(node, VirtualArray) and (key == inside or key.startswith(f"{inside}/")):
                index = tuple(int(part) for part in key.removeprefix(inside).split("/") if part)
                if index in node.inlined:
                    assert node.source[index] == MISSING
                    return node.inlined[index]
                if node.source[index] == MISSING:
                    return None
                source = node.sources[node.source[index]]
                return await self.sources.read(source, int(node.offset[index]), int(node.length[index]))
        return None

    async def get_partial_values(self, prototype, key_ranges):
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        return await self._get(key) is not None

    async def set(self, key, value):
        raise NotImplementedError

    async def delete(self, key):
        raise NotImplementedError

    async def list(self):
        for path in self.nodes:
            yield f"{path}/zarr.json" if path else "zarr.json"

    async def list_prefix(self, prefix):
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix):
        prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        for name in {key.removeprefix(prefix).split("/")[0] async for key in self.list() if key.startswith(prefix)}:
            yield name


class References:
    """What a parser gave."""

    def __init__(self, nodes: list[VirtualGroup | VirtualArray], sources: SourceReader) -> None:
        self.nodes = {node.path: node for node in nodes}
        self.store = ReferenceStore(nodes, sources)
        for node in nodes:
            document = json.loads(node.document)
            assert document["zarr_format"] == 3
            assert document["node_type"] == ("array" if isinstance(node, VirtualArray) else "group")
            if isinstance(node, VirtualArray):
                chunks = document["chunk_grid"]["configuration"]["chunk_shape"]
                grid = tuple(-(-size // chunk) for size, chunk in zip(document["shape"], chunks, strict=True))
                assert node.source.shape == node.offset.shape == node.length.shape == grid
                assert (node.source.dtype, node.offset.dtype, node.length.dtype) == ("u4", "u8", "u8")
                assert ((node.source == MISSING) == (node.length == 0)).all()

    @property
    def root(self) -> zarr.Group:
        return zarr.open_group(self.store, mode="r", zarr_format=3)

    def dataset(self, group: str | None = None, **options) -> xr.Dataset:
        return xr.open_zarr(self.store, group=group, consolidated=False, zarr_format=3, chunks=None, **options)


@pytest.fixture
def references() -> Callable[..., References]:
    return References


@pytest.fixture
def samples() -> SourceReader:
    """A reader that may read the sample files."""
    return SourceReader([grant(SAMPLES)])


@pytest.fixture
def here(tmp_path) -> SourceReader:
    """A reader that may read the test's own directory."""
    return SourceReader([grant(tmp_path)])


@pytest.fixture
def granted() -> Callable[..., VirtualSource]:
    return grant


class ServerKeys(msgspec.Struct, frozen=True):
    """The server's own keys, which are minted, and no part of it."""

    async def mint(self) -> S3Credentials:
        key, secret = ADMIN
        return S3Credentials(aws_access_key_id=key, aws_secret_access_key=Secret(secret))


@pytest.fixture
def s3_grant(seaweedfs, bucket) -> VirtualSource:
    """A grant of a part of a new bucket, by signed requests."""
    spec = ObjectStoreSpec(
        protocol="s3",
        bucket=bucket,
        prefix="data",
        endpoint=seaweedfs.endpoint,
        region="us-east-1",
        path_style=True,
        allow_http=True,
        credentials=provider_for(ServerKeys()),
    )
    return VirtualSource(prefix=f"s3://{bucket}/data/", store=spec)


@pytest.fixture
def whole_bucket(s3_grant):
    """The obstore store of the whole bucket, to put things into it."""
    key, secret = ADMIN
    return S3Store(
        s3_grant.store.bucket,
        endpoint=s3_grant.store.endpoint,
        region="us-east-1",
        access_key_id=key,
        secret_access_key=secret,
        client_options={"allow_http": True},
        virtual_hosted_style_request=False,
    )
