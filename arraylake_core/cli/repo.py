"""``arraylake-core repo``."""

from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.cli.console import (
    ImReallySure,
    ImSure,
    Output,
    OutputOption,
    confirm,
    emit,
    moment,
    note,
    open_client,
    record,
    table,
)
from arraylake_core.cli.values import METADATA_HELP, json_pairs

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.backends.repo_kind import RepoHandle
    from arraylake_core.client import Client
    from arraylake_core.models import RepairAction, RepoModel

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Repos: arrays and all their versions.")

Name = Annotated[str, typer.Argument(help="Full name of the repo: org/repo.")]
NewName = Annotated[str, typer.Argument(help="Full name that it gets: org/repo.")]
Bucket = Annotated[str | None, typer.Option(metavar="NICKNAME", help="The bucket config; by default the organization's default.")]
Kind = Annotated[str | None, typer.Option(help="The kind of repo; by default the setting repo.kind.")]
Description = Annotated[str | None, typer.Option(help="What it holds; at most 255 characters.")]
Metadata = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=f"Metadata to find it by. {METADATA_HELP}")]
Ref = Annotated[str | None, typer.Option(help="A branch, a tag or the id of a commit; by default main.")]


@app.command("create")
def create_repo(
    name: NewName,
    bucket: Bucket = None,
    kind: Kind = None,
    prefix: Annotated[str | None, typer.Option(help="Where in the bucket config its bytes go; by default a random name.")] = None,
    description: Description = None,
    metadata: Metadata = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a new, empty repo."""
    with open_client() as client:
        client.create_repo(
            name,
            bucket_config_nickname=bucket,
            kind=kind,
            prefix=prefix,
            description=description,
            metadata=json_pairs(metadata, "--metadata"),
        )
        emit(client.get_repo_object(name), output, show_record)


@app.command("import")
def import_repo(
    name: NewName,
    prefix: Annotated[str, typer.Option(help="Where in the bucket config it lies.")],
    bucket: Bucket = None,
    kind: Kind = None,
    description: Description = None,
    metadata: Metadata = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Take a repo that lies in a bucket already into the catalog; no byte of it is changed."""
    with open_client() as client:
        client.import_repo(name, bucket, prefix, kind=kind, description=description, metadata=json_pairs(metadata, "--metadata"))
        emit(client.get_repo_object(name), output, show_record)


@app.command("list")
def list_repos(
    org: Annotated[str, typer.Argument(help="Name of the organization.")],
    filter_metadata: Annotated[
        list[str] | None,
        typer.Option("--filter", metavar="KEY=VALUE", help=f"Only repos whose metadata has this. {METADATA_HELP}"),
    ] = None,
    page: Annotated[int | None, typer.Option(min=1, help="The page to list, from 1; by default all repos.")] = None,
    size: Annotated[int, typer.Option(min=1, max=100, help="How many repos are on a page.")] = 100,
    output: OutputOption = Output.TABLE,
) -> None:
    """List the repos of an organization, by name."""
    with open_client() as client:
        emit(client.list_repos(org, json_pairs(filter_metadata, "--filter"), page=page, size=size), output)


@app.command("show")
def show_repo(name: Name, output: OutputOption = Output.TABLE) -> None:
    """Show the catalog's record of a repo."""
    with open_client() as client:
        emit(client.get_repo_object(name), output, show_record)


@app.command("modify")
def modify_repo(
    name: Name,
    description: Annotated[str | None, typer.Option(help="Another description; at most 255 characters.")] = None,
    add_metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help=f"Metadata to add, whose key must be new. {METADATA_HELP}"),
    ] = None,
    update_metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help=f"Metadata to set, whether its key is new or not. {METADATA_HELP}"),
    ] = None,
    remove_metadata: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Metadata to remove. May be repeated.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change the description and the metadata of a repo; what is not given stays as it is."""
    if description is None and not (add_metadata or update_metadata or remove_metadata):
        raise typer.BadParameter(
            "say what to change", param_hint="--description, --add-metadata, --update-metadata or --remove-metadata"
        )
    with open_client() as client:
        changed = client.modify_repo(
            name,
            description,
            add_metadata=json_pairs(add_metadata, "--add-metadata"),
            remove_metadata=remove_metadata,
            update_metadata=json_pairs(update_metadata, "--update-metadata"),
        )
        emit(changed, output, show_record)


@app.command("rename")
def rename_repo(
    name: Name,
    new_name: Annotated[str, typer.Argument(help="Its new full name, in the same organization: org/repo.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a repo another name in its organization; its bytes stay where they are."""
    with open_client() as client:
        emit(client.rename_repo(name, new_name), output, show_record)


