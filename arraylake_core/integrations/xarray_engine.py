"""The xarray engine ``arraylake``: ``xr.open_dataset("org/repo", engine="arraylake", ref=..., group=...)``, or with an ``al://`` URL."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

from xarray.backends import BackendEntrypoint

from arraylake_core.errors import InvalidNameError, InvalidOptionError
from arraylake_core.integrations.url import PROTOCOL, RepoUrl
from arraylake_core.names import join_prefix, parse_repo_name, shown

if TYPE_CHECKING:
    from xarray import Dataset, DataTree
    from zarr.abc.store import Store

    from arraylake_core.client.sync import Client

__all__ = ["ArraylakeEntrypoint"]


class ArraylakeEntrypoint(BackendEntrypoint):
    """Opens a group of a repo at a branch, tag or commit; xarray asks for it by the name of the engine."""

    supports_groups = True
    description = "Open a repo of arraylake-core, at a branch, tag or commit"
    open_dataset_parameters = (
        "filename_or_obj",
        "mask_and_scale",
        "decode_times",
        "concat_characters",
        "decode_coords",
        "drop_variables",
        "use_cftime",
        "decode_timedelta",
        "ref",
        "group",
        "client",
    )

    def open_dataset(
        self,
        filename_or_obj: object,
        *,
        mask_and_scale: bool = True,
        decode_times: bool = True,
        concat_characters: bool = True,
        decode_coords: bool = True,
        drop_variables: str | Iterable[str] | None = None,
        use_cftime: bool | None = None,
        decode_timedelta: bool | None = None,
        ref: str | None = None,
        group: str | None = None,
        client: "Client | None" = None,
    ) -> "Dataset":
        """Open a group of a repo; nothing is ever written to it.

        Parameters
        ----------
        filename_or_obj
            The full name of the repo, ``org/repo``, or a URL, ``al://org/repo@ref/group``.
        mask_and_scale, decode_times, concat_characters, decode_coords, drop_variables, use_cftime, decode_timedelta
            As ``xarray.open_dataset`` has them.
        ref
            A branch, a tag or the id of a commit; by default that of the URL, or else ``main``.
        group
            The path of the group, below that of a URL; None is the root.
        client
            Whose catalog to look in; by default that of the settings.

        Raises
        ------
        InvalidNameError
            The name is neither ``org/repo`` nor a URL of a group in a repo.
        InvalidOptionError
            ``ref`` is another than the one in the URL.
        RepoNotFoundError, RefNotFoundError
            There is no such repo, or no such branch, tag or commit in it.
        """
        import xarray

        store, path = _opened(filename_or_obj, ref, group, client)
        return xarray.open_dataset(
            store,  # type: ignore[arg-type]  # xarray's zarr engine takes a zarr store
            engine="zarr",
            group=path,
            consolidated=False,
            mask_and_scale=mask_and_scale,
            decode_times=decode_times,
            concat_characters=concat_characters,
            decode_coords=decode_coords,
            drop_variables=drop_variables,
            use_cftime=use_cftime,
            decode_timedelta=decode_timedelta,
            chunks=None,
            cache=False,
        )

    def open_datatree(
        self,
        filename_or_obj: object,
        *,
        ref: str | None = None,
        group: str | None = None,
        client: "Client | None" = None,
        **options: object,
    ) -> "DataTree":
        """Open a group of a repo with all groups below it.

        Parameters
        ----------
        filename_or_obj, ref, group, client
            As in ``open_dataset``.
        **options
            As ``xarray.open_datatree`` has them.
        """
        import xarray

        store, path = _opened(filename_or_obj, ref, group, client)
        open_datatree = cast("Callable[..., DataTree]", xarray.open_datatree)
        return open_datatree(store, engine="zarr", group=path, consolidated=False, chunks=None, cache=False, **options)

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Tell whether this is an ``al://`` URL: a name like ``org/repo`` may be a file, so that the engine is asked for by name there."""
        return isinstance(filename_or_obj, str) and filename_or_obj.startswith(f"{PROTOCOL}://")


def _opened(given: object, ref: str | None, group: str | None, client: "Client | None") -> "tuple[Store, str | None]":
    """Return the zarr store of the version that is to be opened, and the path of the group in it."""
    from arraylake_core.client.sync import Client

    url = _named(given, ref, group)
    repo = (client or Client()).get_repo(url.full_name, read_only=True)
    repo.checkout(url.ref or "main", writable=False)
    return repo.store, url.path or None


def _named(given: object, ref: str | None, group: str | None) -> RepoUrl:
    """Return what is to be opened."""
    if not isinstance(given, str):
        raise InvalidNameError(f"the engine arraylake opens a repo by its name, org/repo, not {shown(str(given))}")
    below = (group or "").strip("/")
    if not given.startswith(f"{PROTOCOL}://"):
        return RepoUrl(*parse_repo_name(given), ref, below)
    url = RepoUrl.parse(given)
    if not url.repo:
        raise InvalidNameError(f"{shown(given)} names no repo: write al://org/repo@ref/group")
    if ref is not None and url.ref not in (None, ref):
        raise InvalidOptionError(f"ref={shown(ref)} is not the ref of {shown(given)}: give one of the two")
    return url._replace(ref=url.ref if ref is None else ref, path=join_prefix(url.path, below))
