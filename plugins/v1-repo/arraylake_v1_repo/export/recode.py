"""Chunks that are decoded and encoded anew, by zarr itself."""

from typing import TYPE_CHECKING

from zarr.core.array import AsyncArray
from zarr.core.array_spec import ArrayConfig
from zarr.storage import StorePath

from arraylake_core.errors import ArraylakeError, StorageError
from arraylake_core.names import shown
from arraylake_v1_repo.commits import hierarchy_of
from arraylake_v1_repo.keys import check_path
from arraylake_v1_repo.session import Session
from arraylake_v1_repo.store import V1Store

if TYPE_CHECKING:
    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

    from arraylake_v1_repo.binding import Binding
    from arraylake_v1_repo.export.destination import Destination
    from arraylake_v1_repo.export.plan import RecodeChunk

    type AnyArray = AsyncArray[ArrayV2Metadata] | AsyncArray[ArrayV3Metadata]

__all__ = ["Recoder"]

_MOST_ARRAYS = 256


class Recoder:
    """Reads chunks of a version, and writes them with the codecs of another format.

    Parameters
    ----------
    store
        The version.
    destination
        Where they go.
    """

    def __init__(self, store: V1Store, destination: "Destination") -> None:
        self._store, self._destination = store, destination
        self._arrays: dict[str, tuple[AnyArray, AnyArray]] = {}

    @classmethod
    async def at(cls, binding: "Binding", commit: str, destination: "Destination") -> "Recoder":
        """Return one that reads a commit."""
        hierarchy = await hierarchy_of(binding.reader, commit)
        return cls(V1Store(Session(binding, base=commit, hierarchy=hierarchy, branch=None, expires=None)), destination)

    async def recode(self, step: "RecodeChunk") -> None:
        """Read a chunk and write it."""
        source, target = await self._pair(step)
        shape = step.recoding.target.shape
        part = tuple(
            slice(number * size, min((number + 1) * size, extent))
            for number, size, extent in zip(step.coords, step.recoding.chunks, shape, strict=True)
        )
        try:
            data = await source.getitem(part)
        except ArraylakeError:
            raise
        except Exception as error:  # noqa: BLE001 - codecs raise what they like
            raise StorageError(
                f"a chunk of {shown(f'/{step.path}')} could not be decoded ({type(error).__name__}): repo.verify() tells whether it is damaged"
            ) from None
        try:
            await target.setitem(part, data)
        except Exception as error:  # noqa: BLE001
            raise self._destination.failed("write", step.path, error) from None

    async def _pair(self, step: "RecodeChunk") -> "tuple[AnyArray, AnyArray]":
        found = self._arrays.get(step.path)
        if found is None:
            import zarr.api.asynchronous as zarr

            check_path(step.path)
            source = await zarr.open_array(store=self._store, path=step.path, mode="r")
            place = StorePath(self._destination.store, step.path)
            # The chunks of a shard that are not there must not come to be; a chunk that is there stays, whatever is in it.
            config = ArrayConfig.from_dict({"write_empty_chunks": not step.recoding.sharded})
            target: AnyArray = AsyncArray(step.recoding.target, place, config)
            if len(self._arrays) >= _MOST_ARRAYS:
                self._arrays.clear()
            found = self._arrays[step.path] = (source, target)
        return found
