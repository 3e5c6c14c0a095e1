"""xarray's own suite for its Zarr backend, on the repos of a kind. It needs xarray with the packages that its tests need, and takes a minute or two."""

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import pytest
import xarray
import zarr

from arraylake_core.testing.checks import SAID_OF_EVERY_STORE

with warnings.catch_warnings():
    # xarray has marks of its own, which no other suite knows.
    warnings.simplefilter("ignore", pytest.PytestUnknownMarkWarning)
    from xarray.tests.test_backends import ZarrBase

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from zarr.abc.store import Store

    from arraylake_core.backends.repo_kind import RepoHandle
    from arraylake_core.client.sync import Client

__all__ = ["RepoXarrayTests"]


@pytest.mark.filterwarnings(*SAID_OF_EVERY_STORE)
class RepoXarrayTests(ZarrBase):
    """What xarray holds a Zarr store to, on one platform: each dataset goes to a new repo.

    Subclass it, set ``kind``, and give a fixture ``client`` as for RepoKindTests; one for all tests of the class will do. Where pytest is strict about marks,
    declare xarray's: ``pytest_plugins = ["arraylake_core.testing.xarray_marks"]`` in the conftest of the root.

    Attributes
    ----------
    kind
        The name of the repo kind.
    zarr_formats
        The formats of Zarr that the kind keeps.
    committed
        Whether what a test wrote is committed, and read by somebody who opens the repo anew; else a checkout reads what it wrote itself.
    other_processes
        Whether other processes can reach the bytes.
    """

    kind: str
    zarr_formats: tuple[int, ...] = (2, 3)
    committed = False
    other_processes = True

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Let xarray write every format that the kind keeps."""
        if "default_zarr_format" in metafunc.fixturenames:
            metafunc.parametrize("default_zarr_format", self.zarr_formats, indirect=True)

    @pytest.fixture
    def default_zarr_format(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """Write the format."""
        with zarr.config.set(default_zarr_format=request.param):
            yield

    @pytest.fixture(params=[False, True])
    def use_dask(self, request: pytest.FixtureRequest) -> bool:
        """Tell whether a test uses dask, where that is installed."""
        if request.param:
            pytest.importorskip("dask", reason="dask is not installed")
        return bool(request.param)

    @pytest.fixture(params=["s", "ms", "us", "ns"])
    def time_unit(self, request: pytest.FixtureRequest) -> str:
        """Return a resolution of times."""
        return str(request.param)

    @pytest.fixture(autouse=True)
    def _opened(self, client: "Client", request: pytest.FixtureRequest) -> None:
        _skip_as_marked(request)
        self._client, self._written = client, cast("list[tuple[Store, RepoHandle]]", [])

    @contextmanager
    def create_zarr_target(self) -> "Iterator[Store]":
        """Give the store of a new repo."""
        repo = self._client.create_repo(f"me/x{uuid4().hex[:12]}", kind=self.kind)
        store = repo.store
        self._written.append((store, repo))
        yield store

    @contextmanager
    def open(self, path: object, **options: object) -> "Iterator[xarray.Dataset]":
        """Open a dataset; where it is in a repo, after the commit."""
        for store, repo in self._written if self.committed else ():
            # Some tests write to a plain directory, whatever the target is.
            if store is path:
                repo.commit("Written by a test")
                path = self._client.get_repo(repo.name, read_only=True).store
        with cast("AbstractContextManager[xarray.Dataset]", super().open(path, **options)) as dataset:
            yield dataset

    def test_pickle(self) -> None:
        """A dataset that is not loaded travels with its store; where other processes can't reach the bytes, it says so."""
        if self.other_processes:
            super().test_pickle()
            return
        with self.roundtrip(xarray.Dataset({"a": ("x", [1, 2])})) as dataset:
            self._stays(dataset)

    def test_pickle_dataarray(self) -> None:
        """The same of an array."""
        if self.other_processes:
            super().test_pickle_dataarray()
            return
        with self.roundtrip(xarray.Dataset({"a": ("x", [1, 2])})) as dataset:
            self._stays(dataset["a"])

    def _stays(self, opened: object) -> None:
        with pytest.raises(Exception, match="memory of this process"):
            pickle.dumps(opened)


def _skip_as_marked(request: pytest.FixtureRequest) -> None:
    """Skip what xarray skips where fixtures have certain parameters: its conftest is not here."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    for mark in request.node.iter_markers("skip_if_param"):
        wanted = {name: value for name, value in mark.kwargs.items() if name not in ("reason", "condition")}
        if mark.kwargs.get("condition", True) and all(parameters.get(name) == value for name, value in wanted.items()):
            pytest.skip(mark.kwargs["reason"])
