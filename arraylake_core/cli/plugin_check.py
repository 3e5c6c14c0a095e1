"""``arraylake-core plugins check``: the quick part of the kit, run on what is installed, in a bucket."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, cast

import typer

from arraylake_core.cli.auth_config import auth_config
from arraylake_core.cli.console import Output, emit, table
from arraylake_core.cli.values import pairs, typed
from arraylake_core.errors import PluginError, PluginLoadError

if TYPE_CHECKING:
    from rich.table import Table

    from arraylake_core.models import AuthConfig
    from arraylake_core.plugins import Family, PluginInfo
    from arraylake_core.testing.quick import CheckResult

__all__ = ["check_backends"]

BucketOption = Annotated[str, typer.Option("--bucket", metavar="URI", help="Where the kit may write, below a prefix of its own.")]
Option = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the bucket's platform. May be repeated.")
]
Auth = Annotated[str | None, typer.Option(metavar="METHOD", help="How to get into the bucket; by default anonymous.")]
AuthOption = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option of the auth method. May be repeated.")]
AuthSecret = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY", help="A secret option of the auth method, as for `bucket create`. May be repeated."),
]


def check_backends(
    plugin: "PluginInfo",
    only: str,
    uri: str,
    option: list[str] | None,
    auth: str | None,
    auth_option: list[str] | None,
    auth_secret: list[str] | None,
    output: Output,
) -> None:
    """Run the quick part of the kit on what a plugin provides, print how each test ended, and leave with 1 where one failed."""
    if plugin.error:
        raise PluginLoadError(f"{plugin.name} can't be used: {plugin.error}")
    if find_spec("pytest") is None or find_spec("blockbuster") is None:
        raise PluginError('the kits need pytest: pip install "arraylake-core[testing]"')
    from arraylake_core.plugins import default_registry
    from arraylake_core.testing.quick import Subject, run_kit

    platform = default_registry().platform_for_scheme(uri.partition("://")[0])
    options = typed(pairs(option, "--option"), platform.options)
    access = auth_config(auth, auth_option, auth_secret) or {"method": "anonymous"}
    results: list[CheckResult] = []
    for family, names in plugin.provides.items():
        for name in names if only == plugin.name else [only] if only in names else []:
            chosen = {"storage platform": name == platform.name, "auth method": name == access["method"], "repo kind": True}[
                family
            ]
            if chosen:
                results += run_kit(
                    Subject(family=cast("Family", family), name=name, uri=uri, options=options, auth=cast("AuthConfig", access))
                )
    if not results:
        raise PluginError(
            f"nothing of {plugin.name} was checked: give --bucket with a URI of its platform, or --auth with its method, and their options"
        )
    emit(results, output, _results)
    if any(result.outcome == "failed" for result in results):
        raise typer.Exit(1)


def _results(results: "list[CheckResult]") -> "Table":
    passed = sum(result.outcome == "passed" for result in results)
    rows = [(result.backend, result.test, result.outcome, result.problem) for result in results if result.outcome != "passed"]
    return table(("backend", "test", "outcome", "problem"), [*rows, ("", f"{passed} tests", "passed", "")])
