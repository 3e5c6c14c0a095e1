"""Finding out what a bucket is good for, by using it.

Objects of a random name are written below the location, read, raced for, and removed. What the store does wrong becomes a sentence with the next step.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from arraylake_core.backends.credentials import CredentialProvider
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import ArraylakeError
from arraylake_core.models import ProbeReport

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem
    from obstore.store import ObjectStore

__all__ = ["probe_location"]

STEP_SECONDS = 30
RACERS = 8
ROUNDS = 3

# What stores and their libraries say, and what it means; the first that matches is told.
_MEANINGS = (
    (r"InvalidAccessKeyId|Access Key Id you provided does not exist", "the access key id is unknown to the store: correct access_key_id in auth_config"),
    (r"SignatureDoesNotMatch|signature we calculated", "the secret key is not the one of this access key id: correct secret_access_key in auth_config"),
    (r"ExpiredToken|token.*expired", "the session token has expired: log in again"),
    (r"RequestTimeTooSkewed|time.*skew", "the clock of this machine is off by more than the store allows: set it"),
    (r"NoSuchBucket|specified bucket does not exist", "the bucket does not exist: make it, or correct the URI"),
    (r"AccessDenied|Access Denied|Forbidden|\b403\b|PermissionError|Permission denied|os error 13", "the store denies it: grant the right to {right}"),
    (r"No space left|os error 28|Disk quota", "no space is left: make room"),
    (r"Read-only file system|os error 30", "the file system is mounted read-only: mount it writable"),
    (r"PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocationConstraint", "the bucket is in another region: correct region_name in extra_config"),
    (
        r"Name or service not known|nodename nor servname|getaddrinfo|No address associated|dns error",
        "the endpoint's host name is unknown: correct endpoint_url in extra_config",
    ),
    (
        r"Connect call failed|Connection refused|Could not connect|EndpointConnectionError|Connection reset|error sending request",
        "nothing answers at the endpoint: correct endpoint_url in extra_config, or start the server",
    ),
    (r"CERTIFICATE|SSL|certificate", "the endpoint's certificate is not trusted: correct endpoint_url, or trust its authority"),
    (r"not well-formed|syntax error|ResponseParserError|Unable to parse response", "what answers at the endpoint is no object store: correct endpoint_url"),
    (r"FileNotFoundError|NotFound|\b404\b", "the bucket does not exist: make it, or correct the URI"),
    (r"NotADirectoryError|Not a directory", "a part of the path is a file: correct the URI"),
)  # fmt: skip


async def probe_location(platform: StoragePlatform, location: Location, credentials: CredentialProvider) -> ProbeReport:
    """Probe a location; what the store does wrong is in the report, never raised.

    Parameters
    ----------
    platform
        Its platform.
    location
        Where to probe: objects are written below it, and removed.
    credentials
        With the right to write.
    """
    report = ProbeReport(uri=location.uri)
    step = _Steps(report)
    filesystem = await step.run("be used", lambda: _open(platform, location, credentials))
    if filesystem is None:
        return report
    place = location.below(f".arraylake-probe-{secrets.token_hex(8)}")
    path, body = f"{platform.path(place)}/object", secrets.token_bytes(64)
    report.writable = await step.ran("write", lambda: asyncio.to_thread(filesystem.pipe_file, path, body))
    if report.writable:
        report.readable = await step.run("read", lambda: asyncio.to_thread(filesystem.cat_file, path)) == body
    else:
        # A bucket that may only be read is told from one that is not there by listing it.
        listed = await step.run("list", lambda: asyncio.to_thread(_list, filesystem, platform.path(location)))
        report.readable = listed is not None
    report.reachable = report.readable or report.writable
    try:
        if report.writable:
            await _probe_conditions(platform, place, credentials, step)
    finally:
        if report.writable:
            await step.run("delete", lambda: asyncio.to_thread(filesystem.rm, platform.path(place), recursive=True))
    report.safe_for_concurrent_writes = report.conditional_create and report.conditional_update
    return report


def _list(filesystem: "AbstractFileSystem", path: str) -> list[str]:
    try:
        return list(filesystem.ls(path, detail=False, refresh=True))
    except FileNotFoundError as error:
        # An object store has no empty directories: only where the bucket itself is missing, something is wrong.
        if error.errno is None and not re.search("bucket", str(error), re.IGNORECASE):
            return []
        raise


async def _open(platform: StoragePlatform, location: Location, credentials: CredentialProvider) -> "AbstractFileSystem":
    return platform.filesystem(location, await credentials.get())


class _Steps:
    """Runs the steps of a probe, and turns their failures into problems of the report."""

    def __init__(self, report: ProbeReport) -> None:
        self.report = report

    async def run[T](self, right: str, step: Callable[[], Awaitable[T]]) -> T | None:
        """Return what a step returns, or None where it failed."""
        try:
            return await asyncio.wait_for(_awaited(step), STEP_SECONDS)
        except TimeoutError:
            problem = f"the store did not answer within {STEP_SECONDS} s when asked to {right}: correct endpoint_url, or try again later"
        except ArraylakeError as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - every store's library has errors of its own
            problem = _meaning(error, right)
        if problem not in self.report.problems:
            self.report.problems.append(problem)
        return None

    async def ran(self, right: str, step: Callable[[], Awaitable[object]]) -> bool:
        """Tell whether a step that returns nothing worked."""

        async def told() -> bool:
            await step()
            return True

        return await self.run(right, told) is True


async def _awaited[T](step: Callable[[], Awaitable[T]]) -> T:
    return await step()


def _meaning(error: BaseException, right: str) -> str:
    said = f"{type(error).__name__}: {error}"
    cause = error.__cause__ or error.__context__
    text = f"{said} {type(cause).__name__}: {cause}" if cause is not None else said
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, text, re.IGNORECASE):
            return f"could not {right}: {meaning.format(right=right)}"
    return f"could not {right}: {type(error).__name__}; see what the store's own log says of it"


async def _probe_conditions(platform: StoragePlatform, place: Location, credentials: CredentialProvider, step: _Steps) -> None:
    spec = platform.object_store(place, credentials)
    if spec is None or spec.protocol in ("file", "memory"):
        step.report.notes.append(f"the platform {platform.name!r} offers no conditional writes")
        return
    store = await step.run("be used", lambda: open_object_store(spec))
    if store is None:
        return
    report = step.report
    created = [await step.run("write conditionally", lambda: _race(store, f"create-{turn}", None)) for turn in range(ROUNDS)]
    report.conditional_create = all(created)
    if not report.conditional_create:
        report.problems.append(
            "the store does not honour If-None-Match: of writers that race to create one object, more than one is told that it won, or a loser's "
            "bytes stay. Concurrent commits to Icechunk repos can be lost there: let one process write at a time, or use another store"
        )
        return
    updated = [await step.run("write conditionally", lambda: _race_to_update(store, f"update-{turn}")) for turn in range(ROUNDS)]
    report.conditional_update = all(updated)
    if not report.conditional_update:
        report.problems.append(
            "the store does not honour If-Match: of writers that race to replace one object, more than one is told that it won, or a loser's "
            "bytes stay. Concurrent commits to Icechunk repos can be lost there: let one process write at a time, or use another store"
        )


async def _race(store: "ObjectStore", name: str, version: str | None) -> bool:
    """Let many writers write one object on one condition, and tell whether exactly one won and its bytes stayed."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    bodies = [secrets.token_bytes(32) for _ in range(RACERS)]

    async def write(body: bytes) -> bool:
        try:
            await obstore.put_async(store, name, body, mode="create" if version is None else {"e_tag": version})
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    won = await asyncio.gather(*(write(body) for body in bodies))
    stays = bytes(await (await obstore.get_async(store, name)).bytes_async())
    return won.count(True) == 1 and stays == bodies[won.index(True)]


async def _race_to_update(store: "ObjectStore", name: str) -> bool:
    import obstore

    written = await obstore.put_async(store, name, b"before")
    version = written["e_tag"]
    if version is None or not await _race(store, name, version):
        return False
    stays = bytes(await (await obstore.get_async(store, name)).bytes_async())
    # The version that was raced for is gone: nobody may win with it any more.
    late = await _race(store, name, version)
    return not late and bytes(await (await obstore.get_async(store, name)).bytes_async()) == stays
