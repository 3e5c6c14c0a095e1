"""Where an embedded catalog lives: its file, its keys, and the bucket config that it starts with."""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog.base import NewBucket
from arraylake_core.catalog.engine import Database
from arraylake_core.catalog.keys import FileKeys, KeySource, MemoryKeys

__all__ = ["Home", "file_home", "memory_home"]


@dataclass(frozen=True)
class Home:
    """Where an embedded catalog lives.

    Parameters
    ----------
    uri
        What opens it again.
    database
        Its file.
    keys
        Its keys.
    bucket
        The default bucket config that its first organization starts with.
    directories
        What must be there before the first use.
    durable
        Whether it outlives the process.
    """

    uri: str
    database: Database
    keys: KeySource
    bucket: NewBucket
    directories: tuple[Path, ...]
    durable: bool = True


def file_home(path: Path) -> Home:
    """Return the home of a catalog in a file; nothing is read or made yet."""
    data = path.parent / "data"
    bucket = _local_bucket("file", str(data), StorageIdentity("file://", os.path.realpath(data).strip("/")))
    return Home(f"sqlite:///{path}", Database(path), FileKeys(path.with_suffix(".key")), bucket, (path.parent, data))


def _local_bucket(platform: str, name: str, identity: StorageIdentity) -> NewBucket:
    return NewBucket(
        nickname="local",
        platform=platform,
        name=name,
        prefix="",
        extra_config={},
        auth_config={"method": "anonymous"},
        identity=identity,
    )


def memory_home(name: str, directory: Path) -> Home:
    """Return the home of a catalog in a temporary directory, whose keys are nowhere but in this process.

    A file nevertheless: SQLite's own in-memory databases lock whole tables where connections share one, and so the same code runs in every test.
    """
    # All memory is one place to fsspec: each catalog has a bucket of its own in it.
    own = f"lake-{sha256(name.encode()).hexdigest()[:16]}"
    bucket = _local_bucket("memory", own, StorageIdentity("memory://", own))
    database = Database(directory / "catalog.db", durable=False)
    return Home(f"memory://{name}", database, MemoryKeys(), bucket, (), durable=False)
