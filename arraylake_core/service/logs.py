"""The log: one JSON document a line, on standard error, with the request's id; never a header, a body or a query."""

import logging
import sys
import traceback
from typing import TYPE_CHECKING, override

import msgspec

from arraylake_core.models import utc_now

if TYPE_CHECKING:
    from aiohttp import web

    from arraylake_core.people import Principal

__all__ = ["JsonFormatter", "log_failure", "log_request", "log_to_stderr"]

_logger = logging.getLogger("arraylake_core.service")
_PROBES = frozenset({"health", "ready"})


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON document."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the document."""
        document = {"time": utc_now(), "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        document |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            document["error"] = record.exc_info[0].__name__
        return msgspec.json.encode(document).decode()


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the logs of the service and of aiohttp to standard error as JSON."""
    # Nothing of these is written, and looking them up takes as long as writing a line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("arraylake_core", "aiohttp"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level if name == "arraylake_core" else logging.WARNING)
        logger.propagate = False


def log_request(request: "web.Request", request_id: str, operation: str, who: "Principal", status: int, seconds: float) -> None:
    """Log a request that was answered; probes that went well, which come every few seconds, for debugging only."""
    level = logging.DEBUG if operation in _PROBES and status < 400 else logging.INFO
    if not _logger.isEnabledFor(level):
        return
    fields = {
        "request_id": request_id,
        "operation": operation,
        "method": request.method,
        "path": request.path[:200],
        "status": status,
        "ms": round(seconds * 1000, 2),
        "principal": who.id,
        "client": f"{request.headers.get('client-name', '')[:40]} {request.headers.get('client-version', '')[:20]}".strip(),
        "session": request.headers.get("arraylake-session-id", "")[:64],
        "remote": request.remote,
    }
    # Made here: finding out which line of code logs takes longer than logging.
    record = logging.LogRecord(_logger.name, level, __file__, 0, "%s %s", (operation, status), None)
    record.fields = fields
    _logger.handle(record)


def log_failure(request_id: str, operation: str, error: Exception) -> None:
    """Log what broke: the kind of error and where, but not its message, which may repeat what it was given."""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    fields = {"request_id": request_id, "operation": operation, "error": type(error).__name__, "frames": frames[-12:]}
    _logger.error("%s failed", operation, extra={"fields": fields})
