"""Which pages may be asked for."""

from arraylake_core.errors import InvalidOptionError

__all__ = ["MAX_PAGE", "validate_page"]

MAX_PAGE = 100


def validate_page(page: int, size: int) -> None:
    """Check the number and the size of a page.

    Examples
    --------
    >>> validate_page(1, 100)
    """
    if not _whole(page, "page") >= 1:
        raise InvalidOptionError(f"page must be 1 or more, not {page}")
    if not 1 <= _whole(size, "size") <= MAX_PAGE:
        raise InvalidOptionError(f"size must be from 1 to {MAX_PAGE}, not {size}")


def _whole(value: int, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidOptionError(f"{name} must be a whole number, not a {type(value).__name__}")
    return value
