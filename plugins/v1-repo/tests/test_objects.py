"""The objects of a repo behave alike on every kind of storage, by obstore and by fsspec."""

import asyncio
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import uuid4

import msgspec
import pytest
from arraylake_local import FilePlatform, MemoryPlatform
from arraylake_s3 import S3Options, S3Platform
from arraylake_v1_repo.objects import Objects, aside, open_objects

from arraylake_core.backends import (
    AnonymousCredentials,
    CredentialProvider,
    Credentials,
    KeyRequest,
    Location,
    S3Credentials,
    SignedCredentials,
    SignedUrls,
    StoragePlatform,
)
from arraylake_core.errors import ArraylakeError, CredentialsError, StorageError
from arraylake_core.plugins import default_registry
from arraylake_core.secret import Secret
from tests.servers.faulty_proxy import FaultyProxy, faulty_proxy
from tests.servers.seaweedfs import ADMIN, READER

BIG = bytes(range(256)) * (17 << 12)  # 17 MiB: more than libraries send in one piece


class Owner(msgspec.Struct, frozen=True):
    """Credentials by the name of their owner."""

    name: str

    async def mint(self) -> Credentials:
        if self.name == "nobody":
            return AnonymousCredentials()
        key, secret = {"admin": ADMIN, "reader": READER, "thief": (ADMIN[0], "CANARY-of-a-thief")}[self.name]
        return S3Credentials(aws_access_key_id=key, aws_secret_access_key=Secret(secret))


class FsspecOnlyFiles(FilePlatform):
    """Local disk, as if only fsspec reached it."""

    def object_store(self, location: Location, credentials: CredentialProvider) -> None:
        return None


class FsspecOnlyS3(S3Platform):
    """S3, as if only fsspec reached it."""

    def object_store(self, location: Location, credentials: CredentialProvider) -> None:
        return None


class OwnSigner(msgspec.Struct, frozen=True):
    """Signs as a service does, with an owner's keys, which whoever asks never sees."""

    location: Location
    name: str

    async def sign(self, requests: Sequence[KeyRequest]) -> SignedUrls:
        platform = S3Platform("s3", needs_endpoint=False)
        return SignedUrls(tuple(await platform.presign(self.location, await Owner(self.name).mint(), requests, 60)), 60)


class SignedFor(msgspec.Struct, frozen=True):
    """No credentials: requests signed with an owner's keys."""

    location: Location
    name: str

    async def mint(self) -> Credentials:
        return SignedCredentials(signer=OwnSigner(self.location, self.name))


class Place(NamedTuple):
    """What ``open_objects`` takes."""

    platform: StoragePlatform
    location: Location
    credentials: CredentialProvider

    async def open(self, owner: str | None = None) -> Objects:
        """Open it, as somebody else where a name is given."""
        provider = self.credentials
        if owner is not None:
            signed = isinstance(self.credentials.source, SignedFor)
            provider = CredentialProvider(SignedFor(self.location, owner) if signed else Owner(owner))
        return await open_objects(self.platform, self.location, provider)


NAMES = ("file", "file by fsspec", "memory", "s3", "s3 by fsspec", "s3 signed", "sftp")
ON_S3 = ("s3", "s3 by fsspec", "s3 signed")
BY_NETWORK = (*ON_S3, "sftp")


@pytest.fixture(scope="module")
def shared_bucket(seaweedfs) -> str:
    return seaweedfs.make_bucket(f"shared-{uuid4().hex[:12]}")


