"""How records look in terminals and notebooks. What they hold is other people's text, which neither a terminal nor a browser may obey."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "TextPrinter",
    "harmless",
    "html_record",
    "html_table",
    "markup",
    "one_line",
    "repo_rows",
    "rich_record",
    "rich_table",
    "text_table",
]

# Control characters, and those that turn the direction of writing.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
# Notebooks align and stripe tables in their own ways; these few styles are set here, without colours, so that dark themes work.
_CELL = "text-align:left;vertical-align:top;padding:0.15em 1em 0.15em 0"


class TextPrinter(Protocol):
    """What IPython gives to ``_repr_pretty_``, as far as it is used."""

    def text(self, obj: str) -> None:
        """Print a text."""
        ...


def harmless(text: str) -> str:
    """Replace what a terminal would obey, but for tabs and ends of lines.

    Examples
    --------
    >>> harmless("sea" + chr(27) + "[2J") == "sea�[2J"
    True
    """
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Replace what a terminal would obey, and all that would begin a new line or column."""
    return re.sub(r"[\t\n]", "\N{REPLACEMENT CHARACTER}", harmless(text))


def markup(text: str) -> str:
    """Return a text as HTML shows it."""
    return escape(harmless(text))


def html_record(title: str, rows: Mapping[str, str]) -> str:
    """Return one thing as a table of its fields, without those that are empty."""
    body = "".join(
        f'<tr><th scope="row" style="{_CELL}">{markup(name)}</th><td style="{_CELL};overflow-wrap:anywhere">{markup(value)}</td></tr>'
        for name, value in rows.items()
        if value
    )
    heading = f'<caption style="caption-side:top;text-align:left;padding:0.3em 0"><b>{markup(title)}</b></caption>'
    return f"<table>{heading}<tbody>{body}</tbody></table>"


def rich_record(title: str, rows: Mapping[str, str]) -> "Table":
    """Return the same for terminals."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(one_line(title)), show_header=False, title_justify="left")
    for name, value in rows.items():
        if value:
            table.add_row(Text(one_line(name)), Text(harmless(value), overflow="fold"))
    return table


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return many things as a table, one a row."""
    # Long text is in the last column, which alone gives way where there is little room.
    styles = [f"{_CELL};white-space:nowrap"] * (len(header) - 1) + [f"{_CELL};overflow-wrap:anywhere"]

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(f'<{tag} style="{style}">{markup(text)}</{tag}>' for style, text in zip(styles, texts, strict=True))

    head, body = cells("th", header), "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def rich_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
    """Return the same for terminals."""
    from rich.table import Column, Table
    from rich.text import Text

    # The first column names the thing: it is not cut where there is little room.
    table = Table(Column(header[0], no_wrap=True), *header[1:])
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    return table


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return the same as plain text, as wide as the terminal."""
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(rich_table(header, rows))
    return captured.get().rstrip("\n")


def repo_rows(*, kind: str, place: str, read_only: bool, branch: str | None, commit: str | None) -> dict[str, str]:
    """Return what an open repo shows of itself, all of it at hand.

    Parameters
    ----------
    kind, place, read_only
        Its kind, the URI of its place, and whether it was opened read-only.
    branch, commit
        Of the checkout; a commit without a branch is read-only, and None for both is no checkout.
    """
    where = "" if commit is None else f"commit {commit}" if branch is None else f"branch {branch}, at commit {commit}"
    return {
        "kind": kind,
        "stored at": place,
        "opened": "read-only" if read_only else "for reading and writing",
        "checked out": where or "nothing yet",
    }
