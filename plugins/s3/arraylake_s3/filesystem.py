"""An s3fs file system that keeps its keys to itself."""

import asyncio
import errno
import logging
import os
import re
from typing import TYPE_CHECKING, NoReturn

from aiobotocore.session import AioSession
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from arraylake_core.backends import AnonymousCredentials, Credentials, S3Credentials
from arraylake_core.errors import CredentialsError
from arraylake_core.secret import MASK, reveal

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from arraylake_s3.endpoint import Endpoint

__all__ = ["KeyedS3FileSystem", "open_filesystem"]

# botocore reads profiles, regions, endpoints and more from these files and variables; of a user's own settings nothing may get in.
_NO_AMBIENT_SETTINGS = {
    "profile": (None, None, None, None),
    "region": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
    "use_dualstack_endpoint": (None, None, None, None),
    "use_fips_endpoint": (None, None, None, None),
}
_TOKEN = re.compile(r"(x-amz-security-token['\"]?\s*[:=]\s*(?:b?['\"])?)[^\s'\",}]+", re.IGNORECASE)


class _WithoutSessionTokens(logging.Filter):
    """Takes the session token out of the requests that botocore logs at DEBUG level."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record, without its token."""
        if record.levelno <= logging.DEBUG:
            message = record.getMessage()
            masked = _TOKEN.sub(rf"\g<1>{MASK}", message)
            if masked != message:
                record.msg, record.args = masked, None
        return True


for _name in ("botocore.auth", "botocore.endpoint", "aiobotocore.endpoint"):
    logging.getLogger(_name).addFilter(_WithoutSessionTokens())


class _ObjectDeniedError(PermissionError):
    """A single object is denied."""


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

    async def _call_s3(self, method: str, *options: object, **kwargs: object) -> object:
        """Call the API; raise for a web page as an answer, and for objects that were not deleted, which s3fs leaves out in silence."""
        try:
            answer = await super()._call_s3(method, *options, **kwargs)
        except OSError as error:
            if _is_web_page(error.__cause__):
                raise OSError(errno.EPROTO, "Unable to parse response: it is a web page, and from no object store") from error
            raise
        refused = answer.get("Errors") if method == "delete_objects" else None
        if refused:
            code = refused[0].get("Code", "unknown")
            kind = PermissionError if code == "AccessDenied" else OSError
            raise kind(f"{len(refused)} objects were not deleted: {code}")
        return answer

    async def _info(self, path: str, *options: object, **kwargs: object) -> object:
        """Look at an object; that it is denied is told apart from a listing that is."""
        try:
            return await super()._info(path, *options, **kwargs)
        except PermissionError as error:
            raise _ObjectDeniedError(*error.args) from error.__cause__

    async def _find(self, path: str, *options: object, detail: bool = False, **kwargs: object) -> object:
        """Find all below a prefix; where there is nothing, s3fs looks for an object of that name, which keys for the prefix may not."""
        try:
            return await super()._find(path, *options, detail=detail, **kwargs)
        except _ObjectDeniedError:
            return {} if detail else []

    # s3fs binds its own.
    find = sync_wrapper(_find)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an S3 file system with credentials is never pickled: pickle the repo, which asks for its own where it wakes up"
        )

    def to_dict(self, *, include_password: bool = True) -> NoReturn:
        """Refuse, as pickling does."""
        self.__reduce__()


def _is_web_page(error: BaseException | None) -> bool:
    response = getattr(error, "response", None) or {}
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("content-type", "")).startswith("text/html")


async def _closed(client: "AbstractAsyncContextManager[object]") -> None:
    await client.__aexit__(None, None, None)


def open_filesystem(endpoint: "Endpoint", credentials: Credentials) -> KeyedS3FileSystem:
    """Return a file system for an endpoint that has these credentials, and never those of the environment.

    Raises
    ------
    CredentialsError
        The credentials are not for S3.
    """
    session = AioSession(session_vars=_NO_AMBIENT_SETTINGS)
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
        # Others write at the same time: what a listing said a while ago may no longer be so.
        use_listings_cache=False,
        skip_instance_cache=True,
    )
