"""Every object of a V1 repo, as versioned Structs; docs/v1-format.md is the specification.

``repo.json``, ``commits/`` and ``refs/`` are JSON, so that people can read them. ``snapshots/`` and ``manifests/`` are a header of eight bytes
(``ALV1``, the kind of object, the version of the format, two zeros) and zstd-compressed MessagePack. The name of an object below ``chunks/``,
``manifests/`` and ``snapshots/`` is the BLAKE3 digest of its bytes, and the id of a commit the first twelve bytes of that of its own.
"""

from datetime import datetime

import msgspec
from blake3 import blake3
from numcodecs import zstd

from arraylake_core.errors import StorageError
from arraylake_core.models import Author
from arraylake_v1_repo.virtual.sources import SourceFile

__all__ = [
    "DIGEST_SIZE",
    "FORMAT_VERSION",
    "Commit",
    "Grid",
    "Inline",
    "LeafEntry",
    "Native",
    "Node",
    "NodeTable",
    "Ref",
    "RefMirror",
    "RepoFile",
    "ShardColumns",
    "Snapshot",
    "Virtual",
    "chunk_key",
    "commit_id",
    "commit_key",
    "decode_document",
    "decode_object",
    "digest_of",
    "encode_document",
    "encode_object",
    "manifest_key",
    "mirror_key",
    "snapshot_key",
]

FORMAT_VERSION = 1
DIGEST_SIZE = 32
_MAGIC = b"ALV1"
_LEVEL = 1


class Native(msgspec.Struct, frozen=True, array_like=True, tag="n"):
    """A chunk in an object of its own: the digest of its bytes, and how many there are."""

    digest: bytes
    length: int


class Inline(msgspec.Struct, frozen=True, array_like=True, tag="i"):
    """A chunk that is kept with its reference."""

    data: bytes


class Virtual(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    """A chunk that lies in a file which is not the repo's."""

    source: SourceFile
    offset: int
    length: int


type Ref = Native | Inline | Virtual


class RepoFile(msgspec.Struct, frozen=True, kw_only=True):
    """``repo.json``: that here is a repo, and since when. It is written last when a repo is made."""

    kind: str = "v1"
    format: int = FORMAT_VERSION
    created: datetime


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """``commits/<id>``: a snapshot, and how it came about.

    Parameters
    ----------
    parent
        The id of the commit before it; None for the first one.
    snapshot
        The digest of its snapshot, in hex digits.
    """

    format: int = FORMAT_VERSION
    parent: str | None
    snapshot: str
    message: str
    time: datetime
    author: Author
    metadata: dict[str, object] = {}


class RefMirror(msgspec.Struct, frozen=True, kw_only=True):
    """``refs/branch/<name>`` and ``refs/tag/<name>``: where a branch or tag was, after the fact; "/" in a name is written "~"."""

    format: int = FORMAT_VERSION
    name: str
    commit: str


class LeafEntry(msgspec.Struct, frozen=True, array_like=True):
    """A part of the node table: the sort key of its first node, its digest, and how many nodes it has."""

    first: str
    digest: bytes
    count: int


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """``snapshots/<digest>``: a whole hierarchy, as the parts of its node table in order."""

    leaves: list[LeafEntry]


class Grid(msgspec.Struct, frozen=True, array_like=True):
    """Where the chunk references of an array are.

    Parameters
    ----------
    block
        How many chunks a shard of the manifest spans along each axis.
    coords
        The places of the shards in the grid of blocks, int64, one row each, in C order.
    digests
        Their digests, one after the other.
    """

    block: tuple[int, ...]
    coords: bytes
    digests: bytes


class Node(msgspec.Struct, frozen=True, array_like=True):
    """One path of the hierarchy.

    Parameters
    ----------
    path
        Without a slash at either end; the root is "".
    documents
        Its metadata documents by name, such as ``zarr.json``.
    grid
        The chunks of an array.
    loose
        What else is kept at the path, by name.
    """

    path: str
    documents: dict[str, bytes]
    grid: Grid | None = None
    loose: dict[str, Ref] = {}


class NodeTable(msgspec.Struct, frozen=True, kw_only=True):
    """``snapshots/<digest>``: a part of the node table, in the order of ``sort_key``."""

    nodes: list[Node]


class ShardColumns(msgspec.Struct, frozen=True, kw_only=True):
    """``manifests/<digest>``: chunk references of one block of an array's grid, column-wise, in the order of ``index``.

    Parameters
    ----------
    index
        uint32: the place in the block, counted in C order.
    kind
        uint8: 0 native, 1 inline, 2 virtual.
    offset, length
        uint64: in the source file (virtual) or in ``inlined`` (inline); ``offset`` is 0 for native chunks.
    source
        uint32: the number of the source file (virtual), otherwise 0.
    digest
        32 bytes for each native chunk, in order.
    inlined
        The bytes of inline chunks, one after the other.
    sources
        The source files.
    """

    index: bytes
    kind: bytes
    offset: bytes
    length: bytes
    source: bytes
    digest: bytes
    inlined: bytes
    sources: list[SourceFile]


_KINDS: dict[type[msgspec.Struct], int] = {Snapshot: 1, NodeTable: 2, ShardColumns: 3}
_NAMES = {1: "snapshot", 2: "node table", 3: "manifest"}
_encoder = msgspec.msgpack.Encoder(order="deterministic")


def digest_of(data: bytes | memoryview) -> bytes:
    """Return the BLAKE3 digest of bytes: 32 bytes.

    Examples
    --------
    >>> digest_of(b"").hex()[:16]
    'af1349b9f5f9a1a6'
    """
    return blake3(data).digest()


def encode_object(value: Snapshot | NodeTable | ShardColumns) -> bytes:
    """Encode an object; the same value gives the same bytes."""
    header = _MAGIC + bytes([_KINDS[type(value)], FORMAT_VERSION, 0, 0])
    return header + bytes(zstd.compress(_encoder.encode(value), _LEVEL))


def decode_object[T: (Snapshot, NodeTable, ShardColumns)](data: bytes, type_: type[T], where: str) -> T:
    """Decode an object.

    Parameters
    ----------
    data
        The bytes.
    type_
        What it must be.
    where
        Its key and place, for messages.

    Raises
    ------
    StorageError
        It is of a newer format, of another kind, or damaged.
    """
    if len(data) < 8 or data[:4] != _MAGIC:
        raise StorageError(f"{where} is no object of a V1 repo: it was overwritten or cut off; restore it from a backup")
    kind, version = data[4], data[5]
    _check_version(version, where)
    if kind != _KINDS[type_]:
        raise StorageError(
            f"{where} is a {_NAMES.get(kind, 'thing of an unknown kind')}, where a {_NAMES[_KINDS[type_]]} belongs"
        )
    try:
        return msgspec.msgpack.decode(zstd.decompress(data[8:]), type=type_)
    except (RuntimeError, ValueError, msgspec.DecodeError):
        raise StorageError(f"{where} is damaged: restore it from a backup") from None


def encode_document(value: RepoFile | Commit | RefMirror) -> bytes:
    """Encode one of the objects that people may read."""
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1)


