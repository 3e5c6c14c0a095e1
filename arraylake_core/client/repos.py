"""What happens to a repo's record and bytes together: creating, importing, opening, deleting, repairing.

The order is what makes it safe. Creation: the record as pending, then the bytes, then the record as active. Deletion: a mark, then the bytes, then the record.
Wherever a process dies, what is left is nothing, or a record that ``repair`` finishes.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from arraylake_core import config
from arraylake_core.backends.credentials import Access
from arraylake_core.backends.repo_kind import RepoBackend, RepoContext, RepoHandle, RepoOptions, VirtualSource
from arraylake_core.catalog.base import Catalog, NewRepo, UnfinishedRepo
from arraylake_core.catalog.credentials import bucket_provider
from arraylake_core.catalog.request import bucket_location, container_location
from arraylake_core.errors import (
    AlreadyExistsError,
    ArraylakeError,
    BucketConfigNotFoundError,
    InvalidNameError,
    NotFoundError,
    StorageError,
)
from arraylake_core.models import Author, BucketResponse, RepairAction, RepoKind, RepoMetadata, RepoModel, utc_now
from arraylake_core.names import RepoName, generate_prefix, join_prefix, shown, validate_prefix
from arraylake_core.plugins import PluginRegistry

__all__ = ["INTERRUPTED_AFTER", "RepoRequest", "Repos"]


INTERRUPTED_AFTER = timedelta(minutes=1)
"""A creation that has gone on for so long is taken for one that was interrupted."""


class RepoRequest(NamedTuple):
    """What a caller says of a repo that is to be made or imported.

    Parameters
    ----------
    nickname
        The bucket config; None is the organization's default.
    kind
        The kind; None is that of the config.
    prefix
        Where in the bucket config; None generates one.
    description, metadata
        For the catalog's record.
    options
        For the kind.
    virtual
        URL prefixes of virtual chunks, and the nicknames of the bucket configs that open them.
    """

    nickname: str | None
    kind: RepoKind | str | None
    prefix: str | None
    description: str | None
    metadata: RepoMetadata | None
    options: RepoOptions
    virtual: Mapping[str, str] | None


class Repos(NamedTuple):
    """The repos of a catalog, with the plugins that open them."""

    catalog: Catalog
    registry: PluginRegistry

    async def create(self, name: RepoName, wanted: RepoRequest) -> RepoHandle:
        """Make a new, empty repo."""
        backend = self._kind(wanted.kind)
        bucket, buckets, new = await self._new_record(name, backend, wanted)
        draft = RepoModel(id="", org=name.org, name=name.repo, kind=backend.name, bucket=bucket, prefix=new.prefix)
        author = await self.author()
        backend.check(self._context(draft, buckets, new.virtual_chunk_containers, options=wanted.options))
        record = await self._recorded(name, new)
        try:
            context = self._context(record, buckets, record.virtual_chunk_containers, options=wanted.options, author=author)
            handle = await backend.create(context)
            await self.catalog.activate_repo(record.id)
        except BaseException as error:
            # What was there before is never touched: only a place whose name was drawn for this repo holds nothing else.
            ours = new.generated and not isinstance(error, AlreadyExistsError)
            await asyncio.shield(self._undo(backend if ours else None, record, error))
            raise
        return handle

    async def register(self, name: RepoName, wanted: RepoRequest) -> RepoHandle:
        """Take a repo that is in a bucket already into the catalog."""
        backend = self._kind(wanted.kind)
        if not wanted.prefix:
            raise InvalidNameError("import_repo needs the prefix, in the bucket config, at which the repo lies")
        bucket, buckets, new = await self._new_record(name, backend, wanted)
        draft = RepoModel(id="", org=name.org, name=name.repo, kind=backend.name, bucket=bucket, prefix=new.prefix)
        context = self._context(draft, buckets, new.virtual_chunk_containers, options=wanted.options)
        backend.check(context)
        if not await backend.exists(context):
            raise StorageError(
                f"there is no {backend.name} repo at {context.location.uri}: nothing was recorded; check bucket and prefix"
            )
        record = await self._recorded(name, new)
        try:
            options = wanted.options
            context = self._context(record, buckets, record.virtual_chunk_containers, options=options, author=await self.author())
            handle = await backend.open(context, read_only=False, checkout=backend.checkout_default)
            await self.catalog.activate_repo(record.id)
        except BaseException as error:
            await asyncio.shield(self._undo(None, record, error))
            raise
        return handle

    async def open(
        self,
        name: RepoName,
        *,
        read_only: bool,
        checkout: bool | None,
        options: RepoOptions,
        virtual: Mapping[str, str] | None,
    ) -> RepoHandle:
        """Open a repo."""
        found = await self.catalog.open_repo(name.org, name.repo)
        backend = self.registry.repo_kind(found.repo.kind)
        buckets = dict(found.virtual_buckets)
        for nickname in {*(virtual or {}).values()} - buckets.keys():
            buckets[nickname] = await self.catalog.get_bucket(name.org, nickname)
        containers = {
            **{url: nickname for url, nickname in found.repo.virtual_chunk_containers.items() if nickname in buckets},
            **(virtual or {}),
        }
        # Who may only read gets a repo that refuses to be written, also where the bucket's keys could do more.
        read_only = read_only or not found.repo.may_write
        access: Access = "read" if read_only else "write"
        author = found.author or await self.author()
        context = self._context(found.repo, buckets, containers, access=access, options=options, author=author)
        if found.credentials is not None:
            context.credentials.offer(found.credentials)
        at_main = backend.checkout_default if checkout is None else checkout
        return await backend.open(context, read_only=read_only, checkout=at_main)

    async def author(self) -> Author | None:
        """Return whom a service takes the caller for; None in the process itself."""
        who = await self.catalog.whoami()
        return Author(who.name or who.email, who.email) if who.email else None

    async def purge(self, repo: RepoModel) -> None:
        """Delete the bytes of a deleted repo, unless they are to be kept, and forget it."""
        await self.catalog.begin_purge(repo.id)
        if not repo.retain_data:
            backend = self.registry.repo_kind(repo.kind)
            await backend.destroy(self._context(repo, {}, {}))
        await self.catalog.purge_repo(repo.id)

    async def repair(self, org: str | None, older_than: timedelta) -> list[RepairAction]:
        """Finish creations and deletions that were interrupted, and purge deleted repos whose time is over."""
        kept = timedelta(days=config.get_float("repo.restore_days"))
        actions: list[RepairAction] = []
        for unfinished in await self.catalog.unfinished_repos(org):
            age, repo = utc_now() - unfinished.since, unfinished.repo
            if unfinished.state == "pending" and age >= older_than:
                actions.append(await self._finish(unfinished))
            elif unfinished.state == "purging" or (unfinished.state == "deleted" and age >= kept):
                await self.purge(repo)
                reason = "its deletion had begun" if unfinished.state == "purging" else f"it was deleted {age.days} days ago"
                actions.append(RepairAction(repo=repo.full_name, action="purged", reason=reason))
        return actions

    def bucket_context(self, bucket: BucketResponse, access: Access = "write") -> RepoContext:
        """Return the context of a bucket config as a whole, for probing it."""
        return self._context(
            RepoModel(id="", org="", name="", kind="", bucket=bucket, prefix=bucket.prefix), {}, {}, access=access
        )

    async def _recorded(self, name: RepoName, new: NewRepo) -> RepoModel:
        """Record a repo as pending, after finishing a creation of that name which was interrupted, so that a script that died can be run again."""
        try:
            return await self.catalog.create_repo(name.org, new)
        except AlreadyExistsError:
            for unfinished in await self.catalog.unfinished_repos(name.org):
                stale = unfinished.state == "pending" and utc_now() - unfinished.since >= INTERRUPTED_AFTER
                if stale and unfinished.repo.name == name.repo and (await self._finish(unfinished)).action == "dropped":
                    return await self.catalog.create_repo(name.org, new)
            raise

    async def _finish(self, unfinished: UnfinishedRepo) -> RepairAction:
        repo = unfinished.repo
        backend = self.registry.repo_kind(repo.kind)
        context = self._context(repo, {}, {})
        if await backend.exists(context):
            await self.catalog.activate_repo(repo.id)
            return RepairAction(
                repo=repo.full_name, action="activated", reason="its creation had stopped after its bytes were written"
            )
        if unfinished.generated:
            await backend.destroy(context)
        await self.catalog.purge_repo(repo.id)
        return RepairAction(
            repo=repo.full_name, action="dropped", reason="its creation had stopped before its bytes were written"
        )

    async def _undo(self, backend: RepoBackend | None, record: RepoModel, error: BaseException) -> None:
        """Forget a creation that failed, and its bytes where a backend is given; the name is free at once."""
        try:
            if backend is not None:
                await backend.destroy(self._context(record, {}, {}))
        except ArraylakeError:
            # What stopped the creation is likely to stop its removal too, and is what the caller must hear of.
            error.add_note(f"Objects of the repo that was not made may be left at the prefix {record.prefix} of its bucket.")
        finally:
            await self.catalog.purge_repo(record.id)

    def _kind(self, kind: RepoKind | str | None) -> RepoBackend:
        return self.registry.repo_kind(str(kind or config.get_str("repo.kind")))

    async def _new_record(
        self, name: RepoName, backend: RepoBackend, wanted: RepoRequest
    ) -> tuple[BucketResponse, dict[str, BucketResponse], NewRepo]:
        own = validate_prefix(wanted.prefix) if wanted.prefix else generate_prefix()
        bucket = await self.catalog.get_bucket(name.org, wanted.nickname)
        virtual = dict(wanted.virtual or {})
        buckets = {named: await self.catalog.get_bucket(name.org, named) for named in {*virtual.values()}}
        platform = self.registry.storage_platform(bucket.platform)
        location = bucket_location(platform, bucket).below(own)
        new = NewRepo(
            name=name.repo,
            kind=backend.name,
            bucket_id=bucket.id,
            prefix=join_prefix(bucket.prefix, own),
            generated=not wanted.prefix,
            identity=platform.identity(location),
            description=wanted.description,
            metadata=wanted.metadata or {},
            virtual_chunk_containers=virtual,
        )
        return bucket, buckets, new

    def _context(
        self,
        repo: RepoModel,
        buckets: Mapping[str, BucketResponse],
        containers: Mapping[str, str],
        *,
        access: Access = "write",
        options: RepoOptions | None = None,
        author: Author | None = None,
    ) -> RepoContext:
        if repo.bucket is None:
            raise BucketConfigNotFoundError(f"{repo.full_name} has no bucket config any more")
        platform = self.registry.storage_platform(repo.bucket.platform)
        whole = bucket_location(platform, repo.bucket)
        location = whole.below(repo.prefix.removeprefix(repo.bucket.prefix).strip("/"))
        return RepoContext(
            repo=repo,
            location=location,
            platform=platform,
            credentials=bucket_provider(self.catalog.handle, self.registry, repo.bucket, location, access, repo.id),
            coordination=self.catalog.coordination(repo.id),
            author=_author(author),
            options=options or RepoOptions(),
            virtual_sources=tuple(
                self.virtual_source(url, buckets, name, repo.id if repo.virtual_chunk_containers.get(url) == name else "")
                for url, name in containers.items()
            ),
        )

    def virtual_source(self, url: str, buckets: Mapping[str, BucketResponse], nickname: str, repo_id: str = "") -> VirtualSource:
        """Return where virtual chunks below a URL prefix are read, which must lie in the bucket config that is to open it.

        Parameters
        ----------
        url, nickname
            The container.
        buckets
            The bucket configs, by nickname.
        repo_id
            The repo that has the container in its record.
        """
        if nickname not in buckets:
            raise NotFoundError(
                f"the virtual chunk container {shown(url)} names the bucket config {shown(nickname)}, which does not exist"
            )
        bucket = buckets[nickname]
        platform = self.registry.storage_platform(bucket.platform)
        place = container_location(platform, bucket, url)
        # A container of the repo's own is opened by the right to read the repo, any other one by the right to use its bucket config.
        reach = place if repo_id else bucket_location(platform, bucket)
        provider = bucket_provider(self.catalog.handle, self.registry, bucket, reach, "read", repo_id, url if repo_id else "")
        store = platform.object_store(place, provider)
        if store is None:
            raise StorageError(f"virtual chunks can't be read from the platform {platform.name!r}, which only fsspec reaches")
        return VirtualSource(prefix=url.rstrip("/") + "/", store=store)


def _author(known: Author | None) -> Author:
    """Return whom commits are by: the settings say, or else a service knows the caller, or else the operating system."""
    import getpass

    name, email = config.get_str("user.name"), config.get_str("user.email")
    if name is None and known is not None:
        return Author(known.name, known.email if email is None else email)
    if name is None:
        try:
            name = getpass.getuser()
        except OSError:
            name = "unknown"
    return Author(name, email or "")
