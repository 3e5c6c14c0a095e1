"""The keys that encrypt secrets at rest: where they come from, and how one seals and opens.

The first key of a keyring is the active one, which seals; the others only open what they sealed before. A key is known in the catalog by
its id, a keyed hash of a constant, which tells nothing about the key.
"""

import hmac
import os
import secrets
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol, override

from arraylake_core import config
from arraylake_core.errors import CatalogError

__all__ = ["FileKeys", "Key", "KeySource", "Keyring", "MemoryKeys", "write_private"]

KEY_BYTES = 32
NONCE_BYTES = 12
VARIABLE = "ARRAYLAKE_CATALOG__KEY"


class Key:
    """One AES-256 key, which shows its id only.

    Parameters
    ----------
    value
        Its 32 bytes.
    """

    __slots__ = ("_value", "id")

    def __init__(self, value: bytes) -> None:
        self._value = value
        self.id = hmac.digest(value, b"arraylake-core key id", "sha256").hex()[:16]

    @classmethod
    def generate(cls) -> "Key":
        """Make a new random key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def parse(cls, text: str) -> "Key | None":
        """Read a key written in base64; None where it is none, so that the caller's error is raised where the text is not at hand."""
        try:
            value = b64decode(text, validate=True)
        except ValueError:
            return None
        return cls(value) if len(value) == KEY_BYTES else None

    def text(self) -> str:
        """Return the key in base64, for the key file."""
        return b64encode(self._value).decode()

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """Encrypt, bound to the associated data."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + AESGCM(self._value).encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt what ``seal`` made; ValueError where the bytes or the associated data are not the same."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._value).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except InvalidTag:
            raise ValueError("the authentication tag does not fit") from None

    @override
    def __repr__(self) -> str:
        return f"<key {self.id}>"


class Keyring(NamedTuple):
    """The keys of a catalog.

    Parameters
    ----------
    keys
        The active one first.
    source
        Where they were looked for, for messages.
    """

    keys: tuple[Key, ...]
    source: str

    def find(self, key_id: str) -> Key | None:
        """Return the key of this id."""
        return next((key for key in self.keys if key.id == key_id), None)

    def require(self, key_id: str, what: str) -> Key:
        """Return the key of this id; CatalogError where it is missing."""
        key = self.find(key_id)
        if key is None:
            raise CatalogError(
                f"{what} was encrypted with the key {key_id}, which is not in {self.source}: "
                f"put the key back there from a backup, or set {VARIABLE} to it; nothing was changed"
            )
        return key

    @property
    def active(self) -> Key:
        """The key that seals."""
        if not self.keys:
            raise CatalogError(f"there is no key in {self.source}: put the catalog's key back there, or set {VARIABLE} to it")
        return self.keys[0]


class KeySource(Protocol):
    """Where a catalog's keys are kept."""

    def load(self) -> Keyring:
        """Read the keys, as they are now."""
        ...

    def create(self) -> Keyring:
        """Read the keys of a catalog that is being made, making the first one where there is none."""
        ...

    def rotate(self) -> Keyring:
        """Put a new active key in front of the others, and read them all."""
        ...


class MemoryKeys:
    """The keys of a catalog that vanishes with the process."""

    def __init__(self) -> None:
        self._keys: tuple[Key, ...] = (Key.generate(),)

    def load(self) -> Keyring:
        """Return the keys."""
        return Keyring(self._keys, "this process")

    def create(self) -> Keyring:
        """Return the keys; the first was made with the object."""
        return self.load()

    def rotate(self) -> Keyring:
        """Put a new key in front."""
        self._keys = (Key.generate(), *self._keys)
        return self.load()


class FileKeys:
    """The keys of the setting ``catalog.key``, or, where it is unset, of a private file, one key a line.

    Parameters
    ----------
    path
        The key file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Keyring:
        """Read the setting, or else the file, which may be missing but not open to others."""
        keys, source = self._read()
        if None in keys:
            raise CatalogError(
                f"{source} holds something that is no key: a key is {KEY_BYTES} bytes in base64 (`openssl rand -base64 {KEY_BYTES}`)"
            )
        return Keyring(tuple(key for key in keys if key is not None), source)

    def _read(self) -> tuple[list[Key | None], str]:
        setting = config.get_str("catalog.key")
        if setting is not None:
            return _parse_all(setting.split(",")), f"the setting catalog.key ({VARIABLE})"
        source = f"the key file {self._path}"
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            return [], f"{source}, which does not exist"
        # Windows has no such bits: there the file is as private as the user's directory is.
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise CatalogError(f"{source} can be read by others, so its keys may be known: run `chmod 600 {self._path}`")
        return _parse_all(self._path.read_text("ascii", errors="replace").splitlines()), source

    def create(self) -> Keyring:
        """Read the keys, or make the file with a first one; a file that is there is never replaced."""
        if not self.load().keys:
            write_private(self._path, _lines([Key.generate()]), replace=False)
        return self.load()

    def rotate(self) -> Keyring:
        """Put a new key in front of those in the file; keys of the setting are its owner's to change."""
        if config.get_str("catalog.key") is None:
            write_private(self._path, _lines([Key.generate(), *self.load().keys]), replace=True)
        return self.load()


def _parse_all(texts: Iterable[str]) -> list[Key | None]:
    return [Key.parse(text.strip()) for text in texts if text.strip()]


def _lines(keys: Iterable[Key]) -> bytes:
    return "".join(f"{key.text()}\n" for key in keys).encode()


def write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file that only its owner may read, whole or not at all.

    Parameters
    ----------
    path
        The file.
    data
        What it shall hold.
    replace
        Whether it takes the place of a file that is there; otherwise that one stays.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        elif not path.exists():
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
