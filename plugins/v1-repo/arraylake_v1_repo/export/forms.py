"""Nodes in the Zarr format that is asked for: their documents, and how their chunks get there."""

import base64
import json
import struct
import warnings
from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from arraylake_core.errors import InvalidOptionError
from arraylake_core.names import shown
from arraylake_v1_repo.hierarchy import grid_of
from arraylake_v1_repo.keys import ArrayGrid, structure

if TYPE_CHECKING:
    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

    from arraylake_v1_repo.format import Node

    type ZarrFormat = Literal[2, 3]
    type Fields = dict[str, object]

__all__ = ["Form", "Recoding", "form_of", "format_of"]

_DIMENSIONS = "_ARRAY_DIMENSIONS"
_FILL = "_FillValue"
_MASKED = frozenset("fciubSU")
"""The kinds of types for which xarray knows missing values in Zarr 3."""


class Recoding(NamedTuple):
    """How the chunks of an array are read and written, where their bytes can't be copied.

    Parameters
    ----------
    target
        The array's metadata in the other format.
    chunks
        The shape of a chunk in the repo.
    sharded
        Whether such a chunk is a shard that becomes many chunks.
    """

    target: "ArrayV2Metadata | ArrayV3Metadata"
    chunks: tuple[int, ...]
    sharded: bool


class Form(NamedTuple):
    """A node as it is exported.

    Parameters
    ----------
    documents
        By name.
    grid
        How the chunks of an array are called; None where it is no array.
    recoding
        None where chunks are copied byte for byte.
    layout
        What must be the same in two versions for their chunks to be where they were, and as they were.
    """

    documents: dict[str, bytes]
    grid: ArrayGrid | None
    recoding: Recoding | None
    layout: object

    def keys(self, coords: tuple[int, ...]) -> Iterator[str]:
        """Give the keys, below the node, of what a chunk becomes."""
        if self.grid is None:
            return
        if self.recoding is None or not self.recoding.sharded:
            yield self.grid.key(coords)
            return
        inner = cast("ArrayV2Metadata", self.recoding.target).chunks
        extents = self.grid.extents or ()
        per_axis = [outer // size for outer, size in zip(self.recoding.chunks, inner, strict=True)]
        for place in product(
            *(range(number * count, (number + 1) * count) for number, count in zip(coords, per_axis, strict=True))
        ):
            if all(number < extent for number, extent in zip(place, extents, strict=True)):
                yield self.grid.key(place)


def format_of(documents: Mapping[str, bytes]) -> "ZarrFormat | None":
    """Return the Zarr format of a node, or None where there is none."""
    if "zarr.json" in documents:
        return 3
    return 2 if ".zarray" in documents or ".zgroup" in documents else None


def form_of(node: "Node", zarr_format: "ZarrFormat") -> Form:
    """Return a node in a Zarr format.

    Raises
    ------
    InvalidOptionError
        That format can't express it.
    """
    found = format_of(node.documents)
    if found in (None, zarr_format):
        return Form(node.documents, grid_of(node.documents), None, _layout(node.documents))
    try:
        with warnings.catch_warnings():
            # Zarr warns of every codec and type that is not in the specification of Zarr 3.
            warnings.simplefilter("ignore")
            return _to_v2(node) if zarr_format == 2 else _to_v3(node)
    except InvalidOptionError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, NotImplementedError) as error:
        reason = str(error).split("\n")[0][:200]
        raise _refused(node.path, zarr_format, f"zarr says: {reason}") from None


def _refused(path: str, zarr_format: int, why: str) -> InvalidOptionError:
    return InvalidOptionError(
        f"{shown(f'/{path}')} can't be expressed in Zarr {zarr_format} ({why}): nothing was written; take zarr_format={5 - zarr_format}"
    )


def _layout(documents: Mapping[str, bytes]) -> object:
    for name in ("zarr.json", ".zarray"):
        found = structure(name, documents.get(name))
        if isinstance(found, dict):
            # An array that was resized has its chunks where they were.
            return {key: value for key, value in found.items() if key != "shape"}
    return None


def _whole_layout(documents: Mapping[str, bytes]) -> object:
    """Return the layout of an array whose chunks are encoded anew: those at its edge depend on its shape."""
    return [structure(name, documents.get(name)) for name in ("zarr.json", ".zarray")]


def _load(document: bytes) -> "Fields":
    fields = json.loads(document)
    if not isinstance(fields, dict):
        raise TypeError("the metadata document is no JSON object")
    return fields


