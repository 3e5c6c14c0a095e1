"""An export: what is at the destination decides whether it begins, goes on, or has nothing to do."""

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from arraylake_core.errors import AlreadyExistsError, ConflictError, InvalidOptionError, StorageError
from arraylake_core.models import utc_now
from arraylake_core.names import shown
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.commits import hierarchy_of
from arraylake_v1_repo.content import fetch
from arraylake_v1_repo.export.destination import MARKER, PROGRESS, Destination, Marker, Progress
from arraylake_v1_repo.export.plan import CopyChunk, DeleteKey, Plan, PutDocument, RecodeChunk, Step, weight
from arraylake_v1_repo.export.recode import Recoder
from arraylake_v1_repo.export.steps import Room, run_steps
from arraylake_v1_repo.format import Native, chunk_key, digest_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from fsspec.mapping import FSMap
    from zarr.abc.store import Store

__all__ = ["ExportReport", "export"]

_ROOM = 512 * 2**20
"""Bytes of chunks that are held in memory at once."""


class ExportReport(msgspec.Struct, kw_only=True):
    """What an export did.

    Parameters
    ----------
    dest
        Where it went.
    commit
        The version that is there now.
    from_commit
        The version that was there before, where only what changed was written.
    zarr_format
        2 or 3.
    documents, chunks, deleted
        How many metadata documents and chunks were written, and how many keys deleted, by this call.
    recoded
        How many of the chunks were decoded and encoded anew, since the format has no word for their codecs.
    nbytes
        How many bytes of chunks were read.
    resumed
        Whether it went on where an earlier try had stopped.
    """

    dest: str
    commit: str
    from_commit: str | None
    zarr_format: int
    documents: int = 0
    chunks: int = 0
    recoded: int = 0
    deleted: int = 0
    nbytes: int = 0
    resumed: bool = False


async def export(
    binding: Binding,
    dest: "str | os.PathLike[str] | FSMap | Store",
    commit: str,
    since: str | None,
    *,
    zarr_format: Literal[2, 3] = 3,
    concurrency: int = 64,
) -> ExportReport:
    """Write a version as plain Zarr; where an earlier try was interrupted, go on where it stopped.

    Documents and chunks of nodes in the format that is asked for are copied byte for byte, virtual chunks included. Others are converted: what the other format
    can't express is refused before anything is written. Until all is there, the root has no metadata document, so that nobody takes a half for a whole.

    In Zarr 2, xarray takes an array's fill value for missing values. An array with dimension names, the zero of its type as fill value and no ``_FillValue`` is
    therefore written without a fill value, which zarr reads as zero.

    Parameters
    ----------
    binding
        The repo.
    dest
        A directory, a URL that fsspec knows, an fsspec mapper, or a zarr Store; empty, or with an export that is to be finished or brought up to date.
    commit
        The version.
    since
        The version that ``dest`` holds: only what changed is written, and what was deleted is deleted. None where it is empty.
    zarr_format
        2 or 3.
    concurrency
        How many chunks are copied at once.

    Raises
    ------
    AlreadyExistsError
        Something else is at ``dest``.
    ConflictError
        ``dest`` holds another version, or half of one.
    InvalidOptionError
        The format can't express the version.
    """
    if zarr_format not in (2, 3):
        raise InvalidOptionError(f"zarr_format is 2 or 3, not {zarr_format!r}")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise InvalidOptionError(f"concurrency is a whole number from 1, not {concurrency!r}")
    destination = Destination(dest)
    after = await hierarchy_of(binding.reader, commit)
    before = await hierarchy_of(binding.reader, since) if since is not None else None
    wanted = Marker(repo=binding.name, commit=commit, since=since, zarr_format=zarr_format, done=False, time=utc_now())
    report = ExportReport(dest=destination.place, commit=commit, from_commit=since, zarr_format=zarr_format)
    found = await _find_marker(destination)
    if found is not None and found.marker.done and (found.marker.commit, found.marker.zarr_format) == (commit, zarr_format):
        return report
    await _require_fit(destination, found, wanted)
    plan = Plan(binding.reader, before, after, zarr_format)
    first_array = await plan.check()
    going_on = found is not None and not found.marker.done
    progress = Progress(commit=commit)
    if going_on:
        destination.sweep()
        progress = await destination.read(PROGRESS, Progress) or progress
        progress = progress if progress.commit == commit else Progress(commit=commit)
    else:
        await destination.write(PROGRESS, progress)
        await destination.write(MARKER, wanted)
        if found is not None and found.key != MARKER:
            await destination.delete(found.key)
    report.resumed = going_on
    await _Export(binding, destination, plan, report, commit, concurrency).run(progress)
    finished = msgspec.structs.replace(wanted, done=True, time=utc_now())
    # Zarr warns of files in groups that it does not know, but never looks for them in arrays.
    key = f"{first_array}/{MARKER}" if first_array else MARKER
    await destination.write(key, finished)
    await destination.delete(PROGRESS)
    if key != MARKER:
        await destination.delete(MARKER)
    return report


