"""``arraylake-core plugins new``: a complete distribution, from the templates in this package, that passes its kit as written."""

import re
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated

import typer

from arraylake_core.cli.console import note
from arraylake_core.errors import AlreadyExistsError, InvalidNameError
from arraylake_core.names import shown
from arraylake_core.version import __version__

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from arraylake_core.plugins import Family as PluginFamily

__all__ = ["Family", "new_plugin", "write_plugin"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z", re.ASCII)
_SUFFIX = ".tmpl"


class Family(StrEnum):
    """What a plugin can bring."""

    STORAGE = "storage"
    AUTH = "auth"
    REPO_KIND = "repo-kind"


_FAMILIES: "dict[Family, PluginFamily]" = {
    Family.STORAGE: "storage platform",
    Family.AUTH: "auth method",
    Family.REPO_KIND: "repo kind",
}
# What the templates of a family import at run time, beyond the core.
_LIBRARIES: dict[Family, tuple[str, ...]] = {
    Family.STORAGE: (),
    Family.AUTH: (),
    Family.REPO_KIND: ("fsspec", "obstore", "xarray", "zarr>=3.4"),
}


def new_plugin(
    family: Annotated[Family, typer.Argument(help="What the plugin brings.")],
    name: Annotated[str, typer.Argument(help="What users will write, such as webdav: lower-case letters, digits and '-'.")],
    directory: Annotated[Path, typer.Option(help="Where the project's directory is made.")] = Path(),
) -> None:
    """Write a new plugin: a complete distribution, which passes its tests as written."""
    project = write_plugin(family, name, directory)
    note(f'Wrote {project}. Next: cd {project} && pip install --editable ".[test]" && pytest, then change it test by test.')


def write_plugin(family: Family, name: str, directory: Path) -> Path:
    """Write a distribution, and return its directory.

    Parameters
    ----------
    family
        What it brings.
    name
        The name of what it brings.
    directory
        Where its directory is made.

    Raises
    ------
    InvalidNameError
        The name would be none of a package, or is one that is taken.
    AlreadyExistsError
        There is something at its place.
    """
    from arraylake_core import hookspecs

    if not _NAME.match(name) or len(name) > 40:
        raise InvalidNameError(f"{shown(name)} is no name for a plugin: use lower-case letters, digits and '-', such as 'webdav'")
    distribution = f"arraylake-{name}"
    if taken := _taken(family, name, distribution):
        raise InvalidNameError(f"{shown(name)} is taken: {taken}; choose another name")
    project = directory / distribution
    if project.exists():
        raise AlreadyExistsError(f"{project} is there already: choose another name or --directory, or remove it")
    major, minor = map(int, __version__.split(".")[:2])
    core = f"arraylake-core>={major}.{minor},<{major}.{minor + 1}"
    words = {
        "name": name,
        "package": f"arraylake_{name.replace('-', '_')}",
        "title": "".join(part.capitalize() for part in name.split("-")),
        "dependencies": ", ".join(f'"{needed}"' for needed in (core, *_LIBRARIES[family])),
        "spi": str(hookspecs.SPI),
    }
    for template in ("common", family.value):
        _write(files("arraylake_core") / "templates" / template, project, words)
    return project


def _taken(family: Family, name: str, distribution: str) -> str:
    """Return who has a name, or "" where it is free: a distribution of the same name would replace the one that is installed."""
    from arraylake_core.plugins import EXTRAS, default_registry

    if name == "core" or name in {extra for names in EXTRAS.values() for extra in names.values()}:
        return f"{distribution} is a distribution of this project"
    kind = _FAMILIES[family]
    if name in EXTRAS[kind]:
        return f"it is the {kind} of arraylake-{EXTRAS[kind][name]}"
    for plugin in default_registry().plugins():
        if plugin.distribution == distribution or name in plugin.provides.get(kind, ()):
            return f"{plugin.distribution} is installed"
    return ""


def _write(source: "Traversable", target: Path, words: dict[str, str]) -> None:
    for found in source.iterdir():
        place = target / Template(found.name).substitute(words).removesuffix(_SUFFIX)
        if found.is_dir():
            _write(found, place, words)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(Template(found.read_text()).substitute(words))
