"""What is written on the command line as KEY=VALUE, turned into what the client takes."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import msgspec

    from arraylake_core.models import Scalar

__all__ = ["AGE_HELP", "METADATA_HELP", "age", "age_or_time", "json_pairs", "pairs", "typed"]

METADATA_HELP = "VALUE is JSON; what is no JSON is taken as text. May be repeated."
AGE_HELP = "a number of weeks, days, hours or minutes, such as 2w, 8d, 12h or 30m"
_AGE = re.compile(r"(\d{1,6})([wdhm])")
_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}


def pairs(items: Sequence[str] | None, option: str) -> dict[str, str]:
    """Take KEY=VALUE apart; an error never repeats a value, which may be a secret in the wrong place.

    Parameters
    ----------
    items
        As they were written.
    option
        The option that they were given to, for errors.
    """
    found: dict[str, str] = {}
    for item in items or ():
        key, separator, value = item.partition("=")
        if not separator or not key:
            raise typer.BadParameter("write it as KEY=VALUE", param_hint=option)
        if key in found:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint=option)
        found[key] = value
    return found


def json_pairs(items: Sequence[str] | None, option: str) -> "dict[str, Scalar | list[Scalar]] | None":
    """Take KEY=VALUE apart, and read each value as JSON, or as text where it is none; None where nothing was given.

    Examples
    --------
    >>> json_pairs(["ocean=arctic", "levels=[1, 2]", 'version="1.10"'], "--metadata")
    {'ocean': 'arctic', 'levels': [1, 2], 'version': '1.10'}
    """
    return {key: _json_or_text(value) for key, value in pairs(items, option).items()} or None


def _json_or_text(text: str) -> "Scalar | list[Scalar]":
    import msgspec

    try:
        value: Scalar | list[Scalar] = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return value


def typed(values: Mapping[str, str], struct: "type[msgspec.Struct]") -> dict[str, object]:
    """Read each value as its field in an options Struct has it; what does not fit stays text, which the client then refuses.

    Examples
    --------
    >>> import msgspec
    >>> class Options(msgspec.Struct):
    ...     region: str | None = None
    ...     use_ssl: bool = True
    >>> typed({"region": "1", "use_ssl": "false"}, Options)
    {'region': '1', 'use_ssl': False}
    """
    import msgspec

    kinds = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    read: dict[str, object] = {}
    for name, text in values.items():
        read[name] = text
        for strict in (True, False):
            try:
                read[name] = msgspec.convert(text, kinds.get(name, str), strict=strict)
                break
            except msgspec.ValidationError:
                continue
    return read


def age(text: str, option: str) -> timedelta:
    """Read an age.

    Examples
    --------
    >>> age("36h", "--grace")
    datetime.timedelta(days=1, seconds=43200)
    """
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no age: write {AGE_HELP}", param_hint=option)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def age_or_time(text: str, option: str) -> timedelta | datetime:
    """Read an age, or a time with its time zone.

    Examples
    --------
    >>> age_or_time("2026-01-31T12:00Z", "--older-than").isoformat()
    '2026-01-31T12:00:00+00:00'
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return age(text, option)
    if time.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} has no time zone: write it as 2026-01-31T12:00Z or 2026-01-31T12:00+01:00", param_hint=option
        )
    return time
