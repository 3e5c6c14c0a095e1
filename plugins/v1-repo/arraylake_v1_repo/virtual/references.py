"""What a parser found, in the columns that manifests keep: VirtualiZarr's ManifestStore turned into numpy arrays."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from arraylake_core.errors import InvalidOptionError, StorageError
from arraylake_core.names import shown
from arraylake_v1_repo.virtual.grants import shown_url
from arraylake_v1_repo.virtual.sources import SourceFile, SourceReader

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from virtualizarr.manifests import ManifestArray, ManifestGroup, ManifestStore
    from zarr.core.group import GroupMetadata
    from zarr.core.metadata.v3 import ArrayV3Metadata

    type Names = np.ndarray[tuple[int, ...], np.dtypes.StringDType]


__all__ = ["MISSING", "VirtualArray", "VirtualGroup", "read_manifest_store"]


MISSING = 0xFFFFFFFF
"""The source of a chunk that no source file has."""

_FEW = 8
"""So many sources are told apart by comparing whole columns, more by a dictionary."""


class VirtualGroup(msgspec.Struct):
    """A group that a parser found.

    Parameters
    ----------
    path
        Below the target group; "" is the target itself.
    document
        Its ``zarr.json``.
    """

    path: str
    document: bytes


class VirtualArray(msgspec.Struct):
    """An array that a parser found, and where its chunks are.

    Parameters
    ----------
    path
        Below the target group; "" is the target itself.
    document
        Its ``zarr.json``.
    sources
        The files that its chunks are in.
    source
        For each chunk, its file's place in ``sources``, or ``MISSING``; in the shape of the chunk grid.
    offset
        For each chunk, where it begins.
    length
        For each chunk, its length in bytes; 0 where it is missing or inlined.
    inlined
        The chunks whose bytes the parser gave, by their place in the chunk grid.
    """

    path: str
    document: bytes
    sources: list[SourceFile]
    source: "NDArray[np.uint32]"
    offset: "NDArray[np.uint64]"
    length: "NDArray[np.uint64]"
    inlined: dict[tuple[int, ...], bytes]


class _Columns(msgspec.Struct):
    """An array's references before its sources are known."""

    path: str
    document: bytes
    urls: list[str]
    source: "NDArray[np.uint32]"
    offset: "NDArray[np.uint64]"
    length: "NDArray[np.uint64]"
    inlined: dict[tuple[int, ...], bytes]


async def read_manifest_store(
    manifest_store: "ManifestStore | ManifestGroup", sources: SourceReader, *, known: Sequence[SourceFile] = ()
) -> list[VirtualGroup | VirtualArray]:
    """Return the groups and arrays of VirtualiZarr's manifests, parents first.

    Parameters
    ----------
    manifest_store
        What a parser of VirtualiZarr returned, or a group of it.
    sources
        Reads the files that it refers to.
    known
        Files that were fingerprinted before they were parsed.

    Raises
    ------
    PermissionDeniedError
        It refers to a file that is not granted; nothing is asked of that file's store.
    StorageError
        A file can't be read, or is shorter than the references into it.
    InvalidOptionError
        A manifest is not one that can be kept.
    """
    from virtualizarr.manifests import ManifestStore

    group = manifest_store._group if isinstance(manifest_store, ManifestStore) else manifest_store
    groups: list[VirtualGroup] = []
    columns: list[_Columns] = []
    nodes: list[VirtualGroup | str] = []
    for path, member in _walk(group, ""):
        if isinstance(member, VirtualGroup):
            groups.append(member)
            nodes.append(member)
        else:
            columns.append(_columns(path, member))
            nodes.append(path)
    urls = dict.fromkeys(url for column in columns for url in column.urls)
    files = {file.url: file for file in known}
    for file in await sources.fingerprints([url for url in urls if url not in files]):
        files[file.url] = file
    arrays = {column.path: _with_sources(column, files) for column in columns}
    return [arrays[node] if isinstance(node, str) else node for node in nodes]


def document_of(metadata: "ArrayV3Metadata | GroupMetadata") -> bytes:
    """Return ``zarr.json`` as zarr-python writes it."""
    from zarr.core.buffer import default_buffer_prototype

    return metadata.to_buffer_dict(prototype=default_buffer_prototype())["zarr.json"].to_bytes()


def _walk(group: "ManifestGroup", path: str) -> "Iterator[tuple[str, VirtualGroup | ManifestArray]]":
    yield path, VirtualGroup(path, document_of(group.metadata))
    for name, array in group.arrays.items():
        yield _join(path, name), array
    for name, child in group.groups.items():
        yield from _walk(child, _join(path, name))


