"""AsyncClient: all that a client does, for asyncio."""

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from arraylake_core import config
from arraylake_core.backends.repo_kind import RepoHandle, RepoOptions
from arraylake_core.catalog.open import catalog_from_uri, default_uri
from arraylake_core.catalog.request import checked_auth, new_bucket
from arraylake_core.client.aio_people import AsyncPeople
from arraylake_core.client.repos import INTERRUPTED_AFTER, RepoRequest, Repos
from arraylake_core.display import html_record, rich_record
from arraylake_core.errors import AlreadyExistsError, ConfirmationError, InvalidOptionError, PluginError, RepoNotFoundError
from arraylake_core.models import (
    AuthConfig,
    BucketConfigList,
    BucketResponse,
    OrgModel,
    ProbeReport,
    RepairAction,
    RepoKind,
    RepoList,
    RepoMetadata,
    RepoModel,
)
from arraylake_core.names import parse_repo_name, shown
from arraylake_core.plugins import PluginRegistry, default_registry
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.catalog.base import Catalog
    from arraylake_core.client.migration import MigrationReport
    from arraylake_core.login.account import Account
    from arraylake_core.login.provider import LoginSettings
    from arraylake_core.login.tokens import TokenSet

__all__ = ["AsyncClient"]


class AsyncClient(AsyncPeople):
    """The asyncio client to a catalog and the repos in it.

    Parameters
    ----------
    service_uri
        The catalog: ``https://…`` for a service, ``sqlite:///path``, ``postgresql://…`` or ``memory://``. By default ``service.uri`` of the config,
        and where that is unset the embedded catalog in the user data directory, in which the org ``me`` and a bucket config on the local disk exist
        from the start.
    token
        API token, for a service; by default that of the setting ``service.token`` or of ``ARRAYLAKE_TOKEN``. The embedded catalog needs none.
    auth_org
        The organization to log in to; by default ``user.org`` of the config.
    plugins
        The plugins to use; by default those that are installed.

    Examples
    --------
    >>> import asyncio
    >>> async def main():
    ...     async with AsyncClient("memory://") as client:
    ...         repo = await client.create_repo("me/ocean", description="Months of model output")
    ...         return [found.full_name for found in await client.list_repos("me")]
    >>> asyncio.run(main())
    ['me/ocean']
    """

    def __init__(
        self,
        service_uri: str | None = None,
        token: str | None = None,
        auth_org: str | None = None,
        *,
        plugins: PluginRegistry | None = None,
    ) -> None:
        self._token = Secret(token) if token else None
        self._auth_org = auth_org
        self._registry = plugins or default_registry()
        self._catalog: Catalog = catalog_from_uri(service_uri or default_uri(), self._token)

    @property
    def service_uri(self) -> str:
        """Where the catalog is."""
        return self._catalog.uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.service_uri!r})"

    def _rows(self) -> dict[str, str]:
        return {"catalog": self.service_uri, "organization": self._auth_org or ""}

    def __rich__(self) -> "Table":
        return rich_record(type(self).__name__, self._rows())

    def _repr_html_(self) -> str:
        return html_record(type(self).__name__, self._rows())

    def __reduce__(self) -> "tuple[type[Self], tuple[str, None, str | None]]":
        if self._registry.token:
            raise PluginError(
                "a client with a plugin registry of its own can't be pickled: open one in the process that needs it"
            )
        return type(self), (self._catalog.handle, None, self._auth_org)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of what the client holds open. What it opened before, repos included, stays usable."""
        await self._catalog.close()

    def blocking(self, handle: RepoHandle) -> RepoHandle:
        """Return the blocking twin of an open repo.

        Parameters
        ----------
        handle
            What ``get_repo`` and its like returned.
        """
        return self._registry.repo_kind(handle.kind).sync(handle)

    @property
    def _repos(self) -> Repos:
        return Repos(self._catalog, self._registry)

    # Organizations

    async def list_orgs(self) -> list[OrgModel]:
        """List the organizations, by name."""
        return await self._catalog.list_orgs()

    async def create_org(self, name: str, *, display_name: str = "", description: str | None = None) -> OrgModel:
        """Make an organization.

        Parameters
        ----------
        name
            Its name, the first part of its repos' names.
        display_name
            How it is shown.
        description
            What it is for; at most 255 characters.
        """
        return await self._catalog.create_org(name, display_name=display_name, description=description)

    # Repos

    async def list_repos(
        self, org: str, filter_metadata: RepoMetadata | None = None, *, page: int | None = None, size: int = 100
    ) -> RepoList:
        """List the repos of an organization, by name.

        Parameters
        ----------
        org
            Name of the organization.
        filter_metadata
            Only repos whose metadata has all these pairs.
        page
            The page to return, from 1; None returns all repos.
        size
            How many on a page, 1 to 100.
        """
        return await self._list_repos(org, filter_metadata=filter_metadata, page=page, size=size)

    async def list_repos_paginated(
        self, org: str, filter_metadata: RepoMetadata | None = None, page_size: int = 50
    ) -> AsyncIterator[RepoModel]:
        """Iterate over the repos of an organization, page by page.

        Parameters
        ----------
        org
            Name of the organization.
        filter_metadata
            Only repos whose metadata has all these pairs.
        page_size
            How many are asked for at a time, 1 to 100.
        """
        number, pages = 1, 1
        while number <= pages:
            page = await self._catalog.list_repos(org, filter_metadata=filter_metadata, page=number, size=page_size)
            for repo in page.items:
                yield repo
            number, pages = number + 1, page.pages

    async def _list_repos(
        self,
        org: str,
        *,
        filter_metadata: RepoMetadata | None = None,
        bucket: str | None = None,
        page: int | None = None,
        size: int = 100,
    ) -> RepoList:
        first = await self._catalog.list_repos(
            org, filter_metadata=filter_metadata, bucket=bucket, page=1 if page is None else page, size=size
        )
        repos = RepoList(first.items)
        for number in range(2, first.pages + 1 if page is None else 0):
            more = await self._catalog.list_repos(org, filter_metadata=filter_metadata, bucket=bucket, page=number, size=size)
            repos.extend(more.items)
        return repos

    async def get_repo_object(self, name: str) -> RepoModel:
        """Get the catalog's record of a repo; see ``get_repo`` for the repo itself.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        """
        return await self._catalog.get_repo(*parse_repo_name(name))

    async def get_repo(
        self,
        name: str,
        *,
        checkout: bool | None = None,
        read_only: bool = False,
        config: object | None = None,
        authorize_virtual_chunk_access: Mapping[str, str] | None = None,
    ) -> RepoHandle:
        """Open a repo.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        checkout
            Whether to check out ``main``; by default as its kind has it: V1 repos do, Icechunk repos wait until data is first asked for.
        read_only
            Whether to refuse every write.
        config
            The kind's own configuration, such as an ``icechunk.RepositoryConfig``.
        authorize_virtual_chunk_access
            For this time, more places from which virtual chunks may be read: URL prefixes and nicknames of bucket configs.

        Returns
        -------
        RepoHandle
            For Icechunk repos, an ``icechunk.Repository``, whose ``store`` is an IcechunkStore.

        Raises
        ------
        RepoNotFoundError
            There is no such repo.
        StorageError
            The catalog has it, but its bytes are gone or out of reach.
        """
        return await self._repos.open(
            parse_repo_name(name),
            read_only=read_only,
            checkout=checkout,
            options=RepoOptions(config=config),
            virtual=authorize_virtual_chunk_access,
        )

    async def get_or_create_repo(
        self,
        name: str,
        *,
        checkout: bool | None = None,
        bucket_config_nickname: str | None = None,
        kind: RepoKind | str | None = None,
        prefix: str | None = None,
        description: str | None = None,
        metadata: RepoMetadata | None = None,
        config: object | None = None,
        authorize_virtual_chunk_access: Mapping[str, str] | None = None,
    ) -> RepoHandle:
        """Open a repo, making it first where it does not exist.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        checkout
            As in ``get_repo``.
        bucket_config_nickname, kind, prefix, description, metadata
            As in ``create_repo``; ignored where the repo exists.
        config, authorize_virtual_chunk_access
            As in ``get_repo``.
        """
        try:
            return await self.get_repo(
                name, checkout=checkout, config=config, authorize_virtual_chunk_access=authorize_virtual_chunk_access
            )
        except RepoNotFoundError:
            pass
        try:
            return await self.create_repo(
                name,
                bucket_config_nickname=bucket_config_nickname,
                kind=kind,
                prefix=prefix,
                description=description,
                metadata=metadata,
                config=config,
                authorize_virtual_chunk_access=authorize_virtual_chunk_access,
            )
        except AlreadyExistsError:
            # Somebody else may have been quicker; where it was something else that existed, this says so.
            try:
                return await self.get_repo(
                    name, checkout=checkout, config=config, authorize_virtual_chunk_access=authorize_virtual_chunk_access
                )
            except RepoNotFoundError:
                pass
            raise

    async def create_repo(
        self,
        name: str,
        *,
        bucket_config_nickname: str | None = None,
        kind: RepoKind | str | None = None,
        prefix: str | None = None,
        description: str | None = None,
        metadata: RepoMetadata | None = None,
        config: object | None = None,
        authorize_virtual_chunk_access: Mapping[str, str] | None = None,
        spec_version: int | None = None,
    ) -> RepoHandle:
        """Make a new, empty repo.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        bucket_config_nickname
            The bucket config that its bytes go to; by default the organization's default.
        kind
            The kind of repo; by default ``repo.kind`` of the config, which is ``"icechunk"``.
        prefix
            Where in the bucket config its bytes go: letters, digits and ``_-.=/``. By default a random name.
        description
            What it holds; at most 255 characters.
        metadata
            Scalars and lists of scalars, at most 4 kB as JSON, to find it by.
        config
            The kind's own configuration, such as an ``icechunk.RepositoryConfig``.
        authorize_virtual_chunk_access
            Places from which its virtual chunks may be read: URL prefixes, and the nicknames of the bucket configs that open them.
        spec_version
            The version of the kind's format; Icechunk has 1 and 2.

        Raises
        ------
        AlreadyExistsError
            The name is taken, or the place.
        BucketConfigNotFoundError
            There is no such bucket config, or no default.
        PluginNotFoundError
            No installed plugin provides the kind; the message says which extra does.
        """
        return await self._repos.create(
            parse_repo_name(name, new=True),
            RepoRequest(
                nickname=bucket_config_nickname,
                kind=kind,
                prefix=prefix,
                description=description,
                metadata=metadata,
                options=RepoOptions(config=config, spec_version=spec_version),
                virtual=authorize_virtual_chunk_access,
            ),
        )

    async def import_repo(
        self,
        name: str,
        bucket_config_nickname: str | None = None,
        prefix: str = "",
        *,
        kind: RepoKind | str | None = None,
        description: str | None = None,
        metadata: RepoMetadata | None = None,
        authorize_virtual_chunk_access: Mapping[str, str] | None = None,
    ) -> RepoHandle:
        """Take a repo that lies in a bucket already into the catalog; no byte of it is changed.

        Parameters
        ----------
        name
            Full name that it gets, ``org/repo``.
        bucket_config_nickname
            The bucket config in which it lies; by default the organization's default.
        prefix
            Where in the bucket config it lies.
        kind, description, metadata, authorize_virtual_chunk_access
            As in ``create_repo``.
        """
        return await self._repos.register(
            parse_repo_name(name, new=True),
            RepoRequest(
                nickname=bucket_config_nickname,
                kind=kind,
                prefix=prefix,
                description=description,
                metadata=metadata,
                options=RepoOptions(),
                virtual=authorize_virtual_chunk_access,
            ),
        )

    async def modify_repo(
        self,
        name: str,
        description: str | None = None,
        add_metadata: RepoMetadata | None = None,
        remove_metadata: Sequence[str] | None = None,
        update_metadata: RepoMetadata | None = None,
    ) -> RepoModel:
        """Change the record of a repo; what is None stays as it is.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        description
            Another description; at most 255 characters.
        add_metadata
            Metadata to add, whose keys must be new.
        remove_metadata
            Keys of metadata to remove.
        update_metadata
            Metadata to set, whether the keys are new or not.
        """
        return await self._catalog.modify_repo(
            *parse_repo_name(name),
            description=description,
            add_metadata=add_metadata,
            remove_metadata=remove_metadata,
            update_metadata=update_metadata,
        )

    async def rename_repo(self, name: str, new_name: str) -> RepoModel:
        """Give a repo another name in its organization; its bytes stay where they are.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        new_name
            Its new full name, in the same organization.
        """
        old, new = parse_repo_name(name), parse_repo_name(new_name, new=True)
        if old.org != new.org:
            raise InvalidOptionError(f"a repo keeps its organization: rename {name} to '{old.org}/{new.repo}'")
        return await self._catalog.rename_repo(*old, new.repo)

    async def migrate_repo(
        self,
        name: str,
        to: RepoKind | str = "icechunk",
        *,
        new_name: str | None = None,
        bucket_config_nickname: str | None = None,
        progress: "Callable[[str, int, int], None] | None" = None,
    ) -> "MigrationReport":
        """Copy a repo with its whole history to another kind, under a new name; the repo itself stays as it is.

        Every commit that a branch or tag reaches is there afterwards, in the same order, with its message, its author and its metadata;
        ``v1_commit`` and ``v1_time`` in the metadata hold the id and the time that it had. Chunks are copied byte for byte; virtual ones stay
        virtual. The versions at all branches and tags are compared, key by key, before the copy is said to be done. Where it was interrupted,
        doing it again goes on; where it was finished, doing it again brings it up to date.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        to
            The kind of the copy.
        new_name
            Its full name, in the same organization; by default the old name with ``-`` and the kind.
        bucket_config_nickname
            The bucket config that its bytes go to; by default that of the repo.
        progress
            Is told what is done, how many of its parts are done, and how many there are.

        Raises
        ------
        InvalidOptionError
            The other kind can't take something that is in a version, such as Zarr 2, or virtual chunks outside of the containers: nothing was written.
        AlreadyExistsError
            ``new_name`` is another repo.
        ConflictError
            The copy has got commits of its own where the repo has got others.
        """
        from arraylake_core.client.migration import migrate_repo

        return await migrate_repo(self._repos, parse_repo_name(name), str(to), new_name, bucket_config_nickname, progress)

    async def delete_repo(
        self,
        name: str,
        *,
        imsure: bool = False,
        imreallysure: bool = False,
        immediate: bool = False,
        retain_data: bool = False,
    ) -> None:
        """Delete a repo. For ``repo.restore_days`` of the config (a week by default), ``restore_repo`` brings it back.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        imsure, imreallysure
            Both must be True.
        immediate
            Delete its bytes now, beyond restoring.
        retain_data
            Keep its bytes in the bucket for good; only the record goes.
        """
        full_name = parse_repo_name(name)
        _require_confirmation(f"the repo {full_name}", imsure, imreallysure)
        record = await self._catalog.delete_repo(*full_name, retain_data=retain_data)
        if immediate:
            await self._repos.purge(record)

    async def restore_repo(self, name: str) -> RepoModel:
        """Bring back the repo of this name that was deleted last.

        Parameters
        ----------
        name
            Full name that it had, ``org/repo``.
        """
        return await self._catalog.restore_repo(*parse_repo_name(name))

    async def repair_repos(self, org: str | None = None, *, older_than: timedelta | None = None) -> list[RepairAction]:
        """Finish what was interrupted: creations that stopped half-way, deletions that had begun, deleted repos whose time is over.

        Doing it again finds nothing to do.

        Parameters
        ----------
        org
            The organization; None takes all.
        older_than
            Leave creations that began later than this ago, since they may still be going on; by default a minute.
        """
        return await self._repos.repair(org, INTERRUPTED_AFTER if older_than is None else older_than)

    async def get_virtual_chunk_containers(self, name: str) -> dict[str, str]:
        """Return the URL prefixes from which virtual chunks of a repo may be read, each with the nickname of the bucket config that opens it.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        """
        return (await self.get_repo_object(name)).virtual_chunk_containers

    async def update_virtual_chunk_containers(
        self, name: str, *, add: Mapping[str, str] | None = None, remove: Sequence[str] | None = None
    ) -> dict[str, str]:
        """Change from where virtual chunks of a repo may be read, and return the mapping that now holds.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        add
            URL prefixes and nicknames of bucket configs, within whose places they must lie.
        remove
            URL prefixes.
        """
        full_name = parse_repo_name(name)
        buckets = {nickname: await self._catalog.get_bucket(full_name.org, nickname) for nickname in {*(add or {}).values()}}
        for url, nickname in (add or {}).items():
            self._repos.virtual_source(url, buckets, nickname)
        changes = {**dict.fromkeys(remove or ()), **(add or {})}
        return (await self._catalog.modify_repo(*full_name, virtual_chunk_containers=changes)).virtual_chunk_containers

    # Bucket configs

    async def create_bucket_config(
        self,
        *,
        org: str,
        nickname: str,
        uri: str,
        extra_config: Mapping[str, object] | None = None,
        auth_config: Mapping[str, object] | None = None,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        use_ssl: bool | None = None,
        force_path_style: bool | None = None,
    ) -> BucketResponse:
        """Create a new bucket config. No bucket is made, and none needs to be reachable: ``probe_bucket_config`` tells whether it is.

        Parameters
        ----------
        org
            Name of the organization.
        nickname
            What it is called, such as ``our-s3-bucket``.
        uri
            ``platform://bucket_name[/prefix]``, such as ``s3://my-bucket/team`` or ``file:///data/lake``.
        extra_config
            The platform's options.
        auth_config
            ``method`` and its options; by default ``{"method": "anonymous"}``.
        region_name, endpoint_url, use_ssl, force_path_style
            The same as in ``extra_config``.
        """
        named = {
            "region_name": region_name,
            "endpoint_url": endpoint_url,
            "use_ssl": use_ssl,
            "force_path_style": force_path_style,
        }
        given = {name: value for name, value in named.items() if value is not None}
        new = new_bucket(self._registry, nickname=nickname, uri=uri, extra_config=extra_config, auth_config=auth_config, **given)
        return await self._catalog.create_bucket(org, new)

    async def modify_bucket_config(
        self,
        *,
        org: str,
        nickname: str,
        new_nickname: str | None = None,
        uri: str | None = None,
        extra_config: Mapping[str, object] | None = None,
        auth_config: Mapping[str, object] | None = None,
    ) -> BucketResponse:
        """Change a bucket config; what is None stays as it is.

        Parameters
        ----------
        org
            Name of the organization.
        nickname
            Which bucket config.
        new_nickname
            Another nickname.
        uri, extra_config
            Another place, or other options to reach it: refused while a repo uses the bucket config.
        auth_config
            Another way in.
        """
        current = await self._catalog.get_bucket(org, nickname)
        place = None
        checked: AuthConfig | None = None
        if uri is not None or extra_config is not None:
            place = new_bucket(
                self._registry,
                nickname=new_nickname or nickname,
                uri=current.uri if uri is None else uri,
                extra_config=current.extra_config if extra_config is None else extra_config,
                auth_config=current.auth_config if auth_config is None else auth_config,
            )
            checked = place.auth_config if auth_config is not None else None
        elif auth_config is not None:
            checked = checked_auth(self._registry, self._registry.storage_platform(current.platform), auth_config)
        return await self._catalog.modify_bucket(org, nickname, new_nickname=new_nickname, auth_config=checked, place=place)

    async def set_default_bucket_config(self, *, org: str, nickname: str) -> None:
        """Set the organization's default bucket config for new repos.

        Parameters
        ----------
        org
            Name of the organization.
        nickname
            Nickname of the bucket config.
        """
        await self._catalog.set_default_bucket(org, nickname)

    async def get_bucket_config(self, *, org: str, nickname: str) -> BucketResponse:
        """Get a bucket config.

        Parameters
        ----------
        org
            Name of the organization.
        nickname
            Nickname of the bucket config.
        """
        return await self._catalog.get_bucket(org, nickname)

    async def list_bucket_configs(self, org: str) -> BucketConfigList:
        """List the bucket configs of an organization, by nickname.

        Parameters
        ----------
        org
            Name of the organization.
        """
        return BucketConfigList(await self._catalog.list_buckets(org))

    async def list_repos_for_bucket_config(self, *, org: str, nickname: str) -> RepoList:
        """List the repos that keep their bytes in a bucket config.

        Parameters
        ----------
        org
            Name of the organization.
        nickname
            Nickname of the bucket config.
        """
        await self._catalog.get_bucket(org, nickname)
        return await self._list_repos(org, bucket=nickname)

    async def delete_bucket_config(self, *, org: str, nickname: str, imsure: bool = False, imreallysure: bool = False) -> None:
        """Delete a bucket config, which no repo may use; the bucket itself is left alone.

        Parameters
        ----------
        org
            Name of the organization.
        nickname
            Nickname of the bucket config.
        imsure, imreallysure
            Both must be True.
        """
        _require_confirmation(f"the bucket config {shown(nickname)} of {shown(org)}", imsure, imreallysure)
        await self._catalog.delete_bucket(org, nickname)

    async def probe_bucket_config(self, *, org: str, nickname: str) -> ProbeReport:
        """Find out whether the bucket of a bucket config can be reached, read and written, and how safe it is for concurrent commits.

        Parameters
        ----------
        org
            Name of the organization.
        nickname
            Nickname of the bucket config.
        """
        context = self._repos.bucket_context(await self._catalog.get_bucket(org, nickname))
        return await context.platform.probe(context.location, context.credentials)

    # Identity

    async def login(self, *, org: str | None = None, browser: bool = False) -> None:
        """Log in to the service, with its identity provider; on the embedded catalog, to the provider that the settings name, if they do.

        A code and a link are shown, to be confirmed in any browser (RFC 8628). What is had is kept for the user of this machine, and renewed where need be.

        Parameters
        ----------
        org
            Name of the organization whose identity provider is asked; None is ``auth_org``, or ``user.org`` of the settings.
        browser
            Whether to log in with this machine's browser instead.

        Raises
        ------
        AuthenticationError
            It was denied, nobody confirmed it in time, or there is nobody to log in with.
        """
        account, settings = self._account()
        if account is None:
            self._say_embedded("log in to")
            return
        found = await account.login(org=org or self._auth_org or config.get_str("user.org"), browser=browser, settings=settings)
        print(f"Logged in to {account.service}" + (f" as {shown(found.email)}." if found.email else "."), file=sys.stderr)

    async def logout(self, *, org: str | None = None, browser: bool = False) -> None:
        """Log out: the identity provider ends the login, and this machine forgets it.

        Parameters
        ----------
        org, browser
            As in ``login``; they make no difference.
        """
        account, _ = self._account()
        if account is None:
            self._say_embedded("log out of")
            return
        ended = await account.logout()
        if not ended.was_logged_in:
            print(f"Nobody was logged in to {account.service}.", file=sys.stderr)
            return
        more = (
            ""
            if ended.is_revoked
            else " The identity provider could not be asked to end it: what others may have of it holds until its end."
        )
        print(f"Logged out of {account.service}.{more}", file=sys.stderr)

    async def login_status(self) -> "TokenSet | None":
        """Return the login that this client uses, without its tokens being shown; None where nobody is logged in."""
        account, _ = self._account()
        return None if account is None else await account.tokens()

    async def login_token(self) -> "Secret | None":
        """Return the ID token of the login, for other programs; None where nobody is logged in."""
        account, _ = self._account()
        return None if account is None else await account.token()

    def _account(self) -> "tuple[Account | None, LoginSettings | None]":
        """Return the login that this client has, and the provider that the settings name for it."""
        from arraylake_core.login.account import account_of, own_settings

        uri = self.service_uri
        if uri.startswith(("https://", "http://")):
            return account_of(uri), None
        settings = own_settings()
        return (account_of(settings.issuer), settings) if settings is not None else (None, None)

    def _say_embedded(self, what: str) -> None:
        print(f"The catalog {self.service_uri} is embedded in this process: there is nothing to {what}.", file=sys.stderr)


def _require_confirmation(what: str, imsure: bool, imreallysure: bool) -> None:
    if not (imsure and imreallysure):
        raise ConfirmationError(f"to delete {what}, confirm twice: imsure=True, imreallysure=True. Nothing was deleted")
