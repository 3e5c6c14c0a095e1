"""Finding out what a bucket is good for, by using it.

Objects of a random name are written below the location, read, raced for, and removed. What the store does wrong becomes a sentence with the next step.
"""

import asyncio
import re
import secrets
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from arraylake_core.backends.credentials import CredentialProvider
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import ArraylakeError
from arraylake_core.models import ProbeReport

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

__all__ = ["CreateFile", "probe_location"]

type CreateFile = Callable[[str, bytes], None]
"""Writes a file at a path that must be free, and raises FileExistsError where it is not."""

STEP_SECONDS = 30.0
RACERS = 4
ROUNDS = 2

# What stores and their libraries say, and what it means; the first that matches is told.
_MEANINGS = (
    (
        r"not well-formed|syntax error|ResponseParserError|Unable to parse response|JSONDecodeError",
        "what answers at the endpoint is no object store: correct endpoint_url",
    ),
    (r"NotImplemented|MethodNotAllowed|\((?:405|501)\)", "what answers at the endpoint does not know this request: correct endpoint_url in extra_config"),
    (r"InvalidAccessKeyId|Access Key Id you provided does not exist", "the access key id is unknown to the store: correct access_key_id in auth_config"),
    (r"SignatureDoesNotMatch|signature we calculated", "the secret key is not the one of this access key id: correct secret_access_key in auth_config"),
    (r"ExpiredToken|token.*expired", "the session token has expired: log in again"),
    (r"Invalid Credentials|UNAUTHENTICATED", "the store does not know the token, or it has expired: log in again, or correct auth_config"),
    (r"requester pays|user ?project", "the project that pays for requests is missing or wrong: correct project in extra_config"),
    (r"RequestTimeTooSkewed|time.*skew", "the clock of this machine is off by more than the store allows: set it"),
    (r"NoSuchBucket|specified bucket does not exist", "the bucket does not exist: make it, or correct the URI"),
    (r"AccessDenied|Access Denied|Forbidden|\(403\)|PermissionError|Permission denied|os error 13", "the store denies it: grant the right to {right}"),
    (r"No space left|os error 28|Disk quota", "no space is left: make room"),
    (r"File too large|os error 27", "no file may be that large: raise the limit (ulimit -f)"),
    (r"Too many levels of symbolic links|os error 40", "a symbolic link on the way leads to itself: remove it"),
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
    (r"FileNotFoundError|NotFound|\(404\)", "the bucket is not there: correct its name in the URI, or endpoint_url in extra_config"),
    (r"NotADirectoryError|Not a directory|os error 20", "a part of the path is a file: correct the URI"),
)  # fmt: skip


_CONDITIONALLY = "write conditionally"
_WITHOUT = "repos of the kind 'v1' are safe there, since their atomic step is in the catalog; to those of other kinds, let one process write at a time"
_NOT_KNOWN = re.compile(r"NotImplemented|NotSupported|MethodNotAllowed|\b405\b|\b501\b", re.IGNORECASE)
_NO_BUCKET = re.compile(r"NoSuchBucket|specified bucket does not exist", re.IGNORECASE)


async def probe_location(
    platform: StoragePlatform,
    location: Location,
    credentials: CredentialProvider,
    *,
    create: CreateFile | None = None,
    step_seconds: float = STEP_SECONDS,
) -> ProbeReport:
    """Probe a location; what the store does wrong is in the report, never raised.

    Parameters
    ----------
    platform
        Its platform.
    location
        Where to probe: objects are written below it, and removed.
    credentials
        With the right to write.
    create
        How the platform creates a file at a path of its file system, where it does so atomically but is no object store.
    step_seconds
        How long any one request may take; after one that takes longer, the probe ends.
    """
    probe = _Probe(platform, location, credentials, step_seconds)
    try:
        await probe.run(create)
    except _GiveUpError:
        pass
    finally:
        await probe.clean_up()
    report = probe.report
    report.reachable = report.reachable or report.readable or report.writable
    report.safe_for_concurrent_writes = report.conditional_create and report.conditional_update
    return report


class _GiveUpError(Exception):
    """Nothing more is to be learnt."""