@pytest.fixture
def place_named(request, tmp_path):
    """Return a function that makes a new, empty place; the port of another server can be given, such as a proxy's."""

    def make(name: str, *, port: int | None = None) -> Place:
        prefix, nobody = f"lake/{uuid4().hex}", CredentialProvider(Owner("nobody"))
        if name.startswith("file"):
            platform = FilePlatform() if name == "file" else FsspecOnlyFiles()
            return Place(platform, Location(platform="file", bucket=str(tmp_path), prefix=prefix), nobody)
        if name == "memory":
            return Place(MemoryPlatform(), Location(platform="memory", bucket="default", prefix=prefix), nobody)
        if name == "sftp":
            server, _ = request.getfixturevalue("sftp_server"), request.getfixturevalue("sftp_plugin")
            platform = default_registry().storage_platform("sftp")
            values = server.bucket("/")
            options = platform.decode_options({**values, "port": port or values["port"]})
            return Place(platform, Location(platform="sftp", bucket="loopback", prefix=prefix, options=options), nobody)
        server, bucket = request.getfixturevalue("seaweedfs"), request.getfixturevalue("shared_bucket")
        kind = FsspecOnlyS3 if name == "s3 by fsspec" else S3Platform
        options = S3Options(endpoint_url=f"http://127.0.0.1:{port}" if port else server.endpoint)
        place = Location(platform="s3", bucket=bucket, prefix=prefix, options=options)
        source = SignedFor(place, "admin") if name == "s3 signed" else Owner("admin")
        return Place(kind("s3", needs_endpoint=False), place, CredentialProvider(source))

    return make


@pytest.fixture(params=NAMES)
def place(request, place_named) -> Place:
    return place_named(request.param)


@pytest.fixture
async def objects(place) -> Objects:
    return await place.open()


async def keys(objects: Objects, prefix: str) -> list[str]:
    return sorted([info.key async for info in objects.list(prefix)])


# Round trips


@pytest.mark.parametrize("data", [b"", b"\0", bytes(range(256)), BIG], ids=["empty", "one byte", "every byte", "17 MiB"])
async def test_what_is_put_is_got(objects, data):
    await objects.put("chunks/ab/abcd", data)
    assert await objects.get("chunks/ab/abcd") == data
    info = await objects.head("chunks/ab/abcd")
    assert (info.key, info.size) == ("chunks/ab/abcd", len(data))
    assert abs(datetime.now(UTC) - info.modified) < timedelta(hours=1)


async def test_bytes_are_bytes(objects):
    """Neither a view nor a type of a library: others hash, compare and pickle them."""
    await objects.put("a", b"0123456789")
    assert type(await objects.get("a")) is bytes
    assert type(await objects.get_range("a", 2, 5)) is bytes


async def test_every_name_that_the_format_uses(objects):
    names = ["repo.json", "chunks/ff/" + "f" * 64, "sessions/" + "0" * 24 + "/7", "refs/branch/a~b", "refs/tag/v1.0+x=y@z-_~.~"]
    for name in names:
        await objects.put(name, name.encode())
    for name in names:
        assert await objects.get(name) == name.encode()
    assert await keys(objects, "") == sorted(names)
    await objects.delete(names)
    assert await keys(objects, "") == []


async def test_what_is_not_there(objects):
    await objects.put("a/b", b"there")
    for key in ("c", "a/c", "never/was/there"):
        assert await objects.get(key) is None
        assert await objects.head(key) is None
        with pytest.raises(StorageError, match=key):
            await objects.get_range(key, 0, 1)


async def test_ranges(objects):
    await objects.put("a", bytes(range(100)))
    for start, end in ((0, 100), (0, 1), (99, 100), (10, 20)):
        assert await objects.get_range("a", start, end) == bytes(range(start, end))


@pytest.mark.parametrize(("start", "end"), [(99, 101), (100, 101), (1000, 2000)])
async def test_a_range_past_the_end_is_an_error_and_not_fewer_bytes(objects, start, end):
    await objects.put("a/b", bytes(range(100)))
    with pytest.raises(StorageError, match="a/b"):
        await objects.get_range("a/b", start, end)


async def test_a_later_put_replaces_the_earlier(objects):
    for data in (b"first", b"", b"the third", b"4"):
        await objects.put("refs/branch/main", data)
        assert await objects.get("refs/branch/main") == data
        assert (await objects.head("refs/branch/main")).size == len(data)
    assert await keys(objects, "refs/") == ["refs/branch/main"]


# Lists and deletions


async def test_a_list_has_what_is_below_and_no_sibling(objects):
    sizes = {"a/b/one": 1, "a/b/deep/er/two": 2, "a/b/empty": 0, "a/bc/three": 3, "a/b.four": 4, "a/five": 5, "b/six": 6}
    for key, size in sizes.items():
        await objects.put(key, bytes(size))
    below = {key: size for key, size in sizes.items() if key.startswith("a/b/")}
    for prefix in ("a/b/", "a/b"):
        assert {info.key: info.size async for info in objects.list(prefix)} == below
    assert {info.key: info.size async for info in objects.list("")} == sizes
    assert await keys(objects, "a/b/deep") == ["a/b/deep/er/two"]
    assert await keys(objects, "a/b/none") == []
    assert await keys(objects, "none") == []


