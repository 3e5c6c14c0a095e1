"""The service provider interface: all that the author of a plugin reads.

A storage platform (storage.py), an auth method (auth.py) or a repo kind (repo_kind.py) is one object, described by data, with its heavy imports
inside its methods; credentials.py and coordination.py hold what it is given to work with.
"""

from arraylake_core.backends.auth import AuthMethod
from arraylake_core.backends.coordination import Coordination, JournalEntry, Ref
from arraylake_core.backends.credentials import (
    Access,
    AnonymousCredentials,
    AzureCredentials,
    CredentialProvider,
    Credentials,
    CredentialSource,
    GCSCredentials,
    PasswordCredentials,
    S3Credentials,
    SignedCredentials,
)
from arraylake_core.backends.repo_kind import RepoBackend, RepoContext, RepoHandle, RepoOptions, VirtualSource
from arraylake_core.backends.signing import (
    KeyRequest,
    ListedObject,
    ListingPage,
    RequestSigner,
    SignedUrls,
    SignsRequests,
)
from arraylake_core.backends.storage import (
    BucketAddress,
    Location,
    NoOptions,
    ObjectStoreSpec,
    StorageIdentity,
    StoragePlatform,
)

__all__ = [
    "Access",
    "AnonymousCredentials",
    "AuthMethod",
    "AzureCredentials",
    "BucketAddress",
    "Coordination",
    "CredentialProvider",
    "CredentialSource",
    "Credentials",
    "GCSCredentials",
    "JournalEntry",
    "KeyRequest",
    "ListedObject",
    "ListingPage",
    "Location",
    "NoOptions",
    "ObjectStoreSpec",
    "PasswordCredentials",
    "Ref",
    "RepoBackend",
    "RepoContext",
    "RepoHandle",
    "RepoOptions",
    "RequestSigner",
    "S3Credentials",
    "SignedCredentials",
    "SignedUrls",
    "SignsRequests",
    "StorageIdentity",
    "StoragePlatform",
    "VirtualSource",
]
