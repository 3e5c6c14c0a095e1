"""A file system over Google's S3-compatible API, for HMAC keys: obstore's own, since gcsfs does not speak it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.fsspec import FsspecStore
from obstore.store import S3Store

from arraylake_core.backends import ObjectStoreSpec, S3Credentials
from arraylake_core.backends.object_store.gcs import as_s3
from arraylake_core.backends.object_store.s3 import for_obstore, s3_config

__all__ = ["KeyedInteroperableFileSystem", "open_interoperable"]


class KeyedInteroperableFileSystem(FsspecStore):
    """obstore's file system with one pair of keys, which it neither caches nor pickles."""

    cachable = False

    def __init__(self, spec: ObjectStoreSpec, credentials: S3Credentials) -> None:
        super().__init__("s3")
        self._spec, self._keys = spec, credentials

    def _construct_store(self, bucket: str) -> S3Store:
        return S3Store(
            bucket,
            config=s3_config(self._spec, anonymous=False),
            client_options={"allow_http": self._spec.allow_http},
            credential_provider=lambda: for_obstore(self._keys),
        )

    async def _pipe_file(self, path: str, value: object, mode: str = "overwrite", **kwargs: object) -> object:
        with _translated():
            return await super()._pipe_file(path, value, mode, **kwargs)

    async def _rm_file(self, path: str, **kwargs: object) -> None:
        with _translated():
            await super()._rm_file(path, **kwargs)

    async def _info(self, path: str, **kwargs: object) -> dict[str, Any]:
        with _translated():
            return await super()._info(path, **kwargs)

    async def _ls(self, path: str, detail: bool = True, **kwargs: object) -> object:  # type: ignore[override]
        with _translated():
            return await super()._ls(path, detail, **kwargs)  # type: ignore[call-overload]

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: object) -> bytes:
        """Read a file or a part of it; obstore's own takes only parts that are not empty and whose both ends are named."""
        whole = start is None and end is None
        if not whole and (start is None or end is None or not 0 <= start < end):
            start, end, _ = slice(start, end).indices((await self._info(path))["size"])
            if start >= end:
                return b""
        with _translated():
            return await super()._cat_file(path, start=start, end=end, **kwargs)

    async def _find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, *, detail: bool = False, **kwargs: object
    ) -> object:
        """List all files below a path at once; obstore's own goes from directory to directory, and takes empty ones for files."""
        if maxdepth is not None or withdirs:
            return await super()._find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        bucket, key = self._split_path(path)
        found: dict[str, dict[str, object]] = {}
        with _translated():
            async for page in obstore.list(self._construct_store(bucket), prefix=key or None):
                for one in page:
                    if not key or one["path"] == key or one["path"].startswith(f"{key.rstrip('/')}/"):
                        name = f"{bucket}/{one['path']}"
                        found[name] = {"name": name, "type": "file", "size": one["size"], "e_tag": one["e_tag"]}
        ordered = dict(sorted(found.items()))
        return ordered if detail else list(ordered)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a GCS file system with credentials is never pickled: pickle the repo, which asks for its own where it wakes up"
        )

    def to_dict(self, *, include_password: bool = True) -> NoReturn:
        """Refuse, as pickling does."""
        self.__reduce__()


@contextmanager
def _translated() -> Iterator[None]:
    """Raise an error of Python's own kind for one of obstore's."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise PermissionError("the store refused the HMAC keys, or what they were used for") from error
    except BaseError as error:
        raise OSError(f"the S3-compatible API failed ({type(error).__name__})") from error


def open_interoperable(spec: ObjectStoreSpec, credentials: S3Credentials) -> KeyedInteroperableFileSystem:
    """Return a file system over a place that has these keys."""
    return KeyedInteroperableFileSystem(as_s3(spec), credentials)
