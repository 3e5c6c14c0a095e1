"""What a person who logs in sees."""

import sys
import threading
import webbrowser
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from arraylake_core.errors import AuthenticationError
from arraylake_core.names import shown

if TYPE_CHECKING:
    from arraylake_core.login.device import DeviceCode

__all__ = ["open_page", "say", "show_code"]


def say(text: str) -> None:
    """Show a line on the standard error."""
    print(text, file=sys.stderr, flush=True)


def show_code(code: "DeviceCode") -> None:
    """Show where to go, and what to type in there."""
    uri = _link(code.verification_uri_complete or code.verification_uri)
    say(f"To log in, open\n\n    {uri}\n\nand confirm the code {shown(code.user_code)}.")


def open_page(url: str) -> None:
    """Open the browser, and show the link for where there is none."""
    say(f"To log in, open this page, if your browser has not done so already:\n\n    {_link(url)}\n")

    def opened() -> None:
        with suppress(webbrowser.Error, OSError):
            webbrowser.open(url)

    # Browsers of the terminal (w3m, lynx) come back only when they are left, and need the redirect answered before.
    threading.Thread(target=opened, daemon=True, name="arraylake-browser").start()


def _link(url: str) -> str:
    """Return a link that can be shown in a terminal and opened: the provider's texts may hold anything."""
    if not url.isascii() or not url.isprintable() or " " in url or urlsplit(url).scheme not in ("https", "http"):
        raise AuthenticationError("the identity provider gave a link that is none: nothing is opened")
    return url
