"""``arraylake-core org``: who belongs to an organization, and who did what in it."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.cli.console import Output, OutputOption, emit, moment, note, open_client, table
from arraylake_core.cli.org import app
from arraylake_core.people import parse_role, validate_email

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.models import Page
    from arraylake_core.people import AuditEntry, Login, Member

__all__ = ["Email", "app"]

Org = Annotated[str, typer.Argument(help="Name of the organization.")]
Email = Annotated[str, typer.Argument(help="The person's e-mail address.")]


class MemberRole(StrEnum):
    """The role of a member, or none."""

    NONE = "none"
    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"


@app.command("members")
def list_members(name: Org, output: OutputOption = Output.TABLE) -> None:
    """List the members of an organization, by e-mail address."""
    with open_client() as client:
        emit(client.list_members(name), output, _members)


@app.command("set-member")
def set_member(
    name: Org,
    email: Email,
    role: Annotated[MemberRole, typer.Argument(help="What it may do; none: it sees only what grants and public repos give.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a person a member of an organization, or change a member's role."""
    with open_client() as client:
        emit(client.set_member(name, email, parse_role(role)), output, _member)


@app.command("remove-member")
def remove_member(name: Org, email: Email) -> None:
    """Remove a member, with the grants and API tokens it has in the organization."""
    with open_client() as client:
        client.remove_member(name, validate_email(email))
    note(f"Removed {email} from {name!r}.")


@app.command("logins")
def list_logins(name: Org, email: Email, output: OutputOption = Output.TABLE) -> None:
    """List as whom a member logs in: with the organization's own identity provider, and, to operators, with those of the whole deployment."""
    with open_client() as client:
        emit(client.list_logins(name, validate_email(email)), output, _logins)


@app.command("forget-login")
def forget_login(name: Org, email: Email) -> None:
    """Forget as whom a member logs in, so that the next login with that e-mail address is the member.

    For somebody whose account at the identity provider was made anew. Where the address is another person's now, remove the member instead.
    """
    with open_client() as client:
        client.forget_logins(name, validate_email(email))
    note(f"The next login with {email} is that member of {name!r}.")


@app.command("audit")
def list_audit(
    name: Org,
    page: Annotated[int, typer.Option(min=1, help="The page to list, from 1, newest first.")] = 1,
    size: Annotated[int, typer.Option(min=1, max=100, help="How many entries are on a page.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List who did what in an organization, through a service, newest first."""
    with open_client() as client:
        emit(client.list_audit(name, page=page, size=size), output, _audit)


def _member(member: "Member") -> "Table":
    return _members([member])


def _members(members: "list[Member]") -> "Table":
    rows = [(member.email, member.role or "none", moment(member.created), member.id) for member in members]
    return table(("e-mail", "role", "since", "id"), rows)


def _logins(logins: "list[Login]") -> "Table":
    rows = [(login.issuer, login.subject, login.org or "everywhere", moment(login.created)) for login in logins]
    return table(("identity provider", "subject", "good in", "since"), rows)


def _audit(page: "Page[AuditEntry]") -> "Table":
    rows = [(moment(entry.time), entry.principal, entry.action, entry.target, entry.request_id) for entry in page.items]
    return table(("time", "who", "action", "target", "request"), rows)
