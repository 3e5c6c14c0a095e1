"""``arraylake-core repo``: who may use one repo above what membership gives."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.cli.console import Output, OutputOption, emit, moment, note, open_client, table
from arraylake_core.cli.members import Email
from arraylake_core.cli.repo import show_record
from arraylake_core.cli.upkeep import app
from arraylake_core.people import Role, validate_email

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.people import Grant

__all__ = ["app"]

Repo = Annotated[str, typer.Argument(help="Full name of the repo: org/repo.")]


@app.command("grants")
def list_grants(name: Repo, output: OutputOption = Output.TABLE) -> None:
    """List who has a role on one repo above what membership gives."""
    with open_client() as client:
        emit(client.list_grants(name), output, _grants)


@app.command("grant")
def set_grant(
    name: Repo,
    email: Email,
    role: Annotated[Role, typer.Argument(help="What the person may do with it.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Give a person a role on one repo, or change it; the person need not be a member."""
    with open_client() as client:
        emit(client.set_grant(name, email, role), output, _grant)


@app.command("revoke-grant")
def remove_grant(name: Repo, email: Email) -> None:
    """Take a person's grant on a repo away."""
    with open_client() as client:
        client.remove_grant(name, validate_email(email))
    note(f"Took the grant of {email} on {name} away.")


class Visibility(StrEnum):
    """Who may see a repo."""

    PRIVATE = "private"
    PUBLIC = "public"


@app.command("set-visibility")
def set_visibility(
    name: Repo,
    visibility: Annotated[Visibility, typer.Argument(help="public: everybody who is logged in to the service may read it.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Open a repo to everybody who is logged in to the service, for reading, or close it again."""
    with open_client() as client:
        emit(client.set_repo_visibility(name, public=visibility is Visibility.PUBLIC), output, show_record)


def _grant(grant: "Grant") -> "Table":
    return _grants([grant])


def _grants(grants: "list[Grant]") -> "Table":
    rows = [(grant.email, grant.role, grant.repo, moment(grant.created), grant.id) for grant in grants]
    return table(("e-mail", "role", "repo", "since", "id"), rows)
