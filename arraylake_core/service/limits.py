"""How often a principal or an address may ask: token buckets in memory, for each replica by itself."""

import time
from collections import OrderedDict

__all__ = ["RateLimit"]

_KEPT = 20_000


class RateLimit:
    """A token bucket for each of many callers.

    Parameters
    ----------
    per_second
        How many requests are let pass in the long run; 0 is without limit.
    burst
        How many at once.
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._rate, self._burst = per_second, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str, *, take: bool = True) -> float:
        """Return 0 and count the request, or the seconds after which one would pass.

        Examples
        --------
        >>> limit = RateLimit(1, burst=2)
        >>> limit.wait("ada"), limit.wait("ada"), limit.wait("ada") > 0.9, limit.wait("bob")
        (0.0, 0.0, True, 0.0)
        """
        if not self._rate:
            return 0.0
        now = time.monotonic()
        level, since = self._buckets.get(caller, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        short = max(0.0, (1 - level) / self._rate)
        self._buckets[caller] = (level - 1 if take and not short else level), now
        self._buckets.move_to_end(caller)
        while len(self._buckets) > _KEPT:
            self._buckets.popitem(last=False)
        return short
