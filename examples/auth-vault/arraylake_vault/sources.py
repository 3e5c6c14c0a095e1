"""Asking: a server that speaks the API of HashiCorp Vault, and a command that prints what ``credential_process`` prints."""

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from arraylake_core.backends import S3Credentials
from arraylake_core.errors import CredentialsError
from arraylake_core.models import utc_now
from arraylake_core.names import shown
from arraylake_core.secret import Secret
from arraylake_vault.machine import Vault

__all__ = ["ask_server", "run_command"]

_PATH = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*\Z")
_SECONDS = 20
_LONGEST_ANSWER = 64 * 1024


class _Keys(msgspec.Struct):
    """What the AWS secrets engine gives, and what people keep under the same names."""

    access_key: str
    secret_key: str
    security_token: str | None = None


class _Kept(msgspec.Struct):
    """A secret of the key-value engine, version 2."""

    data: _Keys


class _Answer(msgspec.Struct):
    data: msgspec.Raw
    lease_duration: int = 0


class _Printed(msgspec.Struct, rename="pascal"):
    """What a command prints."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expiration: datetime | None = None


async def ask_server(vault: Vault, path: str) -> S3Credentials:
    """Read a secret from a server.

    Raises
    ------
    CredentialsError
        It can't be reached, refuses, or has something else there. No answer is repeated.
    """
    import aiohttp

    where = f"{vault.address.rstrip('/')}/v1/{_checked(path)}"
    try:
        token = (await asyncio.to_thread(Path(vault.token_file).read_text)).strip()
        timeout = aiohttp.ClientTimeout(total=_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(where, headers={"X-Vault-Token": token}, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise CredentialsError(f"the vault at {vault.address} answers {response.status}: {_next_step(response.status)}")
            body = await response.content.read(_LONGEST_ANSWER)
            while not response.content.at_eof() and len(body) < _LONGEST_ANSWER:
                body += await response.content.read(_LONGEST_ANSWER - len(body))
    except (OSError, TimeoutError, UnicodeDecodeError, aiohttp.ClientError, ValueError) as error:
        raise CredentialsError(
            f"the vault at {vault.address} can't be asked ({type(error).__name__}): try again, or repair it"
        ) from None
    try:
        answer = msgspec.json.decode(body, type=_Answer)
        try:
            keys = msgspec.json.decode(answer.data, type=_Keys)
        except msgspec.ValidationError:
            keys = msgspec.json.decode(answer.data, type=_Kept).data
    except msgspec.DecodeError:
        raise CredentialsError(f"what the vault has at {shown(path)} are no keys: it needs access_key and secret_key") from None
    return S3Credentials(
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=Secret(keys.secret_key),
        aws_session_token=Secret(keys.security_token) if keys.security_token else None,
        expiration=utc_now() + timedelta(seconds=answer.lease_duration) if answer.lease_duration > 0 else None,
    )


async def run_command(vault: Vault, path: str) -> S3Credentials:
    """Run a command, which gets nothing of this process's standard input and no shell.

    Raises
    ------
    CredentialsError
        It fails, takes too long, or prints something else. What it prints is not repeated.
    """
    name = Path(vault.command[0]).name
    process = None
    try:
        process = await asyncio.create_subprocess_exec(*vault.command, _checked(path), stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL)
        printed, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
    except (OSError, TimeoutError) as error:
        if process is not None:
            process.kill()
            await process.wait()
        raise CredentialsError(f"the command {name} could not be run to its end ({type(error).__name__}): repair it") from None
    if process.returncode:
        raise CredentialsError(f"the command {name} ended with {process.returncode}: run it by hand to see why")
    try:
        keys = msgspec.json.decode(printed, type=_Printed)
    except msgspec.DecodeError:
        raise CredentialsError(
            f"the command {name} printed no keys: it must print JSON with AccessKeyId and SecretAccessKey"
        ) from None
    return S3Credentials(
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=Secret(keys.secret_access_key),
        aws_session_token=Secret(keys.session_token) if keys.session_token else None,
        expiration=keys.expiration,
    )


def _checked(path: str) -> str:
    if not _PATH.match(path):
        raise CredentialsError(
            f"{shown(path)} is no path in a vault: use letters, digits, '_' and '-', parts with a slash between"
        )
    return path


def _next_step(status: int) -> str:
    steps = {403: "its token may not read that, or has expired", 404: "nothing is kept at that path: correct path in auth_config"}
    return steps.get(status, "look at its log")
