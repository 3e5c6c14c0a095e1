"""Creating, opening and destroying plain Zarr stores; zarr and obstore are imported when one is first touched."""

import asyncio
from typing import TYPE_CHECKING

from arraylake_core.backends import RepoBackend, RepoContext
from arraylake_core.backends.removal import remove_all
from arraylake_core.errors import AlreadyExistsError, InvalidOptionError

if TYPE_CHECKING:
    from arraylake_plain_zarr.repo import PlainZarrRepo

__all__ = ["PlainZarrBackend"]

_ROOT = "zarr.json"


class PlainZarrBackend(RepoBackend):
    """Zarr stores that are nothing but that: every write is there for everybody at once, and no version is kept."""

    name = "plain-zarr"

    def check(self, context: RepoContext) -> None:
        """Refuse options of other kinds."""
        if context.options.config is not None or context.options.spec_version is not None:
            raise InvalidOptionError("config and spec_version belong to other repo kinds: a plain Zarr store takes none")

    async def create(self, context: RepoContext) -> "PlainZarrRepo":
        """Write an empty root group; AlreadyExistsError where anything is."""
        from arraylake_plain_zarr.repo import PlainZarrRepo

        found = await self._find(context)
        if _ROOT in found:
            raise AlreadyExistsError(
                f"there is a Zarr store at {context.location.uri}: client.import_repo takes it into the catalog, or choose another prefix"
            )
        if found:
            raise AlreadyExistsError(f"{context.location.uri} is not empty ({found[0]} is there): choose another prefix")
        repo = await PlainZarrRepo.of(context, read_only=False)
        await asyncio.to_thread(repo.make_root)
        return repo

    async def open(self, context: RepoContext, *, read_only: bool, checkout: bool) -> "PlainZarrRepo":
        """Open a store, which may be empty: whoever may write may take away its root as well, and write another."""
        from arraylake_plain_zarr.repo import PlainZarrRepo

        self.check(context)
        return await PlainZarrRepo.of(context, read_only=read_only)

    async def exists(self, context: RepoContext) -> bool:
        """Tell whether a Zarr store is there."""
        filesystem = context.platform.filesystem(context.location, await context.credentials.get())
        path = context.platform.path(context.location)
        return bool(await asyncio.to_thread(filesystem.exists, f"{path}/{_ROOT}"))

    async def destroy(self, context: RepoContext) -> None:
        """Delete all objects of the store."""
        await remove_all(context.platform, context.location, context.credentials)

    async def _find(self, context: RepoContext) -> list[str]:
        """Return the keys at the place, as far as they tell whether it is free."""
        filesystem = context.platform.filesystem(context.location, await context.credentials.get())
        path = context.platform.path(context.location)
        try:
            names = await asyncio.to_thread(filesystem.ls, path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in names)
