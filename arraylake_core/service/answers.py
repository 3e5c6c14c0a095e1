"""Answers to opening a repo, encoded already: given again where all that they were made of is still the same, and never because of their age."""

from collections import OrderedDict
from typing import NamedTuple

from arraylake_core.backends.credentials import CredentialProvider, Credentials
from arraylake_core.catalog.base import OpenRepo
from arraylake_core.people import Principal

__all__ = ["Answers", "Vended"]

_KEPT = 1024

type Vended = list[tuple[CredentialProvider, Credentials]]
"""Credentials, each with where it came from, and would come from now."""


class _Kept(NamedTuple):
    """An answer, and what it was made of."""

    opened: OpenRepo
    principal: Principal
    vended: Vended
    body: bytes


class Answers:
    """The last answers of one replica."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()

    async def find(self, key: tuple[object, ...], opened: OpenRepo, principal: Principal) -> bytes | None:
        """Return an answer, or None where it would be another one now.

        Parameters
        ----------
        key
            What was asked, and by whom.
        opened
            The repo, as the catalog has it now: the very same object where nothing has changed (``find_open``).
        principal
            Who asks, with the rights of now.
        """
        kept = self._kept.get(key)
        if kept is None or kept.opened is not opened or (kept.principal is not principal and kept.principal != principal):
            return None
        for provider, credentials in kept.vended:
            if await provider.get_lasting() is not credentials:
                return None
        self._kept.move_to_end(key)
        return kept.body

    def keep(self, key: tuple[object, ...], opened: OpenRepo, principal: Principal, vended: Vended, body: bytes) -> None:
        """Keep an answer."""
        self._kept[key] = _Kept(opened, principal, vended, body)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
