"""Kerchunk references, JSON and Parquet: read through the grants only, and nested groups kept."""

import asyncio
import json
import math
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from arraylake_core.errors import InvalidOptionError, NotFoundError, StorageError
from arraylake_core.names import shown
from arraylake_v1_repo.virtual.grants import shown_url
from arraylake_v1_repo.virtual.parsing import parsed
from arraylake_v1_repo.virtual.sources import SourceReader

if TYPE_CHECKING:
    from virtualizarr.manifests import ManifestArray, ManifestGroup
    from virtualizarr.types import ChunkKey
    from virtualizarr.types.kerchunk import KerchunkArrRefs, KerchunkStoreRefs

__all__ = ["kerchunk_group"]


type Reference = str | bytes | list[str | int | float] | dict[str, object]
type References = dict[str, Reference]


async def kerchunk_group(
    uri: str, sources: SourceReader, group: str | None, fs_root: str | None, dropped: Collection[str]
) -> "ManifestGroup":
    """Return the manifests of a reference file; the parameters are those of ``read_kerchunk``."""
    uri = uri.rstrip("/")
    references = await (_read_json(uri, sources) if uri.endswith(".json") else _read_parquet(uri, sources))
    prefix = f"{group.strip('/')}/" if group and group.strip("/") else ""
    if prefix and not any(key.startswith(prefix) for key in references):
        raise InvalidOptionError(f"the references in {shown_url(uri)} have no group {shown(group)}: check the option group=")
    chosen = {key.removeprefix(prefix): value for key, value in references.items() if key.startswith(prefix)}
    chosen = {key: value for key, value in chosen.items() if key.partition("/")[0] not in dropped}
    await _complete(chosen, sources, uri, fs_root)
    return await parsed("Kerchunk references", uri, lambda: _group(chosen))


async def _read_json(uri: str, sources: SourceReader) -> References:
    file = await sources.fingerprint(uri)
    text = await sources.read(file, 0, file.size)
    document = await parsed("Kerchunk references", uri, lambda: json.loads(text))
    if not isinstance(document, dict) or not isinstance(document.get("refs", document), dict):
        raise StorageError(f"{shown_url(uri)} is no JSON object with references: check the URL")
    if document.get("gen"):
        raise InvalidOptionError(
            f'{shown_url(uri)} has generated references ("gen"): write them out, with kerchunk or fsspec, and add that'
        )
    references = cast("References", document.get("refs", document))
    templates = document.get("templates") or {}
    if templates:
        for value in references.values():
            if isinstance(value, list) and value and isinstance(value[0], str):
                value[0] = _filled(value[0], templates, uri)
    return dict(references)


def _filled(path: str, templates: Mapping[str, str], uri: str) -> str:
    for name, value in templates.items():
        path = path.replace(f"{{{{{name}}}}}", value).replace(f"{{{{ {name} }}}}", value)
    if "{{" in path:
        raise InvalidOptionError(
            f"{shown_url(uri)} has a template that is more than a name, in {shown(path)}: write the references out"
        )
    return path


async def _read_parquet(uri: str, sources: SourceReader) -> References:
    """Copy the files of the directory aside, as the library that reads them knows nothing of grants."""
    from fsspec.implementations.local import LocalFileSystem
    from fsspec.implementations.reference import LazyReferenceMapper

    file = await sources.fingerprint(f"{uri}/.zmetadata")
    metadata = await sources.read(file, 0, file.size)
    names = await parsed("Kerchunk references", uri, lambda: _parquet_files(metadata))
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / ".zmetadata").write_bytes(metadata)

        async def copy(name: str) -> None:
            part = await sources.fingerprint(f"{uri}/{name}")
            body = await sources.read(part, 0, part.size)
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)

        for start in range(0, len(names), 16):
            await asyncio.gather(*(copy(name) for name in names[start : start + 16]))

        def load() -> References:
            mapper = LazyReferenceMapper(str(root), LocalFileSystem())
            found: References = {}
            for key in mapper:
                try:
                    value = mapper[key]
                except KeyError:
                    # A chunk that is not stored.
                    continue
                found[key] = list(value) if isinstance(value, tuple) else value
            return found

        return await parsed("Kerchunk references", uri, load)


