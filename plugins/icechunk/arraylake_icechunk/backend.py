"""Creating, opening and destroying Icechunk repositories; Icechunk itself is imported when one is first touched."""

from typing import TYPE_CHECKING, cast

from arraylake_core.backends import RepoBackend, RepoContext, RepoHandle
from arraylake_core.backends.removal import remove_all
from arraylake_core.errors import CredentialsError, InvalidOptionError, StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from icechunk import RepositoryConfig

    from arraylake_core.backends.history import NodeChange
    from arraylake_icechunk.history import IcechunkWriter
    from arraylake_icechunk.repo import IcechunkRepo

__all__ = ["IcechunkBackend"]


class IcechunkBackend(RepoBackend):
    """Repos that are Icechunk repositories, on every platform with an object store description."""

    name = "icechunk"
    checkout_default = False

    def check(self, context: RepoContext) -> None:
        """Refuse platforms that only fsspec reaches, and options of other kinds."""
        if context.object_store() is None:
            raise StorageError(
                f"Icechunk can't write to the platform {context.location.platform!r}, which only fsspec reaches: "
                "keep the repo on another platform, or take a repo kind that uses fsspec"
            )
        if context.options.spec_version not in (None, 1, 2):
            raise InvalidOptionError(f"spec_version must be 1 or 2, not {context.options.spec_version!r}")
        config = context.options.config
        if config is not None:
            import icechunk

            if not isinstance(config, icechunk.RepositoryConfig):
                raise InvalidOptionError(f"config must be an icechunk.RepositoryConfig, not a {type(config).__name__}")

    async def create(self, context: RepoContext) -> "IcechunkRepo":
        """Write a new repository; AlreadyExistsError where the place is not empty."""
        from arraylake_icechunk.binding import Binding
        from arraylake_icechunk.errors import translated
        from arraylake_icechunk.repo import IcechunkRepo
        from arraylake_icechunk.storage import authorized, is_writable, storage_for, with_containers

        with translated(context.repo.full_name, context.location.uri):
            if not await is_writable(context):
                raise CredentialsError(
                    f"{context.location.uri} is opened without credentials, and nothing is written to GCS that way: name another auth method"
                )
            storage = await storage_for(context)
            config = with_containers(_config(context), context.virtual_sources)
            repo = await IcechunkRepo.create_async(
                storage,
                config=config,
                spec_version=context.options.spec_version,
                authorize_virtual_chunk_access=await authorized(context.virtual_sources),
            )
            repo.bind(Binding.of(context, read_only=False))
            if context.virtual_sources:
                await repo.save_config_async()
        return repo

    async def open(self, context: RepoContext, *, read_only: bool, checkout: bool) -> "IcechunkRepo":
        """Open a repository; with ``checkout``, at ``main``."""
        import icechunk

        from arraylake_icechunk.binding import Binding
        from arraylake_icechunk.errors import translated
        from arraylake_icechunk.repo import IcechunkRepo
        from arraylake_icechunk.storage import authorized, is_writable, storage_for, with_containers

        with translated(context.repo.full_name, context.location.uri):
            storage = await storage_for(context)
            config, access = _config(context), None
            if context.virtual_sources:
                stored = config or await icechunk.Repository.fetch_config_async(storage)
                config = with_containers(stored, context.virtual_sources)
                access = await authorized(context.virtual_sources)
            repo = await IcechunkRepo.open_async(storage, config=config, authorize_virtual_chunk_access=access)
            repo.bind(Binding.of(context, read_only=read_only or not await is_writable(context)))
            if checkout:
                await repo.checkout_async()
        return repo

    async def exists(self, context: RepoContext) -> bool:
        """Tell whether an Icechunk repository is there."""
        import icechunk

        from arraylake_icechunk.errors import translated
        from arraylake_icechunk.storage import storage_for

        with translated(context.repo.full_name, context.location.uri):
            return await icechunk.Repository.exists_async(await storage_for(context))

    async def destroy(self, context: RepoContext) -> None:
        """Delete all objects of the repository."""
        spec = context.object_store()
        if spec is not None and spec.protocol == "memory":
            from arraylake_icechunk.storage import forget_memory

            forget_memory(spec)
        await remove_all(context.platform, context.location, context.credentials)

    def check_change(self, change: "NodeChange") -> None:
        """Refuse what a repo of another kind has and Icechunk has no place for."""
        from arraylake_icechunk.history import check_change

        check_change(change)

    def history_writer(self, handle: RepoHandle, branches: "Sequence[str]") -> "IcechunkWriter":
        """Return the way to write another repo's history."""
        from arraylake_icechunk.history import IcechunkWriter

        return IcechunkWriter(cast("IcechunkRepo", handle), branches)

    def sync(self, handle: RepoHandle) -> RepoHandle:
        """Return the handle itself: an Icechunk repository has both a blocking and an async form of every method."""
        return handle


def _config(context: RepoContext) -> "RepositoryConfig | None":
    return cast("RepositoryConfig | None", context.options.config)
