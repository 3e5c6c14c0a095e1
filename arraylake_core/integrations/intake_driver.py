"""Repos in catalogs of intake: a data type and its reader for those of version 2, and a driver for those of version 1.

Intake imports this module when it is itself imported.
"""

from typing import TYPE_CHECKING

from intake.readers.datatypes import BaseData
from intake.readers.readers import BaseReader
from intake.source.base import DataSource

from arraylake_core.integrations.url import PROTOCOL

if TYPE_CHECKING:
    from xarray import Dataset

__all__ = ["ArraylakeData", "ArraylakeReader", "ArraylakeSource"]


class ArraylakeData(BaseData):  # type: ignore[misc]  # intake is untyped
    """A group of a repo of arraylake-core.

    Parameters
    ----------
    url
        ``al://org/repo@ref/group``, or the full name of the repo.
    ref
        A branch, a tag or the id of a commit, where the URL has none; by default ``main``.
    group
        The group, below that of the URL.
    service_uri
        The catalog, as ``Client`` takes it; by default that of the settings.
    metadata
        What intake keeps with it.
    """

    filepattern = f"^{PROTOCOL}://"
    structure = frozenset({"array", "hierarchy"})

    def __init__(
        self,
        url: str,
        ref: str | None = None,
        group: str | None = None,
        service_uri: str | None = None,
        metadata: dict[str, object] | None = None,
    ) -> None:
        self.url, self.ref, self.group, self.service_uri = url, ref, group, service_uri
        super().__init__(metadata)


class ArraylakeReader(BaseReader):  # type: ignore[misc]  # intake is untyped
    """Opens a group of a repo as an xarray Dataset; keyword arguments go to ``xarray.open_dataset``."""

    implements = frozenset({ArraylakeData})
    imports = frozenset({"xarray", "zarr"})
    func = "xarray:open_dataset"
    output_instance = "xarray:Dataset"

    def _read(self, data: ArraylakeData, **options: object) -> "Dataset":
        return _open(data, options)

    def discover(self, **options: object) -> "Dataset":
        """Return the Dataset, of which nothing but coordinates is read before it is needed."""
        return self.read(**options)  # type: ignore[no-any-return]


class ArraylakeSource(DataSource):  # type: ignore[misc]  # intake is untyped
    """The driver ``arraylake`` of YAML catalogs of version 1.

    Parameters
    ----------
    urlpath, ref, group, service_uri, metadata
        As in ArraylakeData.
    xarray_kwargs
        For ``xarray.open_dataset``.
    """

    name = "arraylake"
    version = "1"
    container = "xarray"
    partition_access = False

    def __init__(
        self,
        urlpath: str,
        ref: str | None = None,
        group: str | None = None,
        service_uri: str | None = None,
        xarray_kwargs: dict[str, object] | None = None,
        metadata: dict[str, object] | None = None,
    ) -> None:
        super().__init__(metadata=metadata)
        self._data = ArraylakeData(urlpath, ref, group, service_uri, metadata)
        self._options = dict(xarray_kwargs or {})

    def read(self) -> "Dataset":
        """Return the Dataset with all its values in memory."""
        return _open(self._data, self._options).load()

    def to_dask(self) -> "Dataset":
        """Return the Dataset, chunked as it is stored, of which nothing is read before it is needed."""
        return _open(self._data, {"chunks": {}, **self._options})

    def discover(self) -> "Dataset":
        """Return the Dataset, of which nothing but coordinates is read before it is needed."""
        return _open(self._data, self._options)


def _open(data: ArraylakeData, options: "dict[str, object]") -> "Dataset":
    import xarray

    from arraylake_core.client.sync import Client

    return xarray.open_dataset(
        data.url,
        engine="arraylake",
        ref=data.ref,
        group=data.group,
        client=Client(data.service_uri),
        **options,  # type: ignore[arg-type]  # as the catalog has them
    )
