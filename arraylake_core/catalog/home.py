"""Where a catalog lives: its database, its keys, and the bucket config that it starts with."""

import os
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog.base import NewBucket
from arraylake_core.catalog.engine import Database
from arraylake_core.catalog.keys import FileKeys, KeySource, MemoryKeys
from arraylake_core.catalog.sqlite import SqliteDatabase
from arraylake_core.errors import InvalidOptionError

if TYPE_CHECKING:
    from arraylake_core.catalog.dsn import Dsn

__all__ = ["Home", "file_home", "memory_home", "postgres_home"]


@dataclass(frozen=True)
class Home:
    """Where a catalog lives.

    Parameters
    ----------
    uri
        What opens it again.
    database
        Its database.
    keys
        Its keys.
    bucket
        The default bucket config of the organization that it starts with; None begins without an organization.
    directories
        What must be there before the first use.
    """

    uri: str
    database: Database
    keys: KeySource
    bucket: NewBucket | None
    directories: tuple[Path, ...]


def file_home(path: Path) -> Home:
    """Return the home of a catalog in a file; nothing is read or made yet."""
    data = path.parent / "data"
    bucket = _local_bucket("file", str(data), StorageIdentity("file://", os.path.realpath(data).strip("/")))
    return Home(f"sqlite:///{path}", SqliteDatabase(path), FileKeys(path.with_suffix(".key")), bucket, (path.parent, data))


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
    database = SqliteDatabase(directory / "catalog.db", durable=False)
    return Home(f"memory://{name}", database, MemoryKeys(), bucket, ())


def postgres_home(dsn: "Dsn") -> Home:
    """Return the home of a catalog in a PostgreSQL database, which starts empty; its keys are the setting's, or in the data directory.

    Parameters
    ----------
    dsn
        The database.
    """
    from arraylake_core.catalog.open import data_dir

    if find_spec("asyncpg") is None:
        raise InvalidOptionError(f'{dsn.uri} needs the PostgreSQL driver: pip install "arraylake-core[postgres]"')
    from arraylake_core.catalog.postgres import PostgresDatabase

    directory = data_dir()
    return Home(dsn.uri, PostgresDatabase(dsn), FileKeys(directory / f"{dsn.file_name}.key"), None, (directory,))
