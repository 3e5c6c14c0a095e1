"""What deciding on access needs to know of a repo or bucket config, in one statement each."""

from typing import NamedTuple

from sqlalchemy import Select, select

from arraylake_core.catalog.records import Records
from arraylake_core.catalog.tables import buckets, orgs, repos
from arraylake_core.models import RepoModel

__all__ = ["AccessRecords", "RepoFacts", "facts_of"]

_PUBLIC = "AUTHENTICATED_PUBLIC"


class RepoFacts(NamedTuple):
    """What deciding on access to a repo needs.

    Parameters
    ----------
    repo_id, org, name, kind
        The repo.
    is_public
        Whether everybody who is logged in may read it.
    """

    repo_id: str
    org: str
    name: str
    kind: str
    is_public: bool


def facts_of(repo: RepoModel) -> RepoFacts:
    """Return the facts of a live repo."""
    return RepoFacts(repo.id, repo.org, repo.name, repo.kind, repo.visibility == _PUBLIC)


class AccessRecords(Records):
    """Look-ups for decisions on access."""

    async def repo_facts(self, org: str, repo: str) -> RepoFacts | None:
        """Return the facts of a live repo, or None."""
        live = repos.c.deleted_at.is_(None) & (repos.c.state == "active")
        return await self._facts(_FACTS.where(orgs.c.name == org, repos.c.name == repo, live))

    async def repo_facts_by_id(self, repo_id: str) -> RepoFacts | None:
        """Return the facts of a repo in whatever state, or None; one that is not live is never public."""
        return await self._facts(_FACTS.where(repos.c.id == repo_id))

    async def org_of_bucket(self, bucket_id: str) -> str | None:
        """Return the name of the organization that a bucket config belongs to, or None."""
        query = select(orgs.c.name).join(buckets, buckets.c.org_id == orgs.c.id).where(buckets.c.id == bucket_id)
        async with self._read(single=True) as connection:
            found = await connection.scalar(query)
        return None if found is None else str(found)

    async def _facts(self, query: Select[tuple[str, str, str, str, bool]]) -> RepoFacts | None:
        async with self._read(single=True) as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else RepoFacts(**row)


_FACTS = select(
    repos.c.id.label("repo_id"),
    orgs.c.name.label("org"),
    repos.c.name,
    repos.c.kind,
    ((repos.c.visibility == _PUBLIC) & repos.c.deleted_at.is_(None) & (repos.c.state == "active")).label("is_public"),
).join(orgs, repos.c.org_id == orgs.c.id)
