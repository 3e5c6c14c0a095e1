"""Links from a page to a file of the repository, which the site does not have: the file's name stands there instead."""

import logging
import re
from pathlib import Path
from typing import Any

_LOG = logging.getLogger("mkdocs.hooks.repository_links")
_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]*)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Replace each link that leads out of docs/ by its text and the path in the repository; a path that is not there is a warning."""
    docs = Path(config.docs_dir)

    def replaced(link: re.Match[str]) -> str:
        text, target = link[1], (docs / page.file.src_uri).parent / link[2]
        place = target.resolve()
        if place.is_relative_to(docs.resolve()):
            return link[0]
        if not place.exists():
            _LOG.warning("%s: %s leads to no file of the repository", page.file.src_uri, link[2])
        path = place.relative_to(docs.parent.resolve()).as_posix()
        return f"`{path}`" if text.strip("`") == path else f"{text} (`{path}` in the repository)"

    return _LINK.sub(replaced, markdown)
