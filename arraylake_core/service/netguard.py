"""URLs that users give, and that the service itself may come to call: webhooks and endpoints of buckets (P16).

A URL is checked when it is given, so that whoever gives it learns what is wrong, and again when it is called: the name is resolved, every address that it
has is checked, and the connection goes to one of exactly these. Nothing public leads to what is not: loopback, link-local, private, shared, reserved and
multicast addresses are refused, also where an IPv6 address carries one of them inside, unless the operator allows them.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, override
from urllib.parse import SplitResult, urlsplit

from aiohttp import AddrInfoType, TCPConnector, ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from arraylake_core.errors import InvalidOptionError
from arraylake_core.names import shown

__all__ = ["check_networks", "ensure_public", "guarded_connector", "is_public"]

type _Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_RESOLVE_SECONDS = 10
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\Z", re.ASCII)
# What some resolvers read as an IPv4 address although it is not written as one: 127.1, 0x7f000001, 017700000001, 2130706433.
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z", re.ASCII)
_NAT64 = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))


class _Allowed(NamedTuple):
    hosts: frozenset[str]
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


@lru_cache(maxsize=16)
def _allowed(allow: tuple[str, ...]) -> _Allowed:
    hosts, networks = set(), []
    for entry in allow:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            if not _HOST.match(entry.lower()) or "/" in entry:
                raise InvalidOptionError(
                    f"the setting service.allow_networks has {shown(entry)}, which is no host and no network: write 10.1.0.0/16 or a host's name"
                ) from None
            hosts.add(entry.lower())
    return _Allowed(frozenset(hosts), tuple(networks))


def check_networks(allow: Sequence[str]) -> None:
    """Refuse a setting ``service.allow_networks`` that names neither hosts nor networks."""
    _allowed(tuple(allow))


def is_public(address: str, allow: Sequence[str] = ()) -> bool:
    """Tell whether an IP address may be called on behalf of a user.

    Examples
    --------
    >>> is_public("93.184.215.14"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1"), is_public("10.0.0.1", ["10.0.0.0/8"])
    (True, False, False, True)
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = list(_inside(found))
    networks = _allowed(tuple(allow)).networks
    if any(found in network for network in networks) and all(any(one in network for network in networks) for one in inner):
        return True
    return all(one.is_global and not (one.is_multicast or one.is_reserved or one.is_unspecified) for one in (found, *inner))


def _inside(address: _Address) -> Sequence[_Address]:
    """Return the IPv4 addresses to which an IPv6 address leads by translation or a tunnel."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    teredo = address.teredo or ()
    found: list[_Address | None] = [address.ipv4_mapped, address.sixtofour, *teredo]
    if any(address in network for network in _NAT64):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _checked(url: str, allow: Sequence[str], what: str, *, http: bool) -> SplitResult:
    """Check what can be seen of a URL without asking anybody."""
    schemes = ("https", "http") if http else ("https",)
    if not isinstance(url, str) or len(url) > 2048 or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidOptionError(f"{what} is no URL: write {schemes[0]}://host/path in plain ASCII, at most 2048 characters")
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise InvalidOptionError(f"{what} is no URL: check its host and port") from None
    local = host in _allowed(tuple(allow)).hosts or _is_literal(host)
    if parts.scheme not in schemes and not (parts.scheme == "http" and local and _literal_is_allowed(host, allow)):
        raise InvalidOptionError(f"{what} must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.username is not None or parts.password is not None:
        raise InvalidOptionError(f"{what} must not hold a user name or password")
    if not _is_literal(host) and (not _HOST.match(host) or ".." in host or _NUMBER.match(host.rpartition(".")[2])):
        raise InvalidOptionError(f"{what} has no host that can be called: write a name, or an address in its usual form")
    return parts


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _literal_is_allowed(host: str, allow: Sequence[str]) -> bool:
    if not _is_literal(host):
        return True
    found = ipaddress.ip_address(host.partition("%")[0])
    return any(found in network for network in _allowed(tuple(allow)).networks)


async def ensure_public(url: str, allow: Sequence[str], *, what: str = "url", http: bool = False) -> None:
    """Refuse a URL that leads into the service's own network.

    Parameters
    ----------
    url
        What a user gave.
    allow
        Hosts and networks that are allowed although they are not public.
    what
        What the URL is called, for the message.
    http
        Whether plain http is taken; to places that ``allow`` names it always is.

    Raises
    ------
    InvalidOptionError
        It is no URL of a kind that is called, its host does not exist, or it leads to an address that is not public.
    """
    host = (_checked(url, allow, what, http=http).hostname or "").lower()
    if host in _allowed(tuple(allow)).hosts:
        return
    for address in [host] if _is_literal(host) else await _addresses(host, what):
        if not is_public(address, allow):
            raise InvalidOptionError(
                f"{what} leads to an address that is not public: the service calls no such place; its operator may allow it with the setting "
                "service.allow_networks"
            )


async def _addresses(host: str, what: str) -> list[str]:
    try:
        asked = asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        found = await asyncio.wait_for(asked, _RESOLVE_SECONDS)
    except TimeoutError:
        raise InvalidOptionError(f"{what} has a host that no name server told of in {_RESOLVE_SECONDS} s: try again") from None
    except (OSError, UnicodeError):
        raise InvalidOptionError(f"{what} has a host that can't be found: check its spelling") from None
    return [str(address[0]) for *_, address in found]


class _GuardedResolver(AbstractResolver):
    """Resolves names, and gives no address that may not be called, so that the connection goes to one that was checked."""

    def __init__(self, allow: Sequence[str]) -> None:
        self._allow = tuple(allow)
        self._inner = ThreadedResolver()
        self._given: set[str] = set()

    @override
    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of a host; OSError where one of them may not be called."""
        found = await self._inner.resolve(host, port, family)
        if host.lower() not in _allowed(self._allow).hosts and not all(is_public(one["host"], self._allow) for one in found):
            raise OSError("the host has an address that is not public")
        self._given.update(one["host"] for one in found)
        return found

    def opened(self, address: AddrInfoType) -> socket.socket:
        """Return a socket for an address that was resolved and checked, or, as nobody resolves those in URLs, is checked here."""
        family, kind, protocol, _, where = address
        host = str(where[0])
        if host not in self._given and not is_public(host, self._allow):
            raise OSError("the address is not public")
        return socket.socket(family, kind, protocol)

    @override
    async def close(self) -> None:
        """Let go of the inner resolver."""
        await self._inner.close()


def guarded_connector(allow: Sequence[str]) -> TCPConnector:
    """Return an aiohttp connector that reaches public addresses only, and those that are allowed."""
    resolver = _GuardedResolver(allow)
    return TCPConnector(resolver=resolver, socket_factory=resolver.opened, use_dns_cache=False, force_close=True)
