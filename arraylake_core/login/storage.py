"""Where logins are kept: in the system's keyring where there is one, else in a file of the user's own, one for each service."""

import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from arraylake_core import config
from arraylake_core.errors import AuthenticationError, InvalidOptionError
from arraylake_core.login.provider import LoginSettings
from arraylake_core.login.tokens import TokenSet
from arraylake_core.names import shown
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

__all__ = ["Kept", "kept_login"]

_KEYRING = "arraylake-core"
_STORES = ("auto", "keyring", "file")


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a login at rest."""

    service: str
    issuer: str
    client_id: str
    scopes: str
    id_token: str
    expires: float
    refresh_token: str | None = None
    email: str = ""
    version: int = 1

    def __repr__(self) -> str:
        return f"<login to {self.service}>"


class Kept:
    """The place of one service's login.

    Parameters
    ----------
    service
        Its URI.
    directory
        Where files are.
    """

    def __init__(self, service: str, directory: Path) -> None:
        self.service = service
        name = hashlib.sha256(service.encode()).hexdigest()[:24]
        self.path = directory / f"{name}.json"
        self.lock_path = directory / f"{name}.lock"

    def prepare(self) -> None:
        """Make the directory, which only its owner may look into."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self) -> TokenSet | None:
        """Return the login, or None where there is none.

        Raises
        ------
        AuthenticationError
            What is there can't be trusted: it is damaged, belongs to somebody else, or others can read it. It is left as it is.
        """
        keyring = _keyring()
        if keyring is not None and (text := keyring.get_password(_KEYRING, self.service)) is not None:
            return self._decoded(text.encode(), "the login in the keyring")
        return self._read_file()

    def write(self, tokens: TokenSet) -> None:
        """Keep a login, whole or not at all."""
        document = _Document(
            service=self.service,
            issuer=tokens.settings.issuer,
            client_id=tokens.settings.client_id,
            scopes=tokens.settings.scopes,
            id_token=tokens.id_token.reveal(),
            refresh_token=tokens.refresh_token.reveal() if tokens.refresh_token is not None else None,
            expires=tokens.expires,
            email=tokens.email,
        )
        data = msgspec.json.encode(document)
        keyring = _keyring()
        if keyring is not None:
            keyring.set_password(_KEYRING, self.service, data.decode())
            self.path.unlink(missing_ok=True)
            return
        self.prepare()
        # mkstemp makes it readable by its owner alone, from its first byte on.
        handle, name = tempfile.mkstemp(prefix=".login-", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise

    def delete(self) -> None:
        """Forget the login, whatever state it is in."""
        keyring = _keyring()
        if keyring is not None and keyring.get_password(_KEYRING, self.service) is not None:
            keyring.delete_password(_KEYRING, self.service)
        self.path.unlink(missing_ok=True)

    def _read_file(self) -> TokenSet | None:
        try:
            # A link could lead to a file of somebody else's choosing.
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuthenticationError(
                f"the login in {self.path} can't be read ({error.strerror}): remove the file, and log in again"
            ) from None
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if hasattr(os, "getuid") and status.st_uid != os.getuid():
                raise AuthenticationError(f"the login in {self.path} belongs to another user: remove the file, and log in again")
            if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
                raise AuthenticationError(
                    f"the login in {self.path} can be read by others, who may have it already: log out, which ends it, and log in again"
                )
            return self._decoded(file.read(1 << 20), f"the login in {self.path}")

    def _decoded(self, data: bytes, what: str) -> TokenSet:
        try:
            found = msgspec.json.decode(data, type=_Document)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found = None
        if found is None or found.version != 1:
            raise AuthenticationError(
                f"{what} is damaged, or of another release: it was left as it is; log in again, which replaces it"
            )
        if found.service != self.service:
            raise AuthenticationError(f"{what} is of another service: it was left as it is; log in again, which replaces it")
        return TokenSet(
            settings=LoginSettings(issuer=found.issuer, client_id=found.client_id, scopes=found.scopes),
            id_token=Secret(found.id_token),
            refresh_token=Secret(found.refresh_token) if found.refresh_token is not None else None,
            expires=found.expires,
            email=found.email,
        )


def kept_login(service: str) -> Kept:
    """Return the place of a service's login."""
    from platformdirs import user_data_path

    chosen = config.get_str("login.dir")
    directory = Path(chosen).expanduser() if chosen else user_data_path("arraylake-core", appauthor=False) / "logins"
    return Kept(service, directory)


def _keyring() -> "KeyringBackend | None":
    """Return the system's keyring, or None where there is none that keeps secrets, or the settings say to use a file."""
    store = config.get_str("login.store") or "auto"
    if store not in _STORES:
        raise InvalidOptionError(f"the setting login.store is {' or '.join(_STORES)}, not {shown(store)}")
    if store == "file":
        return None
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        keyring = None
    backend = None
    if keyring is not None:
        with suppress(KeyringError):
            backend = keyring.get_keyring()
            # The one that keeps nothing has priority 0, and those that keep it readable less than 1.
            backend = backend if backend.priority >= 1 else None
    if backend is None and store == "keyring":
        raise InvalidOptionError(
            "the setting login.store asks for a keyring, and this system has none: pip install keyring, or take 'file'"
        )
    return backend
