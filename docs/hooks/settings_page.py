"""The page of the settings, made from ``arraylake_core.config.SETTINGS``."""

from typing import Any

from mkdocs.structure.files import File

from arraylake_core.config import SETTINGS, Setting

_HEAD = """# Settings

Keyword arguments win over `arraylake_core.config.set({...})`, that over `ARRAYLAKE_*` variables, and those over the YAML files
`~/.config/arraylake/*.yaml` and `/etc/arraylake/*.yaml`. A variable has two underscores for a dot: `service.uri` is `ARRAYLAKE_SERVICE__URI`.
`arraylake-core config list` shows what is set; the values of secret settings are never shown.

"""


def page() -> str:
    """Return the page as Markdown."""
    lines = [_HEAD]
    for section in dict.fromkeys(setting.name.split(".")[0] for setting in SETTINGS):
        lines += [f"\n## {section}\n", "| setting | type | default | what it is |", "| --- | --- | --- | --- |"]
        lines += [_row(setting) for setting in SETTINGS if setting.name.split(".")[0] == section]
    return "\n".join(lines) + "\n"


def _row(setting: Setting) -> str:
    default = f"`{setting.default}`" if setting.default not in (None, [], {}) else ""
    text = setting.help.replace("|", "\\|") + (" *Secret.*" if setting.secret else "")
    return f"| `{setting.name}` | {setting.kind.__name__} | {default} | {text} |"


def on_files(files: Any, *, config: Any) -> Any:
    """Add the page to the site."""
    files.append(File.generated(config, "reference/settings.md", content=page()))
    return files
