"""What a probe says of a store that fails, and that it leaves nothing behind, whatever fails."""

import asyncio
import errno
import threading
from collections.abc import Callable

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from arraylake_core.backends import (
    AnonymousCredentials,
    CredentialProvider,
    Credentials,
    Location,
    StoragePlatform,
)
from arraylake_core.backends.probe import probe_location
from arraylake_core.errors import CredentialsError, StorageError

LOCATION = Location(platform="trial", bucket="bucket", prefix="lake")
CANARY = "CANARY-secret"


class Nobody:
    async def mint(self) -> AnonymousCredentials:
        return AnonymousCredentials()


class TrialFileSystem(MemoryFileSystem):
    """Files in memory, of this instance alone; what is in ``faults`` is called instead of the method of that name."""

    cachable = False

    def __init__(self, faults: dict[str, Callable[..., object]]) -> None:
        super().__init__(skip_instance_cache=True)
        self.store = {}
        self.pseudo_dirs = [""]
        for name, fault in faults.items():
            setattr(self, name, fault)


class TrialPlatform(StoragePlatform):
    name = "trial"
    schemes = ("trial",)

    def __init__(self, faults: dict[str, Callable[..., object]] | None = None) -> None:
        self.files = TrialFileSystem(faults or {})

    def path(self, location: Location) -> str:
        return f"/{super().path(location)}"

    def filesystem(self, location: Location, credentials: Credentials) -> MemoryFileSystem:
        return self.files


def raising(error: BaseException) -> Callable[..., object]:
    def fail(*args: object, **kwargs: object) -> object:
        raise error

    return fail


@pytest.fixture
def provider() -> CredentialProvider:
    return CredentialProvider(Nobody())


async def test_p18_a_platform_without_conditional_writes_is_not_called_safe(provider):
    platform = TrialPlatform()
    report = await probe_location(platform, LOCATION, provider)
    assert report.ok
    assert report.problems == []
    assert (report.conditional_create, report.conditional_update, report.safe_for_concurrent_writes) == (False, False, False)
    assert "let one process write at a time" in report.notes[0]
    assert "the kind 'v1' are safe there" in report.notes[0]
    assert platform.files.store == {}


async def test_p18_a_platform_that_overwrites_what_it_should_create_is_found_out(provider):
    platform = TrialPlatform()

    def overwrite(path: str, body: bytes) -> None:
        platform.files.pipe_file(path, body)

    report = await probe_location(platform, LOCATION, provider, create=overwrite)
    assert not report.conditional_create
    assert "does not honour If-None-Match" in report.problems[0]
    assert platform.files.store == {}


async def test_p18_a_platform_that_creates_once_is_told_so(provider):
    platform, lock = TrialPlatform(), threading.Lock()

    def create(path: str, body: bytes) -> None:
        with lock:
            platform.files.pipe_file(path, body, mode="create")

    report = await probe_location(platform, LOCATION, provider, create=create)
    assert report.conditional_create
    assert not report.safe_for_concurrent_writes
    assert report.problems == []
    assert platform.files.store == {}


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space is left"),
        (OSError(errno.EROFS, "Read-only file system"), "mounted read-only"),
        (PermissionError(errno.EACCES, "Permission denied"), "grant the right to write"),
        (PermissionError("Access Denied"), "grant the right to write"),
        (PermissionError("The AWS Access Key Id you provided does not exist in our records."), "access key id is unknown"),
        (PermissionError("The request signature we calculated does not match the signature you provided."), "secret key"),
        (OSError("RequestTimeTooSkewed: The difference between the request time and the current time"), "clock of this machine"),
        (
            OSError("NotImplemented: A header you provided implies functionality that is not implemented"),
            "does not know this request",
        ),
        (FileNotFoundError("The specified bucket does not exist"), "the bucket does not exist"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory"), "a part of the path is a file"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "nothing answers at the endpoint"),
        (OSError("[Errno -2] Name or service not known"), "host name is unknown"),
        (ValueError(f"unexpected {CANARY}"), "could not write: ValueError; see what the store's own log"),
        (StorageError("the platform itself says what to do"), "the platform itself says what to do"),
    ],
)
async def test_what_a_write_fails_with_is_told_in_one_sentence(provider, error, says):
    report = await probe_location(TrialPlatform({"pipe_file": raising(error)}), LOCATION, provider)
    assert (report.reachable, report.writable, report.safe_for_concurrent_writes) == (True, False, False)
    assert len(report.problems) == 1
    assert says in report.problems[0]
    assert CANARY not in report.problems[0]


