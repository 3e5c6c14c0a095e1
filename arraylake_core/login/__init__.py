"""Logging in: OpenID Connect for people at a terminal, at a browser, and for services.

RFC 8628 (device flow), RFC 8252 and 7636 (browser flow on a loopback redirect, with PKCE), RFC 9207 (issuer in the answer), RFC 7009 (revocation), held to
the rules of RFC 9700.
"""

from arraylake_core.login.account import Account, account_of, identity_token

__all__ = ["Account", "account_of", "identity_token"]
