"""Logins: the service as what OpenID Connect calls a relying party."""
