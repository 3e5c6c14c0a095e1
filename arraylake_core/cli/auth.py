"""``arraylake-core auth``."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from arraylake_core.cli.console import Output, OutputOption, emit, open_client, record

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.client.sync import Client

__all__ = ["LoginStatus", "app"]

app = typer.Typer(no_args_is_help=True, help="Logins: who you are to the service, and to buckets that are opened by a login.")

OrgOption = Annotated[str | None, typer.Option("--org", metavar="ORG", help="The organization whose identity provider is asked.")]


class LoginStatus(msgspec.Struct):
    """Whether somebody is logged in, and as whom."""

    service: str
    logged_in: bool
    email: str | None = None
    issuer: str | None = None
    until: str | None = None
    can_be_renewed: bool = False


@app.command("login")
def login(
    org: OrgOption = None,
    browser: Annotated[bool, typer.Option("--browser", help="Open this machine's browser, instead of showing a code.")] = False,
) -> None:
    """Log in, and stay logged in until you log out."""
    with open_client() as client:
        client.login(org=org, browser=browser)


@app.command("logout")
def logout() -> None:
    """Have the identity provider end the login, and forget it."""
    with open_client() as client:
        client.logout()


@app.command("status")
def status(output: OutputOption = Output.TABLE) -> None:
    """Show whether you are logged in, as whom, and for how long."""
    with open_client() as client:
        found = _status(client)
    emit(found, output, _shown)


@app.command("token")
def show_token() -> None:
    """Print the ID token of your login, for other programs: whoever has it is you, until it ends."""
    from arraylake_core.errors import AuthenticationError

    with open_client() as client:
        token = client.login_token()
    if token is None:
        raise AuthenticationError("nobody is logged in: run `arraylake-core auth login`")
    typer.echo(token.reveal())


def _status(client: "Client") -> LoginStatus:
    tokens = client.login_status()
    if tokens is None:
        return LoginStatus(service=client.service_uri, logged_in=False)
    return LoginStatus(
        service=client.service_uri,
        logged_in=True,
        email=tokens.email or None,
        issuer=tokens.settings.issuer,
        until=datetime.fromtimestamp(tokens.expires, UTC).isoformat(timespec="seconds"),
        can_be_renewed=tokens.refresh_token is not None,
    )


def _shown(found: LoginStatus) -> "Table":
    fields = {
        "service": found.service,
        "logged in": found.email or ("yes" if found.logged_in else "nobody"),
        "with": found.issuer or "",
        "until": (found.until or "") + (", then renewed" if found.can_be_renewed else ""),
    }
    return record(fields)
