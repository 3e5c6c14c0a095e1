"""A value that must not be seen: it prints, formats and encodes as stars, and refuses to be pickled."""

from typing import NoReturn

__all__ = ["MASK", "Secret", "reveal"]

MASK = "***"


class Secret:
    """A secret string, shown only to who asks for it by name.

    Parameters
    ----------
    value
        The secret.

    Examples
    --------
    >>> key = Secret("open sesame")
    >>> key, f"{key}", str(key)
    (Secret('***'), '***', '***')
    >>> key.reveal()
    'open sesame'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself. Hand it straight to the library that needs it, and keep no copy."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest

        return compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a secret is never pickled: pickle the name of what it opens (a repo, a bucket config), "
            "and let the process that wakes up ask for it again"
        )


def reveal(value: "Secret | str | None") -> str | None:
    """Return the text of a secret or of a plain string; None stays None.

    Examples
    --------
    >>> reveal(Secret("a")), reveal("b"), reveal(None)
    ('a', 'b', None)
    """
    return value.reveal() if isinstance(value, Secret) else value
