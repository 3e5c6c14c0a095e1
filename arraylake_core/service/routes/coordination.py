"""Refs and journals of repos, with ETags: what repo kinds keep in the catalog so that they need no atomic operation from the storage."""

import re
from datetime import datetime
from typing import Annotated, Any, cast

import msgspec

from arraylake_core.backends.coordination import JSON, Coordination, JournalEntry, Ref
from arraylake_core.errors import ConflictError, InvalidOptionError, RefNotFoundError
from arraylake_core.names import shown
from arraylake_core.service.call import Call
from arraylake_core.service.problems import BadRequestError
from arraylake_core.service.table import Answer, Need, Route

__all__ = ["ROUTES"]

_ETAG = re.compile(r'(?:W/)?"(\d{1,10})"\Z', re.ASCII)


class RefsQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    prefix: Annotated[str, msgspec.Meta(max_length=256)] = ""


class AppendQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    expires: datetime | None = None


class ReadQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    after: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0


class Appended(msgspec.Struct):
    sequence: int


class WireRef(msgspec.Struct):
    """A Ref; its value is any JSON document."""

    name: str
    value: Any
    version: int


async def list_refs(call: Call) -> list[Ref]:
    return await (await _of(call)).list_refs(call.asked(RefsQuery).prefix)


async def get_ref(call: Call) -> Answer:
    name = call.path["name"]
    ref = await (await _of(call)).get_ref(name)
    if ref is None:
        raise RefNotFoundError(f"there is no ref {shown(name)}: list those that exist")
    tag = _tag(ref)
    if call.headers.get("if-none-match") == tag:
        return Answer(None, 304, {"etag": tag})
    return Answer(ref, 200, {"etag": tag})


async def put_ref(call: Call) -> Answer:
    name = call.path["name"]
    expected = _expected(call, may_be_new=True)
    try:
        ref = await (await _of(call)).put_ref(name, cast("JSON", call.body), expected=expected)
    except ConflictError as error:
        raise PreconditionError(str(error)) from None
    _audit(call, name)
    if name.startswith("branch/"):
        await _announce_commit(call, name.removeprefix("branch/"), ref)
    return Answer(ref, 201 if expected is None else 200, {"etag": _tag(ref)})


async def delete_ref(call: Call) -> None:
    name = call.path["name"]
    expected = _expected(call, may_be_new=False)
    try:
        await (await _of(call)).delete_ref(name, expected=expected or 0)
    except ConflictError as error:
        raise PreconditionError(str(error)) from None
    _audit(call, name)


def _audit(call: Call, name: str) -> None:
    """Leave a line for branches and tags only."""
    call.audited = name.startswith(("branch/", "tag/"))
    call.target += f": {name.replace('/', ' ', 1)}"


async def append_journal(call: Call) -> Appended:
    expires = call.asked(AppendQuery).expires
    call.audited = False
    number = await (await _of(call)).append_journal(call.path["name"], call.read(bytes), expires=expires)
    return Appended(number)


async def read_journal(call: Call) -> list[JournalEntry]:
    return await (await _of(call)).read_journal(call.path["name"], after=call.asked(ReadQuery).after)


async def drop_journal(call: Call) -> None:
    call.audited = False
    await (await _of(call)).drop_journal(call.path["name"])


async def _announce_commit(call: Call, branch: str, ref: Ref) -> None:
    """Tell of a branch that moved: with repos of the kind v1 that is a commit."""
    repo = await (
        call.catalog.get_repo_by_id(call.path["repo_id"])
        if "repo_id" in call.path
        else call.catalog.get_repo(call.path["org"], call.path["repo"])
    )
    if repo.kind == "v1":
        commit = ref.value.get("commit") if isinstance(ref.value, dict) else None
        call.announce("v1.commit", repo, branch=branch, commit=commit if isinstance(commit, str) else None)


class PreconditionError(ConflictError):
    """The ref has another version than the request's precondition says."""


async def _of(call: Call) -> Coordination:
    repo_id = call.path.get("repo_id") or (await call.get_repo()).id
    return call.catalog.coordination(repo_id)


def _tag(ref: Ref) -> str:
    return f'"{ref.version}"'


def _expected(call: Call, *, may_be_new: bool) -> int | None:
    new, same = call.headers.get("if-none-match"), call.headers.get("if-match")
    if may_be_new and new == "*" and same is None:
        return None
    found = _ETAG.match(same or "")
    if new is not None or (same is not None and not found):
        raise InvalidOptionError(
            'send either If-Match: "7", the ETag that the ref had when it was read, or If-None-Match: * for a new one'
        )
    if not found:
        what = "If-Match with the ETag that it had when it was read" + (
            ", or If-None-Match: * for a new one" if may_be_new else ""
        )
        raise BadRequestError(f"a ref is changed by compare-and-swap only: send {what}", 428)
    return min(int(found[1]), 2**31 - 1)


def _routes(base: str) -> tuple[Route, ...]:
    ref, journal = base + "/refs/{name:.+}", base + "/journals/{name:.+}"
    return (
        Route("GET", base + "/refs", Need.RepoRead, list_refs, "List refs.", query=RefsQuery, answer=list[WireRef]),
        Route("GET", ref, Need.RepoRead, get_ref, "Read a ref.", answer=WireRef, more=(304,)),
        Route(
            "PUT",
            ref,
            Need.RepoWrite,
            put_ref,
            "Write a ref by compare-and-swap.",
            body=Any,
            answer=WireRef,
            more=(201,),
            changes=True,
            exclusive=False,
        ),
        Route(
            "DELETE",
            ref,
            Need.RepoWrite,
            delete_ref,
            "Delete a ref by compare-and-swap.",
            status=204,
            changes=True,
            exclusive=False,
        ),
        Route(
            "POST",
            journal,
            Need.RepoWrite,
            append_journal,
            "Append to a journal.",
            body=bytes,
            query=AppendQuery,
            answer=Appended,
            changes=True,
            exclusive=False,
        ),
        Route("GET", journal, Need.RepoRead, read_journal, "Read a journal.", query=ReadQuery, answer=list[JournalEntry]),
        Route("DELETE", journal, Need.RepoWrite, drop_journal, "Drop a journal.", status=204, changes=True, exclusive=False),
    )


ROUTES = (*_routes("/repo-ids/{repo_id}"), *_routes("/repos/{org}/{repo}"))
