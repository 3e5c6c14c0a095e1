"""Providers, and whoever is in between, that do what no honest one would: each is refused, and told by a message of its own."""

import asyncio
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import urlopen

import pytest

from arraylake_core import AsyncClient
from arraylake_core.errors import AuthenticationError
from tests.servers.bad_issuer import BadIssuer

type Answered = Callable[[dict[str, str]], dict[str, str]]


async def by_browser(
    issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch, answered: Answered | None = None, **claims: object
) -> None:
    """Log in with a browser that comes back with a code, and what ``answered`` makes of that; the ID token has the claims."""

    def opened(url: str) -> bool:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        issuer.told.setdefault("/token", (200, {"id_token": issuer.token(nonce=asked["nonce"], **claims)}))
        back = {"code": "code", "state": asked["state"], "iss": issuer.issuer}
        urlopen(f"{asked['redirect_uri']}?{urlencode(answered(back) if answered else back)}", timeout=10).close()
        return True

    monkeypatch.setattr("webbrowser.open", lambda url: _in_thread(opened, url))
    async with AsyncClient("memory://") as client:
        await client.login(browser=True)


def _in_thread(call: Callable[[str], bool], url: str) -> bool:
    threading.Thread(target=call, args=(url,)).start()
    return True


async def test_an_honest_answer_is_taken(issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    await by_browser(issuer, monkeypatch)
    (request,) = [one for one in issuer.server.requests if one.target == "/token"]
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert (form["grant_type"], form["code"], form["client_id"]) == ("authorization_code", "code", "cli")
    assert len(form["code_verifier"]) >= 43


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"state": "another"}, "its state is not the one"),
        ({"state": None}, "its state is not the one"),
        ({"iss": "https://other.example.org"}, "from another identity provider"),
        ({"code": None, "error": "access_denied"}, "was denied in the browser"),
        ({"code": None, "error": "CANARY<script>"}, r"refused the login \(an error\)"),
        ({"code": None}, r"refused the login \(no_code\)"),
    ],
)
async def test_p6_what_the_browser_brings_back_is_checked(
    issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch, change: dict[str, str | None], says: str
) -> None:
    def changed(answer: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in {**answer, **change}.items() if value is not None}

    with pytest.raises(AuthenticationError, match=says) as caught:
        await by_browser(issuer, monkeypatch, changed)
    assert "CANARY" not in str(caught.value)
    assert issuer.asked("/token") == 0


async def test_p6_an_issuer_that_promises_to_name_itself_must(issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer.told["metadata"] = {"authorization_response_iss_parameter_supported": True}
    with pytest.raises(AuthenticationError, match="from another identity provider"):
        await by_browser(issuer, monkeypatch, lambda answer: {name: answer[name] for name in ("code", "state")})


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"nonce": "another"}, "its nonce is not the one"),
        ({"iss": "https://other.example.org"}, "issued by somebody else"),
        ({"aud": "another"}, "for another client"),
        ({"aud": ["cli", "another"]}, "for another client"),
        ({"exp": time.time() - 120}, "has expired.*clock"),
        ({"iat": 4e9}, "not valid yet: set the clock"),
        ({"nbf": 4e9}, "not valid yet"),
        ({"exp": None}, "when it ends"),
        ({"sub": None}, "names nobody"),
    ],
)
async def test_p4_the_id_token_of_a_login_is_checked(
    issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch, claims: dict[str, object], says: str
) -> None:
    if "nonce" in claims:
        issuer.told["/token"] = (200, {"id_token": issuer.token(**claims)})
        claims = {}
    with pytest.raises(AuthenticationError, match=says):
        await by_browser(issuer, monkeypatch, None, **claims)


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (BadIssuer.unsigned, "proves nothing"),
        (BadIssuer.shared_secret, "proves nothing"),
        (lambda issuer: issuer.token(key=issuer.stranger()), "not by a key of the identity provider"),
        (lambda issuer: issuer.token()[:-6] + "CANARY", "not by a key"),
        (lambda issuer: "CANARY", "no JWT"),
        (lambda issuer: None, "gave no ID token"),
    ],
    ids=["alg none", "shared secret", "swapped keys", "cut off", "no JWT", "no token"],
)
async def test_p4_a_token_that_proves_nothing_is_refused(
    issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch, token: Callable[[BadIssuer], str | None], says: str
) -> None:
    issuer.told["/token"] = (200, {"id_token": token(issuer)})
    with pytest.raises(AuthenticationError, match=says) as caught:
        await by_browser(issuer, monkeypatch)
    assert "CANARY" not in str(caught.value)


