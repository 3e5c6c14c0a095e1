"""The code blocks of the documentation's pages."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["DOCS", "ROOT", "Block", "blocks_of", "pages"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)(?: +(?P<rest>[^\n]*))?\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """A code block: its language, its title, its text, and the line of the page on which the text begins."""

    language: str
    title: str
    text: str
    line: int


def pages() -> list[str]:
    """Return every page that somebody wrote, as a path below docs/."""
    return sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def blocks_of(page: str) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    text = (DOCS / page).read_text()
    for found in _FENCE.finditer(text):
        body = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        title = re.search(r'title="([^"]*)"', found["rest"] or "")
        yield Block(found["language"], title[1] if title else "", body, text.count("\n", 0, found.start("text")) + 1)
