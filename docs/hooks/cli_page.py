"""The page of the command line, made from the program's own commands and options."""

from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.structure.files import File

from arraylake_core.cli.program import app

_HEAD = """# Command line

Data go to standard output, all else to standard error. The exit code is 0, 1 where something was refused or failed, and 2 where the command line itself was
wrong. `--output json` makes one JSON document of what a command prints. `arraylake-core COMMAND --help` says what this page says.

"""


def page() -> str:
    """Return the page as Markdown."""
    program = typer.main.get_command(app)
    lines = [_HEAD, "## Options before the command", "", *_options(program)]
    for name, command in program.commands.items():
        lines += [f"## {name}", "", _text(command.help or ""), ""]
        if hasattr(command, "commands"):
            for inner in command.commands.values():
                lines += [f"### {name} {inner.name}", "", *_command(f"{name} {inner.name}", inner)]
        else:
            lines += _command(name, command)
    return "\n".join(lines)


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [param.name for param in command.params if param.param_type_name == "argument"]
    yield "```text"
    yield " ".join(["arraylake-core", name, *(word.upper() for word in arguments), "[OPTIONS]"])
    yield "```"
    yield ""
    if hasattr(command, "callback") and " " in name:
        yield _text(command.help or "")
        yield ""
    yield from _options(command)


def _options(command: Any) -> Iterator[str]:
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    if shown:
        yield "| | takes | default | |"
        yield "| --- | --- | --- | --- |"
        for param in shown:
            argument = param.param_type_name == "argument"
            names = (
                f"`{param.name.upper()}`" if argument else ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
            )
            yield f"| {names} | {_takes(param)} | {_default(param)} | {_text(param.help or '').replace('|', chr(92) + '|')} |"
        yield ""


def _takes(param: Any) -> str:
    if getattr(param, "is_flag", False):
        return "no value"
    kind = getattr(param.type_descriptor, "annotation", str)
    values = [member.value for member in kind] if hasattr(kind, "__members__") else []
    return " or ".join(f"`{value}`" for value in values) or f"`{param.metavar or getattr(kind, '__name__', 'text')}`"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if param.default in (None, False, [], ()) or callable(param.default):
        return ""
    return f"`{getattr(param.default, 'value', param.default)}`"


def _text(text: str) -> str:
    return " ".join(text.split()) if "\n\n" not in text else text


def on_files(files: Any, *, config: Any) -> Any:
    """Add the page to the site."""
    files.append(File.generated(config, "reference/cli.md", content=page()))
    return files
