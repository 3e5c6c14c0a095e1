"""Zarr keys: which are metadata documents, which are chunks of an array, and in what order paths are kept."""

import json
import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from arraylake_core.errors import InvalidNameError
from arraylake_core.names import shown

__all__ = [
    "DOCUMENTS",
    "ArrayGrid",
    "array_grid",
    "check_key",
    "check_path",
    "is_below",
    "parse_document",
    "sort_key",
    "structure",
]

DOCUMENTS = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})
_NO_KEY = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)|[\0\\\ud800-\udfff]")


def check_key(key: str) -> str:
    """Check a key of a zarr store: parts joined by slashes, none of them empty, "." or ".."."""
    if not isinstance(key, str) or _NO_KEY.search(key):
        raise InvalidNameError(
            f"{shown(key)} is no Zarr key: its parts are joined by single slashes, none is empty, '.' or '..', and no backslash is in it"
        )
    return key


def check_path(path: str) -> str:
    """Check the path of a node, and return it without slashes at the ends; the root is ""."""
    stripped = path.strip("/") if isinstance(path, str) else path
    return check_key(stripped) if stripped != "" else ""


def sort_key(path: str) -> str:
    """Return what paths are ordered by, so that a node comes right before all that is below it."""
    return path.replace("/", "\0")


def is_below(path: str, above: str) -> bool:
    """Tell whether a path is another one, or below it.

    Examples
    --------
    >>> is_below("a/b", "a"), is_below("ab", "a"), is_below("a", "")
    (True, False, True)
    """
    return not above or path == above or path.startswith(f"{above}/")


class ArrayGrid(NamedTuple):
    """How the chunks of an array are called.

    Parameters
    ----------
    extents
        How many chunks there are along each axis; None where the grid is not regular.
    ndim
        How many axes.
    prefix
        What comes before the numbers, "c" or "".
    separator
        What comes between them.
    """

    extents: tuple[int, ...] | None
    ndim: int
    prefix: str
    separator: str

    def parse(self, key: str) -> tuple[int, ...] | None:
        """Return the place in the grid that a chunk key names, or None where it is none.

        Examples
        --------
        >>> ArrayGrid((2, 2), 2, "c", "/").parse("c/0/1")
        (0, 1)
        >>> ArrayGrid((), 0, "", ".").parse("0")
        ()
        """
        if not self.ndim:
            return () if key == (self.prefix or "0") else None
        if self.prefix:
            if not key.startswith(self.prefix + self.separator):
                return None
            key = key[len(self.prefix) + 1 :]
        parts = key.split(self.separator)
        if len(parts) != self.ndim:
            return None
        try:
            numbers = tuple(map(int, parts))
        except ValueError:
            return None
        # What int() takes but zarr never writes, such as "01" or "-1", is another key.
        return numbers if self.separator.join(map(str, numbers)) == key and min(numbers) >= 0 else None

    def key(self, coords: tuple[int, ...]) -> str:
        """Return the key of a chunk.

        Examples
        --------
        >>> ArrayGrid((2, 2), 2, "", ".").key((0, 1))
        '0.1'
        """
        if not self.ndim:
            return self.prefix or "0"
        numbers = self.separator.join(map(str, coords))
        return f"{self.prefix}{self.separator}{numbers}" if self.prefix else numbers


class _Named(msgspec.Struct):
    name: str
    configuration: dict[str, object] = {}


class _V3(msgspec.Struct):
    node_type: str
    shape: tuple[int, ...]
    chunk_grid: _Named
    chunk_key_encoding: _Named | str = "default"


class _V2(msgspec.Struct):
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dimension_separator: str = "."


def parse_document(document: bytes) -> object:
    """Return what a metadata document says, NaN and infinity included, which zarr-python writes though JSON has none; ValueError where it is no JSON."""
    try:
        return msgspec.json.decode(document)
    except msgspec.DecodeError:
        return json.loads(document)


@lru_cache(4096)
def array_grid(name: str, document: bytes) -> ArrayGrid | None:
    """Return the grid of an array from its metadata document, or None where that is of no array.

    Parameters
    ----------
    name
        ``zarr.json`` or ``.zarray``.
    document
        Its bytes.
    """
    try:
        fields = parse_document(document)
        if name == ".zarray":
            old = msgspec.convert(fields, _V2)
            return ArrayGrid(_extents(old.shape, old.chunks), len(old.shape), "", old.dimension_separator)
        new = msgspec.convert(fields, _V3)
        if new.node_type != "array":
            return None
        encoding = new.chunk_key_encoding if isinstance(new.chunk_key_encoding, _Named) else _Named(new.chunk_key_encoding)
        old_style = encoding.name == "v2"
        separator = msgspec.convert(encoding.configuration.get("separator", "." if old_style else "/"), str)
        shape = new.chunk_grid.configuration.get("chunk_shape")
        chunks = msgspec.convert(shape, tuple[int, ...]) if shape is not None else None
        extents = _extents(new.shape, chunks) if chunks is not None else None
        return ArrayGrid(extents, len(new.shape), "" if old_style else "c", separator)
    except ValueError:
        return None


def _extents(shape: tuple[int, ...], chunks: tuple[int, ...]) -> tuple[int, ...] | None:
    if len(shape) != len(chunks) or any(size < 1 for size in chunks):
        return None
    return tuple(-(-extent // size) for extent, size in zip(shape, chunks, strict=True))


def structure(name: str, document: bytes | None) -> object:
    """Return what decides how chunks are read: an array's shape, type, grid, codecs and fill value, but not its attributes."""
    if document is None or name not in ("zarr.json", ".zarray"):
        return None
    try:
        fields = parse_document(document)
    except ValueError:
        return document
    if not isinstance(fields, dict) or (name == "zarr.json" and fields.get("node_type") != "array"):
        return None
    return {key: value for key, value in fields.items() if key not in ("attributes", "dimension_names")}