async def test_what_an_error_came_from_is_looked_at_too(provider):
    def fail(*args: object, **kwargs: object) -> object:
        try:
            try:
                raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
            except ConnectionRefusedError as error:
                raise RuntimeError("in the session") from error
        except RuntimeError as error:
            raise OSError("in the file system") from error

    report = await probe_location(TrialPlatform({"ls": fail}), LOCATION, provider)
    assert report.problems == [
        "could not list: nothing answers at the endpoint: correct endpoint_url in extra_config, or start the server"
    ]
    assert not report.reachable


@pytest.mark.parametrize(("method", "right"), [("ls", "list"), ("pipe_file", "write"), ("cat_file", "read"), ("rm", "delete")])
async def test_the_right_that_lacks_is_named(provider, method, right):
    faults = {method: raising(PermissionError("Access Denied"))}
    if method == "rm":
        faults["rm_file"] = faults["rm"]
    report = await probe_location(TrialPlatform(faults), LOCATION, provider)
    assert report.problems == [f"could not {right}: the store denies it: grant the right to {right}"]
    assert report.reachable
    assert report.writable is (method != "pipe_file")
    assert report.readable is (method != "cat_file")


async def test_where_listing_is_denied_the_objects_are_removed_by_their_names(provider):
    denied = raising(PermissionError("Access Denied"))
    platform = TrialPlatform({"ls": denied, "rm": denied})
    report = await probe_location(platform, LOCATION, provider)
    assert report.problems == ["could not list: the store denies it: grant the right to list"]
    assert platform.files.store == {}


async def test_bytes_that_come_back_changed_are_a_problem(provider):
    report = await probe_location(TrialPlatform({"cat_file": lambda path: b"others"}), LOCATION, provider)
    assert not report.readable
    assert "not what was written" in report.problems[0]


@pytest.mark.parametrize("method", ["ls", "pipe_file", "cat_file", "rm"])
async def test_a_store_that_never_answers_is_given_up(provider, method):
    never = threading.Event()
    platform = TrialPlatform({method: lambda *args, **kwargs: never.wait()})
    report = await probe_location(platform, LOCATION, provider, step_seconds=0.2)
    never.set()
    assert len(report.problems) == 1
    assert "did not answer within 0.2 s" in report.problems[0]
    assert report.reachable is (method != "ls")
    if method != "rm":
        assert platform.files.store == {}


async def test_a_probe_that_is_cancelled_cleans_up(provider):
    reading, never = threading.Event(), threading.Event()

    def wait(path: str) -> bytes:
        reading.set()
        never.wait()
        return b""

    platform = TrialPlatform({"cat_file": wait})
    task = asyncio.create_task(probe_location(platform, LOCATION, provider))
    await asyncio.to_thread(reading.wait)
    assert platform.files.store != {}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    never.set()
    assert platform.files.store == {}


async def test_credentials_that_can_not_be_had_are_in_the_report():
    class Refused:
        async def mint(self) -> Credentials:
            raise CredentialsError("log in again")

    report = await probe_location(TrialPlatform(), LOCATION, CredentialProvider(Refused()))
    assert (report.ok, report.problems) == (False, ["log in again"])


async def test_a_path_that_leads_out_is_in_the_report(provider):
    class Leading(TrialPlatform):
        def path(self, location: Location) -> str:
            raise StorageError("it leads out: remove the link")

    report = await probe_location(Leading(), LOCATION, provider)
    assert not report.ok
    assert report.problems == ["it leads out: remove the link"]
