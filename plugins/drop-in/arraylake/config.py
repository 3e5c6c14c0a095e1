"""Settings as the official client has them: ``config`` with ``get`` and ``set``, over ``arraylake_core.config``.

Examples
--------
>>> from arraylake import config
>>> with config.set({"service.uri": "memory://"}):
...     config.get("service.uri")
'memory://'
"""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager

from arraylake_core import config as settings
from arraylake_core.errors import InvalidOptionError

__all__ = ["Config", "config"]

_WITHOUT_EFFECT = ("icechunk.scatter_initial_credentials", "service.ssl.cafile", "service.ssl.verify", "service.token_path")
"""Settings of the official client that arraylake-core has no use for."""


class Config:
    """The settings; ``ARRAYLAKE_*`` variables and YAML files are read as arraylake-core reads them."""

    def set(self, values: Mapping[str, object]) -> AbstractContextManager[object]:
        """Change settings, for good or, as a context manager, for a while.

        Parameters
        ----------
        values
            Names with dots, and values. Those of the official client that have no effect here are named in a warning.

        Raises
        ------
        InvalidOptionError
            A name is neither arraylake-core's nor the official client's, or asks for TLS that is not verified.
        """
        known = {name: value for name, value in values.items() if name not in _WITHOUT_EFFECT}
        if values.get("service.ssl.verify", True) is False:
            raise InvalidOptionError(
                "service.ssl.verify can't be switched off: add the service's certificate authority to those of this machine"
            )
        for name in sorted(values.keys() - known.keys()):
            warnings.warn(f"the setting {name} has no effect with arraylake-drop-in", stacklevel=2)
        return settings.set(known)

    def get(self, name: str, default: object = None) -> object:
        """Return the value of a setting, secret ones as stars.

        Parameters
        ----------
        name
            With dots.
        default
            What to return where nothing sets it.
        """
        if name in _WITHOUT_EFFECT:
            return default
        value = settings.shown_value(name)
        return default if value is None else value

    def refresh(self) -> None:
        """Read the files and the environment again, forgetting what ``set`` changed."""
        settings.refresh()


config = Config()
