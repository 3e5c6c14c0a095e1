"""A login is renewed without anything being lost on the way, whatever fails, and whoever gives up waiting."""

import asyncio
import itertools
import threading
import time

import pytest

from arraylake_core import AsyncClient
from arraylake_core.errors import AuthenticationError
from arraylake_core.login.account import Account
from arraylake_core.login.storage import kept_login
from arraylake_core.login.tokens import TokenSet
from arraylake_core.secret import Secret
from tests.login.conftest import Keep
from tests.servers.bad_issuer import BadIssuer
from tests.service.test_transport import own_variables


def _kept(issuer: BadIssuer) -> TokenSet:
    found = kept_login(issuer.issuer).read()
    assert found is not None
    return found


async def test_p6_a_rotated_refresh_token_is_kept_though_the_rest_of_the_answer_is_no_good(issuer: BadIssuer, keep: Keep) -> None:
    keep(-1)
    issuer.told["/token"] = (200, {"id_token": issuer.token(key=issuer.stranger()), "refresh_token": "second"})
    with pytest.raises(AuthenticationError, match="not by a key"):
        await Account(issuer.issuer).token()
    assert _kept(issuer).refresh_token == Secret("second")


async def test_p6_no_refresh_token_is_used_up_while_the_keys_can_t_be_had(issuer: BadIssuer, keep: Keep) -> None:
    before = keep(-1)
    issuer.told["/jwks"] = (503, {})
    with pytest.raises(AuthenticationError, match="refused with 503"):
        await Account(issuer.issuer).token()
    assert issuer.asked("/token") == 0
    assert _kept(issuer) == before


async def test_p6_who_gives_up_waiting_breaks_off_no_renewal(issuer: BadIssuer, keep: Keep) -> None:
    """Or the refresh token that is used up already would be used again, and the provider would end the login as stolen."""
    keep(-1)
    issuer.told["/token"] = (200, {"id_token": issuer.token(), "refresh_token": "second"})
    asked, go_on = threading.Event(), threading.Event()
    answered = issuer.server.answer_by
    assert answered is not None

    def slowly(request: object) -> bytes:
        answer = answered(request)  # type: ignore[arg-type]
        if b"second" in answer:
            asked.set()
            go_on.wait(30)
        return answer

    issuer.server.answer_by = slowly
    account = Account(issuer.issuer)
    waiting = asyncio.create_task(account.token())
    assert await asyncio.to_thread(asked.wait, 30)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    # Whoever asks next waits for the one that goes on.
    assert await account.token() is not None
    assert issuer.asked("/token") == 1
    assert _kept(issuer).refresh_token == Secret("second")


async def test_p6_a_renewal_as_somebody_else_is_refused(issuer: BadIssuer, keep: Keep) -> None:
    keep(-1)
    issuer.told["/token"] = (200, {"id_token": issuer.token(sub="eve")})
    with pytest.raises(AuthenticationError, match="somebody else's"):
        await Account(issuer.issuer).token()
    assert _kept(issuer).id_token == Secret("CANARY-id")


async def test_a_renewal_without_an_id_token_is_said_to_be(issuer: BadIssuer, keep: Keep) -> None:
    keep(-1)
    issuer.told["/token"] = (200, {"access_token": "x", "refresh_token": "second"})
    with pytest.raises(AuthenticationError, match="renewed the login without an ID token"):
        await Account(issuer.issuer).token()
    assert _kept(issuer).refresh_token == Secret("second")


async def test_a_provider_that_is_away_ends_no_login_that_holds(issuer: BadIssuer, keep: Keep) -> None:
    before = keep(30)
    issuer.told["/token"] = (503, {})
    assert await Account(issuer.issuer).token() == before.id_token


async def test_p7_a_token_that_is_refused_from_its_first_second_is_not_renewed_again_and_again(
    issuer: BadIssuer, keep: Keep
) -> None:
    before = keep(3600, had=time.time())
    assert await Account(issuer.issuer).token(unlike=before.id_token) == before.id_token
    assert issuer.asked("/token") == 0


@pytest.mark.parametrize(
    "told",
    [
        {"/token": (400, {"error": "invalid_grant", "error_description": "CANARY"})},
        {"/token": (400, {"error": "CANARY"})},
        {"/token": (200, {"id_token": "CANARY.CANARY.CANARY", "refresh_token": "CANARY-second"})},
        {"/token": (200, b"CANARY")},
        {"/token": b""},
        {"/token": (200, {"access_token": "CANARY"})},
    ],
)
async def test_p10_no_token_is_in_the_traceback_of_a_renewal(issuer: BadIssuer, keep: Keep, told: dict[str, object]) -> None:
    keep(-1)
    issuer.told |= told
    with pytest.raises(AuthenticationError) as caught:
        await Account(issuer.issuer).token()
    error: BaseException | None = caught.value
    while error is not None:
        assert "CANARY" not in str(error) + own_variables(error)
        error = error.__cause__ or error.__context__


async def test_p10_a_name_in_a_token_does_nothing_to_the_terminal(issuer: BadIssuer, capsys: pytest.CaptureFixture[str]) -> None:
    device = {"device_code": "x", "user_code": "ABCD", "verification_uri": "https://login.example.org", "expires_in": 60}
    issuer.told |= {
        "/device": (200, {**device, "interval": 0.1}),
        "/token": (200, {"id_token": issuer.token(email="\x1b[2Jada")}),
    }
    async with AsyncClient("memory://") as client:
        await client.login()
    assert "\x1b" not in capsys.readouterr().err


async def test_p5_a_lost_answer_ends_no_login(issuer: BadIssuer) -> None:
    """RFC 8628, 3.5: the client asks again, more slowly."""
    device = {"device_code": "x", "user_code": "ABCD", "verification_uri": "https://login.example.org", "expires_in": 60}
    issuer.told |= {
        "/device": (200, {**device, "interval": 0.1}),
        "/token": [b"", (503, {}), (400, {"error": "authorization_pending"}), (200, {"id_token": issuer.token()})],
    }
    async with AsyncClient("memory://") as client:
        await client.login()
    times = [request.at for request in issuer.server.requests if request.target == "/token"]
    waits = [after - before for before, after in itertools.pairwise(times)]
    assert len(waits) == 3
    assert waits[0] >= 0.2
    assert waits[1] >= 0.4