async def test_p6_a_code_that_was_used_already_is_refused(issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer.told["/token"] = (400, {"error": "invalid_grant", "error_description": "CANARY"})
    with pytest.raises(AuthenticationError, match="used already") as caught:
        await by_browser(issuer, monkeypatch)
    assert "CANARY" not in str(caught.value)


async def test_p6_the_redirect_takes_one_request_on_its_own_path(issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[int] = []

    def opened(url: str) -> bool:
        from urllib.error import HTTPError

        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        issuer.told["/token"] = (200, {"id_token": issuer.token(nonce=asked["nonce"])})
        assert urlsplit(asked["redirect_uri"]).hostname == "127.0.0.1"
        for path in ("", "/favicon.ico", "/callback/../x"):
            try:
                urlopen(asked["redirect_uri"].removesuffix("/callback") + path, timeout=10)
            except HTTPError as error:
                refused.append(error.code)
        urlopen(f"{asked['redirect_uri']}?{urlencode({'code': 'code', 'state': asked['state']})}", timeout=10).close()
        return True

    monkeypatch.setattr("webbrowser.open", lambda url: _in_thread(opened, url))
    async with AsyncClient("memory://") as client:
        await client.login(browser=True)
    assert refused == [404, 404, 404]


async def test_p6_a_provider_that_takes_no_s256_is_refused(issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer.told["metadata"] = {"code_challenge_methods_supported": ["plain"]}
    with pytest.raises(AuthenticationError, match="takes no code challenges by S256"):
        await by_browser(issuer, monkeypatch)


async def test_p6_a_browser_that_comes_back_when_it_is_left_blocks_nothing(
    issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of the terminal do; and what the provider's own link asks for stays in it."""
    issuer.told["metadata"] = {"authorization_endpoint": f"{issuer.issuer}/auth?tenant=acme"}
    seen: list[dict[str, str]] = []
    is_answered = threading.Event()

    def opened(url: str) -> bool:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        seen.append(asked)
        issuer.told["/token"] = (200, {"id_token": issuer.token(nonce=asked["nonce"])})
        urlopen(f"{asked['redirect_uri']}?{urlencode({'code': 'code', 'state': asked['state']})}", timeout=10).close()
        is_answered.set()
        return True

    monkeypatch.setattr("webbrowser.open", opened)
    async with AsyncClient("memory://") as client:
        await client.login(browser=True)
    assert await asyncio.to_thread(is_answered.wait, 10)
    assert (seen[0]["tenant"], seen[0]["code_challenge_method"]) == ("acme", "S256")


DEVICE = {
    "device_code": "CANARY-device",
    "user_code": "ABCD-EFGH",
    "verification_uri": "https://login.example.org",
    "expires_in": 60,
}


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([(400, {"error": "authorization_pending"}), (400, {"error": "access_denied"})], "was denied in the browser"),
        ([(400, {"error": "expired_token"})], "nobody confirmed the code in time"),
        ([(400, {"error": "invalid_grant"})], "not valid any more"),
        ([(400, {"error": "CANARY made up"})], "refused the login"),
        ([(500, b"CANARY")], "something other than a JSON object"),
        ([(503, {"error": "CANARY made up"})], "is out of order"),
    ],
)
async def test_p5_what_becomes_of_a_code_is_said(issuer: BadIssuer, answers: list[object], says: str) -> None:
    issuer.told |= {"/device": (200, {**DEVICE, "interval": 0.1, "expires_in": 1}), "/token": answers}
    async with AsyncClient("memory://") as client:
        with pytest.raises(AuthenticationError, match=says) as caught:
            await client.login()
    assert "CANARY" not in str(caught.value)


async def test_p5_slow_down_adds_five_seconds(issuer: BadIssuer) -> None:
    slow, done = (400, {"error": "slow_down"}), (200, {"id_token": issuer.token()})
    issuer.told |= {"/device": (200, {**DEVICE, "interval": 0.1}), "/token": [slow, done]}
    async with AsyncClient("memory://") as client:
        await client.login()
    first, second = (request.at for request in issuer.server.requests if request.target == "/token")
    assert second - first >= 5


async def test_p5_a_code_that_nobody_confirms_ends(issuer: BadIssuer) -> None:
    issuer.told |= {
        "/device": (200, {**DEVICE, "interval": 0.1, "expires_in": 0.5}),
        "/token": (400, {"error": "authorization_pending"}),
    }
    async with AsyncClient("memory://") as client:
        with pytest.raises(AuthenticationError, match="nobody confirmed the code in time"):
            await client.login()


async def test_p10_the_terminal_is_shown_no_secret_and_no_trick(issuer: BadIssuer, capsys: pytest.CaptureFixture[str]) -> None:
    tricks = {"verification_uri": "https://login.example.org", "user_code": "\x1b[2JABCD"}
    issuer.told |= {"/device": (200, {**DEVICE, **tricks, "interval": 0.1}), "/token": (400, {"error": "access_denied"})}
    async with AsyncClient("memory://") as client:
        with pytest.raises(AuthenticationError):
            await client.login()
        said = capsys.readouterr()
        assert "\x1b" not in said.err
        assert "CANARY" not in said.err
        issuer.told["/device"] = (200, {**DEVICE, "verification_uri": "javascript:alert(1)"})
        with pytest.raises(AuthenticationError, match="gave a link that is none"):
            await client.login()


async def test_a_provider_without_codes_falls_to_the_browser_and_says_so(
    issuer: BadIssuer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer.told["metadata"] = {"device_authorization_endpoint": None}
    issuer.told["/token"] = (400, {"error": "invalid_grant"})

    def opened(url: str) -> bool:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        urlopen(f"{asked['redirect_uri']}?{urlencode({'code': 'code', 'state': asked['state']})}", timeout=10).close()
        return True

    monkeypatch.setattr("webbrowser.open", lambda url: _in_thread(opened, url))
    async with AsyncClient("memory://") as client:
        with pytest.raises(AuthenticationError, match="used already"):
            await client.login()
    assert "gives no codes to log in with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ((200, {"issuer": "https://other.example.org", "token_endpoint": "x", "jwks_uri": "y"}), "calls itself something else"),
        ((200, {"issuer": "CANARY"}), "no OpenID provider that can be used"),
        ((404, {}), "refused with 404"),
        ((200, b"<html>CANARY</html>"), "no JSON object"),
        ((200, b"[" * 100_000), "no JSON object"),
    ],
)
async def test_p4_a_provider_that_is_none_or_another_is_refused(issuer: BadIssuer, metadata: object, says: str) -> None:
    issuer.told["/.well-known/openid-configuration"] = metadata
    async with AsyncClient("memory://") as client:
        with pytest.raises(AuthenticationError, match=says):
            await client.login()
