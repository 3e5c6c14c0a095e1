"""An s3fs file system that keeps its keys to itself."""

import asyncio
from typing import TYPE_CHECKING, NoReturn

from aiobotocore.session import AioSession
from s3fs import S3FileSystem

from arraylake_core.backends import AnonymousCredentials, Credentials, S3Credentials
from arraylake_core.errors import CredentialsError
from arraylake_core.secret import reveal

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from arraylake_s3.endpoint import Endpoint

__all__ = ["KeyedS3FileSystem", "open_filesystem"]


class KeyedS3FileSystem(S3FileSystem):  # type: ignore[misc]
    """s3fs, with the keys in a botocore session instead of its storage options, which it would print, cache and pickle."""

    # fsspec caches instances by their options; one cached here would outlive its credentials.
    cachable = False
    retries = 3

    @staticmethod
    def close_session(loop: asyncio.AbstractEventLoop | None, client: "AbstractAsyncContextManager[object]") -> None:
        """Close the HTTP session on the loop that it belongs to, whatever loop the garbage collector happens to run on."""
        if loop is not None and loop.is_running():
            asyncio.run_coroutine_threadsafe(_closed(client), loop)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an S3 file system with credentials is never pickled: pickle the repo, which asks for its own where it wakes up"
        )

    def to_dict(self, *, include_password: bool = True) -> NoReturn:
        """Refuse, as pickling does."""
        self.__reduce__()


async def _closed(client: "AbstractAsyncContextManager[object]") -> None:
    await client.__aexit__(None, None, None)


def open_filesystem(endpoint: "Endpoint", credentials: Credentials) -> KeyedS3FileSystem:
    """Return a file system for an endpoint that has these credentials, and never those of the environment.

    Raises
    ------
    CredentialsError
        The credentials are not for S3.
    """
    session = AioSession()
    match credentials:
        case AnonymousCredentials():
            anonymous = True
        case S3Credentials():
            anonymous = False
            session.set_credentials(
                credentials.aws_access_key_id,
                credentials.aws_secret_access_key.reveal(),
                reveal(credentials.aws_session_token),
            )
        case _:
            raise CredentialsError(f"an S3 bucket needs S3 keys or anonymous access, not {type(credentials).__name__}")
    return KeyedS3FileSystem(
        anon=anonymous,
        session=session,
        endpoint_url=endpoint.url,
        use_ssl=not endpoint.allow_http,
        client_kwargs={"region_name": endpoint.region or "us-east-1"},
        config_kwargs={
            "s3": {"addressing_style": "path" if endpoint.path_style else "virtual"},
            "ignore_configured_endpoint_urls": True,
            "connect_timeout": 10,
            "retries": {"max_attempts": 3},
        },
        skip_instance_cache=True,
    )
