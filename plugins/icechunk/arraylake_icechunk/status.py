"""What has changed in a checkout, beside Icechunk's own status of the repo."""

from typing import TYPE_CHECKING

from arraylake_core.models import SessionStatus

if TYPE_CHECKING:
    from arraylake_icechunk.repo import IcechunkRepo

__all__ = ["StatusView"]


class StatusView:
    """What ``repo.status`` is: called, what changed in the checkout; read, Icechunk's own RepoStatus.

    Icechunk's ``Repository.status`` is a property with the availability of the repo, the common core's is a method; this is both.
    """

    def __init__(self, repo: "IcechunkRepo") -> None:
        self._repo = repo

    def __call__(self, limit: int = 1000) -> SessionStatus:
        """Return what changed since the checkout.

        Parameters
        ----------
        limit
            How many paths at most; 0 for all.
        """
        return _session_status(self._repo, limit)

    def __getattr__(self, name: str) -> object:
        return getattr(self._repo.get_status(), name)

    def __eq__(self, other: object) -> bool:
        return self._repo.get_status() == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return str(self())


def _session_status(repo: "IcechunkRepo", limit: int) -> SessionStatus:
    session = repo.session
    if session.read_only:
        return SessionStatus(repo=repo.name, branch=None, base=session.snapshot_id)
    diff = session.status()
    modified = {
        **dict.fromkeys(sorted(diff.new_groups | diff.new_arrays), "added"),
        **dict.fromkeys(sorted(diff.updated_groups | diff.updated_arrays), "metadata"),
        **{path: f"{len(chunks)} chunks" for path, chunks in sorted(diff.updated_chunks.items())},
        **dict.fromkeys(sorted(diff.deleted_groups | diff.deleted_arrays), "deleted"),
    }
    shown_paths = dict(list(modified.items())[:limit]) if limit else modified
    return SessionStatus(repo=repo.name, branch=session.branch, base=session.snapshot_id, modified=shown_paths)