async def test_a_list_sees_what_another_has_just_done(place):
    """Nothing is cached: garbage collection builds on it."""
    one, other = await place.open(), await place.open()
    for number in range(3):
        assert len(await keys(other, "a")) == number
        await one.put(f"a/{number}", b"x")
    assert await keys(other, "a") == ["a/0", "a/1", "a/2"]
    await one.delete(["a/1"])
    assert await keys(other, "a") == ["a/0", "a/2"]
    assert await other.head("a/1") is None


@pytest.mark.parametrize("name", ["file", *ON_S3])
async def test_more_than_a_page_of_objects_is_listed_and_deleted(place_named, name):
    objects = await place_named(name).open()
    expected = [f"chunks/{number % 16:02x}/{number:05}" for number in range(1_100)]
    for start in range(0, len(expected), 100):
        await asyncio.gather(*(objects.put(key, b"x") for key in expected[start : start + 100]))
    assert await keys(objects, "chunks") == sorted(expected)
    await objects.delete(expected)
    assert await keys(objects, "") == []


async def test_deleting_twice_and_what_never_was_does_no_harm(objects):
    await objects.put("a/one", b"1")
    await objects.put("a/two", b"2")
    await objects.delete(["a/one", "a/never", "never/there"])
    await objects.delete(["a/one"])
    await objects.delete([])
    assert await keys(objects, "") == ["a/two"]
    await objects.delete(["a/two"])
    assert await objects.get("a/two") is None
    await objects.put("a/two", b"again")
    assert await objects.get("a/two") == b"again"


# Many at once


async def test_sixty_four_puts_and_gets_at_once(objects):
    bodies = {f"chunks/{number % 8:02x}/{number}": os.urandom(20_000) for number in range(64)}
    await asyncio.gather(*(objects.put(key, body) for key, body in bodies.items()))
    assert await asyncio.gather(*map(objects.get, bodies)) == list(bodies.values())
    ranges = await asyncio.gather(*(objects.get_range(key, 19_000, 20_000) for key in bodies))
    assert ranges == [body[-1000:] for body in bodies.values()]
    assert await keys(objects, "chunks") == sorted(bodies)


async def test_of_writers_of_one_key_one_wins_whole(objects):
    bodies = [bytes([number]) * 300_000 for number in range(12)]
    await asyncio.gather(*(objects.put("refs/branch/main", body) for body in bodies))
    assert await objects.get("refs/branch/main") in bodies
    assert await keys(objects, "") == ["refs/branch/main"]


async def test_readers_see_the_old_or_the_new_and_nothing_else(objects):
    bodies = [bytes([number]) * 300_000 for number in range(8)]
    await objects.put("refs/branch/main", bodies[0])
    written = asyncio.Event()

    async def write() -> None:
        for body in bodies:
            await objects.put("refs/branch/main", body)
        written.set()

    async def read() -> None:
        while not written.is_set():
            assert await objects.get("refs/branch/main") in bodies

    await asyncio.gather(write(), read(), read())


def test_two_event_loops_and_threads_share_them(place):
    objects = asyncio.run(place.open())

    async def use(number: int) -> None:
        await asyncio.gather(*(objects.put(f"{number}/{part}", b"%d" % part) for part in range(4)))
        assert await asyncio.gather(*(objects.get(f"{number}/{part}") for part in range(4))) == [b"0", b"1", b"2", b"3"]

    def work(number: int) -> None:
        if number % 2:
            asyncio.run(use(number))
        else:
            for part in range(4):
                objects.put_blocking(f"{number}/{part}", b"%d" % part)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    expected = sorted(f"{number}/{part}" for number in range(16) for part in range(4))
    assert asyncio.run(keys(objects, "")) == expected


async def test_a_blocking_put_is_a_put(objects):
    """Also from a thread of an event loop that is busy."""
    await asyncio.to_thread(objects.put_blocking, "a/b", b"first")
    await asyncio.to_thread(objects.put_blocking, "a/b", BIG)
    assert await objects.get("a/b") == BIG