class _Probe:
    """One probe: its steps, and what they found."""

    def __init__(self, platform: StoragePlatform, location: Location, credentials: CredentialProvider, seconds: float) -> None:
        self.platform = platform
        self.location = location
        self.credentials = credentials
        self.seconds = seconds
        self.place = location.below(f".arraylake-probe-{secrets.token_hex(8)}")
        self.report = ProbeReport(uri=location.uri)
        self.names: list[str] = []
        self._filesystem: AbstractFileSystem | None = None

    async def run(self, create: CreateFile | None) -> None:
        """Take all steps, as far as they make sense."""
        filesystem = await self._step("be used", self._open)
        if filesystem is None:
            return
        self._filesystem = filesystem
        await self._list(filesystem)
        path, body = self._path("object"), secrets.token_bytes(64)
        self.report.writable = await self._step("write", lambda: _in_thread(_done, filesystem.pipe_file, path, body)) is True
        if not self.report.writable:
            # Nothing is there to be read back; that it can be listed must do.
            self.report.readable = self.report.reachable
            return
        self.report.readable = await self._read(filesystem, path, body)
        if create is not None:
            await self._race_for_file(create)
        else:
            await self._race_for_objects()

    async def clean_up(self) -> None:
        """Remove what was written; a failure counts where writing had worked."""
        filesystem, written = self._filesystem, self.report.writable
        if filesystem is None or not self.names:
            return
        problems = list(self.report.problems)
        with suppress(_GiveUpError):
            await self._step("delete", lambda: _in_thread(_remove, filesystem, self.platform.path(self.place), self.names))
        if not written:
            # What could not be written need not be there to be deleted.
            self.report.problems[:] = problems

    def _path(self, name: str) -> str:
        self.names.append(name)
        return f"{self.platform.path(self.place)}/{name}"

    async def _open(self) -> "AbstractFileSystem":
        return self.platform.filesystem(self.location, await self.credentials.get())

    async def _list(self, filesystem: "AbstractFileSystem") -> None:
        """List the location; where even that gets no sensible answer, nothing else will."""

        async def listed() -> bool:
            try:
                await _in_thread(_listing, filesystem, self.platform.path(self.location))
            except FileNotFoundError as error:
                # An empty prefix and a directory that is yet to be made are no faults; a bucket that is not there is.
                if _NO_BUCKET.search(_said(error)):
                    raise
                # The operating system gives a number: of it alone nothing is known yet. An object store has answered.
                return error.errno is None
            return True

        told = len(self.report.problems)
        self.report.reachable = await self._step("list", listed) is True
        problems = self.report.problems[told:]
        if problems and not any("the right to" in problem for problem in problems):
            raise _GiveUpError

    async def _read(self, filesystem: "AbstractFileSystem", path: str, body: bytes) -> bool:
        read = await self._step("read", lambda: _in_thread(filesystem.cat_file, path))
        if read is not None and read != body:
            self.report.problems.append("what is read is not what was written: look for a cache or a proxy in front of the store")
        return read == body

    async def _step[T](self, right: str, step: Callable[[], Awaitable[T]]) -> T | None:
        """Return what a step returns, or None where it failed, which the report then says."""
        try:
            return await asyncio.wait_for(_awaited(step), self.seconds)
        except TimeoutError:
            self._say(
                f"the store did not answer within {self.seconds:g} s when asked to {right}: correct endpoint_url, or try again later"
            )
            raise _GiveUpError from None
        except ArraylakeError as error:
            self._say(str(error))
        except Exception as error:  # noqa: BLE001 - every store's library has errors of its own
            self._say(_meaning(error, right))
        return None

    def _say(self, problem: str) -> None:
        if problem not in self.report.problems:
            self.report.problems.append(problem)

    async def _race_for_file(self, create: CreateFile) -> None:
        def write(path: str, body: bytes) -> bool:
            try:
                create(path, body)
            except FileExistsError:
                return False
            return True

        filesystem = self._filesystem
        if filesystem is None:
            return

        async def race() -> bool:
            path, bodies = self._path(f"create-{secrets.token_hex(4)}"), [secrets.token_bytes(32) for _ in range(RACERS)]
            won = await asyncio.gather(*(_in_thread(write, path, body) for body in bodies))
            return won.count(True) == 1 and await _in_thread(filesystem.cat_file, path) == bodies[won.index(True)]

        self.report.conditional_create = await self._rounds("create", race)

    async def _race_for_objects(self) -> None:
        spec = self.platform.object_store(self.place, self.credentials)
        if spec is None or spec.protocol in ("file", "memory"):
            self.report.notes.append(f"the platform {self.platform.name!r} offers no conditional writes: {_WITHOUT}")
            return
        store = await self._step("be used", lambda: open_object_store(spec))
        if store is None:
            return

        async def create() -> bool:
            name = f"create-{secrets.token_hex(4)}"
            self.names.append(name)
            return await _race(store, name, None)

        async def update() -> bool:
            name = f"update-{secrets.token_hex(4)}"
            self.names.append(name)
            return await _race_to_update(store, name)

        self.report.conditional_create = await self._rounds("create", create)
        if self.report.conditional_create:
            self.report.conditional_update = await self._rounds("replace", update)

    async def _rounds(self, verb: str, race: Callable[[], Awaitable[bool]]) -> bool:
        """Race some times, and tell whether it went right each time; that a race could not be run is another problem."""
        header = {"create": "If-None-Match", "replace": "If-Match"}[verb]
        for _ in range(ROUNDS):
            right = await self._step(_CONDITIONALLY, race)
            if right is False:
                self._say(
                    f"the store does not honour {header}: of writers that race to {verb} one object, more than one is told that it won, or a "
                    "loser's bytes stay. Concurrent commits to Icechunk repos can be lost there: let one process write at a time, take "
                    "the kind 'v1', or use another store"
                )
            if not right:
                return False
        return True


