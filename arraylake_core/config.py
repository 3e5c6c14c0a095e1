"""Settings: keyword arguments over ``config.set`` over ``ARRAYLAKE_*`` variables over YAML files over the defaults below.

Files are ``*.yaml`` in ``/etc/arraylake`` and ``~/.config/arraylake``; a variable's name is ``ARRAYLAKE_`` and the setting in capitals,
with two underscores for a dot: ``ARRAYLAKE_SERVICE__URI``. It is donfig underneath (https://donfig.readthedocs.io).

Examples
--------
>>> from arraylake_core import config
>>> with config.set({"user.name": "Ada"}):
...     config.get_str("user.name")
'Ada'
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

from arraylake_core.errors import InvalidOptionError
from arraylake_core.names import shown, suggestion
from arraylake_core.secret import MASK

if TYPE_CHECKING:
    from donfig import Config

__all__ = [
    "SETTINGS",
    "Setting",
    "as_dict",
    "check_names",
    "get_bool",
    "get_entries",
    "get_float",
    "get_list",
    "get_mapping",
    "get_str",
    "known",
    "paths",
    "problems",
    "refresh",
    "set",
    "shown_value",
]


class Setting(NamedTuple):
    """One setting.

    Parameters
    ----------
    name
        With dots.
    kind
        The type of its value.
    default
        What it is where nothing sets it.
    help
        One sentence.
    secret
        Whether its value is hidden in listings.
    """

    name: str
    kind: type
    default: object
    help: str
    secret: bool = False


SETTINGS = (
    Setting(
        "service.uri",
        str,
        None,
        "The catalog: https://… for a service, sqlite:///path, postgresql://… or memory://; unset, the embedded one in the data directory.",
    ),
    Setting(
        "service.database",
        str,
        None,
        "The database of the catalog that the service and `admin` work on: sqlite:///path or postgresql://user:password@host/name.",
        True,
    ),
    Setting("service.token", str, None, "The API token for the service; ARRAYLAKE_TOKEN sets it too.", True),
    Setting("service.allow_http", bool, False, "Whether a service that is not on this machine may be asked over plain http."),
    Setting("service.timeout", float, 60.0, "How many seconds to wait for the service's next byte."),
    Setting("service.retry_seconds", float, 60.0, "For how many seconds a request to the service is tried again."),
    Setting(
        "service.auth", str, "token", "How callers of the service authenticate: token, or none together with the flag --no-auth."
    ),
    Setting(
        "service.allow_networks",
        list,
        [],
        "Hosts and networks to which URLs given by users may lead although they are not public, such as 10.1.0.0/16.",
    ),
    Setting("service.cors_origins", list, [], "Web origins whose pages may call the service."),
    Setting(
        "service.requests_per_second",
        float,
        0.0,
        "How many requests a second a principal may make of a replica; 0 is without limit.",
    ),
    Setting("service.failures_per_minute", float, 60.0, "How many requests a minute from one address may fail to authenticate."),
    Setting(
        "service.logins_per_minute",
        float,
        60.0,
        "How many requests a minute one address may have passed on to identity providers.",
    ),
    Setting("service.issuers", list, [], "The identity providers whose logins the service takes; see docs/production.md."),
    Setting(
        "service.readers_get_keys",
        bool,
        True,
        "Whether readers get the keys of buckets whose auth method has one secret for all, which let them write there as well.",
    ),
    Setting("service.domain", str, None, "The host by which clients reach the service over https; official ones log in there."),
    Setting("service.drain_seconds", float, 30.0, "How long requests may take to finish when the service stops."),
    Setting(
        "data.dir",
        str,
        None,
        "Where the embedded catalog and the default bucket live; unset, the platform's user data directory.",
    ),
    Setting(
        "catalog.key",
        str,
        None,
        "The key that encrypts secrets at rest, 32 bytes in base64; unset, a 0600 file beside the catalog.",
        True,
    ),
    Setting("login.issuer", str, None, "The OpenID provider to log in with where there is no service, for buckets by oauth."),
    Setting("login.client_id", str, None, "The client that this program is at that provider: a public one for people."),
    Setting("login.client_secret", str, None, "The client's secret, where a program logs in, and no person.", True),
    Setting("login.client_secret_file", str, None, "A file that has the client's secret."),
    Setting("login.scopes", str, None, "What a program asks for."),
    Setting("login.audience", str, None, "For whom a program's token is to be, where its provider must be told."),
    Setting("login.dir", str, None, "Where logins are kept as files; unset, the platform's user data directory."),
    Setting(
        "login.store", str, "auto", "Where logins are kept: keyring, file, or auto, which is the keyring where there is one."
    ),
    Setting("user.org", str, None, "The organization to log in to."),
    Setting("user.name", str, None, "The author's name on commits; unset, the operating system's user name."),
    Setting("user.email", str, None, "The author's e-mail address on commits."),
    Setting("repo.kind", str, "icechunk", "The kind of new repos."),
    Setting("repo.restore_days", float, 7.0, "How many days a deleted repo can be restored."),
    Setting("delegation.aws.access_key_id", str, None, "The key of the AWS user that customers' roles trust."),
    Setting("delegation.aws.secret_access_key", str, None, "Its secret.", True),
    Setting("delegation.aws.secret_access_key_file", str, None, "A file that has its secret."),
    Setting("delegation.aws.session_token", str, None, "Its session token, if its key is temporary.", True),
    Setting(
        "delegation.aws.ambient", bool, False, "Whether roles are assumed with the identity of the machine, where no key is set."
    ),
    Setting(
        "delegation.aws.sts_endpoint", str, None, "The URL of the token service, where it is not AWS's of the bucket's region."
    ),
    Setting("delegation.aws.duration_seconds", str, "3600", "The lifetime of a role's credentials, at least 900."),
    Setting("delegation.r2.api_endpoint", str, None, "Cloudflare's API, where it is not api.cloudflare.com/client/v4."),
    Setting(
        "delegation.google.key_file",
        str,
        None,
        "The key file of the service account that impersonates those of customers' buckets.",
    ),
    Setting(
        "delegation.google.ambient",
        bool,
        False,
        "Whether they are impersonated with the identity of the machine, where no key file is set.",
    ),
    Setting(
        "delegation.google.token_endpoint",
        str,
        None,
        "Google's token endpoint for keys, where it is not oauth2.googleapis.com/token.",
    ),
    Setting("delegation.google.sts_endpoint", str, None, "Google's Security Token Service, where it is not sts.googleapis.com."),
    Setting(
        "delegation.google.iam_endpoint",
        str,
        None,
        "Google's IAM Credentials API, where it is not iamcredentials.googleapis.com.",
    ),
    Setting("delegation.azure.client_id", str, None, "The deployment's application in Microsoft Entra."),
    Setting("delegation.azure.client_secret", str, None, "Its secret.", True),
    Setting("delegation.azure.client_secret_file", str, None, "A file that has its secret."),
    Setting(
        "delegation.azure.blob_endpoint",
        str,
        None,
        "The one blob endpoint outside of Azure's clouds that tokens of Entra may go to.",
    ),
    Setting(
        "delegation.azure.login_endpoint",
        str,
        None,
        "Microsoft Entra's login endpoint, where it is not login.microsoftonline.com.",
    ),
    Setting("plugins.disabled", list, [], "Entry points of plugins that are not loaded."),
    Setting("plugins.prefer", dict, {}, "Which distribution provides a name that two claim: {name: distribution}."),
)

_PASSWORD = re.compile(r"(://[^/@:]*:)[^/@]*@")

_BY_NAME = {setting.name: setting for setting in SETTINGS}
_SECTIONS = frozenset(setting.name.rpartition(".")[0] for setting in SETTINGS)

# Variables that are read elsewhere: here and by donfig.
_ELSEWHERE = frozenset({"token", "debug", "config", "root_config", "internal_inherit_config"})


@cache
def _config() -> "Config":
    from donfig import Config

    defaults: dict[str, object] = {}
    for setting in SETTINGS:
        *sections, key = setting.name.split(".")
        inner = defaults
        for section in sections:
            inner = cast("dict[str, object]", inner.setdefault(section, {}))
        inner[key] = setting.default
    try:
        return Config("arraylake", defaults=[defaults])
    except ValueError as error:
        # Only what donfig says before the YAML reader's own words, which repeat the file's contents.
        what = str(error).partition(" is malformed")[0]
        raise InvalidOptionError(f"the settings can't be read: {what} is no YAML mapping; correct or remove the file") from None


def set(settings: Mapping[str, object]) -> AbstractContextManager[object]:  # noqa: A001 - the name that donfig's users know
    """Change settings, for good or, as a context manager, for a while.

    Parameters
    ----------
    settings
        Names with dots, and values.
    """
    for name in settings:
        known(name)
    return cast("AbstractContextManager[object]", _config().set(dict(settings)))


def refresh() -> None:
    """Read the files and the environment again, forgetting what ``set`` changed."""
    _config.cache_clear()


def paths() -> list[str]:
    """Return the places where YAML files are looked for; later ones win."""
    return list(_config().paths)


def get_str(name: str) -> str | None:
    """Return a text setting, or None where it is unset."""
    value = _config().get(name, None)
    if value is not None and not isinstance(value, str | int | float):
        raise _wrong(name, "text")
    return str(value) if value not in (None, "") else None


def get_float(name: str) -> float:
    """Return a number setting."""
    value = _config().get(name, known(name).default)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _wrong(name, "a number") from None


def get_bool(name: str) -> bool:
    """Return a setting that is true or false."""
    value = _config().get(name, known(name).default)
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _wrong(name, "true or false")


def get_list(name: str) -> list[str]:
    """Return a list setting; a single text counts as a list of one."""
    value = _config().get(name, None) or []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list | tuple):
        raise _wrong(name, "a list")
    return [str(item) for item in value]


def get_entries(name: str) -> list[object]:
    """Return a setting that is a list of mappings."""
    value = _config().get(name, None) or []
    if not isinstance(value, list | tuple):
        raise _wrong(name, "a list")
    return list(value)


def get_mapping(name: str) -> dict[str, str]:
    """Return a mapping setting."""
    value = _config().get(name, None) or {}
    if not isinstance(value, Mapping):
        raise _wrong(name, "a mapping")
    return {str(key): str(item) for key, item in value.items()}


def as_dict() -> dict[str, object]:
    """Return every setting and its value, the secret ones as stars."""
    return {setting.name: shown_value(setting.name) for setting in SETTINGS}


def shown_value(name: str) -> object:
    """Return the value of a setting as it may be shown: stars where it is secret, or where a URI holds a password."""
    value = _config().get(name, known(name).default)
    if known(name).secret and value:
        return MASK
    return _PASSWORD.sub(rf"\1{MASK}@", value) if isinstance(value, str) else value


def check_names(*sections: str) -> None:
    """Refuse names that files or variables set below these sections and that nothing reads, so that no rule is thought to hold that does not.

    Sections of other names pass, which may be those of plugins, and so do variables such as ``ARRAYLAKE_SERVICE_HOST``, which Kubernetes makes.

    Raises
    ------
    InvalidOptionError
        There are some: all of them are named, and what may be meant.
    """
    guarded = (*(f"{section}." for section in sections),)
    found = [f"{shown(name)}{hint}" for name, belongs, hint in _unknown() if name in sections or belongs.startswith(guarded)]
    if found:
        raise InvalidOptionError(
            f"unknown settings, which nothing would follow: {'; '.join(found)}. Correct them, or take them out: "
            "`arraylake-core config list` has all that there are, and `config path` says where they are read"
        )


def problems() -> list[str]:
    """Return what is wrong with what files and variables set: names that nothing reads, and values of a wrong type."""
    found = [f"unknown setting {shown(name)}{hint}" for name, _, hint in _unknown()]
    readers = {bool: get_bool, float: get_float, list: get_entries, dict: get_mapping, str: get_str}
    for setting in SETTINGS:
        try:
            if setting.kind is not list or not isinstance(_config().get(setting.name, None), str):
                readers[setting.kind](setting.name)
        except InvalidOptionError as error:
            found.append(str(error))
    return found


def _unknown() -> Iterator[tuple[str, str, str]]:
    """Return each name that is set and that no setting has, below which section it was meant to be, with a dot, and which setting may be meant."""
    from difflib import get_close_matches

    flat = {name.replace(".", "_"): name for name in _BY_NAME}
    words = {section.rpartition(".")[2]: section for section in _SECTIONS}
    for name in _names(_config().config, ""):
        section = name.rpartition(".")[0]
        # One underscore for a dot is the likeliest slip in a variable's name.
        if (meant := flat.get(name.replace(".", "_"))) is not None:
            yield name, meant, f": did you mean {meant!r}?"
        elif section in _SECTIONS:
            yield name, name, suggestion(name, _BY_NAME)
        else:
            close = get_close_matches(section.rpartition(".")[2], words, n=1, cutoff=0.75)
            yield name, f"{words[close[0]]}." if close else "", suggestion(name, _BY_NAME) if close else ""


def _names(values: Mapping[str, object], section: str) -> Iterator[str]:
    for key, value in values.items():
        name = f"{section}{key}".replace("-", "_")
        if name in _BY_NAME or name in _ELSEWHERE:
            continue
        if isinstance(value, Mapping):
            yield from _names(value, f"{name}.")
        elif value is not None:
            yield name


def known(name: str) -> Setting:
    """Return a setting by its name; InvalidOptionError where there is none."""
    if name not in _BY_NAME:
        raise InvalidOptionError(f"unknown setting {shown(name)}: known are {', '.join(_BY_NAME)}")
    return _BY_NAME[name]


def _wrong(name: str, expected: str) -> InvalidOptionError:
    return InvalidOptionError(f"the setting {name!r} must be {expected}: see `arraylake-core config list`")
