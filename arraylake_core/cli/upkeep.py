"""``arraylake-core repo``: the long work, which not every kind of repo offers."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from arraylake_core.cli.console import Output, OutputOption, emit, open_client, record
from arraylake_core.cli.repo import Bucket, Name, app
from arraylake_core.cli.values import AGE_HELP, age, age_or_time

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.client import Client
    from arraylake_core.client.migration import MigrationReport

__all__ = ["app"]


class Expired(msgspec.Struct):
    """What ``repo expire`` did."""

    repo: str
    expired_commits: int


@app.command("migrate")
def migrate_repo(
    name: Name,
    to: Annotated[str, typer.Option(help="The kind of the copy.")] = "icechunk",
    new_name: Annotated[
        str | None, typer.Option(help="Full name of the copy; by default the old one with - and the kind.")
    ] = None,
    bucket: Bucket = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Copy a repo with its whole history to another kind, under a new name.

    All branches, tags and commits are there afterwards, compared byte for byte; the repo itself stays as it is. Where it was interrupted,
    doing it again goes on.
    """
    with open_client() as client, _bar() as progress:
        report = client.migrate_repo(name, to, new_name=new_name, bucket_config_nickname=bucket, progress=progress)
    emit(report, output, _migration)


@app.command("export")
def export_repo(
    name: Name,
    dest: Annotated[str, typer.Argument(help="A directory, or a URL that fsspec knows.")],
    ref: Annotated[str, typer.Option(help="A branch, a tag or the id of a commit.")] = "main",
    from_ref: Annotated[str | None, typer.Option(help="What DEST holds already: only what changed since is written.")] = None,
    zarr_format: Annotated[int, typer.Option(min=2, max=3, help="The format of Zarr.")] = 3,
    concurrency: Annotated[int, typer.Option(min=1, help="How many chunks are copied at once.")] = 64,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write a version of a repo as plain Zarr.

    Where it was interrupted, doing it again goes on.
    """
    from arraylake_core.backends.upkeep import Exports

    with open_client() as client:
        repo = _able(client, name, Exports, "export", read_only=True)  # type: ignore[type-abstract]  # a Protocol
        report = repo.export(dest, zarr_format=2 if zarr_format == 2 else 3, ref=ref, from_ref=from_ref, concurrency=concurrency)
    emit(report, output, _fields)


@app.command("gc")
def collect_garbage(
    name: Name,
    grace: Annotated[str, typer.Option(metavar="AGE", help=f"How old garbage must be: {AGE_HELP}.")] = "8d",
    output: OutputOption = Output.TABLE,
) -> None:
    """Delete the objects of a repo that no branch, tag or session reaches."""
    from arraylake_core.backends.upkeep import CollectsGarbage

    how_old = age(grace, "--grace")
    with open_client() as client:
        repo = _able(client, name, CollectsGarbage, "gc")  # type: ignore[type-abstract]  # a Protocol
        with _waiting(f"Collecting the garbage of {name}"):
            report = repo.gc(how_old)
    emit(report, output, _fields)


@app.command("verify")
def verify_repo(name: Name, output: OutputOption = Output.TABLE) -> None:
    """Read all that the branches and tags of a repo reach, and check that it is there and is what was written.

    The exit code is 1 where something is wrong.
    """
    from arraylake_core.backends.upkeep import Verifies

    with open_client() as client:
        repo = _able(client, name, Verifies, "verify", read_only=True)  # type: ignore[type-abstract]  # a Protocol
        with _waiting(f"Verifying {name}"):
            report = repo.verify()
    emit(report, output, _fields)
    if report.problems:
        raise typer.Exit(1)


@app.command("expire")
def expire_history(
    name: Name,
    older_than: Annotated[
        str, typer.Option(metavar="AGE|TIME", help=f"Which commits: {AGE_HELP}, or a time with its time zone.")
    ],
    output: OutputOption = Output.TABLE,
) -> None:
    """Let go of the old commits of a repo; what branches and tags point to stays, and `repo gc` takes the rest."""
    from arraylake_core.backends.upkeep import Expires

    limit = age_or_time(older_than, "--older-than")
    with open_client() as client:
        repo = _able(client, name, Expires, "expire")  # type: ignore[type-abstract]  # a Protocol
        with _waiting(f"Expiring commits of {name}"):
            count = repo.expire(limit)
    emit(Expired(name, count), output, _fields)


def _able[T](client: "Client", name: str, capability: type[T], what: str, *, read_only: bool = False) -> T:
    """Open a repo whose kind offers something; InvalidOptionError that names the kinds that do, where it does not."""
    from arraylake_core.errors import InvalidOptionError, PluginError
    from arraylake_core.plugins import default_registry

    record = client.get_repo_object(name)
    registry = default_registry()
    offering: list[str] = []
    for kind in registry.names("repo kind"):
        try:
            if what in registry.repo_kind(kind).offers:
                offering.append(kind)
        except PluginError:
            # One that can't be loaded offers nothing.
            continue
    # Asked before opening: what is not offered needs no access to the bucket.
    repo = client.get_repo(name, checkout=False, read_only=read_only) if record.kind in offering else None
    if not isinstance(repo, capability):
        raise InvalidOptionError(
            f"{name} is a repo of the kind {record.kind}, which offers no {what}: {', '.join(offering) or 'no installed kind'} does"
        )
    return repo


def _fields(report: object) -> "Table":
    """Return a report as a list of its fields."""
    fields = msgspec.to_builtins(report)
    return record({key.replace("_", " "): _text(value) for key, value in fields.items() if value is not None})


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _migration(report: "MigrationReport") -> "Table":
    return record(
        {
            "repo": report.repo,
            "kind": report.kind,
            "migrated from": report.migrated_from,
            "commits": f"{report.commits} written",
            "branches": "\n".join(f"{branch}: {commit}" for branch, commit in report.branches.items()),
            "tags": "\n".join(f"{tag}: {commit}" for tag, commit in report.tags.items()),
            "compared": f"{report.verified_keys} keys, {report.verified_bytes} bytes"
            if report.verified_keys
            else "nothing: it was finished before",
        }
    )


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    """Show that something is going on, where somebody looks: on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True, emoji=False).status(escape(what)):
        yield


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far something is, where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, emoji=False)) as progress:
        tasks = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done + 1, total=total)

        yield show
