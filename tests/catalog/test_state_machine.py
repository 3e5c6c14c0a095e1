"""Random lives of repos and bucket configs, held against a plain model of what a catalog is."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from arraylake_core import config
from arraylake_core.catalog import Catalog, catalog_from_uri
from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.home import postgres_home
from arraylake_core.catalog.sql_catalog import SqlCatalog
from arraylake_core.errors import AlreadyExistsError, ArraylakeError, BucketConfigNotFoundError, InUseError, RepoNotFoundError
from arraylake_core.models import RepoModel
from arraylake_core.testing.catalog_samples import new_bucket, new_repo
from tests.servers.postgres import Postgres

NAMES = st.sampled_from(["aa", "bb", "cc"])
PATHS = st.sampled_from(["x", "x/y", "x/y/z", "xy", "x/w", ""])
NICKNAMES = st.sampled_from(["one", "two", "three"])


@dataclass
class ModelRepo:
    id: str
    name: str
    path: str
    bucket: str
    state: str = "pending"
    deleted: int = 0

    @property
    def holds_name(self) -> bool:
        return not self.deleted

    @property
    def visible(self) -> bool:
        return self.state == "active" and not self.deleted


def overlap(one: str, other: str) -> bool:
    first, second = ([part for part in path.split("/") if part] for path in (one, other))
    shortest = min(len(first), len(second))
    return first[:shortest] == second[:shortest]


class CatalogMachine(RuleBasedStateMachine):
    """Every rule does something to the catalog and to the model, and expects the same answer of both."""

    catalog: Catalog
    runner: asyncio.Runner

    @initialize()
    def start(self) -> None:
        self.runner = asyncio.Runner()
        self.catalog = self.new_catalog()
        self.run(self.catalog.delete_bucket("me", "local"))
        self.repos: list[ModelRepo] = []
        self.buckets: dict[str, str] = {}
        self.default: str | None = None
        self.clock = 0

    def new_catalog(self) -> Catalog:
        return catalog_from_uri("memory://")

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self.catalog.close())
            self.runner.close()

    def run[T](self, call: Coroutine[object, object, T]) -> T:
        return self.runner.run(call)

    def expect[T](self, call: Coroutine[object, object, T], error: type[ArraylakeError] | None) -> T | None:
        if error is None:
            return self.run(call)
        with pytest.raises(error):
            self.run(call)
        return None

    def visible(self, name: str) -> ModelRepo | None:
        return next((repo for repo in self.repos if repo.name == name and repo.visible), None)

    def named(self, name: str) -> ModelRepo | None:
        return next((repo for repo in self.repos if repo.name == name and repo.holds_name), None)

    @rule(nickname=NICKNAMES)
    def create_bucket(self, nickname: str) -> None:
        error = AlreadyExistsError if nickname in self.buckets else None
        made = self.expect(self.catalog.create_bucket("me", new_bucket(nickname, name=nickname)), error)
        if made is not None:
            self.default = self.default if self.buckets else nickname
            self.buckets[nickname] = made.id

    @rule(nickname=NICKNAMES)
    def delete_bucket(self, nickname: str) -> None:
        error: type[ArraylakeError] | None = None
        if nickname not in self.buckets:
            error = BucketConfigNotFoundError
        elif any(repo.bucket == self.buckets[nickname] for repo in self.repos):
            error = InUseError
        self.expect(self.catalog.delete_bucket("me", nickname), error)
        if error is None:
            del self.buckets[nickname]
            self.default = None if self.default == nickname else self.default

    @rule(nickname=NICKNAMES)
    def set_default(self, nickname: str) -> None:
        error = None if nickname in self.buckets else BucketConfigNotFoundError
        self.expect(self.catalog.set_default_bucket("me", nickname), error)
        self.default = self.default if error else nickname

    @precondition(lambda self: self.buckets)
    @rule(name=NAMES, path=PATHS, data=st.data())
    def create_repo(self, name: str, path: str, data: st.DataObject) -> None:
        bucket = self.buckets[data.draw(st.sampled_from(sorted(self.buckets)))]
        taken = self.named(name) or any(overlap(path, repo.path) for repo in self.repos)
        made = self.expect(self.catalog.create_repo("me", new_repo(bucket, name, path)), AlreadyExistsError if taken else None)
        if made is not None:
            self.repos.append(ModelRepo(made.id, name, path, bucket))

    @precondition(lambda self: self.repos)
    @rule(data=st.data())
    def activate(self, data: st.DataObject) -> None:
        repo = data.draw(st.sampled_from(self.repos))
        self.expect(self.catalog.activate_repo(repo.id), RepoNotFoundError if repo.deleted else None)
        repo.state = "active"

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        repo = self.visible(name)
        self.expect(self.catalog.delete_repo("me", name), None if repo else RepoNotFoundError)
        if repo is not None:
            self.clock += 1
            repo.deleted = self.clock

    @rule(name=NAMES)
    def restore(self, name: str) -> None:
        deleted = sorted((repo for repo in self.repos if repo.name == name and repo.deleted), key=lambda repo: -repo.deleted)
        error: type[ArraylakeError] | None = None
        if not deleted:
            error = RepoNotFoundError
        elif self.named(name):
            error = AlreadyExistsError
        restored = self.expect(self.catalog.restore_repo("me", name), error)
        if restored is not None:
            assert restored.id == deleted[0].id
            deleted[0].deleted = 0

    @rule(name=NAMES, new_name=NAMES)
    def rename(self, name: str, new_name: str) -> None:
        repo, holder = self.visible(name), self.named(new_name)
        error: type[ArraylakeError] | None = None
        if repo is None:
            error = RepoNotFoundError
        elif holder not in (None, repo):
            error = AlreadyExistsError
        self.expect(self.catalog.rename_repo("me", name, new_name), error)
        if repo is not None and error is None:
            repo.name = new_name

    @precondition(lambda self: self.repos)
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        repo = data.draw(st.sampled_from(self.repos))
        self.expect(self.catalog.purge_repo(repo.id), InUseError if repo.visible else None)
        if not repo.visible:
            self.run(self.catalog.purge_repo(repo.id))
            self.repos.remove(repo)

    @invariant()
    def the_same_repos(self) -> None:
        if not hasattr(self, "repos"):
            return
        listed = self.run(self.catalog.list_repos("me"))
        assert [self.seen(repo) for repo in listed.items] == sorted(
            (repo.name, repo.id, repo.path, repo.bucket) for repo in self.repos if repo.visible
        )
        unfinished = self.run(self.catalog.unfinished_repos("me"))
        assert {(item.repo.id, item.state) for item in unfinished} == {
            (repo.id, "deleted" if repo.deleted else "pending") for repo in self.repos if not repo.visible
        }

    @invariant()
    def the_same_buckets(self) -> None:
        if not hasattr(self, "buckets"):
            return
        buckets = self.run(self.catalog.list_buckets("me"))
        assert {bucket.nickname: bucket.id for bucket in buckets} == self.buckets
        assert [bucket.nickname for bucket in buckets if bucket.is_default] == ([self.default] if self.default else [])

    @staticmethod
    def seen(repo: RepoModel) -> tuple[str, str, str, str]:
        assert repo.bucket is not None
        return repo.name, repo.id, repo.prefix, repo.bucket.id


TestLives = CatalogMachine.TestCase
TestLives.settings = settings(max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))


def test_lives_on_postgresql(postgres: Postgres, postgres_template: tuple[str, str]) -> None:
    template, key = postgres_template
    made: list[str] = []

    class PostgresMachine(CatalogMachine):
        def new_catalog(self) -> Catalog:
            made.append(postgres.new_database(template))
            return SqlCatalog(postgres_home(Dsn(postgres.uri(made[-1]))))

    with config.set({"catalog.key": key}):
        run_state_machine_as_test(
            PostgresMachine,
            settings=settings(max_examples=6, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)),
        )
    for name in made:
        postgres.drop(name)
