"""The conformance kit of auth methods."""

import asyncio
import logging
import pickle
import subprocess
import sys
import traceback
from collections.abc import Mapping

import msgspec
import pytest

from arraylake_core.backends.auth import AuthMethod
from arraylake_core.backends.credentials import Access, CredentialProvider, Credentials
from arraylake_core.backends.storage import Location
from arraylake_core.errors import InvalidOptionError
from arraylake_core.models import Identity, encode_json, utc_now
from arraylake_core.secret import Secret

__all__ = ["AuthMethodTests"]

CANARY = "CANARY-of-the-kit"
# What a plugin may not import before it is used: each costs every start of every program.
HEAVY = ("aiobotocore", "aiohttp", "botocore", "fsspec", "icechunk", "numpy", "obstore", "s3fs", "sqlalchemy", "xarray", "zarr")


class AuthMethodTests:
    """What every auth method is held to.

    Subclass it and set the attributes; a value for a secret field should be ``CANARY``.

    Attributes
    ----------
    method
        The auth method.
    config
        A valid ``auth_config`` without ``method``.
    location
        A place that the method serves.
    identity
        Who asks.
    """

    method: AuthMethod
    config: Mapping[str, object]
    location: Location
    identity: Identity = Identity()

    def _decoded(self) -> msgspec.Struct:
        return self.method.decode_config(self.config)

    def _secrets(self) -> list[str]:
        return [field.name for field in msgspec.structs.fields(self.method.config) if _is_secret(field.type)]

    async def _credentials(self, access: Access = "read") -> Credentials:
        return await self.method.credentials(self._decoded(), self.location, access, self.identity)

    @pytest.mark.parametrize("access", ["read", "write"])
    async def test_it_gives_credentials(self, access: Access) -> None:
        """For reading and for writing, valid now."""
        credentials = await self._credentials(access)
        assert credentials.expiration is None or credentials.expiration > utc_now()

    def test_an_unknown_option_is_refused_by_name(self) -> None:
        """The message has the field, and no value."""
        with pytest.raises(InvalidOptionError, match="'colour': known are") as caught:
            self.method.decode_config({**self.config, "colour": CANARY})
        assert CANARY not in _told(caught.value)

    def test_a_wrong_type_is_refused_by_name(self) -> None:
        """The message has the field, and no value."""
        for field in msgspec.structs.fields(self.method.config):
            with pytest.raises(InvalidOptionError, match=repr(field.encode_name)) as caught:
                self.method.decode_config({**self.config, field.encode_name: [CANARY]})
            assert CANARY not in _told(caught.value)

    def test_a_missing_option_is_refused_by_name(self) -> None:
        """Every field without a default must be given."""
        for field in msgspec.structs.fields(self.method.config):
            if field.required:
                without = {name: value for name, value in self.config.items() if name != field.encode_name}
                with pytest.raises(InvalidOptionError, match=f"{field.encode_name!r} is missing"):
                    self.method.decode_config(without)

    def test_a_config_survives_the_catalog(self) -> None:
        """What the catalog keeps decodes to the same config."""
        kept = self.method.encode_config(self._decoded())
        assert kept.pop("method") == self.method.name
        assert self.method.decode_config(kept) == self._decoded()
        assert all(isinstance(value, str | bool | int | Secret) for value in kept.values())

    async def test_p10_secrets_do_not_show(self, caplog: pytest.LogCaptureFixture) -> None:
        """Neither in the config nor in the credentials nor in logs."""
        caplog.set_level(logging.DEBUG)
        config, credentials = self._decoded(), await self._credentials()
        shown = [repr(config), str(credentials), f"{credentials!r}", encode_json(self.method.encode_config(config)).decode()]
        assert CANARY not in "".join([*shown, repr(self.method), caplog.text])
        for name in self._secrets():
            assert isinstance(getattr(config, name), Secret | None)

    async def test_p11_secrets_do_not_pickle(self) -> None:
        """Credentials with a secret refuse."""
        try:
            pickled = pickle.dumps([self._decoded(), await self._credentials()])
        except TypeError:
            return
        assert not self._secrets()
        assert CANARY.encode() not in pickled

    async def test_p26_a_provider_asks_once(self) -> None:
        """However many ask it at once."""
        source = _Counted(self)
        provider = CredentialProvider(source)
        sets = await asyncio.gather(*(provider.get() for _ in range(20)))
        assert source.asked == 1
        assert all(one is sets[0] for one in sets)

    def test_importing_it_loads_nothing_heavy(self) -> None:
        """In a new process."""
        module = type(self.method).__module__.partition(".")[0]
        script = f"import sys, {module}; print(*set({HEAVY!r}).intersection(sys.modules))"
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - the line above
        assert run.stdout.split() == []


class _Counted:
    """The method as a source of credentials that counts."""

    def __init__(self, kit: AuthMethodTests) -> None:
        self._kit = kit
        self.asked = 0

    async def mint(self) -> Credentials:
        self.asked += 1
        return await self._kit._credentials()


def _is_secret(kind: object) -> bool:
    return kind is Secret or Secret in getattr(kind, "__args__", ())


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)) + repr(error)
