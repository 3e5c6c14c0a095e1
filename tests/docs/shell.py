"""Calls of the program in lines of shell, held to the commands and options that it really has."""

import shlex
from collections.abc import Iterator
from typing import Any

import typer

from arraylake_core.cli.program import app

__all__ = ["check_call", "words_of"]


def words_of(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of the program in a line of shell."""
    words = shlex.split(line, comments=True)
    for start, word in enumerate(words):
        if word.rpartition("/")[2] == "arraylake-core" and words[start + 1 : start + 2]:
            end = next((at for at in range(start, len(words)) if words[at] in ("&&", "|", "||", ";")), len(words))
            yield words[start + 1 : end]


def check_call(words: list[str]) -> None:
    """Walk the program's commands and options."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "...":
            return
        if word.startswith("-"):
            options = {name: param for param in command.params for name in (*param.opts, *param.secondary_opts)}
            assert word in options, f"{shlex.join(words)}: {word} is none of {sorted(options)}"
            if not getattr(options[word], "is_flag", False) and rest:
                rest.pop(0)
        elif hasattr(command, "commands"):
            assert word in command.commands, f"{shlex.join(words)}: {word} is none of {sorted(command.commands)}"
            command = command.commands[word]
    assert not hasattr(command, "commands") or words == [], f"{shlex.join(words)} names no command"
