"""Whether the official client is installed too: both write the directory ``arraylake``, and what is in it then is a mixture."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["refuse_beside_the_official_client"]

OFFICIAL = "arraylake"
OURS = "arraylake-drop-in"


def refuse_beside_the_official_client() -> None:
    """Do nothing where this package is alone.

    Raises
    ------
    ImportError
        The official client is installed in the same environment.
    """
    try:
        found = version(OFFICIAL)
    except PackageNotFoundError:
        return
    raise ImportError(
        f"the official client ({OFFICIAL} {found}) and {OURS} are both installed, and each has overwritten files of the other. Keep one: "
        f"`pip uninstall -y {OFFICIAL} {OURS}`, then `pip install {OURS}` for arraylake-core, or `pip install {OFFICIAL}` for the official client"
    )