async def test_what_a_killed_writer_has_left_is_no_object(place, objects):
    """Object stores show nothing of it; elsewhere it can be found, and deleted."""
    await objects.put("chunks/ab/whole", b"whole")
    if place.platform.name not in ("file", "sftp"):
        assert [info async for info in objects.leftovers()] == []
        return
    filesystem, draft = place.platform.filesystem(place.location, await place.credentials.get()), aside("chunks/ab/cut-off")
    filesystem.pipe_file(f"{place.platform.path(place.location)}/{draft}", b"cut o")
    assert await keys(objects, "") == ["chunks/ab/whole"]
    left = [info async for info in objects.leftovers()]
    assert [(info.key, info.size) for info in left] == [(draft, 5)]
    await objects.delete([draft])
    assert [info async for info in objects.leftovers()] == []


async def test_a_put_that_is_cancelled_leaves_all_or_nothing(objects):
    tasks = [asyncio.create_task(objects.put(f"a/{number}", BIG)) for number in range(4)]
    for number, task in enumerate(tasks):
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert {info.size async for info in objects.list("a")} <= {len(BIG)}


# Both ways to one place


@pytest.mark.parametrize(("name", "other"), [("file", "file by fsspec"), ("s3", "s3 by fsspec")])
async def test_obstore_and_fsspec_see_the_same(place_named, name, other):
    one = place_named(name)
    by_obstore = await one.open()
    by_fsspec = await Place(place_named(other).platform, one.location, one.credentials).open()
    assert type(by_obstore) is not type(by_fsspec)
    names = ["repo.json", "chunks/aa/" + "a" * 64, "refs/branch/a~b", "refs/tag/v1+x=y@z"]
    for writer, reader in ((by_obstore, by_fsspec), (by_fsspec, by_obstore)):
        for name in names:
            await writer.put(name, name.encode())
        assert await keys(reader, "") == await keys(writer, "") == sorted(names)
        for name in names:
            assert await reader.get(name) == name.encode()
        await reader.delete(names)
        assert await keys(writer, "") == []


# Writers that die

WRITER = """
    import asyncio, resource, signal, sys
    from arraylake_core.backends import AnonymousCredentials, CredentialProvider, Location
    from arraylake_core.plugins import default_registry
    from arraylake_local import FilePlatform
    from arraylake_v1_repo.objects import open_objects

    class Nobody:
        async def mint(self):
            return AnonymousCredentials()

    class FsspecOnly(FilePlatform):
        def object_store(self, location, credentials):
            return None

    name, bucket, prefix, options, limit = sys.argv[1:]
    if name == "sftp":
        import json
        platform = default_registry().storage_platform("sftp")
        location = Location(platform="sftp", bucket=bucket, prefix=prefix, options=platform.decode_options(json.loads(options)))
    else:
        platform = FilePlatform() if name == "file" else FsspecOnly()
        location = Location(platform="file", bucket=bucket, prefix=prefix)
    if limit != "0":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if limit.startswith("-") else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (abs(int(limit)), abs(int(limit))))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    async def main():
        objects = await open_objects(platform, location, CredentialProvider(Nobody()))
        for number in range(40):
            print(number, flush=True)
            await objects.put(f"chunks/{number}", bytes([number]) * (17 << 20))

    asyncio.run(main())
"""


def start_writer(name: str, place: Place, limit: int = 0) -> "subprocess.Popen[str]":
    options = msgspec.json.encode(place.location.options).decode()
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(WRITER),
        name,
        place.location.bucket,
        place.location.prefix,
        options,
        str(limit),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def assert_only_whole(objects: Objects) -> None:
    async for info in objects.list("chunks"):
        number = info.key.removeprefix("chunks/")
        if number.isdigit():
            assert await objects.get(info.key) == bytes([int(number)]) * (17 << 20)


