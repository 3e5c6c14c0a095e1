"""The command line ``arraylake-core``: one module per command group, all of it through Client, config and the plugin registry."""

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and leave with its exit code: 0, 1 where it was refused, 2 where it was not understood, 130 where it was interrupted.

    Parameters
    ----------
    arguments
        The words after the program's name; None takes them from ``sys.argv``.
    """
    try:
        from arraylake_core.cli.program import run

        run(arguments)
    except KeyboardInterrupt:
        # Also while modules are still being imported.
        raise SystemExit(130) from None
