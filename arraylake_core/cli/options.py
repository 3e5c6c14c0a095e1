"""The options of a backend, read from its Struct."""

import inspect
from collections.abc import Mapping
from typing import cast

import msgspec

from arraylake_core.secret import Secret

__all__ = ["OptionField", "option_fields"]

_FORMAT_OF_SECRETS = "password"


class OptionField(msgspec.Struct, frozen=True, kw_only=True):
    """One option of a storage platform or an auth method.

    Parameters
    ----------
    name
        As it is written on the command line and in ``extra_config`` or ``auth_config``.
    type
        The JSON types that it takes, or the values where only some are allowed.
    required
        Whether it must be given.
    secret
        Whether it is encrypted at rest and never shown.
    default
        What it is where it is not given.
    help
        What the docstring of the Struct says of it.
    """

    name: str
    type: str
    required: bool
    secret: bool
    default: object = None
    help: str = ""


def option_fields(struct: type[msgspec.Struct]) -> list[OptionField]:
    """Return the fields of an options Struct.

    Examples
    --------
    >>> class Keys(msgspec.Struct):
    ...     '''Keys.
    ...
    ...     Parameters
    ...     ----------
    ...     key
    ...         What opens it.
    ...     '''
    ...     key: Secret
    ...     mode: str | None = None
    >>> [(field.name, field.type, field.required, field.secret) for field in option_fields(Keys)]
    [('key', 'string', True, True), ('mode', 'string', False, False)]
    >>> [field.help for field in option_fields(Keys)]
    ['What opens it.', '']
    """
    _, components = msgspec.json.schema_components([struct], schema_hook=_schema_of_secret)
    schema, told = components[struct.__name__], _told(struct)
    return [
        OptionField(
            name=name,
            type=" or ".join(_types(field)),
            required=name in schema["required"],
            secret=any(part.get("format") == _FORMAT_OF_SECRETS for part in _parts(field)),
            default=field.get("default"),
            help=told.get(name, ""),
        )
        for name, field in schema["properties"].items()
    ]


def _told(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return what a numpydoc docstring says of each parameter, on one line, in plain text."""
    _, _, section = inspect.cleandoc(struct.__doc__ or "").partition("Parameters\n----------\n")
    told: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line.startswith(("---", "===")):
            # The line before was the heading of the next section.
            for name in names:
                told.pop(name, None)
            break
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(":")[0].split(",")]
            told |= dict.fromkeys(names, "")
        else:
            told |= {name: f"{told[name]} {line.strip()}".strip().replace("``", "") for name in names}
    return told


def _schema_of_secret(kind: type) -> dict[str, object]:
    if kind is Secret:
        return {"type": "string", "format": _FORMAT_OF_SECRETS}
    raise NotImplementedError(f"no JSON schema for {kind.__name__}")


def _parts(field: Mapping[str, object]) -> list[Mapping[str, object]]:
    return cast("list[Mapping[str, object]]", field.get("anyOf", [field]))


def _types(field: Mapping[str, object]) -> list[str]:
    names: list[str] = []
    for part in _parts(field):
        allowed = cast("list[object]", part.get("enum", []))
        names += [str(value) for value in allowed if value is not None] or [str(part.get("type", "object"))]
    return [name for name in names if name != "null"]
