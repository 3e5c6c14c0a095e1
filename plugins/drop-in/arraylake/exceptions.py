"""The official client's errors by name: each is the class of arraylake-core that is raised for what it stands for."""

from arraylake_core.errors import ArraylakeError as ArraylakeHttpError
from arraylake_core.errors import AuthenticationError as AuthException
from arraylake_core.errors import BucketConfigNotFoundError as BucketNotFoundError
from arraylake_core.errors import InvalidOptionError as ArraylakeValidationError
from arraylake_core.errors import ServiceError as ArraylakeServerError

ArraylakeClientError = ArraylakeHttpError
"""Refusals have a class each below it; the official client has one for all."""

__all__ = [
    "ArraylakeClientError",
    "ArraylakeHttpError",
    "ArraylakeServerError",
    "ArraylakeValidationError",
    "AuthException",
    "BucketNotFoundError",
]
