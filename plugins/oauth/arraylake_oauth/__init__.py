"""The caller's own login, exchanged for credentials of the bucket's cloud: the auth method ``oauth``."""

from collections.abc import Iterable

from arraylake_core.backends import AuthMethod
from arraylake_core.hookspecs import hookimpl
from arraylake_oauth.config import OAuthConfig
from arraylake_oauth.method import OAuth

__all__ = ["ARRAYLAKE_SPI", "OAuth", "OAuthConfig", "arraylake_auth_methods"]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_auth_methods() -> Iterable[AuthMethod]:
    """Return the auth method of this plugin."""
    return [OAuth()]
