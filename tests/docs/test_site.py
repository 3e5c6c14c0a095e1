"""The site is built strictly, without the network; every link leads somewhere, and nothing is fetched from elsewhere by who reads it."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml

from arraylake_core import backends, testing
from arraylake_core.cli.program import app
from arraylake_core.config import SETTINGS
from arraylake_core.service.routes import ROUTES
from tests.docs.blocks import ROOT, pages

HERE = "https://site.invalid/"
# Attributes whose URL a browser fetches by itself; those of links that people follow are not among them.
FETCHED = {
    ("img", "src"),
    ("script", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("object", "data"),
}
FETCHED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload"}


class Page(HTMLParser):
    """What a page links to, what it fetches, and where one can jump to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.anchors: set[str] = set()
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.classes |= set(values.get("class", "").split())
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        if tag == "link" and set(values.get("rel", "").split()) & FETCHED_LINKS:
            self.fetched.add(values["href"])
        self.fetched |= {value for name, value in values.items() if (tag, name) in FETCHED}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with every way out of this machine leading nowhere."""
    place = tmp_path_factory.mktemp("site")
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", place],
        cwd=ROOT,
        env=os.environ | nowhere | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.fixture(scope="module")
def built(site: Path) -> dict[str, Page]:
    """Every page of the site, by its path."""
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in site.rglob("*.html")}


def test_every_link_and_anchor_leads_somewhere(site: Path, built: dict[str, Page]) -> None:
    dead: list[str] = []
    for name, page in built.items():
        # What is not found is answered at any path, so that the page for it links from the root.
        for link in page.links if name != "404.html" else ():
            target = urlsplit(urljoin(f"{HERE}{name}", link))
            if f"{target.scheme}://{target.netloc}/" != HERE:
                continue
            path = unquote(target.path).lstrip("/") or "index.html"
            path = f"{path}index.html" if path.endswith("/") else path
            if path not in built:
                dead += [] if (site / path).is_file() else [f"{name}: {link}"]
            elif target.fragment and unquote(target.fragment) not in built[path].anchors:
                dead.append(f"{name}: {link}")
    assert dead == []


def test_nothing_is_fetched_from_elsewhere(site: Path, built: dict[str, Page]) -> None:
    fetched = {(name, url) for name, page in built.items() for url in page.fetched}
    assert len(fetched) > len(built)
    assert {(name, url) for name, url in fetched if urlsplit(url).scheme not in ("", "data") or urlsplit(url).netloc} == set()
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']*", styles) == []
    # The theme's script would fetch the program that draws these.
    assert [name for name, page in built.items() if page.classes & {"mermaid", "arithmatex"}] == []


def test_every_page_is_there_and_in_the_navigation(built: dict[str, Page]) -> None:
    for page in pages():
        name = page.removesuffix("index.md") + "index.html" if page.endswith("index.md") else page.replace(".md", ".html")
        assert name in built, page
        linked = {urlsplit(urljoin(HERE, link)).path.lstrip("/") or "index.html" for link in built["index.html"].links}
        assert {name, name.removesuffix("index.html")} & linked, f"{page} is not in the navigation of mkdocs.yml"


def test_what_is_made_from_the_code_is_all_there(site: Path, built: dict[str, Page]) -> None:
    text = {
        name: re.sub(r"<[^>]+>", "", (site / "reference" / f"{name}.html").read_text()) for name in ("settings", "cli", "http")
    }
    assert [setting.name for setting in SETTINGS if setting.name not in text["settings"]] == []
    assert [
        f"{route.method} {path}" for route in ROUTES if f"{route.method} {(path := _plain(route.path))}" not in text["http"]
    ] == []
    groups = [group.name for group in app.registered_groups]
    assert [
        name for name in groups if not any(anchor.startswith(name or "?") for anchor in built["reference/cli.html"].anchors)
    ] == []
    for module, page in ((backends, "reference/spi.html"), (testing, "reference/testing.html")):
        ends = {anchor.rpartition(".")[2] for anchor in built[page].anchors}
        assert set(module.__all__) - ends - {"CANARY"} == set(), page


def _plain(path: str) -> str:
    return re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path)


def test_the_settings_stay_those_that_fetch_nothing() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert settings["strict"] is True
    assert settings["theme"]["font"] is False
    assert [next(iter(plugin)) if isinstance(plugin, dict) else plugin for plugin in settings["plugins"]] == [
        "search",
        "mkdocstrings",
    ]
