"""The program: its groups, the options before them, and what happens to errors."""

import io
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from arraylake_core import config
from arraylake_core.cli import admin, auth, bucket, grants, members, plugins, serve, token, webhook
from arraylake_core.cli import config as settings
from arraylake_core.cli.console import PROGRAM, explain
from arraylake_core.version import __version__

__all__ = ["app", "run"]

app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
# members.py adds its commands to those of org.py, upkeep.py to those of repo.py, and grants.py to these.
app.add_typer(auth.app, name="auth")
app.add_typer(members.app, name="org")
app.add_typer(bucket.app, name="bucket")
app.add_typer(grants.app, name="repo")
app.add_typer(token.app, name="token")
app.add_typer(webhook.app, name="webhook")
app.add_typer(plugins.app, name="plugins")
app.add_typer(settings.app, name="config")
app.add_typer(admin.app, name="admin")
app.command("serve")(serve.serve)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def program(
    context: typer.Context,
    catalog: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="The catalog to work on, such as sqlite:///lake.db, instead of the setting service.uri.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Work with the open lake for arrays: versioned Zarr repos in anyone's buckets.

    Data go to standard output, all else to standard error. The exit code is 0, 1 where something was refused or failed, and 2 where
    the command line itself was wrong.
    """
    if catalog:
        context.with_resource(config.set({"service.uri": catalog}))


def run(arguments: Sequence[str] | None = None) -> None:
    """Run the program, and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(arguments, prog_name=PROGRAM)
    except Exception as error:  # noqa: BLE001 - the last place where an error can be told without its traceback
        explain(error)
        raise SystemExit(1) from None
