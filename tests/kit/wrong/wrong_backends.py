"""Backends that are wrong on purpose, each in one way, beside one of each family that is right: the kit must catch them all."""

import time
from collections.abc import Iterable
from datetime import timedelta

import msgspec
from arraylake_icechunk.backend import IcechunkBackend
from arraylake_v1_repo.backend import V1Backend
from fsspec.implementations.local import LocalFileSystem

from arraylake_core.backends import AnonymousCredentials, AuthMethod, CredentialProvider, RepoBackend, S3Credentials
from arraylake_core.errors import CredentialsError, StorageError
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import utc_now
from arraylake_core.secret import Secret
from arraylake_core.testing import DirectoryPlatform


class Key(msgspec.Struct, frozen=True):
    """A source of keys, by the name of who has them."""

    owner: str

    async def mint(self) -> S3Credentials:
        return S3Credentials(aws_access_key_id=self.owner, aws_secret_access_key=Secret("CANARY-of-the-kit"))


OWNER, INTRUDER = CredentialProvider(Key("owner")), CredentialProvider(Key("intruder"))


class Disk(LocalFileSystem):
    """A disk with a lock in front: what the wrong file systems are made from."""

    def __init__(self, **options: object) -> None:
        super().__init__(auto_mkdir=True, skip_instance_cache=True, **options)


class Refusing(LocalFileSystem):
    """What an intruder gets."""

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        raise PermissionError(f"AccessDenied: {path}")

    def cat_file(self, path, *arguments, **kwargs):
        raise PermissionError(f"AccessDenied: {path}")


class HonestPlatform(DirectoryPlatform):
    """A directory that only its owner's key opens."""

    disk: type[LocalFileSystem] = Disk

    def filesystem(self, location, credentials):
        if not isinstance(credentials, S3Credentials):
            raise CredentialsError("a key is needed")
        return self.disk() if credentials.aws_access_key_id == "owner" else Refusing(skip_instance_cache=True)


class DropsWrite(HonestPlatform):
    class disk(Disk):  # noqa: N801 - it stands for the attribute
        def pipe_file(self, path, value, mode="overwrite", **kwargs):
            if not path.endswith("two"):
                super().pipe_file(path, value, mode=mode, **kwargs)


_LISTED: dict[str, list] = {}


class ListsStale(HonestPlatform):
    class disk(Disk):  # noqa: N801 - it stands for the attribute
        def ls(self, path, detail=False, **kwargs):
            found = _LISTED.setdefault(path, super().ls(path, detail=True, **kwargs))
            return found if detail else [entry["name"] for entry in found]


class IgnoresCredentials(HonestPlatform):
    def filesystem(self, location, credentials):
        return self.disk()


class LeaksSecret(HonestPlatform):
    class disk(Disk):  # noqa: N801 - it stands for the attribute
        key = ""

        def __repr__(self) -> str:
            return f"<disk opened with {self.key}>"

    def filesystem(self, location, credentials):
        disk = super().filesystem(location, credentials)
        disk.key = credentials.aws_secret_access_key.reveal()
        return disk


class Rooted(Disk):
    """A disk with state: its root."""

    def __init__(self, root: str = "/nowhere") -> None:
        super().__init__()
        self.root = root

    def _strip_protocol(self, path):
        return super()._strip_protocol(path)

    def cat_file(self, path, start=None, end=None, **kwargs):
        if not path.startswith(self.root):
            raise FileNotFoundError(path)
        return super().cat_file(path, start=start, end=end, **kwargs)

    def __reduce__(self):
        return Rooted, ()


class LosesPickledState(HonestPlatform):
    def filesystem(self, location, credentials):
        checked = super().filesystem(location, credentials)
        return Rooted(self.path(location)) if isinstance(checked, Disk) else checked


class WrongPrefix(HonestPlatform):
    def path(self, location):
        """Take all prefixes that begin alike for one."""
        return super().path(location).removesuffix("/ab") + ("/a" if location.prefix.endswith("/ab") else "")


class SwallowsErrors(HonestPlatform):
    class disk(Disk):  # noqa: N801 - it stands for the attribute
        def cat_file(self, path, start=None, end=None, **kwargs):
            try:
                return super().cat_file(path, start=start, end=end, **kwargs)
            except OSError:
                return b""


class ForgetsDelete(HonestPlatform):
    class disk(Disk):  # noqa: N801 - it stands for the attribute
        def rm(self, path, recursive=False, maxdepth=None):
            """Do nothing."""


class VaultConfig(msgspec.Struct, frozen=True):
    secret: Secret


class HonestAuth(AuthMethod):
    """Keys that live for a quarter of an hour."""

    name = "honest"
    config = VaultConfig
    asked = 0

    async def credentials(self, config, location, access, identity):
        type(self).asked += 1
        return S3Credentials(
            aws_access_key_id="a", aws_secret_access_key=config.secret, expiration=utc_now() + timedelta(minutes=15)
        )


class RefreshesTwice(HonestAuth):
    async def credentials(self, config, location, access, identity):
        await super().credentials(config, location, access, identity)
        return await super().credentials(config, location, access, identity)


class BlocksLoop(HonestAuth):
    async def credentials(self, config, location, access, identity):
        time.sleep(0.01)
        return await super().credentials(config, location, access, identity)


class LeakyConfig(msgspec.Struct, frozen=True):
    secret: str


class LeaksSecretOfConfig(HonestAuth):
    config = LeakyConfig

    async def credentials(self, config, location, access, identity):
        return AnonymousCredentials()


class NotAtomic(IcechunkBackend):
    """Commits the first half of a change, and then the second."""

    name = "not-atomic"

    async def create(self, context):
        return _halved(await super().create(context))

    async def open(self, context, *, read_only, checkout):
        return _halved(await super().open(context, read_only=read_only, checkout=checkout))


def _halved(repo):
    whole = type(repo)

    class Halved(whole):
        @property
        def kind(self) -> str:
            return "not-atomic"

        def commit(self, message, **options):
            if not message.startswith("All are "):
                return super().commit(message, **options)
            values = self.root_group["temperature"][:6]
            self.checkout("main")
            self.root_group["temperature"][:3] = values[:3]
            super().commit(message, **options)
            self.checkout("main")
            self.root_group["temperature"][3:6] = values[3:]
            return super().commit(message, **options)

    repo.__class__ = Halved
    return repo


class IgnoresReadOnly(IcechunkBackend):
    name = "ignores-read-only"

    async def open(self, context, *, read_only, checkout):
        return await super().open(context, read_only=False, checkout=checkout)


class KeepsWhatIsDestroyed(IcechunkBackend):
    name = "keeps-what-is-destroyed"

    async def destroy(self, context) -> None:
        """Do nothing."""


class SwallowsFailures(V1Backend):
    """Says that a commit went well whenever it did not."""

    name = "swallows-failures"

    async def create(self, context):
        return _swallowing(await super().create(context))

    async def open(self, context, *, read_only, checkout):
        return _swallowing(await super().open(context, read_only=read_only, checkout=checkout))


def _swallowing(repo):
    whole = type(repo)

    class Swallowing(whole):
        @property
        def kind(self) -> str:
            return "swallows-failures"

        async def commit(self, message, **options):
            try:
                return await super().commit(message, **options)
            except StorageError:
                return "0" * 24

    repo.__class__ = Swallowing
    return repo


@hookimpl
def arraylake_repo_kinds() -> Iterable[RepoBackend]:
    return [NotAtomic(), IgnoresReadOnly(), KeepsWhatIsDestroyed(), SwallowsFailures()]
