"""Turning what a user gave into an options Struct, or saying which field is wrong."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from arraylake_core.errors import InvalidOptionError
from arraylake_core.secret import Secret

__all__ = ["decode_struct"]


def decode_struct[S: msgspec.Struct](struct: type[S], values: Mapping[str, object], what: str) -> S:
    """Turn what a user gave into an options Struct, or say which field is wrong; a value is never repeated in the message.

    Parameters
    ----------
    struct
        The Struct that the options must fit.
    values
        Field names and values.
    what
        What the options are for, for the message.

    Raises
    ------
    InvalidOptionError
        A field is unknown, missing, or has the wrong type.

    Examples
    --------
    >>> from arraylake_core.models import Author
    >>> decode_struct(Author, {"name": "Ada", "mail": "x"}, "author")
    Traceback (most recent call last):
        ...
    arraylake_core.errors.InvalidOptionError: unknown author option 'mail': known are name, email
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name in values:
        if name not in fields:
            known = ", ".join(fields) or "none at all"
            raise InvalidOptionError(f"unknown {what} option {str(name)[:60]!r}: known are {known}")
    for name, field in fields.items():
        if field.required and name not in values:
            raise InvalidOptionError(f"the {what} option {name!r} is missing: it must be given")
        if name in values:
            _check_field(name, field.type, values[name], what)
    try:
        return msgspec.convert(dict(values), struct, dec_hook=_decode_secret)
    except msgspec.ValidationError as error:
        raise InvalidOptionError(f"invalid {what} options: {error}") from None


def _check_field(name: str, kind: object, value: object, what: str) -> None:
    try:
        msgspec.convert(value, kind, dec_hook=_decode_secret)
    except (msgspec.ValidationError, ValueError):
        expected = " or ".join(_type_names(kind))
        raise InvalidOptionError(
            f"the {what} option {name!r} must be {expected}, not a {type(value).__name__}"
            if not isinstance(value, str) or "text" not in expected
            else f"the {what} option {name!r} has a value that is not allowed: it must be {expected}"
        ) from None


def _type_names(kind: object) -> list[str]:
    from typing import Annotated, get_args, get_origin

    if get_origin(kind) is Annotated:
        return _type_names(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return [repr(value) for value in get_args(kind)]
    names = {str: "text", bool: "true or false", int: "a whole number", float: "a number", Secret: "text", type(None): "left out"}
    args = get_args(kind)
    if args and not isinstance(kind, type):
        return [name for arg in args for name in _type_names(arg) if name != "left out"]
    return [names.get(kind, str(kind))] if isinstance(kind, type) else [str(kind)]


def _decode_secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, Secret):
        return value
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError(f"expected {kind.__name__}")
