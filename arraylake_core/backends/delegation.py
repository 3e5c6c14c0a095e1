"""What the operator of a deployment lends to delegated auth methods: settings below ``delegation``, which bucket configs can't reach.

On the embedded catalog the user is the operator.
"""

from pathlib import Path

from arraylake_core import config
from arraylake_core.errors import CredentialsError
from arraylake_core.names import shown
from arraylake_core.secret import Secret

__all__ = ["operator_file", "operator_flag", "operator_secret", "operator_setting"]


def operator_setting(name: str) -> str | None:
    """Return the setting ``delegation.<name>``, or None where it is unset."""
    return config.get_str(f"delegation.{name}")


def operator_secret(name: str) -> Secret | None:
    """Return the secret ``delegation.<name>``, or what the file ``delegation.<name>_file`` has, or None where both are unset."""
    value = operator_setting(name)
    if value is None and (path := operator_setting(f"{name}_file")) is not None:
        value = operator_file(path, f"delegation.{name}_file").decode().strip()
    return None if value is None else Secret(value)


def operator_flag(name: str) -> bool:
    """Return the setting ``delegation.<name>``, which is true or false."""
    return config.get_bool(f"delegation.{name}")


def operator_file(path: str, what: str) -> bytes:
    """Return what a file of the operator's has.

    Parameters
    ----------
    path
        The file.
    what
        What names it, for messages.

    Raises
    ------
    CredentialsError
        It can't be read.
    """
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CredentialsError(f"{what} names the file {shown(path)}, which can't be read ({reason}): correct it") from None
