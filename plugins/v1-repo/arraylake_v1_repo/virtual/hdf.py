"""HDF5 files, checked for what would lead out of the file or be read as something else."""

import gc
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arraylake_core.errors import InvalidOptionError
from arraylake_v1_repo.virtual.grants import shown_url

if TYPE_CHECKING:
    import h5py  # type: ignore[import-untyped]
    from obspec_utils.readers import BlockStoreReader

__all__ = ["check_hdf", "uncollected"]


_lock = threading.Lock()
_waiting = 0
_was_enabled = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Let no garbage be collected while h5py waits for another thread to read for it.

    It holds its lock meanwhile, and its objects need that lock to be freed: collected in the thread that reads, they would make both wait
    for ever.
    """
    global _waiting, _was_enabled
    with _lock:
        if not _waiting:
            _was_enabled = gc.isenabled()
            gc.disable()
        _waiting += 1
    try:
        yield
    finally:
        with _lock:
            _waiting -= 1
            if not _waiting and _was_enabled:
                gc.enable()


def check_hdf(reader: "BlockStoreReader", url: str, group: str | None, dropped: Collection[str]) -> None:
    """Refuse a file with links or data in other files: the parser would follow them with no grant, or lose the data.

    Parameters
    ----------
    reader
        Reads the file.
    url
        Its URL, for messages.
    group
        The group that is parsed, or None for the root.
    dropped
        The names in that group that are not parsed.

    Raises
    ------
    InvalidOptionError
        There are such links or data.
    """
    import h5py

    with h5py.File(reader, mode="r") as file:
        start = file
        for name in filter(None, (group or "").split("/")):
            _check_link(start, name, url)
            start = start[name]
            if not isinstance(start, h5py.Group):
                raise InvalidOptionError(f"{shown_url(url)} has no group {group!r}: check the option group=")
        _check_group(start, url, dropped, ())


def _check_group(group: "h5py.Group", url: str, dropped: Collection[str], above: "tuple[object, ...]") -> None:
    import h5py

    address = h5py.h5o.get_info(group.id).addr
    if address in above:
        raise InvalidOptionError(
            f"the group {group.name!r} of {shown_url(url)} contains itself by a link: leave it out with drop_variables="
        )
    for name in group:
        if name in dropped:
            continue
        _check_link(group, name, url)
        member = group[name]
        if isinstance(member, h5py.Group):
            _check_group(member, url, (), (*above, address))
        elif isinstance(member, h5py.Dataset):
            layout = member.id.get_create_plist()
            if member.is_virtual or layout.get_external_count():
                kind = "a virtual dataset" if member.is_virtual else "a dataset with external storage"
                raise InvalidOptionError(
                    f"{member.name!r} in {shown_url(url)} is {kind}, whose values are in other files: leave it out with drop_variables=, "
                    "and add those files"
                )


def _check_link(group: "h5py.Group", name: str, url: str) -> None:
    import h5py

    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise InvalidOptionError(
            f"{name!r} in the group {group.name!r} of {shown_url(url)} is a link into another file, {link.filename!r}, which is not "
            "followed: leave it out with drop_variables=, and add that file on its own"
        )
    if isinstance(link, h5py.SoftLink):
        parent = group.file if link.path.startswith("/") else group
        for part in filter(None, link.path.split("/")):
            if not isinstance(parent, h5py.Group) or parent.get(part, getlink=True) is None:
                raise InvalidOptionError(
                    f"{name!r} in {shown_url(url)} links to {link.path!r}, which does not exist: leave it out with drop_variables="
                )
            if isinstance(parent.get(part, getlink=True), h5py.ExternalLink):
                _check_link(parent, part, url)
            parent = parent[part]
