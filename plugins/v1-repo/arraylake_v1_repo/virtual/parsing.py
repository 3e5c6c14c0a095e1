"""Running other people's parsers: their libraries may be missing, and they fail in every way there is."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from arraylake_core.errors import ArraylakeError, InvalidOptionError, PluginError, StorageError
from arraylake_v1_repo.virtual.grants import shown_url

if TYPE_CHECKING:
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr.manifests import ManifestStore

    from arraylake_v1_repo.virtual.window import WindowRegistry

__all__ = ["needs", "parsed", "run_parser"]


class Parser(Protocol):
    """A parser of VirtualiZarr."""

    def __call__(self, url: str, registry: "ObjectStoreRegistry[Any]") -> "ManifestStore":
        """Parse the file at a URL, which the registry leads to."""
        ...


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Import a format's libraries in here.

    Raises
    ------
    PluginError
        One is missing; the message names the extra that brings it.
    """
    try:
        yield
    except ImportError as error:
        raise PluginError(
            f'virtual references to this format need {error.name or error}, which is not installed: pip install "arraylake-v1-repo[{extra}]"'
        ) from error


async def run_parser[Store](what: str, parser: "Parser", url: str, registry: "WindowRegistry[Store]") -> "ManifestStore":
    """Run a parser in a thread, as it blocks."""
    return await parsed(what, url, lambda: parser(url, cast("ObjectStoreRegistry[Any]", registry)))


async def parsed[Result](what: str, url: str, parse: Callable[[], Result]) -> Result:
    """Run what parses a file in a thread.

    Raises
    ------
    InvalidOptionError
        The file has something that references can't express, or an option does not fit it.
    StorageError
        It is not such a file, or is damaged.
    """
    try:
        return await asyncio.to_thread(_shielded, parse)
    except (ArraylakeError, MemoryError):
        raise
    except NotImplementedError as error:
        raise InvalidOptionError(
            f"{shown_url(url)} has something that can't be kept as virtual references to {what}: {_reason(error)}. Leave that variable "
            "out, or write its values into the repo instead"
        ) from error
    except Exception as error:
        # A parser may raise anything at all on a damaged file.
        raise StorageError(
            f"{shown_url(url)} can't be read as {what}: {_reason(error)}. Check that it is a whole file of that format, and the options"
        ) from error


def _shielded[Result](parse: Callable[[], Result]) -> Result:
    try:
        return parse()
    except BaseException as error:
        # A panic of a Rust library is no Exception, so that it would end the program.
        if type(error).__name__ == "PanicException":
            raise ValueError(f"the parser gave up: {error}") from None
        raise


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())[:400]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
