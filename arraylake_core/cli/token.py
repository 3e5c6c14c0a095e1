"""``arraylake-core token``."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.cli.console import Output, OutputOption, emit, moment, note, open_client, table
from arraylake_core.errors import InvalidOptionError
from arraylake_core.people import Role

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.people import IssuedToken, Token

__all__ = ["Days", "app", "end_after", "show_token"]

app = typer.Typer(no_args_is_help=True, help="API tokens, by which programs use a service.")

Org = Annotated[str, typer.Option(metavar="ORG", help="Name of the organization that it is for.")]
Days = Annotated[
    float | None, typer.Option("--expires-days", min=0.001, help="When the token ends, in days from now; by default never.")
]


@app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for, such as nightly-ingest.")],
    org: Org,
    role: Annotated[
        Role, typer.Option(help="What it may do at most; never more than the person that it acts for.")
    ] = Role.Writer,
    repo: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REPO", help="A repo that it is for, with or without its organization. May be repeated; by default all."
        ),
    ] = None,
    expires_days: Days = None,
    email: Annotated[
        str | None,
        typer.Option(help="The member that it acts for; by default you. For admins: it ends when you are none any more."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Issue an API token, and print it: this once."""
    with open_client() as client:
        issued = client.create_token(org, name, role=role, repos=repo or None, expires=end_after(expires_days), email=email)
    show_token({"id": issued.id}, issued, output)


@app.command("list")
def list_tokens(org: Org, output: OutputOption = Output.TABLE) -> None:
    """List the API tokens of an organization, newest first: admins see all, others their own."""
    with open_client() as client:
        emit(client.list_tokens(org), output, _tokens)


@app.command("revoke")
def revoke_token(
    token_id: Annotated[
        str, typer.Argument(metavar="ID", help="The token's id, as `token list` shows it; not the token itself.")
    ],
    org: Org,
) -> None:
    """End an API token, and those that were made with it."""
    if token_id.startswith("ema_"):
        raise InvalidOptionError(
            "that is a token itself, not its id: find the id with `token list`; better make another one, too"
        )
    with open_client() as client:
        client.revoke_token(org, token_id)
    note(f"Revoked the token {token_id!r}.")


def end_after(days: float | None) -> datetime | None:
    """Return when something ends that lasts so many days."""
    from arraylake_core.models import utc_now

    try:
        return None if days is None else utc_now() + timedelta(days=days)
    except (OverflowError, ValueError):
        raise InvalidOptionError(f"{days:g} days are more than a calendar holds: leave --expires-days out for never") from None


def show_token(fields: dict[str, str], issued: "IssuedToken", output: Output) -> None:
    """Print a token, on standard output and nowhere else: nobody can print it again.

    Parameters
    ----------
    fields
        What to print before it.
    issued
        The token.
    output
        The format that was asked for.
    """
    from arraylake_core.models import encode_json

    shown = {**fields, "token": issued.token.reveal()}
    if output is Output.JSON:
        typer.echo(encode_json(shown))
        return
    for name, value in shown.items():
        typer.echo(f"{name}: {value}")
    note("Keep the token now: it is shown this once.")


def _tokens(tokens: "list[Token]") -> "Table":
    rows = [
        (
            token.id,
            token.name,
            token.role,
            "all" if token.repos is None else ", ".join(token.repos),
            token.email,
            moment(token.created),
            moment(token.expiration) if token.expiration else "never",
            moment(token.last_used) if token.last_used else "never",
        )
        for token in tokens
    ]
    return table(("id", "name", "role", "repos", "acts for", "created", "ends", "last used"), rows)
