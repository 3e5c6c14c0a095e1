"""What plugins build on does not change unnoticed: the public interface is written down, and each change of it is in the changelog.

``python tests/core/test_spi.py`` writes tests/core/spi.json anew, once CHANGELOG.md tells of what has changed.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template

import griffe

from arraylake_core import hookspecs

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("spi.json")
PUBLIC = ("arraylake_core.backends", "arraylake_core.hookspecs", "arraylake_core.testing")


# What plugins may import, as docs/plugin-author-guide.md says: these modules, and those below them.
IMPORTABLE = (*PUBLIC, *(f"arraylake_core.{name}" for name in ("errors", "loops", "models", "names", "secret")))


def imported(source: str) -> Iterator[str]:
    """Return what a module imports of the core, each as a path; a name is private where a part of it is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("arraylake_core"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("arraylake_core"))


def plugins_of_strangers() -> dict[str, str]:
    """Return the modules of the examples, and of what ``plugins new`` writes, with their tests."""
    found = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "examples").glob("*/*/**/*.py")}
    words = {"name": "shelf", "package": "arraylake_shelf", "title": "Shelf", "core": "0.1", "spi": "1"}
    for path in (ROOT / "arraylake_core" / "templates").rglob("*.py.tmpl"):
        found[str(path.relative_to(ROOT))] = Template(path.read_text()).substitute(words)
    return found


def test_plugins_of_strangers_import_what_is_public():
    modules = plugins_of_strangers()
    assert len(modules) > 15
    wrong = []
    for path, source in modules.items():
        for name in imported(source):
            public = name == "arraylake_core.Client" or any(name.startswith(f"{module}.") for module in IMPORTABLE)
            if not public or any(part.startswith("_") for part in name.split(".")):
                wrong.append((path, name))
    assert wrong == []


def test_the_guide_lists_what_plugins_may_import():
    guide = (ROOT / "docs" / "plugin-author-guide.md").read_text()
    assert [module for module in IMPORTABLE if f"`{module}`" not in guide] == []


def interface() -> dict[str, str]:
    """Return each public name of the plugin interface, with its signature or kind."""
    package = griffe.load("arraylake_core", search_paths=[ROOT], resolve_aliases=True)
    found: dict[str, str] = {}
    for path in PUBLIC:
        module = package[path.removeprefix("arraylake_core.")]
        for name in module.exports or ():
            found |= dict(_described(f"{path}.{name}", module[str(name)]))
    return dict(sorted(found.items()))


def _described(path: str, found: griffe.Object | griffe.Alias) -> Iterator[tuple[str, str]]:
    if found.is_class:
        yield path, f"class({', '.join(str(base) for base in found.bases)})"
        for name, member in found.members.items():
            if not name.startswith("_"):
                yield from _described(f"{path}.{name}", member)
    elif found.is_function:
        parameters = ", ".join(f"{each.name}: {each.annotation} = {each.default} ({each.kind})" for each in found.parameters)
        yield path, f"def({parameters}) -> {found.returns}"
    elif found.is_attribute:
        yield path, f"{found.annotation or ''} = {found.value if 'instance-attribute' not in found.labels else ''}"


def changed(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return the names that came, went, or are not what they were; of a class that came, itself alone."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return [name for name in names if not any(name.startswith(f"{other}.") for other in names)]


def untold(names: list[str]) -> list[str]:
    """Return those that the changelog of the next release does not name."""
    release = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    told = set(re.findall(r"[\w.]+", release))
    return [name for name in names if not {name, ".".join(name.split(".")[-2:]), name.rpartition(".")[2]} & told]


def test_the_interface_is_what_is_written_down():
    golden = json.loads(GOLDEN.read_text())
    assert changed(golden["interface"], interface()) == [], "tell it in CHANGELOG.md, and run python tests/core/test_spi.py"
    assert golden["version"] == hookspecs.SPI


def test_every_change_since_the_last_release_is_in_the_changelog():
    assert untold(json.loads(GOLDEN.read_text())["changed"]) == []


def test_a_change_is_noticed():
    before = {"a.Thing": "class()", "a.Thing.name": "str = ", "a.run": "def(x: int) -> None"}
    assert changed(before, before) == []
    assert changed(before, {**before, "a.run": "def(x: str) -> None"}) == ["a.run"]
    assert changed(before, {"a.run": "def(x: int) -> None"}) == ["a.Thing"]
    assert changed(before, {**before, "a.Thing.size": "int = "}) == ["a.Thing.size"]
    assert untold(["arraylake_core.backends.NotInAnyChangelog"]) == ["arraylake_core.backends.NotInAnyChangelog"]


def write() -> None:
    """Write the interface down as it is now, if the changelog tells what has changed."""
    now = interface()
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {"interface": now, "changed": []}
    names = sorted({*golden["changed"], *changed(golden["interface"], now)})
    if missing := untold(names):
        sys.exit(f"CHANGELOG.md does not tell of: {', '.join(missing)}")
    GOLDEN.write_text(json.dumps({"version": hookspecs.SPI, "changed": names, "interface": now}, indent=1) + "\n")


if __name__ == "__main__":
    write()
