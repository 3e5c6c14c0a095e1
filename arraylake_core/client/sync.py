"""Client: the blocking twin of AsyncClient, one line a method; a test holds the two in step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arraylake_core.client.sync_people import People

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
    from datetime import timedelta
    from typing import Self

    from rich.table import Table

    from arraylake_core.backends.repo_kind import RepoHandle
    from arraylake_core.client.aio import AsyncClient
    from arraylake_core.client.migration import MigrationReport
    from arraylake_core.login.tokens import TokenSet
    from arraylake_core.models import (
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
    from arraylake_core.plugins import PluginRegistry
    from arraylake_core.secret import Secret

__all__ = ["Client"]


class Client(People):
    """The blocking client to a catalog and the repos in it: every method does what AsyncClient's of the same name does.

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
    >>> client = Client("memory://")
    >>> repo = client.create_repo("me/ocean")
    >>> ocean = repo.root_group.create_array("temperature", shape=(4,), dtype="f4")
    >>> commit = repo.commit("Four temperatures")
    >>> print(client.get_repo("me/ocean").tree())
    me/ocean
    └── temperature (4,) float32 16 B
    """

    def __init__(
        self,
        service_uri: str | None = None,
        token: str | None = None,
        auth_org: str | None = None,
        *,
        plugins: PluginRegistry | None = None,
    ) -> None:
        from arraylake_core.secret import Secret

        self._given = (service_uri, Secret(token) if token else None, auth_org, plugins)
        self._twin: AsyncClient | None = None
        if service_uri is not None and "://" in service_uri and not service_uri.startswith(("sqlite:", "memory:")):
            # What is wrong with a service's URI or a token is told here, and not where a repo is opened.
            self._twin = self._aio

    @property
    def _aio(self) -> AsyncClient:
        """The client that does the work, made when it is first needed: making a Client imports nothing."""
        if self._twin is None:
            from arraylake_core.client.aio import AsyncClient
            from arraylake_core.secret import reveal

            service_uri, token, auth_org, plugins = self._given
            self._twin = AsyncClient(service_uri, reveal(token), auth_org, plugins=plugins)
        return self._twin

    @property
    def service_uri(self) -> str:
        """Where the catalog is."""
        return self._aio.service_uri

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.service_uri!r})"

    def __rich__(self) -> Table:
        from arraylake_core.display import rich_record

        return rich_record(type(self).__name__, self._aio._rows())

    def _repr_html_(self) -> str:
        from arraylake_core.display import html_record

        return html_record(type(self).__name__, self._aio._rows())

    def __reduce__(self) -> tuple[type[Self], tuple[str, None, str | None]]:
        return type(self), self._aio.__reduce__()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        # A client that was never used holds nothing, and may not even have a catalog that can be opened.
        if self._twin is not None:
            self.close()

    def _blocking(self, opening: Coroutine[object, object, RepoHandle]) -> RepoHandle:
        return self._aio.blocking(_run(opening))

    def close(self) -> None:
        """Let go of what the client holds open."""
        _run(self._aio.close())

    def list_orgs(self) -> list[OrgModel]:
        """List the organizations, by name."""
        return _run(self._aio.list_orgs())

    def create_org(self, name: str, *, display_name: str = "", description: str | None = None) -> OrgModel:
        """Make an organization."""
        return _run(self._aio.create_org(name, display_name=display_name, description=description))

    def list_repos(
        self, org: str, filter_metadata: RepoMetadata | None = None, *, page: int | None = None, size: int = 100
    ) -> RepoList:
        """List the repos of an organization, by name."""
        return _run(self._aio.list_repos(org, filter_metadata, page=page, size=size))

    def list_repos_paginated(
        self, org: str, filter_metadata: RepoMetadata | None = None, page_size: int = 50
    ) -> Iterator[RepoModel]:
        """Iterate over the repos of an organization, page by page."""
        return _iterate(self._aio.list_repos_paginated(org, filter_metadata, page_size))

    def get_repo_object(self, name: str) -> RepoModel:
        """Get the catalog's record of a repo; see ``get_repo`` for the repo itself."""
        return _run(self._aio.get_repo_object(name))

    def get_repo(
        self,
        name: str,
        *,
        checkout: bool | None = None,
        read_only: bool = False,
        config: object | None = None,
        authorize_virtual_chunk_access: Mapping[str, str] | None = None,
    ) -> RepoHandle:
        """Open a repo."""
        return self._blocking(
            self._aio.get_repo(
                name,
                checkout=checkout,
                read_only=read_only,
                config=config,
                authorize_virtual_chunk_access=authorize_virtual_chunk_access,
            )
        )

    def get_or_create_repo(
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
        """Open a repo, making it first where it does not exist."""
        return self._blocking(
            self._aio.get_or_create_repo(
                name,
                checkout=checkout,
                bucket_config_nickname=bucket_config_nickname,
                kind=kind,
                prefix=prefix,
                description=description,
                metadata=metadata,
                config=config,
                authorize_virtual_chunk_access=authorize_virtual_chunk_access,
            )
        )

    def create_repo(
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
        """Make a new, empty repo."""
        return self._blocking(
            self._aio.create_repo(
                name,
                bucket_config_nickname=bucket_config_nickname,
                kind=kind,
                prefix=prefix,
                description=description,
                metadata=metadata,
                config=config,
                authorize_virtual_chunk_access=authorize_virtual_chunk_access,
                spec_version=spec_version,
            )
        )

    def import_repo(
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
        """Take a repo that lies in a bucket already into the catalog; no byte of it is changed."""
        return self._blocking(
            self._aio.import_repo(
                name,
                bucket_config_nickname,
                prefix,
                kind=kind,
                description=description,
                metadata=metadata,
                authorize_virtual_chunk_access=authorize_virtual_chunk_access,
            )
        )

    def modify_repo(
        self,
        name: str,
        description: str | None = None,
        add_metadata: RepoMetadata | None = None,
        remove_metadata: Sequence[str] | None = None,
        update_metadata: RepoMetadata | None = None,
    ) -> RepoModel:
        """Change the record of a repo; what is None stays as it is."""
        return _run(self._aio.modify_repo(name, description, add_metadata, remove_metadata, update_metadata))

    def rename_repo(self, name: str, new_name: str) -> RepoModel:
        """Give a repo another name in its organization; its bytes stay where they are."""
        return _run(self._aio.rename_repo(name, new_name))

    def migrate_repo(
        self,
        name: str,
        to: RepoKind | str = "icechunk",
        *,
        new_name: str | None = None,
        bucket_config_nickname: str | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> MigrationReport:
        """Copy a repo with its whole history to another kind, under a new name; the repo itself stays as it is."""
        return _run(
            self._aio.migrate_repo(name, to, new_name=new_name, bucket_config_nickname=bucket_config_nickname, progress=progress)
        )

    def delete_repo(
        self, name: str, *, imsure: bool = False, imreallysure: bool = False, immediate: bool = False, retain_data: bool = False
    ) -> None:
        """Delete a repo."""
        _run(self._aio.delete_repo(name, imsure=imsure, imreallysure=imreallysure, immediate=immediate, retain_data=retain_data))

    def restore_repo(self, name: str) -> RepoModel:
        """Bring back the repo of this name that was deleted last."""
        return _run(self._aio.restore_repo(name))

    def repair_repos(self, org: str | None = None, *, older_than: timedelta | None = None) -> list[RepairAction]:
        """Finish what was interrupted: creations that stopped half-way, deletions that had begun, deleted repos whose time is over."""
        return _run(self._aio.repair_repos(org, older_than=older_than))

    def get_virtual_chunk_containers(self, name: str) -> dict[str, str]:
        """Return the URL prefixes from which virtual chunks of a repo may be read, each with the nickname of the bucket config that opens it."""
        return _run(self._aio.get_virtual_chunk_containers(name))

    def update_virtual_chunk_containers(
        self, name: str, *, add: Mapping[str, str] | None = None, remove: Sequence[str] | None = None
    ) -> dict[str, str]:
        """Change from where virtual chunks of a repo may be read, and return the mapping that now holds."""
        return _run(self._aio.update_virtual_chunk_containers(name, add=add, remove=remove))

    def create_bucket_config(
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
        """Create a new bucket config."""
        return _run(
            self._aio.create_bucket_config(
                org=org,
                nickname=nickname,
                uri=uri,
                extra_config=extra_config,
                auth_config=auth_config,
                region_name=region_name,
                endpoint_url=endpoint_url,
                use_ssl=use_ssl,
                force_path_style=force_path_style,
            )
        )

    def modify_bucket_config(
        self,
        *,
        org: str,
        nickname: str,
        new_nickname: str | None = None,
        uri: str | None = None,
        extra_config: Mapping[str, object] | None = None,
        auth_config: Mapping[str, object] | None = None,
    ) -> BucketResponse:
        """Change a bucket config; what is None stays as it is."""
        return _run(
            self._aio.modify_bucket_config(
                org=org, nickname=nickname, new_nickname=new_nickname, uri=uri, extra_config=extra_config, auth_config=auth_config
            )
        )

    def set_default_bucket_config(self, *, org: str, nickname: str) -> None:
        """Set the organization's default bucket config for new repos."""
        _run(self._aio.set_default_bucket_config(org=org, nickname=nickname))

    def get_bucket_config(self, *, org: str, nickname: str) -> BucketResponse:
        """Get a bucket config."""
        return _run(self._aio.get_bucket_config(org=org, nickname=nickname))

    def list_bucket_configs(self, org: str) -> BucketConfigList:
        """List the bucket configs of an organization, by nickname."""
        return _run(self._aio.list_bucket_configs(org))

    def list_repos_for_bucket_config(self, *, org: str, nickname: str) -> RepoList:
        """List the repos that keep their bytes in a bucket config."""
        return _run(self._aio.list_repos_for_bucket_config(org=org, nickname=nickname))

    def delete_bucket_config(self, *, org: str, nickname: str, imsure: bool = False, imreallysure: bool = False) -> None:
        """Delete a bucket config, which no repo may use; the bucket itself is left alone."""
        _run(self._aio.delete_bucket_config(org=org, nickname=nickname, imsure=imsure, imreallysure=imreallysure))

    def probe_bucket_config(self, *, org: str, nickname: str) -> ProbeReport:
        """Find out whether the bucket of a bucket config can be reached, read and written, and how safe it is for concurrent commits."""
        return _run(self._aio.probe_bucket_config(org=org, nickname=nickname))

    def login(self, *, org: str | None = None, browser: bool = False) -> None:
        """Log in."""
        _run(self._aio.login(org=org, browser=browser))

    def login_status(self) -> TokenSet | None:
        """Return the login that this client uses; None where nobody is logged in."""
        return _run(self._aio.login_status())

    def login_token(self) -> Secret | None:
        """Return the ID token of the login, for other programs."""
        return _run(self._aio.login_token())

    def logout(self, *, org: str | None = None, browser: bool = False) -> None:
        """Log out."""
        _run(self._aio.logout(org=org, browser=browser))


def _run[T](coroutine: Coroutine[object, object, T]) -> T:
    from arraylake_core.loops import run

    return run(coroutine)


def _iterate[T](items: AsyncIterator[T]) -> Iterator[T]:
    while True:
        try:
            yield _run(_following(items))
        except StopAsyncIteration:
            return


async def _following[T](items: AsyncIterator[T]) -> T:
    return await anext(items)
