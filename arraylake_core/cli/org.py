"""``arraylake-core org``."""

from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.cli.console import Output, OutputOption, emit, moment, open_client, record, table

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.models import OrgModel

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Organizations, which hold repos and bucket configs together.")


@app.command("list")
def list_orgs(output: OutputOption = Output.TABLE) -> None:
    """List the organizations, by name."""
    with open_client() as client:
        emit(client.list_orgs(), output, _orgs)


@app.command("create")
def create_org(
    name: Annotated[str, typer.Argument(help="Its name, the first part of its repos' names.")],
    display_name: Annotated[str, typer.Option(help="How it is shown.")] = "",
    description: Annotated[str | None, typer.Option(help="What it is for; at most 255 characters.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make an organization."""
    with open_client() as client:
        emit(client.create_org(name, display_name=display_name, description=description), output, _org)


def _orgs(orgs: "list[OrgModel]") -> "Table":
    rows = [(org.name, org.display_name, moment(org.created), org.description or "") for org in orgs]
    return table(("name", "display name", "created", "description"), rows)


def _org(org: "OrgModel") -> "Table":
    return record(
        {
            "name": org.name,
            "display name": org.display_name,
            "description": org.description or "",
            "created": moment(org.created),
        }
    )