@pytest.mark.parametrize("name", ["file", "file by fsspec", "sftp"])
@pytest.mark.parametrize("puts", [1, 3])
async def test_a_writer_that_is_killed_leaves_no_partial_object(place_named, name, puts):
    place = place_named(name)
    with start_writer(name, place) as writer:
        for _ in range(puts):
            assert writer.stdout.readline()
        writer.kill()
    objects = await place.open()
    await assert_only_whole(objects)
    await objects.put(f"chunks/{puts - 1}", b"again")
    assert await objects.get(f"chunks/{puts - 1}") == b"again"


@pytest.mark.parametrize("name", ["file", "file by fsspec"])
async def test_a_writer_that_dies_in_the_middle_of_a_write_leaves_no_partial_object(place_named, name):
    """The system ends it when a file would exceed 8 MiB: always in the middle."""
    place = place_named(name)
    with start_writer(name, place, limit=-(8 << 20)) as writer:
        writer.communicate()
    assert writer.returncode != 0
    objects = await place.open()
    assert await objects.get("chunks/0") is None
    assert not [key for key in await keys(objects, "") if key.startswith("chunks/") and key.removeprefix("chunks/").isdigit()]
    await objects.put("chunks/0", b"again")
    assert await objects.get("chunks/0") == b"again"


@pytest.mark.parametrize("name", ["file", "file by fsspec"])
async def test_a_write_that_the_system_refuses_is_an_error_and_leaves_nothing(place_named, name):
    place = place_named(name)
    with start_writer(name, place, limit=8 << 20) as writer:
        _, said = writer.communicate()
    assert writer.returncode != 0
    assert "StorageError" in said.splitlines()[-1]
    assert "chunks/0" in said.splitlines()[-1]
    assert await keys(await place.open(), "") == []


# Connections that break


@pytest.fixture
def proxied(place_named, request):
    """Return a function that makes a place behind a proxy."""
    with ExitStack() as proxies:

        def make(name: str) -> tuple[Place, FaultyProxy]:
            server = request.getfixturevalue("sftp_server" if name == "sftp" else "seaweedfs")
            port = server.port if name == "sftp" else int(server.endpoint.rpartition(":")[2])
            proxy = proxies.enter_context(faulty_proxy(port))
            return place_named(name, port=proxy.port), proxy

        yield make


FAULTS = (
    [(name, "drop") for name in BY_NETWORK] + [(name, fault) for name in ON_S3 for fault in ("503", "cut")] + [("sftp", "cut")]
)


@pytest.mark.parametrize(("name", "fault"), FAULTS)
async def test_what_broke_is_tried_again(proxied, name, fault):
    """Each request, when its first two connections break."""
    place, proxy = proxied(name)
    objects = await place.open()
    await objects.put("a/b", b"0123456789")

    async def listed() -> list[str]:
        return await keys(objects, "a")

    async def size() -> int:
        return (await objects.head("a/b")).size

    requests = {
        "put": lambda: objects.put("a/b", b"0123456789"),
        "get": lambda: objects.get("a/b"),
        "get_range": lambda: objects.get_range("a/b", 2, 5),
        "head": size,
        "list": listed,
        "delete": lambda: objects.delete(["a/none"]),
    }
    expected = {name: await request() for name, request in requests.items()}
    for name, request in requests.items():
        proxy.disturb(fault, 2, after=10)
        assert await request() == expected[name], name
    assert proxy.faults_told >= 2 * len(requests) - 2


@pytest.mark.parametrize("name", BY_NETWORK)
async def test_an_answer_that_breaks_off_is_not_taken_for_whole(proxied, name):
    place, proxy = proxied(name)
    objects = await place.open()
    await objects.put("big", BIG)
    proxy.disturb("cut", 1, after=3 << 20)
    assert await objects.get("big") == BIG
    proxy.disturb("cut", 1, after=3 << 20)
    assert await objects.get_range("big", 1, len(BIG)) == BIG[1:]


@pytest.mark.parametrize("name", BY_NETWORK)
async def test_many_requests_at_once_survive_broken_connections(proxied, name):
    place, proxy = proxied(name)
    objects = await place.open()
    bodies = {f"chunks/{number}": os.urandom(50_000) for number in range(48)}
    puts = [asyncio.create_task(objects.put(key, body)) for key, body in bodies.items()]
    await puts[0]
    proxy.disturb("drop", 2)
    await asyncio.gather(*puts)
    gets = [asyncio.create_task(objects.get(key)) for key in bodies]
    await gets[0]
    proxy.disturb("drop", 2)
    assert await asyncio.gather(*gets) == list(bodies.values())
    assert await keys(objects, "chunks") == sorted(bodies)