def _parquet_files(metadata: bytes) -> list[str]:
    document = json.loads(metadata)
    size = document["record_size"]
    names = []
    for key, value in document["metadata"].items():
        if key.endswith(".zarray"):
            chunks = math.prod(-(-length // (chunk or 1)) for length, chunk in zip(value["shape"], value["chunks"], strict=True))
            names += [f"{key.removesuffix('.zarray')}refs.{number}.parq" for number in range(-(-chunks // size))]
    return names


async def _complete(references: References, sources: SourceReader, uri: str, fs_root: str | None) -> None:
    """Make all paths URLs, and give references to whole files their length, asked for through the grants."""
    whole: dict[str, str] = {}
    for key, value in references.items():
        if isinstance(value, tuple | list) and value and isinstance(value[0], str) and value[0]:
            url = _url(value[0], uri, fs_root)
            references[key] = [url, *value[1:]]
            if len(value) == 1:
                whole[key] = url
            elif len(value) == 3 and not value[2]:
                raise InvalidOptionError(
                    f"the reference {shown(key)} in {shown_url(uri)} has the length {value[2]!r}: make the references anew"
                )
    found = {file.url: file.size for file in await sources.fingerprints(dict.fromkeys(whole.values()))}
    for key, url in whole.items():
        references[key] = [url, 0, found[url]]


def _url(path: str, uri: str, fs_root: str | None) -> str:
    if "://" in path:
        return path
    if path.startswith("/"):
        return Path(path).as_uri()
    if fs_root is None:
        raise InvalidOptionError(
            f"the references in {shown_url(uri)} have the relative path {shown(path)}: say where it starts, fs_root='file:///…' or 's3://…'"
        )
    return f"{fs_root.rstrip('/')}/{path}"


def _group(references: References) -> "ManifestGroup":
    from virtualizarr.manifests import ManifestGroup
    from virtualizarr.parsers.kerchunk.translator import manifestgroup_from_kerchunk_refs

    members: dict[str, References] = {}
    own: References = {}
    for key, value in references.items():
        name, slash, rest = key.partition("/")
        if slash:
            members.setdefault(name, {})[rest] = value
        else:
            own[name] = value
    groups = {name: _group(inner) for name, inner in members.items() if ".zgroup" in inner or _node_type(inner) == "group"}
    if "zarr.json" in own:
        arrays = {
            f"{name}/{key}": value
            for name, inner in members.items()
            if _node_type(inner) == "array"
            for key, value in inner.items()
        }
        flat = manifestgroup_from_kerchunk_refs(
            cast("KerchunkStoreRefs", {"version": 1, "refs": {"zarr.json": own["zarr.json"], **arrays}})
        )
        return ManifestGroup(arrays=flat.arrays, groups=groups, attributes=flat.metadata.attributes)
    if ".zgroup" not in own and not any(".zarray" in inner for inner in members.values()):
        raise NotFoundError("there is no group in the references")
    return ManifestGroup(
        arrays={name: _array(inner) for name, inner in members.items() if ".zarray" in inner},
        groups=groups,
        attributes=_json(own.get(".zattrs", {})),
    )


def _array(references: References) -> "ManifestArray":
    """Return an array of Zarr format 2."""
    from virtualizarr.manifests import ManifestArray
    from virtualizarr.parsers.kerchunk.translator import manifest_from_kerchunk_chunk_dict, parse_array_refs

    described = {".zarray": _json(references[".zarray"]), ".zattrs": _json(references.get(".zattrs", {}))}
    described[".zattrs"].setdefault("_ARRAY_DIMENSIONS", None)
    _, metadata, _ = parse_array_refs(cast("KerchunkArrRefs", described))
    # Parsers know the separator "." only.
    chunks = {key.replace("/", "."): value for key, value in references.items() if not key.startswith(".")}
    grid = tuple(-(-size // chunk) for size, chunk in zip(metadata.shape, metadata.chunks, strict=True))
    return ManifestArray(
        metadata=metadata,
        chunkmanifest=manifest_from_kerchunk_chunk_dict(
            cast("dict[ChunkKey, str | tuple[str] | tuple[str, int, int]]", chunks), shape=grid
        ),
    )


def _node_type(references: References) -> object:
    return _json(references["zarr.json"]).get("node_type") if "zarr.json" in references else None


def _json(value: Reference) -> dict[str, object]:
    decoded = json.loads(value) if isinstance(value, str | bytes) else value
    if not isinstance(decoded, dict):
        raise ValueError(f"a metadata document is no JSON object: {decoded!r:.80}")
    return dict(decoded)
