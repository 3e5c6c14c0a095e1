"""The command ``arraylake``: that of arraylake-core. No module of the official client has this name, so that it is found beside it too."""

import sys

from arraylake._installed import refuse_beside_the_official_client

__all__ = ["main"]


def main() -> None:
    """Run the command line of arraylake-core; leave with 1 where the official client is installed too."""
    try:
        refuse_beside_the_official_client()
    except ImportError as error:
        sys.exit(f"arraylake: {error}")
    from arraylake_core.cli import main as run

    run()
