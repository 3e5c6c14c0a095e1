"""The page of what ships: each storage platform and auth method with the options of its Struct."""

from typing import Any

import msgspec
from mkdocs.structure.files import File

from arraylake_core.cli.options import OptionField, option_fields
from arraylake_core.plugins import PluginRegistry

_HEAD = """# Options of bucket configs

What `extra_config` and `auth_config` of a bucket config take, for every storage platform and auth method of this project. On the command line they are
`--option KEY=VALUE`, `--auth-option KEY=VALUE` and `--auth-secret KEY`. `arraylake-core plugins show NAME` says the same of what you have installed, plugins
of others included. What goes with what is in [the table of backends](../backends.md).

"""


def page() -> str:
    """Return the page as Markdown."""
    registry = PluginRegistry()
    provided: dict[str, list[str]] = {"storage platform": [], "auth method": []}
    for plugin in registry.plugins():
        for family, names in plugin.provides.items():
            if plugin.distribution.startswith("arraylake-") and family in provided:
                provided[family] += names
    lines = [_HEAD, "## Storage platforms", ""]
    for name in sorted(provided["storage platform"]):
        platform = registry.storage_platform(name)
        schemes = ", ".join(f"`{scheme}://`" for scheme in platform.schemes)
        lines += [f"### {name}", "", f"URIs: {schemes}.", "", *_table(option_fields(platform.options))]
    lines += ["## Auth methods", ""]
    for name in sorted(provided["auth method"]):
        method = registry.auth_method(name)
        served = f"the platforms {_names(method.platforms)}" if method.platforms else "every platform"
        lines += [f"### {name} {{#auth-{name}}}", "", f"For {served}.", "", *_table(option_fields(method.config))]
    return "\n".join(lines)


def _names(platforms: frozenset[str]) -> str:
    return ", ".join(f"`{platform}`" for platform in sorted(platforms))


def _table(fields: list[OptionField]) -> list[str]:
    if not fields:
        return ["It takes no options.", ""]
    rows = [f"| `{field.name}` | {field.type} | {_default(field)} | {'yes' if field.secret else ''} |" for field in fields]
    return ["| option | type | default | secret |", "| --- | --- | --- | --- |", *rows, ""]


def _default(field: OptionField) -> str:
    if field.required:
        return "required"
    return "" if field.default is None else f"`{msgspec.json.encode(field.default).decode()}`"


def on_files(files: Any, *, config: Any) -> Any:
    """Add the page to the site."""
    files.append(File.generated(config, "reference/options.md", content=page()))
    return files
