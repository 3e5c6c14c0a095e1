"""``arraylake-core plugins``."""

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from arraylake_core.cli.console import Output, OutputOption, emit, record, table
from arraylake_core.cli.options import OptionField, option_fields
from arraylake_core.cli.plugin_check import Auth, AuthOption, AuthSecret, BucketOption, Option, check_backends
from arraylake_core.cli.plugin_new import new_plugin
from arraylake_core.errors import PluginNotFoundError
from arraylake_core.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Group
    from rich.table import Table

    from arraylake_core.plugins import PluginInfo

__all__ = ["app"]

# In seconds: what takes longer to load says so in the list.
SLOW = 2.5

app = typer.Typer(no_args_is_help=True, help="The installed plugins, and what they bring.")


class PluginState(msgspec.Struct, frozen=True, kw_only=True):
    """An installed plugin, and whether it can be used."""

    name: str
    distribution: str
    version: str
    provides: dict[str, list[str]]
    state: Literal["ok", "slow", "disabled", "broken"]
    error: str | None
    seconds: float | None = None
    """How long it took to load."""


class BackendDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a plugin provides under one name; a repo kind has no options."""

    family: str
    name: str
    schemes: list[str] | None = None
    """The URI schemes of a storage platform."""
    platforms: list[str] | None = None
    """The storage platforms that an auth method serves; None is every one."""
    options: list[OptionField] = msgspec.field(default_factory=list)


class PluginDescription(msgspec.Struct, frozen=True, kw_only=True):
    """An installed plugin, and all that it provides."""

    plugin: PluginState
    backends: list[BackendDescription]


@app.command("list")
def list_plugins(output: OutputOption = Output.TABLE) -> None:
    """List the installed plugins, the broken and the disabled ones too."""
    emit([_state(plugin) for plugin in _installed()], output, _plugins)


@app.command("show")
def show_plugin(
    name: Annotated[str, typer.Argument(help="Name of a plugin, or of a repo kind, storage platform or auth method.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Show what a plugin provides, with the options for `bucket create`."""
    plugin = _named(name)
    emit(PluginDescription(plugin=_state(plugin), backends=list(_backends(plugin))), output, _described)


@app.command("check")
def check_plugin(
    name: Annotated[str, typer.Argument(help="Name of a plugin, or of a repo kind, storage platform or auth method.")],
    bucket: BucketOption = "memory://check",
    option: Option = None,
    auth: Auth = None,
    auth_option: AuthOption = None,
    auth_secret: AuthSecret = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run the quick part of the conformance kit on a plugin, in a bucket.

    The exit code is 1 where a test failed. A platform is checked in a bucket of its own, an auth method where --auth names it.
    """
    check_backends(_named(name), name, bucket, option, auth, auth_option, auth_secret, output)


app.command("new")(new_plugin)


def _installed() -> "list[PluginInfo]":
    from arraylake_core.plugins import default_registry

    return default_registry().plugins()


def _named(name: str) -> "PluginInfo":
    for plugin in _installed():
        if plugin.name == name:
            return plugin
    for plugin in _installed():
        if any(name in names for names in plugin.provides.values()):
            return plugin
    installed = ", ".join(plugin.name for plugin in _installed()) or "none"
    raise PluginNotFoundError(f"no installed plugin is named {shown(name)} or provides it (installed: {installed})")


def _state(plugin: "PluginInfo") -> PluginState:
    return PluginState(
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        provides=plugin.provides,
        state=_health(plugin),
        error=plugin.error,
        seconds=None if plugin.seconds is None else round(plugin.seconds, 3),
    )


def _health(plugin: "PluginInfo") -> Literal["ok", "slow", "disabled", "broken"]:
    if plugin.disabled or plugin.error:
        return "disabled" if plugin.disabled else "broken"
    return "slow" if plugin.seconds is None or plugin.seconds > SLOW else "ok"


def _told(plugin: PluginState) -> str:
    if plugin.state == "slow":
        return "slow: still loading" if plugin.seconds is None else f"slow: it took {plugin.seconds:.1f} s to load"
    return f"{plugin.state}: {plugin.error}" if plugin.error else plugin.state


def _backends(plugin: "PluginInfo") -> "Iterator[BackendDescription]":
    from arraylake_core.plugins import default_registry

    registry = default_registry()
    for family, names in plugin.provides.items() if not plugin.error else ():
        for name in names:
            if family == "storage platform":
                platform = registry.storage_platform(name)
                yield BackendDescription(
                    family=family, name=name, schemes=list(platform.schemes), options=option_fields(platform.options)
                )
            elif family == "auth method":
                method = registry.auth_method(name)
                served = None if method.platforms is None else sorted(method.platforms)
                yield BackendDescription(family=family, name=name, platforms=served, options=option_fields(method.config))
            else:
                yield BackendDescription(family=family, name=name)


def _provided(plugin: PluginState) -> str:
    return "\n".join(f"{family}: {', '.join(names)}" for family, names in plugin.provides.items())


def _plugins(plugins: list[PluginState]) -> "Table":
    return table(
        ("name", "distribution", "version", "provides", "state"),
        [
            (
                plugin.name,
                plugin.distribution,
                plugin.version,
                _provided(plugin),
                _told(plugin),
            )
            for plugin in plugins
        ],
    )


def _described(description: PluginDescription) -> "Group":
    from rich.console import Group
    from rich.text import Text

    plugin = description.plugin
    head = record(
        {
            "plugin": plugin.name,
            "distribution": f"{plugin.distribution} {plugin.version}",
            "state": _told(plugin),
        }
    )
    parts: list[Text | Table] = []
    for backend in description.backends:
        title = f"\n{backend.family} {backend.name}"
        if backend.schemes:
            title += f", for {', '.join(f'{scheme}://' for scheme in backend.schemes)}"
        if backend.platforms:
            title += f", for {', '.join(backend.platforms)}"
        parts.append(Text(title, style="bold"))
        if backend.options:
            parts.append(_options(backend.options))
    return Group(head, *parts)


def _options(options: list[OptionField]) -> "Table":
    return table(
        ("option", "type", "required", "secret", "default", "help"),
        [
            (
                option.name,
                option.type,
                "yes" if option.required else "no",
                "yes" if option.secret else "no",
                "" if option.default is None else msgspec.json.encode(option.default).decode().strip('"'),
                option.help,
            )
            for option in options
        ],
    )
