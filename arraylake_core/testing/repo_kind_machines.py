"""zarr's state machines on the repos of a kind: random lives of keys and of hierarchies, with commits and reopening among their steps."""

from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np
import zarr
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from zarr.core.sync import sync
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from arraylake_core.backends.repo_kind import RepoHandle
    from arraylake_core.client.sync import Client

__all__ = ["HierarchyMachine", "KeyMachine", "run_machine"]


class KeyMachine(ZarrStoreStateMachine):
    """zarr's machine over keys, in a repo of its own; now and then it commits, and somebody else reads what was committed."""

    client: "Client"
    kind: str
    versioned = True

    def __init__(self) -> None:
        self.repo = _new(self.client, self.kind)
        super().__init__(self.repo.store)

    @rule()
    def commit(self) -> None:
        """Let others see what was written, and see it as one of them."""
        _save(self.repo, self.versioned)
        again = _reopened(self.client, self.repo)
        assert sorted(self.store._sync_iter(again.list())) == sorted(self.model)
        for key, value in self.model.items():
            assert sync(again.get(key, self.prototype)) == value
        # The store of a kind may end with the commit, as Icechunk's do; the repo's next one goes on.
        self.store.store = self.repo.store

    @rule()
    def commit_and_go_on_elsewhere(self) -> None:
        """Go on as somebody who opens the repo anew."""
        _save(self.repo, self.versioned)
        self.repo = self.client.get_repo(self.repo.name)
        self.store.store = self.repo.store


class HierarchyMachine(ZarrHierarchyStateMachine):
    """zarr's machine over groups and arrays, with the same steps."""

    client: "Client"
    kind: str
    versioned = True

    def __init__(self) -> None:
        self.repo = _new(self.client, self.kind)
        super().__init__(self.repo.store)

    @precondition(lambda self: self.all_groups or self.all_arrays)
    @rule()
    def commit(self) -> None:
        """Let others see what was written, and see it as one of them."""
        _save(self.repo, self.versioned)
        again = _reopened(self.client, self.repo)
        assert sorted(self._sync_iter(again.list())) == sorted(self._sync_iter(self.model.list()))
        for path in self.all_arrays:
            ours, theirs = (zarr.open_array(store, path=path, mode="r") for store in (again, self.model))
            assert ours.metadata == theirs.metadata
            np.testing.assert_equal(ours[...], theirs[...])
        self.store = self.repo.store

    @rule()
    def commit_and_go_on_elsewhere(self) -> None:
        """Go on as somebody who opens the repo anew."""
        _save(self.repo, self.versioned)
        self.repo = self.client.get_repo(self.repo.name)
        self.store = self.repo.store


def run_machine(
    machine: type[RuleBasedStateMachine], client: "Client", kind: str, *, versioned: bool, lives: int, steps: int = 20
) -> None:
    """Let a machine live some random lives on the repos of a kind.

    Parameters
    ----------
    machine
        KeyMachine, HierarchyMachine, or a class with rules of its own below one of them.
    client
        Who makes the repos.
    kind
        Of which kind.
    versioned
        Whether it keeps versions.
    lives, steps
        How many lives, and how long each.
    """
    run_state_machine_as_test(
        type(machine.__name__, (machine,), {"client": client, "kind": kind, "versioned": versioned}),
        settings=settings(
            max_examples=lives, stateful_step_count=steps, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        ),
    )


def _new(client: "Client", kind: str) -> "RepoHandle":
    return client.create_repo(f"me/s{uuid4().hex[:12]}", kind=kind)


def _save(repo: "RepoHandle", versioned: bool) -> None:
    if versioned:
        before = repo.commit_log[0].id
        commit = repo.commit("A step")
        assert repo.branches["main"] == (commit or before)


def _reopened(client: "Client", repo: "RepoHandle") -> "Store":
    return client.get_repo(repo.name, read_only=True).store
