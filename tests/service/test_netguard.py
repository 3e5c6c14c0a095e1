"""P16: no URL that a user gives makes the service reach internal addresses."""

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from arraylake_core.errors import InvalidOptionError
from arraylake_core.service.netguard import ensure_public, guarded_connector, is_public

INTERNAL = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "198.18.0.1",
    "192.0.2.1",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a9fe:a9fe",
    "2001:0:53aa:64c:0:fbff:80ff:fffe",
]


@pytest.mark.parametrize("address", INTERNAL)
def test_p16_internal_addresses(address: str) -> None:
    assert not is_public(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidOptionError):
        asyncio.run(ensure_public(f"https://{host}/hook", ()))


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:4700:4700::1111"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/",
        "ftp://93.184.215.14/",
        "file:///etc/passwd",
        "gopher://93.184.215.14/",
        "https://user:secret@93.184.215.14/",
        "https://user@93.184.215.14/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://017700000001/",
        "https://127.0.0.1./",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://localhost./",
        "https://①②⑦.⓪.⓪.①/",
        "https://１２７.0.0.1/",
        "https://host..name/",
        "https:///path",
        "https://",
        "https://[::1",
        "https://host:99999/",
        "https://a b/",
        "https://host\\@127.0.0.1/",
        "https://host\r\nx: y/",
        "https://" + "a" * 3000,
        "//93.184.215.14/",
        "",
        None,
        5,
    ],
)
def test_p16_tricks(url: object) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        asyncio.run(ensure_public(url, (), what="url"))
    assert "secret" not in str(caught.value)


def test_p16_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("93.184.215.14", "10.0.0.7")]

    async def resolve(self, host, port, **options):
        return both

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    with pytest.raises(InvalidOptionError, match="not public"):
        asyncio.run(ensure_public("https://hooks.example.org/", ()))
    asyncio.run(ensure_public("https://hooks.example.org/", ("10.0.0.0/8",)))
    asyncio.run(ensure_public("https://hooks.example.org/", ("hooks.example.org",)))


def test_the_operators_list_is_checked() -> None:
    with pytest.raises(InvalidOptionError, match=r"service\.allow_networks"):
        asyncio.run(ensure_public("https://93.184.215.14/", ("10.0.0.0/99",)))


async def test_p16_a_name_that_changes_its_address_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when it was checked, internal when it is called."""
    reached = []

    async def receive(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    inside = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def resolve(self, host, asked=None, **options):
        return inside

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", resolve)
    async with aiohttp.ClientSession(connector=guarded_connector(())) as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://rebound.example.org:{port}/")
    assert reached == []
    async with aiohttp.ClientSession(connector=guarded_connector(("127.0.0.0/8",))) as session:
        assert (await session.get(f"http://rebound.example.org:{port}/")).status == 200
    assert reached == ["/"]
    await runner.cleanup()
