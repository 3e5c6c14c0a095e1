"""Files of each format, parsed by VirtualiZarr into references: one function a format."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from arraylake_core.backends.object_store import open_object_store
from arraylake_core.errors import PermissionDeniedError, StorageError
from arraylake_v1_repo.virtual.grants import GrantedFile, granted_path, shown_url
from arraylake_v1_repo.virtual.hdf import check_hdf, uncollected
from arraylake_v1_repo.virtual.kerchunk import kerchunk_group
from arraylake_v1_repo.virtual.parsing import needs, parsed, run_parser
from arraylake_v1_repo.virtual.references import VirtualArray, VirtualGroup, read_manifest_store
from arraylake_v1_repo.virtual.sources import SourceReader
from arraylake_v1_repo.virtual.window import Window, WindowRegistry

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["read_grib", "read_hdf", "read_kerchunk", "read_netcdf", "read_netcdf3", "read_tiff", "read_zarr"]


async def read_hdf(
    uri: str, sources: SourceReader, *, group: str | None = None, drop_variables: Collection[str] = ()
) -> list[VirtualGroup | VirtualArray]:
    """Return references into an HDF5 or NetCDF4 file.

    Parameters
    ----------
    uri
        The file.
    sources
        Reads it.
    group
        The group of the file to begin at; None is its root.
    drop_variables
        Names in that group to leave out.

    Raises
    ------
    PermissionDeniedError
        The file does not lie below a granted prefix.
    StorageError
        It can't be read, or is no such file.
    InvalidOptionError
        It has something that references can't express.
    PluginError
        A library is missing.
    """
    sources.check(uri)
    with needs("hdf"):
        import h5py  # type: ignore[import-untyped]  # noqa: F401 - the parser imports it late
        from obspec_utils.readers import BlockStoreReader
        from virtualizarr.parsers import HDFParser
    file = await sources.fingerprint(uri)
    registry = WindowRegistry(uri, Window(file, sources), "file")
    # One reader, so that what the check has read is not read again.
    reader = BlockStoreReader(cast("BlockStoreReader.Store", Window(file, sources)), "file")
    parser = HDFParser(group=group, drop_variables=list(drop_variables), reader_factory=lambda *_: reader)
    with uncollected():
        await parsed("HDF5", uri, lambda: check_hdf(reader, uri, group, drop_variables))
        found = await run_parser("HDF5", parser, uri, registry)
    return await read_manifest_store(found, sources, known=[file])


async def read_netcdf(
    uri: str, sources: SourceReader, *, group: str | None = None, drop_variables: Collection[str] = ()
) -> list[VirtualGroup | VirtualArray]:
    """Return references into a NetCDF file, of format 3 or 4: its first bytes tell; otherwise as ``read_hdf``."""
    file = await sources.fingerprint(uri)
    if await sources.read(file, 0, min(3, file.size)) != b"CDF":
        return await read_hdf(uri, sources, group=group, drop_variables=drop_variables)
    return await read_netcdf3(uri, sources, group=group, drop_variables=drop_variables)


async def read_netcdf3(
    uri: str, sources: SourceReader, *, group: str | None = None, drop_variables: Collection[str] = ()
) -> list[VirtualGroup | VirtualArray]:
    """Return references into a NetCDF3 file, which has one group only; parameters and errors as of ``read_hdf``."""
    sources.check(uri)
    with needs("netcdf3"):
        from virtualizarr.parsers import NetCDF3Parser
    file = await sources.fingerprint(uri)
    parser = NetCDF3Parser(group=group, skip_variables=list(drop_variables))
    registry = WindowRegistry(uri, Window(file, sources), "file")
    return await read_manifest_store(await run_parser("NetCDF3", parser, uri, registry), sources, known=[file])


async def read_tiff(
    uri: str, sources: SourceReader, *, ifd: int | None = None, ifd_layout: Literal["flat", "nested"] = "flat"
) -> list[VirtualGroup | VirtualArray]:
    """Return references into a TIFF file; errors as of ``read_hdf``.

    Parameters
    ----------
    uri
        The file.
    sources
        Reads it.
    ifd
        The image to take, counted from 0; None takes all of them.
    ifd_layout
        Whether all images are arrays of one group, or each has a group of its own.
    """
    sources.check(uri)
    with needs("tiff"):
        from virtual_tiff import VirtualTIFF
    file = await sources.fingerprint(uri)
    parser = VirtualTIFF(ifd=ifd, ifd_layout=ifd_layout)
    registry = WindowRegistry(uri, Window(file, sources), "file")
    return await read_manifest_store(await run_parser("TIFF", parser, uri, registry), sources, known=[file])


async def read_grib(
    uri: str, sources: SourceReader, *, drop_variables: Collection[str] = (), collapse_groups: bool = False
) -> list[VirtualGroup | VirtualArray]:
    """Return references into a GRIB2 file, each message a chunk that gribberish decodes; errors as of ``read_hdf``.

    Parameters
    ----------
    uri
        The file.
    sources
        Reads it; the whole file is read once.
    drop_variables
        Short names to leave out.
    collapse_groups
        Whether variables of every kind of level go into one group where they can, not into a group for each kind.
    """
    sources.check(uri)
    with needs("grib"):
        from gribberish.virtualizarr import GribberishParser  # type: ignore[import-untyped]
        from obstore.store import MemoryStore
    file = await sources.fingerprint(uri)
    whole = MemoryStore()
    await whole.put_async("file", await sources.read(file, 0, file.size))
    parser = GribberishParser(drop_variables=list(drop_variables), collapse_groups=collapse_groups)
    registry = WindowRegistry(uri, whole, "file")
    return await read_manifest_store(await run_parser("GRIB2", parser, uri, registry), sources, known=[file])


async def read_zarr(
    uri: str, sources: SourceReader, *, group: str | None = None, drop_variables: Collection[str] = ()
) -> list[VirtualGroup | VirtualArray]:
    """Return references into a Zarr store of format 2 or 3, each chunk or shard a file; parameters and errors as of ``read_hdf``."""
    uri = uri.rstrip("/")
    inside = sources.check(f"{uri}/zarr.json")
    with needs("zarr"):
        import arro3.core  # noqa: F401 - the parser lists with it
        from obstore.store import LocalStore
        from virtualizarr.parsers import ZarrParser
    directory = inside.key.rpartition("/")[0]
    if inside.grant.store.protocol == "file":
        root = Path(granted_path(inside)).parent
        await parsed("Zarr", uri, lambda: _check_links(root, uri, inside))
        store: ObjectStore = LocalStore(root)
    else:
        spec = inside.grant.store
        below = "/".join(part for part in (spec.prefix, directory) if part)
        store = await open_object_store(msgspec.structs.replace(spec, prefix=below))
    parser = ZarrParser(group=group, skip_variables=list(drop_variables))
    return await read_manifest_store(await run_parser("Zarr", parser, uri, WindowRegistry(uri, store, "")), sources)


async def read_kerchunk(
    uri: str,
    sources: SourceReader,
    *,
    group: str | None = None,
    fs_root: str | None = None,
    drop_variables: Collection[str] = (),
) -> list[VirtualGroup | VirtualArray]:
    """Return the references of a Kerchunk file, JSON or Parquet; errors as of ``read_hdf``.

    Parameters
    ----------
    uri
        The reference file; for Parquet the directory.
    sources
        Reads it, and the files that it refers to.
    group
        The group of the references to begin at; None is their root.
    fs_root
        The URL of the directory that relative paths in the references start from.
    drop_variables
        Names in that group to leave out.
    """
    with needs("kerchunk"):
        import virtualizarr.parsers.kerchunk.translator  # noqa: F401 - imported late where it is used
    return await read_manifest_store(await kerchunk_group(uri, sources, group, fs_root, drop_variables), sources)


def _check_links(root: Path, uri: str, inside: GrantedFile) -> None:
    """Refuse a store on a local disk with symbolic links that lead out of the grant: Zarr's own reader would follow them."""
    if not root.is_dir():
        raise StorageError(f"there is no Zarr store at {shown_url(uri)}: check the URL")
    grant = Path(inside.grant.store.prefix).resolve()
    for directory, directories, files in root.walk():
        for path in (directory / name for name in (*directories, *files)):
            if path.is_symlink() and not path.resolve().is_relative_to(grant):
                raise PermissionDeniedError(
                    f"the Zarr store {shown_url(uri)} is not read: the symbolic link {str(path.relative_to(root))!r} leads out of "
                    f"{inside.grant.prefix}, which is all that was granted. Grant the directory that it leads to, and add it by its path there"
                )
