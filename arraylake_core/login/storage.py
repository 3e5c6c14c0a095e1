"""Where logins are kept: in the system's keyring where there is one, else in a file of the user's own, one for each service."""

import errno
import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec

from arraylake_core import config
from arraylake_core.errors import AuthenticationError
from arraylake_core.login.provider import LoginSettings
from arraylake_core.login.system_keyring import SystemKeyring, system_keyring
from arraylake_core.login.tokens import TokenSet
from arraylake_core.secret import Secret

__all__ = ["Kept", "kept_login"]

_LARGEST = 1 << 20


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a login at rest."""

    service: str
    issuer: str
    client_id: str
    scopes: str
    id_token: str
    expires: float
    refresh_token: str | None = None
    had: float = 0
    subject: str = ""
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
        self._unfinished = f".{name}-"

    def prepare(self) -> None:
        """Make the directory, which only its owner may look into.

        Raises
        ------
        AuthenticationError
            It can't be, or can't be written to.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from None
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise self._unwritable(PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def read(self, *, to_end_it: bool = False) -> TokenSet | None:
        """Return the login, or None where there is none.

        Parameters
        ----------
        to_end_it
            Whether it is had to be revoked: then it may also be one that others can read, who may have it.

        Raises
        ------
        AuthenticationError
            What is there can't be trusted: it is damaged, belongs to somebody else, or others can read it. It is left as it is.
        """
        keyring = system_keyring()
        found = keyring.read(self.service) if keyring is not None else None
        if found is not None:
            return self._decoded(found, "the login in the keyring")
        found = self._read_file(to_end_it=to_end_it)
        return None if found is None else self._decoded(found, f"the login in {self.path}")

    def write(self, tokens: TokenSet) -> None:
        """Keep a login, whole or not at all. Who writes holds the lock.

        Raises
        ------
        AuthenticationError
            There is no place to keep it.
        """
        keyring = system_keyring()
        if keyring is not None and self._kept_in(keyring, tokens):
            self._remove_files()
            return
        self.prepare()
        try:
            self._replace_file(tokens)
        except OSError as error:
            raise self._unwritable(error) from None
        self._remove_unfinished()

    def delete(self) -> None:
        """Forget the login, whatever state it is in."""
        keyring = system_keyring()
        if keyring is not None:
            keyring.delete(self.service)
        try:
            self._remove_files()
        except OSError as error:
            raise self._unwritable(error) from None

    def _kept_in(self, keyring: SystemKeyring, tokens: TokenSet) -> bool:
        """Keep it in the keyring; where that refuses (Windows takes no long ones), tell so, if there is the file to keep it in."""
        try:
            keyring.write(self.service, Secret(self._encoded(tokens).decode()))
        except AuthenticationError:
            if keyring.is_asked_for:
                raise
            # What it had of an earlier login would be found before the file.
            keyring.delete(self.service)
            return False
        return True

    def _replace_file(self, tokens: TokenSet) -> None:
        # mkstemp makes it readable by its owner alone, from its first byte on.
        handle, name = tempfile.mkstemp(prefix=self._unfinished, dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self._encoded(tokens))
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise

    def _remove_files(self) -> None:
        self.path.unlink(missing_ok=True)
        self._remove_unfinished()

    def _remove_unfinished(self) -> None:
        """Remove what writers that were killed have left, as there are tokens in it."""
        for left in self.path.parent.glob(f"{self._unfinished}*"):
            with suppress(OSError):
                left.unlink()

    def _read_file(self, *, to_end_it: bool) -> Secret | None:
        try:
            # A link could lead to a file of somebody else's choosing, and a pipe would never end.
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AuthenticationError(
                f"the login in {self.path} can't be read ({error.strerror}): remove the file, and log in again"
            ) from None
        try:
            self._check_file(os.fstat(handle), to_end_it=to_end_it)
            return Secret(os.read(handle, _LARGEST).decode(errors="replace"))
        finally:
            os.close(handle)

    def _check_file(self, status: os.stat_result, *, to_end_it: bool) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise AuthenticationError(f"the login in {self.path} is no file: remove it, and log in again")
        if hasattr(os, "getuid") and status.st_uid != os.getuid():
            raise AuthenticationError(f"the login in {self.path} belongs to another user: remove the file, and log in again")
        if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077 and not to_end_it:
            raise AuthenticationError(
                f"the login in {self.path} can be read by others, who may have it already: log out, which ends it, and log in again"
            )

    def _unwritable(self, error: OSError) -> AuthenticationError:
        return AuthenticationError(
            f"logins can't be kept in {self.path.parent} ({error.strerror or type(error).__name__}): make room there and let your user write to it, "
            "or set login.dir (ARRAYLAKE_LOGIN__DIR) to another directory"
        )

    def _encoded(self, tokens: TokenSet) -> bytes:
        return msgspec.json.encode(
            _Document(
                service=self.service,
                issuer=tokens.settings.issuer,
                client_id=tokens.settings.client_id,
                scopes=tokens.settings.scopes,
                id_token=tokens.id_token.reveal(),
                refresh_token=tokens.refresh_token.reveal() if tokens.refresh_token is not None else None,
                expires=tokens.expires,
                had=tokens.had,
                subject=tokens.subject,
                email=tokens.email,
            )
        )

    def _decoded(self, data: Secret, what: str) -> TokenSet:
        found: _Document | None = None
        # Outside of it, the error would carry along those whose frames hold the data.
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found = msgspec.json.decode(data.reveal(), type=_Document)
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
            had=found.had,
            subject=found.subject,
            email=found.email,
        )


def kept_login(service: str) -> Kept:
    """Return the place of a service's login."""
    from platformdirs import user_data_path

    chosen = config.get_str("login.dir")
    directory = Path(chosen).expanduser() if chosen else user_data_path("arraylake-core", appauthor=False) / "logins"
    return Kept(service, directory)
