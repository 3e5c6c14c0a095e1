"""The method passes the kit."""

from arraylake_hmac import HmacAuth

from arraylake_core.backends import Location, S3Credentials
from arraylake_core.testing.auth import CANARY, AuthMethodTests


class TestHmac(AuthMethodTests):
    method = HmacAuth()
    config = {"access_key_id": "AKIA", "secret_access_key": CANARY}
    location = Location(platform="s3", bucket="ours")

    async def test_the_keys_are_those_of_the_config(self):
        credentials = await self._credentials()
        assert isinstance(credentials, S3Credentials)
        assert (credentials.aws_access_key_id, credentials.aws_secret_access_key.reveal()) == ("AKIA", CANARY)
        assert credentials.expiration is None
