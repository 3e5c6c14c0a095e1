"""The system's keyring, where there is one: of GNOME, KDE, macOS or Windows, by way of the package ``keyring``."""

from contextlib import suppress
from typing import TYPE_CHECKING

from arraylake_core import config
from arraylake_core.errors import AuthenticationError, InvalidOptionError
from arraylake_core.names import shown
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["SystemKeyring", "system_keyring"]

_NAME = "arraylake-core"
_STORES = ("auto", "keyring", "file")


class SystemKeyring:
    """A keyring that keeps secrets.

    Parameters
    ----------
    backend
        What speaks to it.
    is_asked_for
        Whether the settings want it, and no file instead.
    """

    def __init__(self, backend: "KeyringBackend", *, is_asked_for: bool) -> None:
        self._backend = backend
        self.is_asked_for = is_asked_for

    def read(self, service: str) -> Secret | None:
        """Return what it has for a service.

        Raises
        ------
        AuthenticationError
            It is locked, or out of order.
        """
        from keyring.errors import KeyringError

        try:
            text = self._backend.get_password(_NAME, service)
            return None if text is None else Secret(text)
        except KeyringError as error:
            problem = type(error).__name__
        raise _refused(problem)

    def write(self, service: str, document: Secret) -> None:
        """Keep a document for a service; errors as of ``read``."""
        # Each backend has errors of its own for what it does not take.
        problem: str | None = None
        try:
            self._backend.set_password(_NAME, service, document.reveal())
        except Exception as error:  # noqa: BLE001 - the backends of third parties raise whatever their systems do
            problem = type(error).__name__
        if problem is not None:
            raise _refused(problem)

    def delete(self, service: str) -> None:
        """Forget what it has for a service, if it has; errors as of ``read``."""
        if self.read(service) is None:
            return
        from keyring.errors import KeyringError

        try:
            self._backend.delete_password(_NAME, service)
        except KeyringError as error:
            raise _refused(type(error).__name__) from None


def system_keyring() -> SystemKeyring | None:
    """Return the system's keyring, or None where there is none that keeps secrets, or the settings say to use a file.

    Raises
    ------
    InvalidOptionError
        The settings ask for one, and there is none.
    """
    store = config.get_str("login.store") or "auto"
    if store not in _STORES:
        raise InvalidOptionError(f"the setting login.store is {' or '.join(_STORES)}, not {shown(store)}")
    if store == "file":
        return None
    backend = _backend()
    if backend is None and store == "keyring":
        raise InvalidOptionError(
            "the setting login.store asks for a keyring, and this system has none: pip install keyring, or take 'file'"
        )
    return None if backend is None else SystemKeyring(backend, is_asked_for=store == "keyring")


def _backend() -> "KeyringBackend | None":
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    with suppress(KeyringError, RuntimeError):
        backend = keyring.get_keyring()
        # The one that keeps nothing has priority 0, and those that keep it readable less than 1.
        if backend.priority >= 1:
            return backend
    return None


def _refused(problem: str) -> AuthenticationError:
    return AuthenticationError(
        f"the system's keyring refused ({problem}): unlock it, or set login.store (ARRAYLAKE_LOGIN__STORE) to 'file', and log in again"
    )
