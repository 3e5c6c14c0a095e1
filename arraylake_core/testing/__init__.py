"""Conformance kits: pytest classes that the author of a backend subclasses. Our own backends pass the same."""

import pytest

# So that a failing kit says what it found, and not only that it failed.
pytest.register_assert_rewrite(
    *(f"{__name__}.{kit}" for kit in ("auth", "catalog", "catalog_repos", "coordination", "people", "repo_kind", "storage"))
)