class _Found(NamedTuple):
    key: str
    marker: Marker


async def _find_marker(destination: Destination) -> _Found | None:
    """Return the marker: at the root while an export is going on, otherwise in the first array that is there."""
    root = await destination.read(MARKER, Marker)
    if root is not None:
        return _Found(MARKER, root)
    path = await destination.first_array()
    if not path:
        return None
    key = f"{path}/{MARKER}"
    marker = await destination.read(key, Marker)
    return _Found(key, marker) if marker is not None else None


async def _require_fit(destination: Destination, found: _Found | None, wanted: Marker) -> None:
    """Raise where what is at the destination is not what the export starts from."""
    place = destination.place
    if found is None:
        async for key in destination.strangers():
            raise AlreadyExistsError(
                f"{place} is not empty ({shown(key)} is there), and has no marker of an export: choose an empty place, or delete what is there"
            )
        if wanted.since is not None:
            raise ConflictError(f"{place} is empty, and does not hold {wanted.since}: export it without from_ref")
        return
    held = found.marker
    if held.zarr_format != wanted.zarr_format:
        raise ConflictError(
            f"{place} holds Zarr {held.zarr_format}, and Zarr {wanted.zarr_format} was asked for: choose an empty place"
        )
    if not held.done:
        if (held.commit, held.since) != (wanted.commit, wanted.since):
            since = f", from_ref={held.since!r}" if held.since else ""
            raise ConflictError(
                f"{place} holds half of an export of the commit {held.commit}: finish it first, with export({place!r}, ref={held.commit!r}{since}), "
                "or delete what is there"
            )
    elif wanted.since is None:
        raise ConflictError(
            f"{place} holds the commit {held.commit} of {held.repo}: from_ref={held.commit!r} brings it up to date, or choose an empty place"
        )
    elif held.commit != wanted.since:
        raise ConflictError(
            f"{place} holds the commit {held.commit}, not {wanted.since}: from_ref={held.commit!r} brings it up to date"
        )


class _Export:
    """The steps of one export.

    Parameters
    ----------
    binding
        The repo.
    destination
        Where it goes.
    plan
        What there is to do.
    report
        What was done.
    commit
        The version.
    concurrency
        How many steps run at once.
    """

    def __init__(
        self, binding: Binding, destination: Destination, plan: Plan, report: ExportReport, commit: str, concurrency: int
    ) -> None:
        self._binding, self._destination, self._plan, self._report = binding, destination, plan, report
        self._commit, self._concurrency = commit, concurrency
        self._deleted: list[str] = []
        self._recoder: Recoder | None = None
        self._tick: Callable[[int], None] = lambda _: None

    async def run(self, progress: Progress) -> None:
        """Do what is left to do."""
        room = Room(_ROOM)
        deletions, writes = progress.deletions, progress.writes

        async def save_deletions(number: int) -> None:
            await self._destination.write(PROGRESS, Progress(commit=self._commit, deletions=number))

        async def save_writes(number: int) -> None:
            await self._destination.write(PROGRESS, Progress(commit=self._commit, deletions=deletions, writes=number))

        total = await self._plan.count() if self._report.from_commit is None and sys.stderr.isatty() else None
        with _progress_bar(f"Exporting to {self._destination.place}", total) as self._tick:
            if not writes:
                await run_steps(
                    self._plan.deletions(),
                    deletions,
                    self._do,
                    save_deletions,
                    weight=weight,
                    concurrency=self._concurrency,
                    room=room,
                )
                self._destination.prune(self._deleted)
            await run_steps(
                self._plan.writes(), writes, self._do, save_writes, weight=weight, concurrency=self._concurrency, room=room
            )
            for step in await self._plan.ending():
                await self._do(step)

    async def _do(self, step: Step) -> None:
        report = self._report
        match step:
            case DeleteKey(key):
                await self._destination.delete(key)
                self._deleted.append(key)
                report.deleted += 1
            case PutDocument(key, data):
                await self._destination.put(key, data)
                report.documents += 1
            case CopyChunk(key, ref):
                data = await fetch(self._binding, None, ref)
                if isinstance(ref, Native) and digest_of(data) != ref.digest:
                    where = self._binding.reader.where(chunk_key(ref.digest))
                    raise StorageError(f"{where} is not what was written: restore it from a backup; repo.verify() finds others")
                await self._destination.put(key, data)
                self._count(len(data))
            case RecodeChunk():
                if self._recoder is None:
                    self._recoder = await Recoder.at(self._binding, self._commit, self._destination)
                await self._recoder.recode(step)
                report.recoded += 1
                self._count(weight(step))

    def _count(self, nbytes: int) -> None:
        self._report.chunks += 1
        self._report.nbytes += nbytes
        self._tick(nbytes)


@contextmanager
def _progress_bar(what: str, total: int | None) -> "Iterator[Callable[[int], None]]":
    """Show how far an export is, where somebody looks: on a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("chunks"), TimeElapsedColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda _: bar.advance(task)
