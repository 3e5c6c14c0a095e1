"""The errors of PostgreSQL and of its driver in plain words, which say what to do, without what was being written."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from arraylake_core.catalog.engine import ConstraintError, SchemaError, os_problem
from arraylake_core.errors import ArraylakeError, CatalogError, InvalidOptionError, StorageError

__all__ = ["CONNECT_SECONDS", "DRIVER_ERRORS", "POOL_SECONDS", "cause_of", "is_lost", "translated"]

CONNECT_SECONDS = 10
POOL_SECONDS = 30

# What the driver raises; the third where a connection is cut at a moment that it does not know how to deal with.
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# What a database says that is going down, coming up, or has cut a connection; and what never reached it.
_GONE = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")


def is_lost(error: BaseException | None, driver: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Tell whether an error means that the connection is of no more use."""
    if isinstance(error, asyncio.CancelledError):
        return False
    return (
        driver.is_closed()
        or isinstance(error, OSError | asyncpg.InternalClientError)
        or str(getattr(error, "sqlstate", None)).startswith(_GONE)
    )


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's own error."""
    found = getattr(error, "orig", None) or error
    # What was not there in time was also cancelled, which says less.
    return found if isinstance(found, TimeoutError) else found.__cause__ or found


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn the errors of the driver into ArraylakeErrors.

    Parameters
    ----------
    where
        The database, for messages.
    """
    problem: ArraylakeError
    try:
        yield
        return
    except (SQLAlchemyError, *DRIVER_ERRORS) as error:
        problem = _problem(where, cause_of(error))
    raise problem from None


def _problem(where: str, error: BaseException) -> ArraylakeError:
    state = str(getattr(error, "sqlstate", None) or "")
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in str(error):
        return InvalidOptionError(_SHARED.format(where=where))
    for start, problem, text in _PROBLEMS:
        if state.startswith(start) and state:
            return problem(text.format(where=where))
    if isinstance(error, PoolTimeoutError):
        return CatalogError(
            f"all connections to {where} were in use for {POOL_SECONDS} seconds, and nothing was changed: "
            "try again, or raise pool_size in its URI"
        )
    if isinstance(error, asyncpg.DataError):
        return InvalidOptionError(_NO_VALUE)
    if isinstance(error, asyncpg.ClientConfigurationError):
        return InvalidOptionError(f"the URI {where} can't be used: check the names and values after its question mark")
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return CatalogError(_CUT.format(where=where))
    if isinstance(error, ssl.SSLCertVerificationError):
        return CatalogError(
            f"the certificate of the database {where} is not to be trusted ({error.verify_message.rstrip('.')}): name the authority that issued it with "
            "sslrootcert=FILE in the URI, and the host as the certificate has it"
        )
    if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):
        return CatalogError(
            f"the database {where} offers no TLS, which its sslmode asks for: let the server have a certificate (ssl = on)"
        )
    if isinstance(error, OSError):
        if error.filename is not None:
            return os_problem(where, error)
        return CatalogError(
            f"the database {where} can't be reached ({_reason(error)}): check its host and port, that it runs, and that the network lets you through"
        )
    return CatalogError(f"the catalog {where} failed ({state or type(error).__name__}), and nothing was changed")


def _reason(error: OSError) -> str:
    import socket

    if isinstance(error, socket.gaierror):
        return "the host is unknown"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS} seconds"
    return "the connection was refused" if isinstance(error, ConnectionRefusedError) else type(error).__name__


_NO_VALUE = "a value can't be kept in the catalog: text may have no NUL characters, and numbers must be of a sensible size"
_CUT = "the connection to {where} was cut, and whether the last change was made is not known: look, and try again"
_SHARED = (
    "{where} shares connections out, as PgBouncer does, and takes no settings for one: add statement_cache_size=0 to the URI, with which each transaction has "
    "its own, and no statement is prepared for another"
)
_ACCESS = (
    "{where} refused the login: check the user and the password. A URI that was printed or pickled has no password: set PGPASSWORD, put it in "
    "~/.pgpass, or set service.database or service.uri (ARRAYLAKE_SERVICE__DATABASE, ARRAYLAKE_SERVICE__URI) to the same URI with its password"
)
_AGAIN = "somebody else changed the catalog at the same moment, and nothing was changed: try again"

# The starts of SQLSTATEs; the first that fits counts.
_PROBLEMS: tuple[tuple[str, type[ArraylakeError], str], ...] = (
    ("23", ConstraintError, _AGAIN),
    ("40P01", CatalogError, _AGAIN),
    ("40001", CatalogError, _AGAIN),
    ("22", InvalidOptionError, _NO_VALUE),
    ("28", CatalogError, _ACCESS),
    ("3D000", CatalogError, "the database {where} does not exist: make it with `createdb`, or correct its name"),
    ("42P01", SchemaError, "{where} has not the tables of a catalog: restore it from a backup, or name another database"),
    ("42703", SchemaError, "{where} has not the columns of this release's catalog: run `arraylake-core admin migrate`"),
    (
        "42501",
        CatalogError,
        "the user of {where} lacks the rights for that: let it own the database, or grant it CREATE on the schema and all on its tables",
    ),
    (
        "53300",
        CatalogError,
        "{where} has no connections left, and nothing was changed: raise max_connections there, or lower pool_size in the URIs",
    ),
    ("53100", StorageError, "the disk of {where} is full, and nothing was changed: free some space there, and try again"),
    ("53", CatalogError, "{where} has run out of resources, and nothing was changed: look into its log, and try again"),
    ("25006", CatalogError, "{where} is read-only, and nothing was changed: it may be a standby; name the primary instead"),
    (
        "55P03",
        CatalogError,
        "somebody has kept the catalog {where} locked for 30 seconds, and nothing was changed: find out who hangs, and try again",
    ),
    (
        "57014",
        CatalogError,
        "{where} took longer than 30 seconds, and nothing was changed: look what keeps it busy, and try again",
    ),
    ("57P03", CatalogError, "{where} is starting up or shutting down: try again"),
    ("57P", CatalogError, _CUT),
    ("25P03", CatalogError, _CUT),
    ("08", CatalogError, _CUT),
    ("58", StorageError, "{where} can't use its own files, and nothing was changed: look into its log"),
    ("XX", StorageError, "{where} is damaged: look into its log, and restore it from a backup"),
)
