"""A pytest plugin that declares the marks of xarray's own suite, for where pytest is strict about marks."""

import pytest

__all__ = ["pytest_configure"]

_MARKS = (
    "flaky: may fail now and then upstream",
    "network: needs the internet",
    "skip_if_param(*, reason, condition, **params): skip where fixtures have these parameters",
    "skip_with_dask_array: skip where the fixture use_dask is true",
)


def pytest_configure(config: pytest.Config) -> None:
    """Declare them."""
    for mark in _MARKS:
        config.addinivalue_line("markers", mark)
