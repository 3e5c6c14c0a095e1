"""What becomes of repos where storage is in trouble: slow, failing now and then, tearing writes, losing answers, listing what was."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from arraylake_core.backends.repo_kind import RepoHandle
from arraylake_core.backends.storage import StoragePlatform
from arraylake_core.errors import CommitConflictError
from arraylake_core.hookspecs import hookimpl
from arraylake_core.testing.directory import DirectoryPlatform
from arraylake_core.testing.faults import FaultyPlatform, Flaky, Injected, LostAnswer, Slow, StaleListing, TornWrite
from arraylake_core.testing.repo_kind_stored import numbers, temperature

if TYPE_CHECKING:
    from arraylake_core.client.sync import Client

__all__ = ["RepoFaultTests", "Trouble", "trouble_in_a_directory"]

WHOLE = 6
"""How many numbers a commit changes, all to the same."""
DENSE = 3


class Trouble(NamedTuple):
    """A client, and what is to go wrong with its storage.

    Parameters
    ----------
    client
        In its org ``me`` the default bucket config can be written.
    injected
        What goes wrong; nothing, until a test says so.
    """

    client: "Client"
    injected: Injected


class _Platform:
    """The plugin that brings the platform."""

    def __init__(self, platform: StoragePlatform) -> None:
        self.platform = platform

    @hookimpl
    def arraylake_storage_platforms(self) -> list[StoragePlatform]:
        return [self.platform]


@contextmanager
def trouble_in_a_directory(directory: Path) -> Iterator[Trouble]:
    """Give a client whose default bucket is in a directory that only fsspec reaches, and where a test can inject faults."""
    from arraylake_core.client import Client
    from arraylake_core.plugins import PluginRegistry, default_registry

    injected = Injected()
    installed = {info.name: import_module(info.module) for info in default_registry().plugins() if not info.error}
    platform = _Platform(FaultyPlatform(DirectoryPlatform(), injected))
    registry = PluginRegistry({**installed, "directory-of-the-kit": platform})
    with Client(f"sqlite:///{directory}/catalog.db", plugins=registry) as client:
        options = {"root": f"{directory}/files"}
        client.create_bucket_config(org="me", nickname="faulty", uri="directory://lake", extra_config=options)
        client.set_default_bucket_config(org="me", nickname="faulty")
        yield Trouble(client, injected)


class RepoFaultTests:
    """What every repo kind is held to on storage that is in trouble.

    Subclass it and set ``kind``. A kind that needs more than fsspec replaces the fixture ``trouble``.

    Attributes
    ----------
    kind
        The name of the repo kind.
    versioned
        Whether it keeps versions.
    torn
        How many writes in a row are torn: more than the kind tries one again, so that it has to give up; fewer where it tries for minutes.
    """

    kind: str
    versioned = True
    torn = 1000

    @pytest.fixture
    def trouble(self, tmp_path: Path) -> Iterator[Trouble]:
        """Give a client, and what is to go wrong with its storage."""
        with trouble_in_a_directory(tmp_path) as trouble:
            yield trouble

    @pytest.fixture
    def repo(self, trouble: Trouble) -> RepoHandle:
        """Make a repo while all is well."""
        repo = trouble.client.create_repo("me/ocean", kind=self.kind)
        # In chunks that no kind keeps in its own documents, so that each is a write.
        repo.root_group.create_array("temperature", shape=(WHOLE * 200,), chunks=(200,), dtype="i4", compressors=None)
        self._save(repo, "An empty ocean")
        return repo

    def _save(self, repo: RepoHandle, message: str) -> None:
        if self.versioned:
            repo.commit(message)

    def _needs_versions(self) -> None:
        if not self.versioned:
            pytest.skip(f"the kind {self.kind!r} keeps no versions, of which one could be whole or not")

    def _attempt(self, trouble: Trouble, number: int) -> bool:
        """Open the repo, set all to a number and commit; return whether that was acknowledged."""
        try:
            repo = trouble.client.get_repo("me/ocean")
            temperature(repo)[:] = number
            self._save(repo, f"All are {number}")
        except Exception:  # noqa: BLE001 - what is raised under faults is of every kind
            return False
        return True

    def _seen(self, trouble: Trouble) -> tuple[list[str], list[int]]:
        """Return the log, the oldest first, and the numbers, with nothing wrong."""
        trouble.injected.faults = ()
        repo = trouble.client.get_repo("me/ocean")
        return [entry.message for entry in repo.commit_log][::-1], numbers(repo, WHOLE * 200)

    @pytest.mark.parametrize(
        "fault", [lambda: Flaky(every=7), lambda: LostAnswer(every=3)], ids=["some fail", "answers are lost"]
    )
    def test_p22_what_was_acknowledged_is_there(
        self, trouble: Trouble, repo: RepoHandle, fault: Callable[[], Flaky | LostAnswer]
    ) -> None:
        """Whatever fails in between; what was not acknowledged is there whole, or not at all."""
        trouble.injected.faults = (fault(),)
        acknowledged = [number for number in range(1, 13) if self._attempt(trouble, number)]
        log, found = self._seen(trouble)
        if self.versioned:
            assert len(set(found)) == 1
            told = [int(message.rpartition(" ")[2]) for message in log if message.startswith("All are ")]
            assert told == sorted(set(told)), "each is there once, in the order of the commits"
            assert set(acknowledged) <= set(told)
            assert found[0] == (told[-1] if told else 0)
        elif acknowledged and acknowledged[-1] == 12:
            assert set(found) == {12}
        assert self._attempt(trouble, 13)
        assert set(self._seen(trouble)[1]) == {13}

    def test_p22_a_torn_write_leaves_no_half(self, trouble: Trouble, repo: RepoHandle) -> None:
        """Whichever write of a commit it is that breaks off: all of the commit is there, or nothing of it; and the next one goes well."""
        self._needs_versions()
        before, write = 0, 1
        while True:
            torn = TornWrite(write, self.torn)
            trouble.injected.faults = (torn,)
            acknowledged = self._attempt(trouble, 2 * write)
            log, found = self._seen(trouble)
            assert set(found) in ([{2 * write}] if acknowledged else [{before}, {2 * write}])
            assert (f"All are {2 * write}" in log) == (found[0] == 2 * write)
            before = found[0]
            if torn.writes < write:
                break
            assert self._attempt(trouble, 2 * write + 1)
            before = 2 * write + 1
            # Each write of the first few, and then some: giving up takes its time.
            write += 1 if write < DENSE else DENSE
        assert torn.writes > 0

    def test_a_torn_write_is_told_to_the_writer(self, trouble: Trouble, repo: RepoHandle) -> None:
        """Or it is done again; it never goes by in silence."""
        trouble.injected.faults = (TornWrite(1, self.torn),)
        acknowledged = self._attempt(trouble, 3)
        assert not acknowledged or set(self._seen(trouble)[1]) == {3}

    def test_p22_a_slow_store_loses_no_commit(self, trouble: Trouble, repo: RepoHandle) -> None:
        """Writers that overlap for long: each commit is kept, or refused as a conflict."""
        self._needs_versions()
        trouble.injected.faults = (Slow(seconds=0.02),)

        def write(number: int) -> bool:
            mine = trouble.client.get_repo("me/ocean")
            temperature(mine)[200 * number : 200 * (number + 1)] = number + 1
            try:
                mine.commit(f"number {number}")
            except CommitConflictError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            kept = list(pool.map(write, range(4)))
        log, found = self._seen(trouble)
        for number in range(4):
            assert set(found[200 * number : 200 * (number + 1)]) == {number + 1 if kept[number] else 0}
            assert log.count(f"number {number}") == kept[number]
        assert any(kept)

    def test_a_stale_listing_hides_nothing_that_was_saved(self, trouble: Trouble, repo: RepoHandle) -> None:
        """Neither values nor nodes nor commits: what a listing says is no base for what there is."""
        trouble.injected.faults = (StaleListing(times=3),)
        for number in range(1, 4):
            assert self._attempt(trouble, number)
            again = trouble.client.get_repo("me/ocean")
            assert set(numbers(again, WHOLE * 200)) == {number}
            if self.versioned:
                assert again.commit_log[0].message == f"All are {number}"