def _join(path: str, name: str) -> str:
    if name in ("", ".", "..") or "/" in name or not name.isprintable() or name.startswith("__"):
        raise InvalidOptionError(
            f"the source has a node {shown(name)} in {shown(path)}, which is no name of a Zarr node: leave it out"
        )
    return f"{path}/{name}" if path else name


def _columns(path: str, array: "ManifestArray") -> _Columns:
    from virtualizarr.manifests.manifest import INLINED_CHUNK_PATH, MISSING_CHUNK_PATH
    from zarr.core.chunk_key_encodings import DefaultChunkKeyEncoding

    # VirtualiZarr's own manifests keep these columns; the public view of them is a dictionary, with an object for each chunk.
    manifest = array.manifest
    paths, offset, length = manifest._paths, manifest._offsets, manifest._lengths
    inlined = dict(manifest._inlined)
    metadata = dataclasses.replace(array.metadata, chunk_key_encoding=DefaultChunkKeyEncoding(separator="/"))
    grid = _grid(array)
    if paths.shape != grid:
        paths, offset, length = _reshaped(path, grid, paths, offset, length)
        inlined = {(*key, *(0,) * (len(grid) - len(key)))[: len(grid)]: body for key, body in inlined.items()}
    # An array also where there is one chunk, and NumPy would give a scalar.
    stored = np.asarray((paths != MISSING_CHUNK_PATH) & (paths != INLINED_CHUNK_PATH))
    for key in inlined:
        stored[key] = False
    source, urls = _factorized(paths, stored)
    return _Columns(
        path,
        document_of(metadata),
        urls,
        source,
        np.where(stored, offset, 0).astype("u8"),
        np.where(stored, length, 0).astype("u8"),
        inlined,
    )


def _grid(array: "ManifestArray") -> tuple[int, ...]:
    from virtualizarr.manifests.utils import manifest_chunk_shape

    # Of a sharded array, the shards: they are what is stored.
    chunks = manifest_chunk_shape(array.metadata)
    return tuple(-(-size // chunk) for size, chunk in zip(array.shape, chunks, strict=True))


def _reshaped(
    path: str, grid: tuple[int, ...], paths: "Names", offset: "NDArray[np.uint64]", length: "NDArray[np.uint64]"
) -> "tuple[Names, NDArray[np.uint64], NDArray[np.uint64]]":
    """Return columns in the shape of the chunk grid: parsers give other shapes to arrays without chunks, and to scalars."""
    if not paths.size or not (paths != "").any():
        return np.full(grid, "", dtype=np.dtypes.StringDType()), np.zeros(grid, "u8"), np.zeros(grid, "u8")
    if paths.size == int(np.prod(grid, dtype=np.int64)) == 1:
        return paths.reshape(grid), offset.reshape(grid), length.reshape(grid)
    raise InvalidOptionError(
        f"the manifest of the array {shown(path)} has the shape {paths.shape}, its chunk grid {grid}: the parser that made it is at fault"
    )


def _factorized(paths: "Names", stored: "NDArray[np.bool_]") -> "tuple[NDArray[np.uint32], list[str]]":
    """Return, for each chunk, its URL's place in the list of URLs, which comes second."""
    source = np.full(paths.shape, MISSING, dtype="u4")
    left = stored.copy()
    urls: list[str] = []
    while left.any() and len(urls) < _FEW:
        url = str(paths.reshape(-1)[int(left.argmax())])
        same = left & (paths == url)
        source[same] = len(urls)
        left &= ~same
        urls.append(url)
    if left.any():
        names = paths[left].tolist()
        places = {url: place for place, url in enumerate(dict.fromkeys(names), len(urls))}
        source[left] = np.fromiter(map(places.__getitem__, names), dtype="u4", count=len(names))
        urls.extend(places)
    return source, urls


def _with_sources(columns: _Columns, files: dict[str, SourceFile]) -> VirtualArray:
    sources = [files[url] for url in columns.urls]
    stored = columns.source != MISSING
    sizes = np.array([file.size for file in sources], dtype="u8")
    places, length = columns.source[stored], columns.length[stored]
    # Subtracted rather than added, so that no number is too large.
    short = (length > sizes[places]) | (columns.offset[stored] > sizes[places] - np.minimum(length, sizes[places]))
    if short.any():
        file = sources[int(places[int(short.argmax())])]
        raise StorageError(
            f"the source file {shown_url(file.url)} has {file.size} bytes, fewer than the references of the array {shown(columns.path)} "
            "need: it is incomplete or damaged, or is not the file that they were made for; get it anew"
        )
    return VirtualArray(columns.path, columns.document, sources, columns.source, columns.offset, columns.length, columns.inlined)
