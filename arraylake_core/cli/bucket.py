"""``arraylake-core bucket``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.cli.auth_config import auth_config
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
)
from arraylake_core.cli.values import pairs, typed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from arraylake_core.models import BucketResponse, ProbeReport

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Bucket configs, which say where repos keep their bytes, and how to get in.")

Org = Annotated[str, typer.Argument(help="Name of the organization.")]
Nickname = Annotated[str, typer.Argument(help="Nickname of the bucket config.")]
Option = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="An option of the storage platform; `plugins show` lists them. May be repeated."),
]
Auth = Annotated[str | None, typer.Option(metavar="METHOD", help="How to get in, such as hmac; by default anonymous.")]
AuthOption = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="An option of the auth method that is no secret. May be repeated."),
]
AuthSecret = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY",
        help="A secret option of the auth method: KEY alone asks for it without echo, KEY=env:VARIABLE takes it from the "
        "environment, KEY=@FILE from a file. May be repeated.",
    ),
]


@app.command("list")
def list_buckets(org: Org, output: OutputOption = Output.TABLE) -> None:
    """List the bucket configs of an organization, by nickname."""
    with open_client() as client:
        emit(client.list_bucket_configs(org), output)


@app.command("show")
def show_bucket(org: Org, nickname: Nickname, output: OutputOption = Output.TABLE) -> None:
    """Show a bucket config, its secrets as stars."""
    with open_client() as client:
        emit(client.get_bucket_config(org=org, nickname=nickname), output, _bucket)


@app.command("create")
def create_bucket(
    org: Org,
    nickname: Annotated[str, typer.Argument(help="What it is called, such as our-s3-bucket.")],
    uri: Annotated[str, typer.Argument(help="The bucket, such as s3://my-bucket/team or file:///data/lake.")],
    option: Option = None,
    auth: Auth = None,
    auth_option: AuthOption = None,
    auth_secret: AuthSecret = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Create a bucket config.

    No bucket is made, and none needs to be reachable: `bucket probe` tells whether it is.
    """
    access = auth_config(auth, auth_option, auth_secret)
    options = _platform_options(option, uri.partition("://")[0])
    with open_client() as client:
        created = client.create_bucket_config(org=org, nickname=nickname, uri=uri, extra_config=options, auth_config=access)
        emit(created, output, _bucket)


@app.command("modify")
def modify_bucket(
    org: Org,
    nickname: Nickname,
    new_nickname: Annotated[str | None, typer.Option("--nickname", help="Another nickname.")] = None,
    uri: Annotated[str | None, typer.Option(help="Another place; refused while a repo uses the bucket config.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="All options of the storage platform: those not given are dropped. Refused while a repo uses the bucket config.",
        ),
    ] = None,
    auth: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Another way in; the former method and its options are dropped.")
    ] = None,
    auth_option: AuthOption = None,
    auth_secret: AuthSecret = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Change a bucket config; what is not given stays as it is."""
    access = auth_config(auth, auth_option, auth_secret)
    if new_nickname is None and uri is None and not option and access is None:
        raise typer.BadParameter("say what to change", param_hint="--nickname, --uri, --option or --auth")
    with open_client() as client:
        scheme = None
        if option:
            scheme = (uri or client.get_bucket_config(org=org, nickname=nickname).uri).partition("://")[0]
        changed = client.modify_bucket_config(
            org=org,
            nickname=nickname,
            new_nickname=new_nickname,
            uri=uri,
            extra_config=_platform_options(option, scheme),
            auth_config=access,
        )
        emit(changed, output, _bucket)


@app.command("delete")
def delete_bucket(org: Org, nickname: Nickname, imsure: ImSure = False, imreallysure: ImReallySure = False) -> None:
    """Delete a bucket config, which no repo may use; the bucket itself is left alone."""
    confirm(f"the bucket config {nickname!r} of {org!r}", imsure, imreallysure)
    with open_client() as client:
        client.delete_bucket_config(org=org, nickname=nickname, imsure=True, imreallysure=True)
    note(f"Deleted the bucket config {nickname!r} of {org!r}; the bucket itself is as it was.")


@app.command("set-default")
def set_default_bucket(org: Org, nickname: Nickname, output: OutputOption = Output.TABLE) -> None:
    """Make a bucket config the one that new repos of the organization go to."""
    with open_client() as client:
        client.set_default_bucket_config(org=org, nickname=nickname)
        emit(client.get_bucket_config(org=org, nickname=nickname), output, _bucket)


@app.command("probe")
def probe_bucket(org: Org, nickname: Nickname, output: OutputOption = Output.TABLE) -> None:
    """Find out whether a bucket can be reached, read and written, and how safe it is for concurrent commits.

    The exit code is 1 where repos can't be kept there.
    """
    with open_client() as client:
        report = client.probe_bucket_config(org=org, nickname=nickname)
    emit(report, output, _checklist)
    if not report.ok:
        raise typer.Exit(1)


def _platform_options(options: Sequence[str] | None, scheme: str | None) -> dict[str, object] | None:
    if not options:
        return None
    given = pairs(options, "--option")
    if not scheme:
        return dict(given)
    from arraylake_core.plugins import default_registry

    return typed(given, default_registry().platform_for_scheme(scheme).options)


def _bucket(bucket: "BucketResponse") -> "Table":
    method = str(bucket.auth_config.get("method", "anonymous"))
    options = {**bucket.extra_config, **{key: value for key, value in bucket.auth_config.items() if key != "method"}}
    return record(
        {
            "nickname": bucket.nickname,
            "uri": bucket.uri,
            "auth": method,
            **{key: str(value) for key, value in options.items()},
            "default": "yes" if bucket.is_default else "no",
            "created": moment(bucket.created),
            "updated": moment(bucket.updated),
        }
    )


def _checklist(report: "ProbeReport") -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    checks = {
        "reachable": report.reachable,
        "readable": report.readable,
        "writable": report.writable,
        "conditional create": report.conditional_create,
        "conditional update": report.conditional_update,
        "safe for concurrent writes": report.safe_for_concurrent_writes,
    }
    marks = Table.grid(padding=(0, 2))
    for check, passed in checks.items():
        marks.add_row(Text("yes", style="green") if passed else Text("no", style="red"), Text(check))
    problems = [Text(f"problem: {problem}") for problem in report.problems]
    return Group(Text(report.uri, style="bold"), marks, *problems, *(Text(f"note: {text}") for text in report.notes))
