"""``arraylake-core webhook``: where a service posts what happens in an organization."""

from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.cli.console import Output, OutputOption, emit, moment, note, open_client, table
from arraylake_core.events import EVENT_TYPES

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.webhooks import Webhook

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Webhooks: URLs to which a service posts what happens in an organization.")

Org = Annotated[str, typer.Argument(help="Name of the organization.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, as `webhook list` shows it.")]


@app.command("list")
def list_webhooks(org: Org, output: OutputOption = Output.TABLE) -> None:
    """List the webhooks of an organization, oldest first, with what waits to be posted to them, and why."""
    with open_client() as client:
        emit(client.list_webhooks(org), output, _webhooks)


@app.command("create")
def create_webhook(
    org: Org,
    url: Annotated[str, typer.Argument(help="An https URL, outside of the service's own network.")],
    event: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE", help=f"A type of event to post: {', '.join(EVENT_TYPES)}. May be repeated; by default all."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Add a webhook, and print the secret by which its receiver checks messages: this once."""
    from arraylake_core.models import encode_json

    with open_client() as client:
        made = client.create_webhook(org, url, events=event or ())
    shown = {"id": made.id, "secret": made.secret.reveal()}
    if output is Output.JSON:
        typer.echo(encode_json(shown))
        return
    for name, value in shown.items():
        typer.echo(f"{name}: {value}")
    note("Keep the secret now: it is shown this once.")


@app.command("test")
def test_webhook(org: Org, webhook_id: Id) -> None:
    """Have a message of the type webhook.test posted to a webhook."""
    with open_client() as client:
        client.test_webhook(org, webhook_id)
    note("The service posts it now; if it does not arrive, `webhook list` shows that it waits, and why.")


@app.command("delete")
def delete_webhook(org: Org, webhook_id: Id) -> None:
    """Remove a webhook, and the messages on their way to it."""
    with open_client() as client:
        client.delete_webhook(org, webhook_id)
    note(f"Removed the webhook {webhook_id!r}.")


def _webhooks(webhooks: "list[Webhook]") -> "Table":
    rows = [
        (hook.id, hook.url, ", ".join(hook.events) or "all", moment(hook.created), str(hook.waiting), hook.problem or "")
        for hook in webhooks
    ]
    return table(("id", "url", "events", "since", "waiting", "because"), rows)