# What goes wrong, and what is said of it


async def failures(objects: Objects) -> dict[str, ArraylakeError]:
    """Do everything once, and return the errors."""

    async def listed() -> list[str]:
        return await keys(objects, "chunks")

    requests = {
        "get": lambda: objects.get("chunks/ab/cd"),
        "get_range": lambda: objects.get_range("chunks/ab/cd", 0, 3),
        "put": lambda: objects.put("chunks/ab/cd", b"abc"),
        "put_blocking": lambda: asyncio.to_thread(objects.put_blocking, "chunks/ab/cd", b"abc"),
        "head": lambda: objects.head("chunks/ab/cd"),
        "list": listed,
        "delete": lambda: objects.delete(["chunks/ab/cd"]),
    }
    results = await asyncio.gather(*(request() for request in requests.values()), return_exceptions=True)
    return {name: result for name, result in zip(requests, results, strict=True) if isinstance(result, BaseException)}


def assert_well_said(errors: dict[str, BaseException], place: Place) -> None:
    for name, error in errors.items():
        assert isinstance(error, StorageError | CredentialsError), (name, error)
        shown = str(error)
        assert place.location.uri in shown, (name, shown)
        assert "chunks" in shown if name == "list" else "chunks/ab/cd" in shown, (name, shown)
        chain: BaseException | None = error
        while chain is not None:
            assert "CANARY" not in f"{chain} {chain!r}"
            chain = chain.__cause__ or chain.__context__


@pytest.mark.parametrize("name", ON_S3)
async def test_wrong_keys_are_an_error_that_shows_no_secret(place_named, name):
    """In particular nothing is taken for missing."""
    place = place_named(name)
    errors = await failures(await place.open("thief"))
    assert sorted(errors) == ["delete", "get", "get_range", "head", "list", "put", "put_blocking"]
    assert_well_said(errors, place)


@pytest.mark.parametrize("name", ON_S3)
async def test_who_may_only_read_is_told_so(place_named, name):
    place = place_named(name)
    await (await place.open()).put("chunks/ab/cd", b"abc")
    errors = await failures(await place.open("reader"))
    assert sorted(errors) == ["delete", "put", "put_blocking"]
    assert_well_said(errors, place)
    assert await (await place.open()).get("chunks/ab/cd") == b"abc"


# s3fs says the same, after trying for most of a minute.
@pytest.mark.parametrize("name", ["s3", "sftp"])
async def test_a_server_that_is_gone_is_an_error_and_not_an_empty_place(proxied, name):
    place, proxy = proxied(name)
    objects = await place.open()
    await objects.put("chunks/ab/cd", b"abc")
    proxy.disturb("drop", 1_000_000)
    errors = await failures(objects)
    assert len(errors) == 7
    assert_well_said(errors, place)


def test_the_place_is_named_for_people(place):
    assert asyncio.run(place.open()).place == place.location.uri


def test_p10_reprs_show_no_secret(place):
    objects = asyncio.run(place.open())
    assert "CANARY" not in f"{objects!r} {objects}"


def test_they_pickle_without_secrets(place):
    objects = asyncio.run(place.open())
    if place.platform.name == "memory":
        with pytest.raises(StorageError, match="memory of this process"):
            pickle.dumps(objects)
        return
    asyncio.run(objects.put("a/b", b"body"))
    pickled = pickle.dumps(objects)
    assert b"CANARY" not in pickled
    again = pickle.loads(pickled)
    assert asyncio.run(again.get("a/b")) == b"body"
    again.put_blocking("a/c", b"by the other")
    assert asyncio.run(objects.get("a/c")) == b"by the other"


def test_the_places_differ_in_what_they_hold(place_named):
    """Digests of all that is put in one place are found there, and nowhere else."""
    first, second = (asyncio.run(place_named(name).open()) for name in ("file", "file"))
    key = f"chunks/aa/{sha256(b'x').hexdigest()}"
    asyncio.run(first.put(key, b"x"))
    assert asyncio.run(second.get(key)) is None
