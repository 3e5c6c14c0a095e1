"""Logins in the system's keyring: one that works, one that is locked, and one that takes nothing."""

from collections.abc import Iterator
from typing import ClassVar

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError

from arraylake_core import config
from arraylake_core.errors import AuthenticationError, InvalidOptionError
from arraylake_core.login.account import Account
from arraylake_core.login.storage import kept_login
from tests.login.conftest import Keep
from tests.servers.bad_issuer import BadIssuer


class InMemory(KeyringBackend):
    """A keyring as a system has one, that lives as long as the test."""

    priority: ClassVar[float] = 5  # type: ignore[misc, assignment]  # a property of classes there

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[tuple[str, str], str] = {}
        self.is_locked = False
        self.longest = 1 << 20

    def get_password(self, service: str, username: str) -> str | None:
        self._check()
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check()
        if len(password) > self.longest:
            raise OSError(1783, "The stub received bad data", "CredWrite", password)
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._check()
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError

    def _check(self) -> None:
        if self.is_locked:
            raise KeyringLocked


@pytest.fixture
def system(issuer: BadIssuer) -> Iterator[InMemory]:
    """The system's keyring."""
    before, made = keyring.get_keyring(), InMemory()
    keyring.set_keyring(made)
    with config.set({"login.store": "auto"}):
        yield made
    keyring.set_keyring(before)


async def test_a_login_is_kept_in_the_keyring_and_in_no_file(issuer: BadIssuer, system: InMemory, keep: Keep) -> None:
    kept = keep(3600)
    assert await Account(issuer.issuer).token() == kept.id_token
    assert not kept_login(issuer.issuer).path.exists()
    assert list(system.entries) == [("arraylake-core", issuer.issuer)]
    issuer.told["/revoke"] = (200, b"")
    await Account(issuer.issuer).logout()
    assert system.entries == {}


async def test_a_locked_keyring_says_what_to_do_and_loses_nothing(issuer: BadIssuer, system: InMemory, keep: Keep) -> None:
    kept = keep(3600)
    system.is_locked = True
    with pytest.raises(AuthenticationError, match=r"refused \(KeyringLocked\): unlock it, or set login\.store"):
        await Account(issuer.issuer).token()
    system.is_locked = False
    assert await Account(issuer.issuer).token() == kept.id_token


@pytest.mark.parametrize("store", ["auto", "keyring"])
async def test_what_a_keyring_does_not_take_goes_to_a_file_unless_the_keyring_is_asked_for(
    issuer: BadIssuer, system: InMemory, keep: Keep, store: str
) -> None:
    """As that of Windows, which takes 2560 bytes. An earlier login there does not hide the new one."""
    keep(10)
    system.longest = 10
    with config.set({"login.store": store}):
        if store == "keyring":
            with pytest.raises(AuthenticationError, match=r"refused \(OSError\)") as caught:
                keep(3600)
            assert "CANARY" not in str(caught.value)
            return
        kept = keep(3600)
        assert system.entries == {}
        assert kept_login(issuer.issuer).read() == kept
        assert kept_login(issuer.issuer).path.stat().st_mode & 0o777 == 0o600


async def test_where_there_is_no_keyring_one_can_t_be_asked_for(issuer: BadIssuer) -> None:
    from keyring.backends.fail import Keyring

    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())
    try:
        with config.set({"login.store": "keyring"}), pytest.raises(InvalidOptionError, match="this system has none"):
            await Account(issuer.issuer).token()
        with config.set({"login.store": "auto"}):
            assert await Account(issuer.issuer).token() is None
        with config.set({"login.store": "CANARY"}), pytest.raises(InvalidOptionError, match="keyring or file"):
            await Account(issuer.issuer).token()
    finally:
        keyring.set_keyring(before)
