"""The file of a backup: a zip of JSON lines, one file a table, and a manifest that says what is in it and how to tell that nothing is amiss.

It fits every kind of database: values are written as what they mean, not as some database keeps them. Secrets stay sealed as they are in the tables.
"""

import hashlib
import os
import secrets
import struct
import zipfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self, cast, override

import msgspec

from arraylake_core.catalog.engine import os_problem
from arraylake_core.errors import AlreadyExistsError, CatalogError

__all__ = ["BackupManifest", "BackupReader", "BackupTable", "BackupWriter", "ColumnKind"]

FORMAT = 1
MANIFEST = "manifest.json"
_MAX_MANIFEST = 1024 * 1024
_CHUNK = 1024 * 1024


class ColumnKind(msgspec.Struct, frozen=True, kw_only=True):
    """A column: ``kind`` is what its values mean, ``text``, ``integer``, ``boolean``, ``time``, ``bytes`` or ``json``."""

    name: str
    kind: str


class BackupTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table of a backup.

    Parameters
    ----------
    name
        The table.
    columns
        Its columns, in the order of the values of a line.
    rows
        How many there are.
    sha256
        The digest of its file, uncompressed.
    """

    name: str
    columns: list[ColumnKind]
    rows: int
    sha256: str


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds.

    Parameters
    ----------
    revision
        The revision of the tables.
    keys
        The ids of the encryption keys that its secrets need; the keys themselves are not in it.
    tables
        The tables, each after those that it refers to.
    """

    format: int
    revision: str
    created: datetime
    keys: list[str]
    tables: list[BackupTable]


class BackupWriter:
    """Writes a backup that is there whole or not at all, for its owner only.

    Parameters
    ----------
    path
        The file, which must not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        self._tables: list[BackupTable] = []

    def __enter__(self) -> Self:
        with _told(self._path):
            if self._path.exists() or self._path.is_symlink():
                raise AlreadyExistsError(f"{self._path} exists already: name another file, so that no backup is lost")
            self._file = os.fdopen(os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")
        self._zip = zipfile.ZipFile(self._file, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        return self

    def begin(self, name: str, columns: Sequence[ColumnKind]) -> None:
        """Begin a table."""
        self._name, self._columns, self._rows, self._hash = name, list(columns), 0, hashlib.sha256()
        self._entry: IO[bytes] = self._zip.open(_entry(name), "w", force_zip64=True)

    def add(self, rows: Iterable[Sequence[object]]) -> None:
        """Add rows to the table."""
        with _told(self._path):
            for row in rows:
                values = [_written(value, column.kind) for value, column in zip(row, self._columns, strict=True)]
                line = msgspec.json.encode(values) + b"\n"
                self._entry.write(line)
                self._hash.update(line)
                self._rows += 1

    def end(self) -> None:
        """End the table."""
        with _told(self._path):
            self._entry.close()
        table = BackupTable(name=self._name, columns=self._columns, rows=self._rows, sha256=self._hash.hexdigest())
        self._tables.append(table)

    def finish(self, *, revision: str, created: datetime, keys: Sequence[str]) -> BackupManifest:
        """Write the manifest, and put the file in its place."""
        manifest = BackupManifest(format=FORMAT, revision=revision, created=created, keys=list(keys), tables=self._tables)
        with _told(self._path):
            self._zip.writestr(MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
            self._zip.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._draft.rename(self._path)
            # The name is safe from a power cut only once the directory is.
            if os.name == "posix":
                directory = os.open(self._path.parent, os.O_RDONLY)
                try:
                    os.fsync(directory)
                finally:
                    os.close(directory)
        return manifest

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is not None:
            # What an unfinished zip would still like to write is of no use to anybody.
            with suppress(Exception):
                self._entry.close()
            with suppress(Exception):
                self._zip.close()
        self._file.close()
        self._draft.unlink(missing_ok=True)


class BackupReader:
    """Reads a backup, a line at a time.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    CatalogError
        It is no backup, damaged, or of a newer release.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with _told(path):
                self._zip = zipfile.ZipFile(path)
        except _BROKEN:
            raise CatalogError(f"{path} is no backup, or its end is missing: take another one; nothing was changed") from None

    def __enter__(self) -> Self:
        try:
            self.manifest = self._read_manifest()
        except BaseException:
            self._zip.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    @override
    def __repr__(self) -> str:
        return f"<backup {self._path}>"

    def _read_manifest(self) -> BackupManifest:
        try:
            with _told(self._path), self._zip.open(MANIFEST) as file:
                document = msgspec.json.decode(file.read(_MAX_MANIFEST), type=dict[str, object])
            if document.get("format") != FORMAT:
                raise CatalogError(
                    f"{self._path} is a backup of the format {document.get('format')!r}, this release knows {FORMAT}: upgrade arraylake-core"
                )
            return msgspec.convert(document, BackupManifest)
        except _BROKEN:
            raise self._damaged(MANIFEST) from None

    def verify(self) -> None:
        """Read all of it, and make sure that it is what was written."""
        for table in self.manifest.tables:
            found, lines = hashlib.sha256(), 0
            try:
                with _told(self._path), self._zip.open(_entry(table.name)) as file:
                    while chunk := file.read(_CHUNK):
                        found.update(chunk)
                        lines += chunk.count(b"\n")
            except _BROKEN:
                raise self._damaged(table.name) from None
            if (found.hexdigest(), lines) != (table.sha256, table.rows):
                raise self._damaged(table.name)

    def rows(self, table: BackupTable) -> Iterator[dict[str, object]]:
        """Give the rows of a table."""
        try:
            with _told(self._path), self._zip.open(_entry(table.name)) as file:
                for line in file:
                    values = msgspec.json.decode(line, type=list[object])
                    pairs = zip(table.columns, values, strict=True)
                    yield {column.name: _read(value, column.kind) for column, value in pairs}
        except _BROKEN:
            raise self._damaged(table.name) from None

    def _damaged(self, what: str) -> CatalogError:
        return CatalogError(f"the backup {self._path} is damaged ({what}): take another one; nothing was changed")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell of what the operating system refuses in plain words, rather than as a fault of the database."""
    try:
        yield
    except OSError as error:
        # By the name that was asked for, and not that of the draft.
        problem = os_problem(str(path), OSError(error.errno, error.strerror), "the backup")
    else:
        return
    raise problem


# All that reading a zip of any bytes may raise, and what is in it.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
    struct.error,
    msgspec.MsgspecError,
)


def _entry(table: str) -> str:
    return f"{table}.jsonl"


def _written(value: object, kind: str) -> object:
    if value is None or kind in ("text", "integer", "boolean"):
        return value
    if kind == "bytes":
        return b64encode(cast("bytes", value)).decode()
    if kind == "time":
        return cast("datetime", value).isoformat()
    # Within one more list: the document may be null itself, which is not the same as having none.
    return [value]


def _read(value: object, kind: str) -> object:
    if value is None or kind in ("text", "integer", "boolean"):
        return value
    if kind == "json":
        return cast("list[object]", value)[0]
    text = cast("str", value)
    return b64decode(text, validate=True) if kind == "bytes" else datetime.fromisoformat(text)
