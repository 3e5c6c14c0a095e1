"""Refs and journals of a repo, over HTTP: compare-and-swap by ETags."""

from datetime import datetime
from typing import override
from urllib.parse import quote

import msgspec

from arraylake_core.backends.coordination import JSON, JournalEntry, Ref
from arraylake_core.catalog import http_decoding as decode
from arraylake_core.catalog.http_transport import Transport
from arraylake_core.errors import ConflictError, InvalidOptionError, RefNotFoundError
from arraylake_core.names import shown, validate_ref

__all__ = ["HttpCoordination"]


class _Appended(msgspec.Struct):
    sequence: int


class HttpCoordination:
    """The refs and journals of one repo.

    Parameters
    ----------
    transport
        The way to the service.
    handle
        What opens the catalog in another process.
    repo_id
        The repo.
    """

    def __init__(self, transport: Transport, handle: str, repo_id: str) -> None:
        self._transport, self._handle, self._repo_id = transport, handle, repo_id
        self._base = f"/repo-ids/{quote(repo_id, safe='')}"

    @override
    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        from arraylake_core.catalog.open import coordination_from_handle

        return coordination_from_handle, (self._handle, self._repo_id)

    def _ref(self, name: str) -> str:
        return f"{self._base}/refs/{quote(validate_ref(name))}"

    def _journal(self, name: str) -> str:
        return f"{self._base}/journals/{quote(validate_ref(name))}"

    async def get_ref(self, name: str) -> Ref | None:
        """Return a ref, or None where there is none of that name."""
        try:
            return decode.ref((await self._transport.send("GET", self._ref(name))).body)
        except RefNotFoundError:
            return None

    async def list_refs(self, prefix: str = "") -> list[Ref]:
        """Return the refs whose names start so, by name."""
        if not isinstance(prefix, str):
            raise InvalidOptionError(f"a prefix of ref names is text, not a {type(prefix).__name__}")
        return decode.refs((await self._transport.send("GET", f"{self._base}/refs", query={"prefix": prefix})).body)

    async def put_ref(self, name: str, value: JSON, *, expected: int | None) -> Ref:
        """Write a ref if its version is the expected one."""
        precondition = {"if-none-match": "*"} if expected is None else {"if-match": _tag(expected)}
        reply = await self._transport.send("PUT", self._ref(name), raw=_document(value), headers=precondition)
        return decode.ref(reply.body)

    async def delete_ref(self, name: str, *, expected: int) -> None:
        """Delete a ref if its version is the expected one; ConflictError otherwise."""
        await self._transport.send("DELETE", self._ref(name), headers={"if-match": _tag(expected)})

    async def append_journal(self, journal: str, data: bytes, *, expires: datetime | None = None) -> int:
        """Append to a journal, beginning it where there is none, and return the entry's number."""
        path = self._journal(journal)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InvalidOptionError(f"a journal entry is bytes, not a {type(data).__name__}")
        if expires is not None and expires.tzinfo is None:
            raise InvalidOptionError("expires needs a time zone: use datetime.now(UTC) + timedelta(...)")
        until = None if expires is None else expires.isoformat()
        reply = await self._transport.send("POST", path, query={"expires": until}, raw=bytes(data))
        return decode.decoded(reply.body, _Appended).sequence

    async def read_journal(self, journal: str, *, after: int = 0) -> list[JournalEntry]:
        """Return the entries with numbers above ``after``, in order; none where there is no such journal."""
        reply = await self._transport.send("GET", self._journal(journal), query={"after": max(after, 0)}, missing=404)
        return [] if reply.status == 404 else decode.decoded(reply.body, list[JournalEntry])

    async def drop_journal(self, journal: str) -> None:
        """Drop a journal and its entries; nothing happens where there is none."""
        await self._transport.send("DELETE", self._journal(journal), missing=404)


def _tag(version: int) -> str:
    if not isinstance(version, int) or isinstance(version, bool):
        raise InvalidOptionError(f"the expected version of a ref is a whole number, not a {type(version).__name__}")
    if version < 0:
        raise ConflictError(f"no ref is ever at version {shown(str(version))}: nothing was changed; read it again, and retry")
    return f'"{min(version, 2**31 - 1)}"'


def _document(value: JSON) -> bytes:
    try:
        data = msgspec.json.encode(value)
        # What is no JSON, such as a date, a tuple or NaN, would come back as something else.
        same = msgspec.json.decode(data) == value
    except (TypeError, ValueError, OverflowError, RecursionError):
        same, data = False, b""
    if not same:
        raise InvalidOptionError(
            "the value of a ref is a JSON document: text, numbers, true, false, null, and lists and objects of those"
        )
    return data
