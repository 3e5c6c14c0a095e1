"""The type of open repos."""

from arraylake_core.backends.repo_kind import RepoHandle as Repo

__all__ = ["Repo"]
