"""Branches and tags: refs in the catalog, and their mirror on the bucket, from which a lost catalog can be made anew."""

import difflib
from typing import Literal, NamedTuple

from arraylake_core.backends import Ref
from arraylake_core.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidNameError,
    InvalidOptionError,
    RefNotFoundError,
    StorageError,
)
from arraylake_core.models import utc_now
from arraylake_core.names import shown, validate_ref
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.format import RefMirror, decode_document, encode_document, mirror_key

__all__ = [
    "Found",
    "commit_of",
    "create_ref",
    "delete_ref",
    "find_ref",
    "list_refs",
    "mirror",
    "move_branch",
    "rebuild",
    "require_branch",
    "retire",
]

type Family = Literal["branch", "tag"]
MAX_NAME = 200


class Found(NamedTuple):
    """What a name stands for: a branch, a tag, or a commit itself."""

    family: Literal["branch", "tag", "commit"]
    name: str
    commit: str


def commit_of(ref: Ref) -> str:
    """Return the commit that a ref points to."""
    if isinstance(ref.value, dict) and isinstance(found := ref.value.get("commit"), str):
        return found
    raise StorageError(f"the ref {ref.name!r} in the catalog points to no commit: restore the catalog from a backup")


def check_name(family: Family, name: str) -> str:
    """Check the name of a branch or tag, and return that of its ref."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise InvalidNameError(f"{shown(name)} is no valid {family} name: it has 1 to {MAX_NAME} characters")
    if len(name) == 24 and all(digit in "0123456789abcdef" for digit in name):
        raise InvalidNameError(f"{shown(name)} is no valid {family} name: it looks like the id of a commit")
    validate_ref(name)
    return validate_ref(f"{family}/{name}")


async def list_refs(binding: Binding, family: Family) -> dict[str, str]:
    """Return each branch or tag, and its commit."""
    found = await binding.coordination.list_refs(f"{family}/")
    return {ref.name.partition("/")[2]: commit_of(ref) for ref in found}


async def require_branch(binding: Binding, name: str) -> Ref:
    """Return the ref of a branch; RefNotFoundError where there is none."""
    ref = await binding.coordination.get_ref(f"branch/{name}")
    if ref is None:
        raise RefNotFoundError(
            f"{binding.name} has no branch {shown(name)} any more: repo.new_branch({name!r}, commit) makes it anew"
        )
    return ref


async def find_ref(binding: Binding, name: str) -> Found:
    """Return what a name stands for.

    Raises
    ------
    RefNotFoundError
        Nothing of that name.
    InvalidNameError
        Both a branch and a tag.
    """
    branch = tag = None
    if isinstance(name, str) and name:
        try:
            branch = await binding.coordination.get_ref(check_name("branch", name))
            # There always is a branch main, so that no tag can be called so.
            tag = await binding.coordination.get_ref(check_name("tag", name)) if name != "main" else None
        except InvalidNameError:
            branch = tag = None
    if branch is not None and tag is not None:
        raise InvalidNameError(
            f"{binding.name} has both a branch and a tag {shown(name)}: delete one of them, or check out the commit "
            f"({commit_of(branch)} is the branch, {commit_of(tag)} the tag)"
        )
    if branch is not None:
        return Found("branch", name, commit_of(branch))
    if tag is not None:
        return Found("tag", name, commit_of(tag))
    if isinstance(name, str) and len(name) == 24 and all(digit in "0123456789abcdef" for digit in name):
        try:
            await binding.reader.commit(name)
            return Found("commit", name, name)
        except RefNotFoundError:
            pass
    branches, tags = sorted(await list_refs(binding, "branch")), sorted(await list_refs(binding, "tag"))
    known = f"branches {', '.join(branches)}" + (f"; tags {', '.join(tags)}" if tags else "")
    close = difflib.get_close_matches(str(name), branches + tags, n=1)
    hint = f". Did you mean {close[0]!r}?" if close else ""
    raise RefNotFoundError(f"{binding.name} has no branch, tag or commit {shown(name)} (it has {known}){hint}")


async def create_ref(binding: Binding, family: Family, name: str, commit: str) -> None:
    """Make a branch or tag."""
    ref = check_name(family, name)
    other: Family = "tag" if family == "branch" else "branch"
    if await binding.coordination.get_ref(f"{other}/{name}") is not None:
        raise AlreadyExistsError(
            f"{binding.name} has a {other} {shown(name)}, and one name for both would be ambiguous: choose another one"
        )
    await binding.reader.commit(commit)
    try:
        made = await binding.coordination.put_ref(ref, {"commit": commit}, expected=None)
    except ConflictError:
        raise AlreadyExistsError(
            f"{binding.name} has a {family} {shown(name)} already: choose another name, or delete it first"
        ) from None
    await mirror(binding, ref, made)
    await binding.objects.persist([mirror_key(ref)])


async def delete_ref(binding: Binding, family: Family, name: str) -> None:
    """Delete a branch or tag; what only it reached is kept for the grace period of gc."""
    ref = check_name(family, name)
    if (family, name) == ("branch", "main"):
        raise InvalidOptionError("the branch main can't be deleted: it is what a repo is opened at")
    found = await binding.coordination.get_ref(ref)
    if found is None:
        known = ", ".join(await list_refs(binding, family)) or "none"
        raise RefNotFoundError(f"{binding.name} has no {family} {shown(name)} (it has: {known})")
    await retire(binding, commit_of(found))
    await binding.coordination.delete_ref(ref, expected=found.version)
    await binding.objects.delete([mirror_key(ref)])


async def retire(binding: Binding, commit: str) -> None:
    """Remember when a commit ceased to be where a ref points, so that gc spares it for a while."""
    name = f"retired/{commit}"
    found = await binding.coordination.get_ref(name)
    try:
        await binding.coordination.put_ref(name, {"at": utc_now().isoformat()}, expected=found.version if found else None)
    except ConflictError:
        # Somebody else has just done the same.
        return


async def move_branch(binding: Binding, ref: Ref, commit: str) -> Ref:
    """Let a branch point to another commit, if it has not moved; ConflictError otherwise."""
    return await binding.coordination.put_ref(ref.name, {"commit": commit}, expected=ref.version)


async def mirror(binding: Binding, ref: str, found: Ref | None = None) -> None:
    """Write to the bucket where a ref points; the last who does it sees to it that what is there is what is in the catalog.

    Parameters
    ----------
    ref
        Its name.
    found
        The ref as it was just written, where that is known.
    """
    found = found or await binding.coordination.get_ref(ref)
    while found is not None:
        document = encode_document(RefMirror(name=ref, commit=commit_of(found)))
        await binding.objects.put(mirror_key(ref), document)
        now = await binding.coordination.get_ref(ref)
        if now is not None and now.version == found.version:
            return
        found = now


async def rebuild(binding: Binding) -> None:
    """Make the refs of a catalog that knows nothing of a repo, from their mirror on its bucket."""
    if await binding.coordination.list_refs("branch/"):
        return
    async for info in binding.objects.list("refs"):
        data = await binding.objects.get(info.key)
        if data is None:
            continue
        found = decode_document(data, RefMirror, binding.reader.where(info.key))
        await binding.reader.commit(found.commit)
        await binding.coordination.put_ref(validate_ref(found.name), {"commit": found.commit}, expected=None)
    if await binding.coordination.get_ref("branch/main") is None:
        raise StorageError(f"the repo at {binding.objects.place} has no branch main in refs/: restore it from a backup")
