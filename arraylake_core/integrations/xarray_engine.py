"""The xarray engine ``arraylake``: ``xr.open_dataset("org/repo", engine="arraylake", ref=..., group=...)``."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xarray.backends import BackendEntrypoint

from arraylake_core.errors import InvalidNameError
from arraylake_core.names import shown

if TYPE_CHECKING:
    from xarray import Dataset

    from arraylake_core.client.sync import Client

__all__ = ["ArraylakeEntrypoint"]


class ArraylakeEntrypoint(BackendEntrypoint):
    """Opens a group of a repo at a branch, tag or commit; xarray asks for it by the name of the engine."""

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
        ref: str = "main",
        group: str | None = None,
        client: "Client | None" = None,
    ) -> "Dataset":
        """Open a group of a repo; nothing is ever written to it.

        Parameters
        ----------
        filename_or_obj
            The full name of the repo, ``org/repo``.
        mask_and_scale, decode_times, concat_characters, decode_coords, drop_variables, use_cftime, decode_timedelta
            As ``xarray.open_dataset`` has them.
        ref
            A branch, a tag or the id of a commit.
        group
            The path of the group; None is the root.
        client
            Whose catalog to look in; by default that of the settings.

        Raises
        ------
        InvalidNameError
            The name is not of the form ``org/repo``.
        RepoNotFoundError, RefNotFoundError
            There is no such repo, or no such branch, tag or commit in it.
        """
        import xarray

        from arraylake_core.client.sync import Client

        if not isinstance(filename_or_obj, str):
            raise InvalidNameError(f"the engine arraylake opens a repo by its name, org/repo, not {shown(str(filename_or_obj))}")
        repo = (client or Client()).get_repo(filename_or_obj, read_only=True)
        repo.checkout(ref, writable=False)
        return xarray.open_dataset(
            repo.store,  # type: ignore[arg-type]  # xarray's zarr engine takes a zarr store
            engine="zarr",
            group=group,
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

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Return False: a name like ``org/repo`` may be a file, so that this engine is asked for by name."""
        return False
