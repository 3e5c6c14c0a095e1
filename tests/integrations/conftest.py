"""A lake with one repo of each kind, that of a third party included, all with the same in them."""

from typing import NamedTuple

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

from arraylake_core import Client
from arraylake_core.backends import RepoBackend
from arraylake_core.backends.hierarchy import open_xarray, read_tree
from arraylake_core.errors import InvalidOptionError
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import CommitLog, SessionStatus
from arraylake_core.plugins import PluginRegistry, default_registry


class Files:
    """An open directory: no versions, and any file in it is a key."""

    kind = "files"
    branches = tags = {}
    commit_log = CommitLog()

    def __init__(self, name, place, read_only):
        self.name, self.read_only = name, read_only
        self.store = LocalStore(place, read_only=read_only)

    @property
    def root_group(self):
        return zarr.open_group(self.store, mode="r" if self.read_only else "a")

    def status(self):
        return SessionStatus(repo=self.name, branch=None, base="as it is")

    def checkout(self, ref="main", *, writable=None):
        raise InvalidOptionError(f"{self.name} keeps no versions: take another kind")

    def commit(self, message, *, metadata=None):
        raise InvalidOptionError(f"{self.name} keeps no versions: take another kind")

    def to_xarray(self, group=None, **options):
        return open_xarray(self.store, group, **options)

    def tree(self, path="", depth=None):
        return read_tree(self.store, self.name, path, depth)


class FilesBackend(RepoBackend):
    """A repo kind of a third party, whose handle blocks."""

    name = "files"

    async def create(self, context):
        return Files(context.repo.full_name, context.platform.path(context.location), False)

    async def open(self, context, *, read_only, checkout):
        return Files(context.repo.full_name, context.platform.path(context.location), read_only)

    async def exists(self, context):
        return True

    async def destroy(self, context):
        pass


class FilesPlugin:
    @hookimpl
    def arraylake_repo_kinds(self):
        return [FilesBackend()]


class Lake(NamedTuple):
    """A repo ``me/ocean``, and who has it."""

    client: Client
    kind: str
    first: str
    data: xr.Dataset


def daily(day=0):
    return xr.Dataset({"sst": (("day", "y"), np.arange(40.0).reshape(4, 10) + day)}, {"day": np.arange(4)})


@pytest.fixture(scope="session")
def with_files():
    """The registry that has the third party's kind, too."""
    installed = {info.name: __import__(info.module) for info in default_registry().plugins()}
    return PluginRegistry({**installed, "files": FilesPlugin()})


def filled(client, kind):
    """Make a repo with tags first and feature/tides, and on main one more group."""
    repo = client.create_repo("me/ocean", kind=kind, description="<b>Sea</b> & sky")
    repo.checkout("main")
    daily().to_zarr(repo.store, group="daily", consolidated=False, encoding={"sst": {"chunks": (2, 5)}})
    first = repo.commit("Four days")
    if kind == "v1":
        repo.new_tag("v1", first)
        repo.new_branch("feature/tides", first, checkout=False)
    else:
        repo.create_tag("v1", first)
        repo.create_branch("feature/tides", first)
    zarr.create_group(repo.store, path="empty")
    repo.commit("An empty group")
    return Lake(client, kind, first, daily())


@pytest.fixture(scope="session", params=["icechunk", "v1"])
def lake(request):
    """A lake to read."""
    with Client("memory://") as client:
        yield filled(client, request.param)


@pytest.fixture
def own(lake):
    """A lake of the same kind that a test may write to."""
    with Client("memory://") as client:
        yield filled(client, lake.kind)


@pytest.fixture
def ocean(own):
    """The repo of that lake, to write to."""
    repo = own.client.get_repo("me/ocean")
    repo.checkout("main")
    return repo