def _dump(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def _to_v2(node: "Node") -> Form:
    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata
    from zarr.core.metadata.v3 import RegularChunkGridMetadata

    from arraylake_v1_repo.export.codecs import chain_of_v3

    fields = _load(node.documents["zarr.json"])
    if fields.get("node_type") == "group":
        return Form(_group_documents_v2(cast("Fields", fields.get("attributes") or {})), None, None, None)
    metadata = ArrayV3Metadata.from_dict(fields)  # type: ignore[arg-type]  # as it was read
    if metadata.storage_transformers or metadata.extra_fields:
        raise _refused(node.path, 2, "it has storage transformers, or fields of an extension")
    if not isinstance(metadata.chunk_grid, RegularChunkGridMetadata):
        raise _refused(node.path, 2, "its chunk grid is not regular")
    chunks = tuple(metadata.chunk_grid.chunk_shape)
    chain = chain_of_v3(metadata, chunks)
    attributes = dict(metadata.attributes)
    names = metadata.dimension_names
    fill: object = metadata.fill_value
    if names is not None and any(name is not None for name in names):
        if None in names or attributes.get(_DIMENSIONS, list(names)) != list(names):
            raise _refused(node.path, 2, "some of its dimensions have no name, or other names in its attributes")
        attributes[_DIMENSIONS] = list(names)
        fill = _masked_fill(node.path, metadata, attributes)
    target = ArrayV2Metadata(
        shape=metadata.shape,
        dtype=chain.dtype,
        chunks=chain.chunks,
        fill_value=fill,
        order=chain.order,  # type: ignore[arg-type]  # "C" or "F"
        compressor=chain.compressor,
        filters=chain.filters or None,
        attributes=attributes,
    )
    documents = _buffers(target)
    checked = ArrayV2Metadata.from_dict({**_load(documents[".zarray"]), "attributes": attributes})
    if checked.dtype != target.dtype:
        raise _refused(node.path, 2, f"it has no data type for {metadata.data_type}")
    recoding = None if chain.same else Recoding(checked, chunks, chain.chunks != chunks)
    return Form(documents, grid_of(documents), recoding, _whole_layout(node.documents) if recoding else _layout(node.documents))


def _masked_fill(path: str, metadata: "ArrayV3Metadata", attributes: "Fields") -> object:
    """Return the fill value for an array that xarray reads: in Zarr 2 it takes it for missing values, in Zarr 3 an attribute says which are."""
    default = metadata.data_type.default_scalar()
    is_default = _same(metadata.fill_value, default)
    if _FILL not in attributes:
        return None if is_default and not _is_nan(metadata.fill_value) else metadata.fill_value
    mask = _decoded(attributes[_FILL], metadata.data_type.to_native_dtype().kind)
    if _same(mask, metadata.fill_value):
        del attributes[_FILL]
        return metadata.fill_value
    if not is_default:
        raise _refused(path, 2, f"its fill value {metadata.fill_value} and its attribute {_FILL} differ")
    attributes[_FILL] = mask
    return None


def _to_v3(node: "Node") -> Form:
    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

    from arraylake_v1_repo.export.codecs import chain_of_v2

    attributes = _load(node.documents[".zattrs"]) if ".zattrs" in node.documents else {}
    if ".zarray" not in node.documents:
        return Form({"zarr.json": _dump({"attributes": attributes, "zarr_format": 3, "node_type": "group"})}, None, None, None)
    metadata = ArrayV2Metadata.from_dict({**_load(node.documents[".zarray"]), "attributes": attributes})
    codecs, same = chain_of_v2(metadata)
    names = attributes.get(_DIMENSIONS)
    fill = metadata.fill_value
    if isinstance(names, list) and len(names) == len(metadata.shape):
        del attributes[_DIMENSIONS]
        mask = fill if fill is not None else attributes.get(_FILL)
        kind = metadata.dtype.to_native_dtype().kind
        if mask is not None and kind in _MASKED:
            attributes[_FILL] = _encoded(mask, kind)
    else:
        names = None
    target = ArrayV3Metadata(
        shape=metadata.shape,
        data_type=metadata.dtype,
        chunk_grid={"name": "regular", "configuration": {"chunk_shape": list(metadata.chunks)}},
        chunk_key_encoding={"name": "default", "configuration": {"separator": "/"}},
        fill_value=fill if fill is not None else metadata.dtype.default_scalar(),
        codecs=codecs,
        attributes=attributes,  # type: ignore[arg-type]  # JSON, as it was read
        dimension_names=names,
    )
    documents = _buffers(target)
    checked = ArrayV3Metadata.from_dict(_load(documents["zarr.json"]))  # type: ignore[arg-type]
    recoding = None if same else Recoding(checked, tuple(metadata.chunks), False)
    return Form(documents, grid_of(documents), recoding, _whole_layout(node.documents) if recoding else _layout(node.documents))


def _group_documents_v2(attributes: "Fields") -> dict[str, bytes]:
    return {".zattrs": _dump(attributes), ".zgroup": _dump({"zarr_format": 2})}


def _buffers(metadata: "ArrayV2Metadata | ArrayV3Metadata") -> dict[str, bytes]:
    from zarr.core.buffer import default_buffer_prototype

    return {name: buffer.to_bytes() for name, buffer in metadata.to_buffer_dict(default_buffer_prototype()).items()}


def _is_nan(value: object) -> bool:
    return bool(value != value)  # only NaN and NaT are not themselves


def _same(one: object, two: object) -> bool:
    return bool(one == two) or (_is_nan(one) and _is_nan(two))


def _encoded(value: object, kind: str) -> object:
    """Return a fill value as xarray writes it into attributes of Zarr 3: floats as base64 of their eight bytes."""
    match kind:
        case "f":
            return _double(float(value))  # type: ignore[arg-type]
        case "c":
            number = complex(value)  # type: ignore[call-overload]
            return [_double(number.real), _double(number.imag)]
        case "b":
            return bool(value)
        case "i" | "u":
            return int(value)  # type: ignore[call-overload]
        case "S":
            return base64.standard_b64encode(bytes(value)).decode()  # type: ignore[call-overload]
        case _:
            return str(value)


def _decoded(value: object, kind: str) -> object:
    """Return what ``_encoded`` was given."""
    if kind == "f" and isinstance(value, str):
        return _float(value)
    if kind == "c" and isinstance(value, list) and len(value) == 2:
        return complex(*(_float(part) for part in value))
    if kind == "S" and isinstance(value, str):
        return base64.standard_b64decode(value)
    return value


def _double(value: float) -> str:
    return base64.standard_b64encode(struct.pack("<d", value)).decode()


def _float(text: str) -> float:
    found: float = struct.unpack("<d", base64.standard_b64decode(text))[0]
    return found
