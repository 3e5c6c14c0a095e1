"""``arraylake-core admin``: what an operator does with a catalog's database, past any service."""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from arraylake_core import config
from arraylake_core.cli.console import PROGRAM, Output, OutputOption, emit, moment, note, table
from arraylake_core.cli.token import Days, end_after, show_token
from arraylake_core.errors import AlreadyExistsError, InvalidOptionError, OrgNotFoundError

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.catalog.backup_file import BackupManifest
    from arraylake_core.catalog.sql_catalog import SqlCatalog
    from arraylake_core.people import Principal

__all__ = ["app", "database_uri"]

app = typer.Typer(no_args_is_help=True, help="The catalog's database: for operators, on the machine that reaches it.")

Database = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        help="sqlite:///path or postgresql://user:password@host/name; by default the setting service.database "
        "(ARRAYLAKE_SERVICE__DATABASE), which keeps the password out of the command line.",
    ),
]


def _blocking[**P](command: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Run a command's coroutine to its end."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        import asyncio

        asyncio.run(command(*args, **kwargs))

    return run


def database_uri(database: str | None) -> str:
    """Return the URI of the database that an option or the setting names."""
    uri = database or config.get_str("service.database")
    if not uri:
        raise InvalidOptionError("name the catalog's database: --database URI, or the setting service.database")
    if uri.partition("://")[0] not in ("sqlite", "postgresql"):
        raise InvalidOptionError(
            "a database is sqlite:///path or postgresql://user:password@host/name: a catalog's URI of another kind is none"
        )
    return uri


@asynccontextmanager
async def _opened(database: str | None) -> AsyncIterator["SqlCatalog"]:
    from arraylake_core.catalog.open import catalog_from_uri

    catalog = cast("SqlCatalog", catalog_from_uri(database_uri(database)))
    try:
        yield catalog
    finally:
        await catalog.close()


@app.command("create-org")
@_blocking
async def create_org(
    org: Annotated[str, typer.Argument(help="Its name, the first part of its repos' names.")],
    admin_email: Annotated[str, typer.Option(metavar="EMAIL", help="The e-mail address of its first admin.")],
    database: Database = None,
    expires_days: Days = None,
    new_token: Annotated[
        bool,
        typer.Option("--new-token", help="Where the organization exists, make the person its admin, and issue another token."),
    ] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make an organization with its first admin, and print an API token for that person: this once."""
    from arraylake_core.people import NewToken, Role

    async with _opened(database) as catalog:
        expires = end_after(expires_days)
        async with catalog.transaction():
            if not (new_token and await _exists(catalog, org)):
                try:
                    await catalog.create_org(org)
                except AlreadyExistsError:
                    raise AlreadyExistsError(
                        f"there is an organization {org!r} already: choose another name, or issue a token for it with --new-token"
                    ) from None
            await catalog.set_member(org, admin_email, Role.Admin)
            new = NewToken(name="admin", role=Role.Admin, expires=expires)
            issued = await catalog.create_token(org, new, email=admin_email)
            await catalog.add_audit(_console(), org, "create_org", f"{org}: {issued.email} is admin, by the token {issued.id}")
    show_token({"org": org}, issued, output)


def _console() -> "Principal":
    """Return whom the audit log names for what is done here: nobody logs in to a command line."""
    from arraylake_core.people import Principal

    return Principal(id="", user_id="", email="", name=f"{PROGRAM} admin", operator=True)


@app.command("create-operator")
@_blocking
async def create_operator(
    email: Annotated[str, typer.Option(metavar="EMAIL", help="The e-mail address of the operator.")],
    database: Database = None,
    expires_days: Days = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a person an operator, who may do all in every organization, and print an API token for that: this once."""
    async with _opened(database) as catalog, catalog.transaction():
        user = await catalog.ensure_user(email, operator=True)
        issued = await catalog.create_operator_token(user.email, "operator", expires=end_after(expires_days))
        await catalog.add_audit(_console(), "", "create_operator", f"{user.email} is operator, by the token {issued.id}")
    show_token({"email": user.email}, issued, output)


@app.command("forget-login")
@_blocking
async def forget_login(
    email: Annotated[
        str | None, typer.Option(metavar="EMAIL", help="The person; by default everybody who logs in by --issuer.")
    ] = None,
    issuer: Annotated[
        str | None, typer.Option(metavar="URL", help="The identity provider; by default all of the person's.")
    ] = None,
    database: Database = None,
) -> None:
    """Forget as whom a person logs in, or all do by one identity provider: the next login with that e-mail address is that person.

    For an account at the provider that was made anew, and for a deployment that takes another provider. Where the address is another person's now, use
    remove-person.
    """
    async with _opened(database) as catalog, catalog.transaction():
        count = await catalog.forget_identities(email=email, issuer=issuer)
        what = " of ".join(found for found in (email, issuer) if found)
        await catalog.add_audit(_console(), "", "forget_login", f"{count} logins of {what}")
    note(f"Forgot {count} logins of {what}.")


@app.command("remove-person")
@_blocking
async def remove_person(
    email: Annotated[str, typer.Option(metavar="EMAIL", help="The person's e-mail address.")], database: Database = None
) -> None:
    """Remove a person with all roles, grants, API tokens and logins, so that the e-mail address is free for whoever has it now."""
    async with _opened(database) as catalog, catalog.transaction():
        await catalog.remove_person(email)
        await catalog.add_audit(_console(), "", "remove_person", email)
    note(f"Removed {email}.")


@app.command("migrate")
@_blocking
async def migrate(database: Database = None) -> None:
    """Bring the tables to this release's revision, or make them where there are none; doing it again does no harm."""
    async with _opened(database) as catalog:
        note(f"The catalog is at the revision {await catalog.migrate()}.")


@app.command("rotate-key")
@_blocking
async def rotate_key(database: Database = None) -> None:
    """Encrypt every secret with a new key, while others go on working.

    A key file gets the new key by itself, and keeps the former ones. Where keys come from the setting catalog.key, put the new one behind the
    others on every replica first, then in front on every replica, then run this; the former ones can be taken out afterwards.
    """
    async with _opened(database) as catalog:
        count = await catalog.rotate_key()
        note(f"Encrypted {count} secrets anew; the first key of {catalog.key_source} is the active one.")


@app.command("backup")
@_blocking
async def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, which must not exist yet.")],
    database: Database = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Write one state of the whole catalog to a file, while others go on working. Its secrets stay encrypted."""
    async with _opened(database) as catalog:
        manifest = await catalog.backup(file)
        source = catalog.key_source
    emit(manifest, output, _contents)
    note(
        f"Wrote {file}. The key is NOT in it, and without the key its secrets and tokens are lost: keep {source} as well, elsewhere."
    )


@app.command("restore")
@_blocking
async def restore(
    file: Annotated[Path, typer.Argument(help="The backup.")],
    database: Database = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a catalog of a backup, in an empty database of either kind, whole or not at all. The key must be in its place first."""
    async with _opened(database) as catalog:
        manifest = await catalog.restore(file)
        # The first use is what shows that it can be used.
        await catalog.list_orgs()
    emit(manifest, output, _contents)
    note(f"Restored {file}, of {moment(manifest.created)}.")


def _contents(manifest: "BackupManifest") -> "Table":
    return table(("table", "rows"), [(found.name, str(found.rows)) for found in manifest.tables])


async def _exists(catalog: "SqlCatalog", org: str) -> bool:
    try:
        await catalog.get_org(org)
    except OrgNotFoundError:
        return False
    return True