async def _awaited[T](step: Callable[[], Awaitable[T]]) -> T:
    return await step()


async def _in_thread[**P, T](call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call in a thread that nobody waits for once it is given up: asyncio.to_thread's hold up the end of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("T", result))

    def work() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = call(*args, **kwargs)
        except StopIteration as error:
            failure = RuntimeError(str(error))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failure = error
        # The loop may have ended meanwhile, with whoever waited.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="arraylake-probe", daemon=True).start()
    return await future


def _done[**P](call: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> bool:
    call(*args, **kwargs)
    return True


def _listing(filesystem: "AbstractFileSystem", path: str) -> list[str]:
    # Not every file system takes refresh=True; this one call they all have.
    filesystem.invalidate_cache()
    return list(filesystem.ls(path, detail=False))


def _remove(filesystem: "AbstractFileSystem", path: str, names: list[str]) -> None:
    """Delete the probe's directory, and, where it may not be listed, the objects by their names; and see that they are gone."""
    try:
        filesystem.rm(path, recursive=True)
    except FileNotFoundError:
        pass
    except OSError:
        for name in names:
            with suppress(FileNotFoundError):
                filesystem.rm_file(f"{path}/{name}")
    if any(_is_there(filesystem, f"{path}/{name}") for name in names):
        raise PermissionError("Access Denied")


def _is_there(filesystem: "AbstractFileSystem", path: str) -> bool:
    try:
        return bool(filesystem.exists(path))
    except PermissionError:
        # To those who may not list a bucket, AWS denies what is not there.
        return False


def _said(error: BaseException) -> str:
    """Return what an error says, and those that it came from."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return " ".join(f"{type(link).__name__}: {link}" for link in chain)


def _meaning(error: BaseException, right: str) -> str:
    said = _said(error)
    if right == _CONDITIONALLY and _NOT_KNOWN.search(said):
        # All that came before was understood: it is an object store, and lacks only this.
        return f"the store does not know conditional writes: {_WITHOUT}, or use another store"
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, said, re.IGNORECASE):
            return f"could not {right}: {meaning.format(right=right)}"
    return f"could not {right}: {type(error).__name__}; see what the store's own log says of it"


async def _race(store: "ObjectStore", name: str, version: "UpdateVersion | None") -> bool:
    """Let many writers write one object on one condition, and tell whether exactly one won and its bytes stayed."""
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    bodies = [secrets.token_bytes(32) for _ in range(RACERS)]

    async def write(body: bytes) -> bool:
        try:
            await obstore.put_async(store, name, body, mode="create" if version is None else version)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    won = await asyncio.gather(*(write(body) for body in bodies))
    # Somebody who comes late must lose too, and leave the bytes as they are: some stores refuse a write after having done it.
    late = await write(secrets.token_bytes(32))
    stays = bytes(await (await obstore.get_async(store, name)).bytes_async())
    return not late and won.count(True) == 1 and stays == bodies[won.index(True)]


async def _race_to_update(store: "ObjectStore", name: str) -> bool:
    import obstore

    written = await obstore.put_async(store, name, b"before")
    # S3 and Azure go by the tag, GCS by the version; what a store does not tell must be left out.
    version = cast("UpdateVersion", {name: value for name, value in written.items() if value is not None})
    return bool(version) and await _race(store, name, version)
