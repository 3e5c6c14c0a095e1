"""The method passes the kit."""

from arraylake_anonymous import AnonymousAuth

from arraylake_core.backends import Location
from arraylake_core.testing.auth import AuthMethodTests


class TestAnonymous(AuthMethodTests):
    method = AnonymousAuth()
    config = {"storage_account": "public"}
    location = Location(platform="s3", bucket="public")
