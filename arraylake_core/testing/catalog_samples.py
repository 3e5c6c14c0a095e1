"""Bucket configs and repos for the tests of catalogs."""

from typing import Any

import msgspec

from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog.base import Catalog, NewBucket, NewRepo
from arraylake_core.models import AuthConfig, RepoModel

__all__ = ["CANARY", "make_repo", "names_of", "new_bucket", "new_repo"]

CANARY = "canary-7f3a91e0-do-not-show"


def new_bucket(
    nickname: str = "ocean-data", *, name: str = "ocean", prefix: str = "", auth: AuthConfig | None = None
) -> NewBucket:
    """Return a bucket config on a store that no test reaches."""
    return NewBucket(
        nickname=nickname,
        platform="s3",
        name=name,
        prefix=prefix,
        extra_config={"region_name": "eu-north-1", "use_ssl": True},
        auth_config={"method": "anonymous"} if auth is None else auth,
        identity=StorageIdentity("s3://s3.amazonaws.com", f"{name}/{prefix}".strip("/")),
    )


def new_repo(bucket_id: str, name: str = "ocean", path: str | None = None, **fields: Any) -> NewRepo:  # noqa: ANN401 - any field of NewRepo
    """Return a repo whose place is a path of one store."""
    path = f"data/{name}" if path is None else path
    repo = NewRepo(
        name=name,
        kind="icechunk",
        bucket_id=bucket_id,
        prefix=path,
        generated=True,
        identity=StorageIdentity("test://", path),
    )
    return msgspec.structs.replace(repo, **fields)


async def make_repo(catalog: Catalog, name: str = "ocean", path: str | None = None, **fields: Any) -> RepoModel:  # noqa: ANN401
    """Create a repo of the organization ``me`` in its default bucket config, and activate it."""
    bucket = await catalog.get_bucket("me", None)
    return await catalog.activate_repo((await catalog.create_repo("me", new_repo(bucket.id, name, path, **fields))).id)


async def names_of(catalog: Catalog, **options: Any) -> list[str]:  # noqa: ANN401 - any option of list_repos
    """Return the names of the repos of the organization ``me`` on the first page."""
    return [repo.name for repo in (await catalog.list_repos("me", **options)).items]
