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
    return read(site)


def read(site: Path) -> dict[str, Page]:
    """Read every page of a site."""
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in site.rglob("*.html")}


def dead_links(site: Path, built: dict[str, Page]) -> list[str]:
    """Return the links of a site that lead to no page, file or anchor of it."""
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
    return dead


def remote_assets(site: Path, built: dict[str, Page]) -> list[str]:
    """Return what pages and styles of a site would fetch from elsewhere."""
    found = [f"{name}: {url}" for name, page in built.items() for url in page.fetched if _is_elsewhere(url)]
    for path in site.rglob("*.css"):
        found += [
            f"{path.name}: {url}" for url in re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^)\"']*)", path.read_text())
        ]
    # The theme's script would fetch the program that draws these.
    return found + [f"{name}: a diagram" for name, page in built.items() if page.classes & {"mermaid", "arithmatex"}]


def _is_elsewhere(url: str) -> bool:
    return bool(urlsplit(url).netloc) or urlsplit(url).scheme not in ("", "data")


def test_a_dead_link_and_a_remote_asset_are_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<script src="https://cdn.invalid/x.js"></script><link rel="stylesheet" href="own.css"><pre class="mermaid"></pre>'
        '<a href="other.html#there">1</a><a href="other.html#not">2</a><a href="none.html">3</a><a href="https://zarr.dev">4</a>'
    )
    (tmp_path / "other.html").write_text('<h2 id="there">There</h2>')
    (tmp_path / "own.css").write_text("@import url(//fonts.invalid/a.css);")
    built = read(tmp_path)
    assert sorted(dead_links(tmp_path, built)) == ["index.html: none.html", "index.html: other.html#not"]
    assert remote_assets(tmp_path, built) == [
        "index.html: https://cdn.invalid/x.js",
        "own.css: //fonts.invalid/a.css",
        "index.html: a diagram",
    ]


def test_every_link_and_anchor_leads_somewhere(site: Path, built: dict[str, Page]) -> None:
    assert sum(len(page.links) for page in built.values()) > 500
    assert dead_links(site, built) == []


def test_nothing_is_fetched_from_elsewhere(site: Path, built: dict[str, Page]) -> None:
    assert sum(len(page.fetched) for page in built.values()) > len(built)
    assert remote_assets(site, built) == []


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
