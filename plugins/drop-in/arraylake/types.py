"""The models that code written for the official client names."""

from arraylake_core.models import Author, BucketResponse, RepoKind, RepoModel
from arraylake_core.models import OrgModel as OrgResponse

__all__ = ["Author", "BucketResponse", "OrgResponse", "RepoKind", "RepoModel"]
