"""What every command shares: the output format, the way to the client, confirmations, and what is said on standard error."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.display import harmless
from arraylake_core.errors import ArraylakeError, ConfirmationError
from arraylake_core.secret import MASK, Secret

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import RenderableType
    from rich.table import Table

    from arraylake_core.client import Client

__all__ = [
    "PROGRAM",
    "ImReallySure",
    "ImSure",
    "Output",
    "OutputOption",
    "confirm",
    "emit",
    "explain",
    "hide",
    "moment",
    "note",
    "open_client",
    "record",
    "table",
]

PROGRAM = "arraylake-core"

# Wide enough that nothing is wrapped or cut where another program reads the output.
_PIPE_WIDTH = 1_000_000
_hidden: list[Secret] = []


class Output(StrEnum):
    """How data are printed."""

    TABLE = "table"
    JSON = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="Print a table, or one JSON document.")]
ImSure = Annotated[bool, typer.Option("--imsure", help="Answer the first question with yes.")]
ImReallySure = Annotated[bool, typer.Option("--imreallysure", help="Answer the second question with yes.")]


@contextmanager
def open_client() -> "Iterator[Client]":
    """Give a client of the catalog that ``--catalog`` or the settings name, and close it afterwards."""
    from arraylake_core.client import Client

    with Client() as client:
        yield client


def emit[T](value: T, output: Output, view: "Callable[[T], RenderableType] | None" = None) -> None:
    """Print data on standard output.

    Parameters
    ----------
    value
        What ``json`` prints, every secret as stars.
    output
        The format that was asked for.
    view
        Makes of the value what ``table`` prints; None where rich knows how to print the value itself.
    """
    if output is Output.JSON:
        from arraylake_core.models import encode_json

        typer.echo(encode_json(value))
        return
    from rich.console import Console
    from rich.segment import Segment, Segments

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, emoji=False, highlight=False)
    shown = console.render(view(value) if view else value)  # type: ignore[arg-type]  # rich checks it when it prints
    console.print(Segments([Segment(_harmless(part.text), part.style) for part in shown if not part.control]), end="")


def note(text: str) -> None:
    """Say on standard error what was done, where there are no data to print."""
    typer.echo(_harmless(text), err=True)


def explain(error: Exception) -> None:
    """Say on standard error, in one line, why a command failed; ``ARRAYLAKE_DEBUG=1`` puts the traceback before it.

    The message of an error that is not ours may hold anything, so that it is only in the traceback.
    """
    debug = os.environ.get("ARRAYLAKE_DEBUG", "") not in ("", "0")
    if debug:
        note("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, ArraylakeError):
        note("error: " + " ".join(str(error).split("\n")))
    else:
        hint = "" if debug else "; ARRAYLAKE_DEBUG=1 shows the traceback"
        note(f"error: unexpected {type(error).__name__}, which is a fault of {PROGRAM} or of a plugin{hint}")


def confirm(what: str, imsure: bool, imreallysure: bool) -> None:
    """Ask twice before something is deleted, but for the questions that the options have answered.

    Parameters
    ----------
    what
        What would be deleted, for the questions.
    imsure, imreallysure
        Whether the options were given.

    Raises
    ------
    ConfirmationError
        One answer was not yes, or nobody was there to answer.
    """
    try:
        sure = imsure or typer.confirm(f"Delete {what}?", err=True)
        sure = sure and (imreallysure or typer.confirm(f"Really delete {what}?", err=True))
    except typer.Abort:
        typer.echo(err=True)
        sure = False
    if not sure:
        raise ConfirmationError(
            f"{what} was not deleted: answer both questions with yes, or give both --imsure and --imreallysure"
        )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    """Return a table of plain text, in which nothing is taken for markup."""
    from rich.table import Table
    from rich.text import Text

    made = Table(*columns)
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def record(fields: Mapping[str, str]) -> "Table":
    """Return one thing as a list of its fields, without those that are empty."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        if value:
            made.add_row(Text(name, style="bold"), Text(value))
    return made


def moment(time: "datetime") -> str:
    """Return a time as tables show it."""
    return f"{time:%Y-%m-%d %H:%M %Z}"


def hide(value: str) -> Secret:
    """Make a secret of what was just read, and see to it that nothing printed from now on has it in it, tracebacks included."""
    secret = Secret(value)
    _hidden.append(secret)
    return secret


def _harmless(text: str) -> str:
    """Replace what a terminal would obey (descriptions, messages and names of arrays are other people's), and hidden secrets."""
    for secret in _hidden:
        text = text.replace(secret.reveal(), MASK)
    return harmless(text)
