"""A gcsfs file system that keeps its token to itself."""

import asyncio
import random
from io import BytesIO
from typing import TYPE_CHECKING, NoReturn

from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError, is_retriable
from google.oauth2.credentials import Credentials as GoogleToken

from arraylake_core.backends import AnonymousCredentials, Credentials, GCSCredentials, ObjectStoreSpec, S3Credentials
from arraylake_core.backends.object_store.gcs import bearer_token

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["KeyedGCSFileSystem", "open_filesystem"]

_TRIES = 4
_SECONDS = 60


class _ObjectDeniedError(PermissionError):
    """A single object is denied."""


class KeyedGCSFileSystem(GCSFileSystem):  # type: ignore[misc]
    """gcsfs with one token, which it neither caches nor pickles nor looks for elsewhere, and with errors of the usual classes."""

    # fsspec caches instances by their options; one cached here would outlive its token.
    cachable = False

    async def _request(self, method: str, path: str, *args: object, **kwargs: object) -> object:
        """Send a request, a few times where that may help; gcsfs itself goes on for half a minute where nobody answers."""
        data = kwargs.get("data")
        if isinstance(data, bytes | bytearray | memoryview):
            # aiohttp warns of large bodies that are bytes.
            kwargs["data"] = BytesIO(data)
        for attempt in range(_TRIES):
            try:
                return await GCSFileSystem._request.__wrapped__(self, method, path, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - all are raised again, in their place
                if attempt == _TRIES - 1 or not is_retriable(error) or getattr(error, "code", None) == 401:
                    translated = _translated(error)
                    raise translated from (error if translated is not error else error.__cause__)
                await asyncio.sleep(2**attempt * random.uniform(0.1, 0.3))  # noqa: S311 - nothing secret about it
        raise AssertionError("unreachable")

    async def _get_object(self, path: str) -> object:
        """Look at an object; that it is denied is told apart from a listing that is."""
        try:
            return await super()._get_object(path)
        except PermissionError as error:
            raise _ObjectDeniedError(str(error)) from error

    async def _list_objects(self, path: str, *args: object, **kwargs: object) -> object:
        """List a prefix; where nothing is below it, gcsfs looks for an object of that name, which a token for the prefix may not."""
        try:
            return await super()._list_objects(path, *args, **kwargs)
        except _ObjectDeniedError:
            raise FileNotFoundError(path) from None

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a GCS file system with credentials is never pickled: pickle the repo, which asks for its own where it wakes up"
        )

    def to_dict(self, *, include_password: bool = True) -> NoReturn:
        """Refuse, as pickling does."""
        self.__reduce__()


def _translated(error: Exception) -> Exception:
    """Return the error of Python's own kind for one of gcsfs's."""
    if isinstance(error, HttpError):
        kind = PermissionError if error.code in (401, 403) else OSError
        return kind(f"Google Cloud Storage answered {error.code}")
    if type(error) is OSError and str(error).startswith("Forbidden"):
        return PermissionError(str(error).partition("\n")[0])
    return error


def open_filesystem(spec: ObjectStoreSpec, credentials: Credentials) -> "AbstractFileSystem":
    """Return a file system that has these credentials, and never those of the environment.

    Parameters
    ----------
    spec
        The place.
    credentials
        A bearer token, HMAC keys, or none.

    Raises
    ------
    CredentialsError
        The credentials are not for GCS.
    """
    if isinstance(credentials, S3Credentials):
        from arraylake_gcs.interoperable import open_interoperable

        return open_interoperable(spec, credentials)
    # A plain string would be looked up at Google first.
    token = "anon" if isinstance(credentials, AnonymousCredentials) else _google_token(bearer_token(credentials))
    return KeyedGCSFileSystem(
        token=token,
        project=spec.payer or "",
        requester_pays=spec.payer or False,
        endpoint_url=spec.endpoint,
        requests_timeout=_SECONDS,
        session_kwargs={"trust_env": False},
        # Others write at the same time: what a listing said a while ago may no longer be so.
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def _google_token(credentials: GCSCredentials) -> object:
    return GoogleToken(credentials.access_token.reveal())  # type: ignore[no-untyped-call]
