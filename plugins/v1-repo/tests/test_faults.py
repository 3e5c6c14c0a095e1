"""The kind passes the kit on storage that is in trouble, through fsspec alone."""

from arraylake_core.testing import RepoFaultTests


class TestInADirectory(RepoFaultTests):
    kind = "v1"
