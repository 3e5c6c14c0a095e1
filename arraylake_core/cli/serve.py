"""``arraylake-core serve``."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from arraylake_core import config
from arraylake_core.errors import InvalidOptionError, PluginNotFoundError

__all__ = ["serve"]


def serve(
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="The catalog's database, sqlite:///path or postgresql://…; by default the setting service.database.",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    tls_certificate: Annotated[Path | None, typer.Option(help="The certificate and its chain, a PEM file, for https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's private key, a PEM file.")] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let everybody on this machine do everything, for trying it out.")
    ] = False,
) -> None:
    """Serve a catalog to others, over HTTP.

    Prints one line, ``Listening on http://HOST:PORT``, once it answers. Logs go to standard error. It ends on SIGTERM, when what is under way is done.
    """
    try:
        from arraylake_core.service.logs import log_to_stderr
        from arraylake_core.service.serve import Address
        from arraylake_core.service.serve import serve as run_service
    except ImportError as error:
        raise PluginNotFoundError(f'the service needs {error.name}: pip install "arraylake-core[service]"') from None
    config.check_names("service", "catalog", "delegation")
    uri = database or config.get_str("service.database")
    if uri is None:
        raise InvalidOptionError("say which database to serve: --database sqlite:///lake.db, or the setting service.database")
    auth = "none" if no_auth else config.get_str("service.auth") or "token"
    if auth == "none" and not no_auth:
        raise InvalidOptionError(
            "service without authentication needs the flag --no-auth as well: a setting alone is too easily left behind"
        )
    log_to_stderr()
    address = Address(host, port, tls_certificate, tls_key)
    asyncio.run(run_service(uri, address, auth=auth, ready=lambda where: print(f"Listening on {where}", flush=True)))
