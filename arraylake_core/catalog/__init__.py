"""The catalog: which organizations, bucket configs and repos there are."""

from arraylake_core.catalog.base import Catalog, NewBucket, NewRepo, OpenRepo
from arraylake_core.catalog.open import catalog_from_uri

__all__ = ["Catalog", "NewBucket", "NewRepo", "OpenRepo", "catalog_from_uri"]