def decode_document[T: (RepoFile, Commit, RefMirror)](data: bytes, type_: type[T], where: str) -> T:
    """Decode one of the objects that people may read; StorageError where it is of a newer format, or damaged."""
    try:
        version = msgspec.json.decode(data, type=_Versioned).format
        _check_version(version, where)
        return msgspec.json.decode(data, type=type_)
    except msgspec.DecodeError:
        raise StorageError(f"{where} is damaged: restore it from a backup") from None


class _Versioned(msgspec.Struct):
    format: int


def _check_version(version: int, where: str) -> None:
    if version > FORMAT_VERSION:
        raise StorageError(
            f"{where} has version {version} of the V1 format, and this release reads up to {FORMAT_VERSION}: "
            "pip install --upgrade arraylake-v1-repo"
        )


def commit_id(encoded: bytes) -> str:
    """Return the id of a commit from its encoded form: 24 hex digits."""
    return digest_of(encoded)[:12].hex()


def chunk_key(digest: bytes) -> str:
    """Return where a chunk is kept."""
    name = digest.hex()
    return f"chunks/{name[:2]}/{name}"


def manifest_key(digest: bytes) -> str:
    """Return where a shard of a manifest is kept."""
    return f"manifests/{digest.hex()}"


def snapshot_key(digest: bytes) -> str:
    """Return where a snapshot, or a part of its node table, is kept."""
    return f"snapshots/{digest.hex()}"


def commit_key(commit: str) -> str:
    """Return where a commit is kept."""
    return f"commits/{commit}"


def mirror_key(ref: str) -> str:
    """Return where a ref of the catalog, such as ``branch/main``, is mirrored.

    Examples
    --------
    >>> mirror_key("branch/team/ocean")
    'refs/branch/team~ocean'
    """
    family, _, name = ref.partition("/")
    return f"refs/{family}/{name.replace('/', '~')}"
