"""The conformance kit of auth methods."""

import asyncio
import logging
import pickle
import re
import threading
import traceback
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import msgspec
import pytest

from arraylake_core.backends.auth import AuthMethod
from arraylake_core.backends.credentials import Access, AnonymousCredentials, CredentialProvider, Credentials
from arraylake_core.backends.storage import Location
from arraylake_core.errors import InvalidOptionError
from arraylake_core.models import Identity, encode_json, utc_now
from arraylake_core.secret import Secret
from arraylake_core.testing.checks import CANARY, heavy_imports, nothing_blocks, opened_at_home
from arraylake_core.testing.expiring import ExpiringCredentials

__all__ = ["CANARY", "AuthMethodTests"]

# How options are called whose values are secrets, and how those are that only say where a secret lies.
_SECRET = re.compile(r"secret|password|passphrase|token|private|(^|_)key$")
_REFERENCE = re.compile(r"_(file|path|url|uri|endpoint|id|name|env|command|field)$")


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
    requests
        How many requests one set of credentials may take of the provider; a class with requests counts them in ``asked``.
    """

    method: AuthMethod
    config: Mapping[str, object]
    location: Location
    identity: Identity = Identity()
    requests: int = 1

    def asked(self) -> int | None:
        """Return how many requests the provider of credentials has had so far; None where nobody is asked, or nobody counts."""
        return None

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

    def test_p10_what_sounds_like_a_secret_is_one(self) -> None:
        """An option called ``password`` that is text would be shown, and kept in clear."""
        sounding = [
            field.encode_name
            for field in msgspec.structs.fields(self.method.config)
            if _SECRET.search(field.encode_name) and not _REFERENCE.search(field.encode_name)
        ]
        assert [name for name in sounding if name not in self._secrets()] == []

    def test_the_method_itself_travels(self) -> None:
        """Other processes get it with what uses it."""
        again = pickle.loads(pickle.dumps(self.method))  # noqa: S301 - made on the line itself
        assert (again.name, again.config, again.platforms) == (self.method.name, self.method.config, self.method.platforms)

    async def test_p26_a_provider_asks_once(self) -> None:
        """However many ask it at once."""
        source = _Counted(self)
        provider = CredentialProvider(source)
        sets = await asyncio.gather(*(provider.get() for _ in range(20)))
        assert source.asked == 1
        assert all(one is sets[0] for one in sets)

    async def test_p26_what_has_expired_is_asked_for_once_more(self) -> None:
        """With one refresh in flight, whoever waits for it; what never expires is never asked for again."""
        source = _Counted(self)
        provider = CredentialProvider(source, clock=source.clock)
        first = await provider.get()
        source.ahead = timedelta(days=3650) if first.expiration is None else first.expiration + timedelta(seconds=1) - utc_now()
        await asyncio.gather(*(provider.get() for _ in range(20)))
        assert source.asked == (1 if first.expiration is None else 2)

    async def test_p26_a_set_is_replaced_once_and_in_time(self) -> None:
        """Before it ends, by one refresh however many ask, and nobody waits for it."""
        if isinstance(await self._credentials(), AnonymousCredentials):
            pytest.skip("anonymous credentials never expire")
        method, ahead = _Counted(self), timedelta()
        source = ExpiringCredentials(method, timedelta(hours=1))
        provider = CredentialProvider(source, clock=lambda: utc_now() + ahead)
        first = await provider.get()
        ahead = timedelta(minutes=50)
        assert await provider.get() is first
        assert source.minted == 1
        ahead = timedelta(minutes=58)
        # Were anybody to wait, this would never end.
        method.go.clear()
        assert all(one is first for one in await asyncio.gather(*(provider.get() for _ in range(20))))
        method.go.set()
        second = await provider.get_lasting()
        assert all(one is second for one in await asyncio.gather(*(provider.get() for _ in range(20))))
        assert (source.minted, second is first) == (2, False)

    async def test_p26_a_set_takes_no_more_requests_than_it_must(self) -> None:
        """At the first time, and at each that follows."""
        for _ in range(2):
            before = self.asked()
            await self._credentials()
            after = self.asked()
            if before is not None and after is not None:
                assert after - before <= self.requests

    async def test_p20_what_reads_files_of_the_machine_says_so(self) -> None:
        """A method that is not ``local`` opens none in the home: on a service it would be the service's own, for whoever makes a bucket config."""
        with opened_at_home() as opened:
            await self._credentials()
        assert self.method.local or opened == [], "set `local = True`: then a service refuses the method"

    async def test_p27_it_does_not_block_the_loop(self) -> None:
        """What waits, waits in a thread or asynchronously."""
        with nothing_blocks():
            await self._credentials()

    def test_p27_it_works_on_many_loops(self) -> None:
        """Each thread with its own, at once and one after the other."""
        with ThreadPoolExecutor(4) as pool:
            kinds = {type(one) for one in pool.map(lambda _: asyncio.run(self._credentials()), range(8))}
        assert len(kinds) == 1

    def test_importing_it_loads_nothing_heavy(self) -> None:
        """In a new process."""
        assert heavy_imports(self.method) == []


class _Counted:
    """The method as a source of credentials that counts, and a clock that is ahead until it is asked again."""

    def __init__(self, kit: AuthMethodTests) -> None:
        self._kit = kit
        self.asked = 0
        self.ahead = timedelta()
        self.go = threading.Event()
        self.go.set()

    def clock(self) -> datetime:
        return utc_now() + self.ahead

    async def mint(self) -> Credentials:
        self.asked += 1
        await asyncio.to_thread(self.go.wait)
        credentials = await self._kit._credentials()
        self.ahead = timedelta()
        return credentials


def _is_secret(kind: object) -> bool:
    return kind is Secret or Secret in getattr(kind, "__args__", ())


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)) + repr(error)
