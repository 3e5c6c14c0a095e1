"""The catalog on PostgreSQL: what every catalog does, and what is PostgreSQL's own."""

from collections.abc import AsyncIterator

import pytest

from arraylake_core.catalog import Catalog, catalog_from_uri
from arraylake_core.testing.catalog import CatalogTests


@pytest.fixture
async def catalog(postgres_uri: str) -> AsyncIterator[Catalog]:
    catalog = catalog_from_uri(postgres_uri)
    yield catalog
    await catalog.close()


class TestPostgres(CatalogTests):
    pass
