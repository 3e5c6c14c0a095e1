"""The credential provider: one mint per lifetime, whoever asks."""

import asyncio
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from arraylake_core.backends import AnonymousCredentials, CredentialProvider, S3Credentials
from arraylake_core.backends.credentials import provider_for
from arraylake_core.errors import CredentialsError
from arraylake_core.secret import Secret

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


class Source:
    """Mints sets that last an hour, counts them, and fails or waits when told to."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.minted = 0
        self.error: Exception | None = None
        self.gate: threading.Event | None = None

    def __repr__(self) -> str:
        return "the test's credentials"

    async def mint(self) -> S3Credentials:
        if self.gate is not None:
            await asyncio.to_thread(self.gate.wait)
        if self.error is not None:
            raise self.error
        self.minted += 1
        return S3Credentials(
            aws_access_key_id=f"key {self.minted}", aws_secret_access_key=Secret("s"), expiration=self.clock() + HOUR
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(clock) -> Source:
    return Source(clock)


@pytest.fixture
def provider(source, clock) -> CredentialProvider:
    return CredentialProvider(source, clock=clock)


def test_p26_many_threads_and_loops_at_once_mint_one_set(provider, source):
    source.gate = threading.Event()

    def from_a_loop() -> str:
        async def ask() -> str:
            sets = await asyncio.gather(*(provider.get() for _ in range(10)))
            return sets[0].aws_access_key_id

        return asyncio.run(ask())

    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(from_a_loop) for _ in range(8)]
        asked += [pool.submit(lambda: provider.get_blocking().aws_access_key_id) for _ in range(8)]
        source.gate.set()
        assert {future.result() for future in asked} == {"key 1"}
    assert source.minted == 1


async def test_p26_a_set_is_used_until_it_nears_its_end_and_is_then_refreshed_ahead(provider, source, clock):
    await provider.get()
    clock.now += HOUR - timedelta(minutes=6)
    assert (await provider.get()).aws_access_key_id == "key 1"
    assert source.minted == 1
    clock.now += timedelta(minutes=2)
    source.gate = threading.Event()
    # In its last minutes the old set is handed out while the new one is on its way: nobody waits.
    assert (await provider.get()).aws_access_key_id == "key 1"
    refresh = provider._inflight
    source.gate.set()
    await asyncio.wrap_future(refresh)
    assert (await provider.get()).aws_access_key_id == "key 2"
    assert source.minted == 2


async def test_p26_a_failed_refresh_keeps_the_last_set_while_it_is_valid_and_backs_off(provider, source, clock):
    await provider.get()
    clock.now += HOUR - timedelta(minutes=1)
    source.error = RuntimeError("the service is down; CANARY")
    assert (await provider.get()).aws_access_key_id == "key 1"
    with pytest.raises(CredentialsError):
        await asyncio.wrap_future(provider._inflight or provider._ready())
    assert (await provider.get()).aws_access_key_id == "key 1"
    assert provider._inflight is None, "the next try waits for its time"


async def test_p26_an_expired_set_is_never_handed_out_and_nothing_else_is_taken_instead(provider, source, clock, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ambient")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ambient")
    await provider.get()
    clock.now += 2 * HOUR
    source.error = RuntimeError("CANARY")
    with pytest.raises(CredentialsError, match="RuntimeError") as caught:
        await provider.get()
    assert "CANARY" not in str(caught.value)
    with pytest.raises(CredentialsError, match="next try"):
        await provider.get()
    with pytest.raises(CredentialsError, match="next try"):
        provider.get_blocking()


async def test_p26_who_hands_sets_on_gets_one_that_lasts(provider, source, clock):
    first = await provider.get_lasting()
    clock.now += 0.95 * HOUR
    source.gate = threading.Event()
    assert await provider.get() is first, "who uses it need not wait"
    asking = asyncio.create_task(provider.get_lasting())
    await asyncio.sleep(0)
    source.gate.set()
    assert (await asking).aws_access_key_id == "key 2"
    assert await provider.get_lasting() is await provider.get()
    assert source.minted == 2


async def test_p26_where_no_new_set_can_be_had_the_last_valid_one_is_handed_on(provider, source, clock, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ambient")
    first = await provider.get_lasting()
    clock.now += 0.95 * HOUR
    source.error = RuntimeError("down")
    assert await provider.get_lasting() is first
    assert await provider.get_lasting() is first
    clock.now += HOUR
    with pytest.raises(CredentialsError):
        await provider.get_lasting()


async def test_p26_a_set_that_has_ended_when_it_comes_is_an_error_and_asked_for_no_more(provider, source, clock):
    """The clock of this machine is ahead: without this, each request would ask for a set of its own."""
    minted = source.mint

    async def mint() -> S3Credentials:
        return msgspec.structs.replace(await minted(), expiration=clock() - HOUR)

    source.mint = mint
    with pytest.raises(CredentialsError, match=r"ended 3600 s before .* clock"):
        await provider.get()
    for _ in range(5):
        with pytest.raises(CredentialsError, match="next try"):
            await provider.get()
    assert source.minted == 1


async def test_p26_an_offered_set_is_taken_where_it_lasts_longer(provider, source, clock):
    def offered(name: str, lasts: timedelta) -> S3Credentials:
        return S3Credentials(aws_access_key_id=name, aws_secret_access_key=Secret("s"), expiration=clock() + lasts)

    await provider.get()
    provider.offer(offered("older", HOUR / 2))
    assert (await provider.get()).aws_access_key_id == "key 1"
    clock.now += 2 * HOUR
    provider.offer(offered("newer", HOUR))
    assert (await provider.get()).aws_access_key_id == "newer"
    assert source.minted == 1


async def test_p26_a_caller_that_gives_up_does_not_stop_the_refresh_for_the_others(provider, source):
    source.gate = threading.Event()
    impatient = asyncio.create_task(provider.get())
    patient = asyncio.create_task(provider.get())
    await asyncio.sleep(0)
    impatient.cancel()
    source.gate.set()
    assert (await patient).aws_access_key_id == "key 1"
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_credentials_without_expiry_are_minted_once():
    class Forever:
        minted = 0

        async def mint(self) -> AnonymousCredentials:
            self.minted += 1
            return AnonymousCredentials()

    source = Forever()
    provider = CredentialProvider(source)
    for _ in range(5):
        await provider.get()
    assert source.minted == 1


class Named(msgspec.Struct, frozen=True):
    name: str

    async def mint(self) -> S3Credentials:
        return S3Credentials(aws_access_key_id=f"{self.name} in {os.getpid()}", aws_secret_access_key=Secret("CANARY"))


def test_p11_a_provider_pickles_as_the_name_of_its_source_and_wakes_up_as_the_process_has_it():
    provider = provider_for(Named("ours"))
    provider.get_blocking()
    pickled = pickle.dumps(provider)
    assert b"CANARY" not in pickled
    assert pickle.loads(pickled) is provider


def _key_in_child(pickled: bytes, answers) -> None:
    answers.put(pickle.loads(pickled).get_blocking().aws_access_key_id)


@pytest.mark.parametrize("method", ["spawn", "fork"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_p11_p27_a_new_process_mints_its_own(method):
    provider = provider_for(Named("ours"))
    provider.get_blocking()
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    child = context.Process(target=_key_in_child, args=(pickle.dumps(provider), answers))
    child.start()
    answer = answers.get(timeout=60)
    child.join(60)
    if method == "spawn":
        assert answer == f"ours in {child.pid}"
    else:
        # A forked child starts with what its parent had, still valid, and can mint on a loop of its own.
        assert answer.startswith("ours in ")


@dataclass(frozen=True)
class OwnKind:
    """A source with credentials of a kind that nobody else knows."""

    async def mint(self):
        return {"user": "ada", "password": "CANARY"}


async def test_credentials_of_an_unknown_kind_are_refused_where_they_are_made():
    with pytest.raises(CredentialsError, match="gave a dict, .* returns one of .*PasswordCredentials") as caught:
        await CredentialProvider(OwnKind()).get()
    assert "CANARY" not in str(caught.value)
