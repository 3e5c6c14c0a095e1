"""Creating, opening and destroying V1 repos; numpy, zarr and obstore are imported when one is first touched."""

from typing import TYPE_CHECKING

from arraylake_core.backends import RepoBackend, RepoContext, RepoHandle, SignedCredentials
from arraylake_core.backends.removal import remove_all
from arraylake_core.errors import AlreadyExistsError, InvalidOptionError, RefNotFoundError, StorageError
from arraylake_core.models import utc_now

if TYPE_CHECKING:
    from arraylake_v1_repo.aio import AsyncRepo
    from arraylake_v1_repo.history import V1History

__all__ = ["V1Backend"]

_MARKER = "repo.json"


class V1Backend(RepoBackend):
    """Versioned Zarr on every platform, with the atomic step in the catalog."""

    name = "v1"
    checkout_default = True
    offers = frozenset({"export", "expire", "gc", "verify"})

    def check(self, context: RepoContext) -> None:
        """Refuse options of other kinds."""
        if context.options.spec_version not in (None, 1):
            raise InvalidOptionError(f"spec_version of a V1 repo is 1, not {context.options.spec_version!r}")
        if context.options.config is not None:
            raise InvalidOptionError("config belongs to other repo kinds: a V1 repo takes none")

    async def create(self, context: RepoContext) -> "AsyncRepo":  # type: ignore[override]  # sync() makes it a RepoHandle
        """Write a new repo; AlreadyExistsError where the place is not empty."""
        from arraylake_v1_repo.aio import AsyncRepo
        from arraylake_v1_repo.binding import Binding
        from arraylake_v1_repo.commits import first_commit
        from arraylake_v1_repo.format import RepoFile, encode_document
        from arraylake_v1_repo.refs import create_ref

        binding = await Binding.of(context, read_only=False)
        if await binding.objects.head(_MARKER) is not None:
            raise AlreadyExistsError(
                f"there is a V1 repo at {context.location.uri}: client.import_repo takes it into the catalog, or choose another prefix"
            )
        async for info in binding.objects.list(""):
            raise AlreadyExistsError(
                f"{context.location.uri} is not empty ({info.key} is there): choose another prefix, or client.import_repo where it is a repo"
            )
        commit = await first_commit(binding, "Repository initialized")
        await create_ref(binding, "branch", "main", commit)
        await binding.objects.put(_MARKER, encode_document(RepoFile(created=utc_now())))
        await binding.objects.persist([_MARKER])
        repo = AsyncRepo(binding)
        await repo.checkout()
        return repo

    async def open(self, context: RepoContext, *, read_only: bool, checkout: bool) -> "AsyncRepo":  # type: ignore[override]
        """Open a repo; with ``checkout``, at ``main``. A catalog that does not know its branches takes them from the bucket."""
        from arraylake_v1_repo.aio import AsyncRepo
        from arraylake_v1_repo.binding import Binding
        from arraylake_v1_repo.refs import rebuild

        self.check(context)
        binding = await Binding.of(context, read_only=read_only)
        repo = AsyncRepo(binding)
        if checkout:
            try:
                await repo.checkout()
                return repo
            except RefNotFoundError:
                pass
        if await context.coordination.get_ref("branch/main") is None:
            await self._require(context)
            await rebuild(binding)
        if checkout:
            await repo.checkout()
        return repo

    async def exists(self, context: RepoContext) -> bool:
        """Tell whether a whole V1 repo is there."""
        from arraylake_v1_repo.format import RepoFile, decode_document
        from arraylake_v1_repo.objects import open_objects

        objects = await open_objects(context.platform, context.location, context.credentials)
        data = await objects.get(_MARKER)
        if data is None:
            return False
        decode_document(data, RepoFile, f"{_MARKER} at {context.location.uri}")
        return True

    async def destroy(self, context: RepoContext) -> None:
        """Delete all objects of the repo."""
        found = await context.credentials.get()
        if isinstance(found, SignedCredentials):
            from arraylake_v1_repo.signed import SignedObjects

            objects = SignedObjects(context.platform, context.location, found.signer)
            await objects.delete([info.key async for info in objects.list("")])
            return
        await remove_all(context.platform, context.location, context.credentials)

    def history(self, handle: RepoHandle) -> "V1History":
        """Return all versions of an open repo, for a migration."""
        from arraylake_v1_repo.history import V1History

        return V1History(handle.binding)  # type: ignore[attr-defined]  # an AsyncRepo, as open returns

    def sync(self, handle: RepoHandle) -> RepoHandle:
        """Return the blocking twin."""
        from arraylake_v1_repo.sync import Repo

        return Repo(handle)  # type: ignore[arg-type]  # an AsyncRepo, as create and open return

    async def _require(self, context: RepoContext) -> None:
        if not await self.exists(context):
            raise StorageError(
                f"there is no V1 repo at {context.location.uri}: look at the bucket config and the prefix, or restore a backup"
            )
