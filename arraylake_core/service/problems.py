"""Errors as RFC 9457 problem details: one table from the errors of arraylake_core to HTTP, read backwards by our own client."""

import msgspec

from arraylake_core import errors

__all__ = ["BadRequestError", "Problem", "TooManyRequestsError", "problem_of", "status_of"]


class BadRequestError(errors.ArraylakeError):
    """The request can't be read: no JSON, a path that no route could mean, a body that is too large.

    Parameters
    ----------
    message
        What is wrong, and the next step.
    status
        The HTTP status: 400, 405, 413, 428.
    """

    def __init__(self, message: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class TooManyRequestsError(errors.ArraylakeError):
    """The caller asks more often than it may.

    Parameters
    ----------
    message
        What the limit is.
    retry_after
        In how many seconds it may ask again.
    """

    def __init__(self, message: str = "", retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


# The first class that an error is an instance of decides.
_STATUS: tuple[tuple[type[errors.ArraylakeError], int], ...] = (
    (TooManyRequestsError, 429),
    (errors.InvalidNameError, 422),
    (errors.InvalidOptionError, 422),
    (errors.ConfirmationError, 422),
    (errors.NotFoundError, 404),
    (errors.AlreadyExistsError, 409),
    (errors.InUseError, 409),
    (errors.ConflictError, 409),
    (errors.ReadOnlyError, 403),
    (errors.AuthenticationError, 401),
    (errors.PermissionDeniedError, 403),
    (errors.CredentialsError, 424),
    (errors.PluginError, 422),
    (errors.StorageError, 503),
    (errors.CatalogError, 503),
    # What the service itself asks, such as an identity provider, does not answer.
    (errors.ServiceError, 503),
)

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    422: "Unprocessable Content",
    424: "Failed Dependency",
    428: "Precondition Required",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of an error answer (RFC 9457).

    Parameters
    ----------
    type
        ``about:blank``: the status says which problem it is.
    title, status
        The status in words, and as a number.
    detail
        What was wrong, and the next step: what clients show.
    error
        The class in arraylake_core.errors.
    paths
        The conflicting paths of a CommitConflictError.
    """

    type: str
    title: str
    status: int
    detail: str
    error: str
    paths: dict[str, list[str]] | None = None


def status_of(error: errors.ArraylakeError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, BadRequestError):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem_of(error: errors.ArraylakeError, status: int | None = None) -> Problem:
    """Return the problem document of an error.

    Examples
    --------
    >>> problem_of(errors.RepoNotFoundError("there is no repo 'me/sea'")).title
    'Not Found'
    """
    status = status or status_of(error)
    name = type(error).__name__
    public = name if hasattr(errors, name) and name != "ArraylakeError" else "ConflictError" if status == 412 else "ServiceError"
    return Problem(
        type="about:blank",
        title=_TITLES.get(status, "Error"),
        status=status,
        detail=str(error),
        error=public,
        paths=error.paths if isinstance(error, errors.CommitConflictError) else None,
    )
