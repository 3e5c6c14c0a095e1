"""Where a PostgreSQL database is, as a URI, and its password, which is kept apart from it.

The URI without secrets is what a catalog shows, what is pickled, and by which this process finds the password again. In another process the password comes
from a setting that names the same database, from PGPASSWORD, or from ~/.pgpass.
"""

import os
import re
import threading
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from arraylake_core import config
from arraylake_core.errors import InvalidOptionError
from arraylake_core.secret import Secret

__all__ = ["Dsn"]

SETTINGS = ("service.database", "service.uri")
POOL_SIZE = 10
_SECRETS = ("password", "sslpassword")
_FORM = "postgresql://user:password@host:5432/database?sslmode=verify-full&pool_size=10"

_lock = threading.Lock()
_remembered: dict[str, dict[str, Secret]] = {}


class Dsn:
    """Where a PostgreSQL database is.

    Parameters
    ----------
    text
        A URI as PostgreSQL has them; ``pool_size`` and ``statement_cache_size`` in its query are ours. What it has of secrets is remembered by this process.

    Raises
    ------
    InvalidOptionError
        It is no such URI.

    Examples
    --------
    >>> dsn = Dsn("postgres://ada:secret@db.example/lake?sslmode=require&pool_size=4")
    >>> dsn.uri, dsn.pool_size, dsn.file_name
    ('postgresql://ada@db.example/lake?sslmode=require&pool_size=4', 4, 'postgresql-db.example-5432-lake')
    """

    def __init__(self, text: str) -> None:
        parsed = _parse(text)
        if parsed is None:
            raise InvalidOptionError(f"that is no URI of a PostgreSQL database: write {_FORM}")
        self.uri, secrets, parts, options = parsed
        size = options.pop("pool_size", str(POOL_SIZE))
        if not re.fullmatch(r"[1-9][0-9]{0,3}", size, re.ASCII):
            raise InvalidOptionError("pool_size in the URI of a PostgreSQL database is a number from 1 to 9999")
        self.pool_size = int(size)
        cache = options.pop("statement_cache_size", None)
        if cache is not None and not re.fullmatch(r"[0-9]{1,4}", cache, re.ASCII):
            raise InvalidOptionError("statement_cache_size in the URI of a PostgreSQL database is a number from 0 to 9999")
        self.statement_cache_size = None if cache is None else int(cache)
        self.file_name = _file_name(parts, options)
        self._plain = _unsplit(parts, options)
        if secrets:
            with _lock:
                _remembered[self.uri] = secrets

    @property
    def is_shared(self) -> bool:
        """Whether each transaction may get another connection to the server, as by PgBouncer: nothing lasts longer, prepared statements neither."""
        return self.statement_cache_size == 0

    def connection(self) -> tuple[str, str | None]:
        """Return what asyncpg connects with: a URI, and the password where one is known. Hand both straight to it."""
        secrets = self._secrets()
        private = secrets.get("sslpassword")
        joint = "&" if "?" in self._plain else "?"
        uri = self._plain if private is None else f"{self._plain}{joint}{urlencode({'sslpassword': private.reveal()})}"
        password = secrets.get("password")
        return uri, None if password is None else password.reveal()

    def _secrets(self) -> dict[str, Secret]:
        found = _remembered.get(self.uri)
        if found is not None:
            return found
        for name in SETTINGS:
            parsed = _parse(config.get_str(name) or "")
            if parsed is not None and parsed[0] == self.uri:
                return parsed[1]
        return {}

    def __repr__(self) -> str:
        return f"<database {self.uri}>"


def _parse(text: str) -> tuple[str, dict[str, Secret], SplitResult, dict[str, str]] | None:
    """Take a URI apart: what may be shown, the secrets, and the parts of what may be shown; None where it is none."""
    try:
        parts = urlsplit(text)
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    except ValueError:
        return None
    if parts.scheme not in ("postgresql", "postgres") or parts.fragment or "" in options or not text.isprintable():
        return None
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    secrets = {key: Secret(options.pop(key)) for key in _SECRETS if options.get(key)}
    if password:
        secrets["password"] = Secret(unquote(password))
    netloc = f"{name}@{hosts}" if name else hosts
    shown = SplitResult("postgresql", netloc, parts.path, "", "")
    return _unsplit(shown, options), secrets, shown, options


def _unsplit(parts: SplitResult, options: dict[str, str]) -> str:
    # Not urlunsplit, which leaves out the slashes before an empty host.
    query = f"?{urlencode(options, safe='/:,', quote_via=quote)}" if options else ""
    return f"{parts.scheme}://{parts.netloc}{parts.path}{query}"


def _file_name(parts: SplitResult, options: dict[str, str]) -> str:
    hosts = options.get("host") or parts.netloc.rpartition("@")[2] or os.environ.get("PGHOST", "localhost")
    port = options.get("port") or os.environ.get("PGPORT", "5432")
    if ":" in hosts and "/" not in hosts:
        hosts, _, port = hosts.rpartition(":")
    user = options.get("user") or unquote(parts.netloc.rpartition("@")[0]) or os.environ.get("PGUSER", "")
    database = options.get("database") or options.get("dbname") or unquote(parts.path[1:]) or os.environ.get("PGDATABASE", user)
    return "-".join(["postgresql", *(re.sub(r"[^A-Za-z0-9._]+", "-", part).strip("-.") for part in (hosts, port, database))])
