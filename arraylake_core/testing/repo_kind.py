"""The conformance kit of repo kinds with versions; repo_kind_plain.py has the one of those without."""

from arraylake_core.testing.repo_kind_commits import CommitTests
from arraylake_core.testing.repo_kind_stored import StoredRepoTests, numbers, temperature

__all__ = ["RepoKindTests", "numbers", "temperature"]


class RepoKindTests(StoredRepoTests, CommitTests):
    """What every repo kind is held to, on one platform.

    Subclass it, set ``kind``, and give a fixture ``client``: a Client in whose org ``me`` the default bucket config can be written. RepoStoreTests and
    RepoXarrayTests run the suites of zarr and xarray on it.

    Attributes
    ----------
    kind
        The name of the repo kind.
    processes, commits
        How many processes commit at once, and how often each.
    other_processes
        Whether other processes can reach the bytes.
    """
