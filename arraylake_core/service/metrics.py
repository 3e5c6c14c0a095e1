"""Prometheus metrics of one replica; labels are names of operations, never of users or repos."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """What /metrics shows."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("arraylake_requests", "Requests answered.", ("operation", "status"), registry=self._registry)
        self.seconds = Histogram(
            "arraylake_request_seconds", "How long requests took.", ("operation",), buckets=_BUCKETS, registry=self._registry
        )
        self.running = Gauge("arraylake_requests_running", "Requests that are being answered.", registry=self._registry)
        self.replays = Counter("arraylake_replays", "Repeated changes that got their first answer.", registry=self._registry)
        self.refused = Counter(
            "arraylake_refused", "Requests refused before they reached their route.", ("reason",), registry=self._registry
        )
        # Finding the counter of some labels takes longer than counting.
        self._requests: dict[tuple[str, int], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    def answered(self, operation: str, status: int, seconds: float) -> None:
        """Count a request."""
        requests = self._requests.get((operation, status))
        if requests is None:
            requests = self._requests[operation, status] = self.requests.labels(operation, status)
            self._seconds[operation] = self.seconds.labels(operation)
        requests.inc()
        self._seconds[operation].observe(seconds)

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)
