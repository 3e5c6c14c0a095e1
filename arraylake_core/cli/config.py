"""``arraylake-core config``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from arraylake_core import config
from arraylake_core.cli.console import Output, OutputOption, emit, note, table

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="The settings, and where they come from.")


class SettingValue(msgspec.Struct, frozen=True, kw_only=True):
    """A setting as it is now; a secret one as stars."""

    name: str
    value: object
    default: object
    variable: str
    """The environment variable that sets it."""
    help: str


class ConfigPlace(msgspec.Struct, frozen=True, kw_only=True):
    """A place of this machine: where YAML files with settings are looked for, of which later ones win, or what the embedded catalog keeps."""

    what: str
    path: str
    exists: bool


@app.command("list")
def list_settings(output: OutputOption = Output.TABLE) -> None:
    """List the settings with their values, the secret ones as stars, and warn of names and values that can't be."""
    values = config.as_dict()
    settings = [
        SettingValue(
            name=setting.name,
            value=values[setting.name],
            default=setting.default,
            variable=f"ARRAYLAKE_{setting.name.upper().replace('.', '__')}",
            help=setting.help,
        )
        for setting in config.SETTINGS
    ]
    emit(settings, output, _settings)
    for problem in config.problems():
        note(f"warning: {problem}")


@app.command("get")
def get_setting(
    name: Annotated[str, typer.Argument(help="The setting, such as service.uri.")], output: OutputOption = Output.TABLE
) -> None:
    """Print the value of a setting; nothing where it is unset, stars where it is secret."""
    emit(config.shown_value(name), output, _value)


@app.command("path")
def show_paths(output: OutputOption = Output.TABLE) -> None:
    """List where YAML files with settings are looked for, later places winning over earlier ones, and where the embedded catalog and its key lie."""
    from arraylake_core.catalog.open import data_dir

    found = [("settings", Path(path)) for path in config.paths()]
    directory = data_dir()
    found += [("data directory", directory), ("embedded catalog", directory / "catalog.db")]
    if config.get_str("catalog.key") is None:
        found.append(("its key", directory / "catalog.key"))
    emit([ConfigPlace(what=what, path=str(path), exists=path.exists()) for what, path in found], output, _places)


def _text(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _value(value: object) -> "Text":
    from rich.text import Text

    return Text(_text(value))


def _settings(settings: list[SettingValue]) -> "Table":
    rows = [(setting.name, _text(setting.value), _text(setting.default), setting.variable, setting.help) for setting in settings]
    return table(("setting", "value", "default", "environment variable", "help"), rows)


def _places(places: list[ConfigPlace]) -> "Table":
    return table(("what", "path", "exists"), [(place.what, place.path, "yes" if place.exists else "no") for place in places])
