"""An ``auth_config`` from the command line, whose secrets never stand in it: other users of the machine can read its words."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from arraylake_core.cli.console import hide
from arraylake_core.cli.options import OptionField, option_fields
from arraylake_core.cli.values import pairs, typed
from arraylake_core.secret import Secret

__all__ = ["auth_config"]

_OPTION, _SECRET = "--auth-option", "--auth-secret"


def auth_config(method: str | None, options: Sequence[str] | None, secrets: Sequence[str] | None) -> dict[str, object] | None:
    """Return an ``auth_config``, its secrets as Secrets; None where nothing was said of it.

    Parameters
    ----------
    method
        The auth method.
    options
        KEY=VALUE for the fields that are no secrets.
    secrets
        KEY, KEY=env:VARIABLE or KEY=@FILE for those that are.
    """
    if method is None:
        if options or secrets:
            raise typer.BadParameter("say which auth method the options are for", param_hint="--auth")
        return None
    from arraylake_core.plugins import default_registry

    struct = default_registry().auth_method(method).config
    fields = {field.name: field for field in option_fields(struct)}
    plain = pairs(options, _OPTION)
    for key in plain:
        if _field(key, fields, _OPTION).secret:
            raise typer.BadParameter(
                f"{key!r} is a secret, which must not stand on the command line: give {_SECRET} {key} to be asked for it, "
                f"{_SECRET} {key}=env:VARIABLE, or {_SECRET} {key}=@FILE",
                param_hint=_OPTION,
            )
    hidden: dict[str, object] = {}
    for item in secrets or ():
        key, _, source = item.partition("=")
        if not _field(key, fields, _SECRET).secret:
            raise typer.BadParameter(f"{key!r} is no secret: give it with {_OPTION}", param_hint=_SECRET)
        if key in hidden:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint=_SECRET)
        hidden[key] = _secret(key, source)
    return {"method": method, **typed(plain, struct), **hidden}


def _field(key: str, fields: Mapping[str, OptionField], option: str) -> OptionField:
    if key not in fields:
        # What stands in the place of a key may be a secret too, so that it is not repeated.
        known = ", ".join(fields) or "none at all"
        raise typer.BadParameter(f"the auth method has no option of that name: known are {known}", param_hint=option)
    return fields[key]


def _secret(key: str, source: str) -> Secret:
    if source.startswith("env:"):
        value = os.environ.get(source.removeprefix("env:"), "")
        return _given(key, value, f"the variable {source.removeprefix('env:')!r} is not set")
    if source.startswith("@"):
        try:
            value = Path(source[1:]).expanduser().read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter(f"can't read {source[1:]!r}: {type(error).__name__}", param_hint=_SECRET) from None
        return _given(key, value, f"the file {source[1:]!r} is empty")
    if source:
        raise typer.BadParameter(
            f"a secret must not stand on the command line: write {key}=env:VARIABLE, {key}=@FILE, or {key} alone to be asked for it",
            param_hint=_SECRET,
        )
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            f"nobody is there to be asked for {key!r}: write {key}=env:VARIABLE or {key}=@FILE", param_hint=_SECRET
        )
    return hide(typer.prompt(key, hide_input=True, err=True))


def _given(key: str, value: str, otherwise: str) -> Secret:
    if not value:
        raise typer.BadParameter(f"no value for {key!r}: {otherwise}", param_hint=_SECRET)
    return hide(value)
