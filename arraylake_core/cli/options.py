"""The options of a backend, read from its Struct."""

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
    """

    name: str
    type: str
    required: bool
    secret: bool
    default: object = None


def option_fields(struct: type[msgspec.Struct]) -> list[OptionField]:
    """Return the fields of an options Struct.

    Examples
    --------
    >>> class Keys(msgspec.Struct):
    ...     key: Secret
    ...     mode: str | None = None
    >>> [(field.name, field.type, field.required, field.secret) for field in option_fields(Keys)]
    [('key', 'string', True, True), ('mode', 'string', False, False)]
    """
    _, components = msgspec.json.schema_components([struct], schema_hook=_schema_of_secret)
    schema = components[struct.__name__]
    return [
        OptionField(
            name=name,
            type=" or ".join(_types(field)),
            required=name in schema["required"],
            secret=any(part.get("format") == _FORMAT_OF_SECRETS for part in _parts(field)),
            default=field.get("default"),
        )
        for name, field in schema["properties"].items()
    ]


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