@app.command("delete")
def delete_repo(
    name: Name,
    imsure: ImSure = False,
    imreallysure: ImReallySure = False,
    immediate: Annotated[bool, typer.Option("--immediate", help="Delete its bytes now, beyond restoring.")] = False,
    retain_data: Annotated[
        bool, typer.Option("--retain-data", help="Keep its bytes in the bucket for good; only the record goes.")
    ] = False,
) -> None:
    """Delete a repo.

    For the days of the setting repo.restore_days (a week by default), `repo restore` brings it back.
    """
    confirm(f"the repo {name!r}", imsure, imreallysure)
    with open_client() as client:
        client.delete_repo(name, imsure=True, imreallysure=True, immediate=immediate, retain_data=retain_data)
    note(f"Deleted the repo {name!r}.")


@app.command("restore")
def restore_repo(
    name: Annotated[str, typer.Argument(help="Full name that it had: org/repo.")], output: OutputOption = Output.TABLE
) -> None:
    """Bring back the repo of this name that was deleted last."""
    with open_client() as client:
        emit(client.restore_repo(name), output, show_record)


@app.command("tree")
def show_tree(
    name: Name,
    ref: Ref = None,
    path: Annotated[str, typer.Option(help="The group to start at; by default the root.")] = "",
    depth: Annotated[int | None, typer.Option(min=0, help="How many levels below it; by default all.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the groups and arrays of a repo."""
    with open_client() as client:
        emit(_at(client, name, ref).tree(path, depth), output)


@app.command("log")
def show_log(name: Name, ref: Ref = None, output: OutputOption = Output.TABLE) -> None:
    """Show the commits that lead to a branch, a tag or a commit, newest first."""
    with open_client() as client:
        emit(_at(client, name, ref).commit_log, output)


@app.command("repair")
def repair_repos(
    org: Annotated[str | None, typer.Argument(help="Name of the organization; by default all of them.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Finish what was interrupted: creations that stopped half-way, deletions that had begun, deleted repos whose time is over."""
    with open_client() as client:
        actions = client.repair_repos(org)
    emit(actions, output, _actions)
    if not actions:
        note("Nothing was in need of repair.")


def _at(client: "Client", name: str, ref: str | None) -> "RepoHandle":
    repo = client.get_repo(name, read_only=True)
    repo.checkout(ref or "main", writable=False)
    return repo


def show_record(repo: "RepoModel") -> "Table":
    from arraylake_core.models import encode_json

    bucket = repo.bucket
    return record(
        {
            "repo": repo.full_name,
            "kind": repo.kind,
            "bucket": f"{bucket.nickname} ({bucket.platform}://{bucket.name})" if bucket else "",
            "prefix": repo.prefix,
            "description": repo.description or "",
            "metadata": "\n".join(f"{key}={encode_json(value).decode()}" for key, value in repo.metadata.items()),
            "virtual chunks": "\n".join(f"{url} ({nickname})" for url, nickname in repo.virtual_chunk_containers.items()),
            "visibility": "public" if repo.visibility == "AUTHENTICATED_PUBLIC" else "private",
            "status": repo.status.mode.value + (f": {repo.status.message}" if repo.status.message else ""),
            "created": moment(repo.created) + (f" by {repo.created_by}" if repo.created_by else ""),
            "updated": moment(repo.updated),
        }
    )


def _actions(actions: "list[RepairAction]") -> "Table":
    return table(("repo", "action", "reason"), [(done.repo, done.action, done.reason) for done in actions])
