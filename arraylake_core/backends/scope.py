"""The documents by which clouds limit short-lived credentials to one place and to reading or writing (P15).

They are built as data, and every part that a user chose is escaped, so that no bucket or prefix says more than itself.
"""

import re
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.names import join_prefix

if TYPE_CHECKING:
    from arraylake_core.backends.credentials import Access
    from arraylake_core.backends.storage import Location

__all__ = ["gcs_access_boundary", "s3_session_policy"]

_S3_READ = ["s3:GetObject"]
_S3_WRITE = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
_GCS_ROLES = {"read": "inRole:roles/storage.objectViewer", "write": "inRole:roles/storage.objectUser"}


def s3_session_policy(location: "Location", access: "Access", *, partition: str = "aws") -> str:
    """Return the session policy of an STS call that limits credentials to a location, as compact JSON.

    Parameters
    ----------
    location
        What may be reached: the objects below its prefix, and the listing of exactly these.
    access
        ``"read"``, or ``"write"``, which reads, lists and deletes too.
    partition
        The part of AWS that the bucket is in: ``aws``, ``aws-cn``, ``aws-us-gov``.

    Examples
    --------
    >>> from arraylake_core.backends import Location
    >>> import json
    >>> policy = json.loads(s3_session_policy(Location(platform="s3", bucket="lake", prefix="ocean"), "read"))
    >>> policy["Statement"][0]["Resource"], policy["Statement"][1]["Condition"]
    ('arn:aws:s3:::lake/ocean/*', {'StringLike': {'s3:prefix': 'ocean/*'}})

    Notes
    -----
    The grammar, and ``${*}`` for a star that is one, is that of the IAM JSON policy language:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    bucket, prefix = _s3_literal(location.bucket), _s3_literal(location.prefix)
    listing: dict[str, object] = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": f"arn:{partition}:s3:::{bucket}",
    }
    if prefix:
        listing["Condition"] = {"StringLike": {"s3:prefix": f"{prefix}/*"}}
    objects = {
        "Effect": "Allow",
        "Action": _S3_READ if access == "read" else _S3_WRITE,
        "Resource": f"arn:{partition}:s3:::{join_prefix(bucket, prefix)}/*",
    }
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": [objects, listing]}).decode()


def _s3_literal(text: str) -> str:
    """Escape what a policy would read as a wildcard or a variable."""
    return re.sub(r"[*?$]", lambda found: f"${{{found[0]}}}", text)


def gcs_access_boundary(location: "Location", access: "Access") -> dict[str, object]:
    """Return the Credential Access Boundary that limits a Google token to a location.

    Parameters
    ----------
    location
        What may be reached.
    access
        To read, or to write too.

    Notes
    -----
    https://cloud.google.com/iam/docs/downscoping-short-lived-credentials: the resource names objects, and the attribute is the prefix of a listing.
    """
    rule: dict[str, object] = {
        "availableResource": f"//storage.googleapis.com/projects/_/buckets/{location.bucket}",
        "availablePermissions": [_GCS_ROLES[access]],
    }
    if location.prefix:
        objects = _cel(f"projects/_/buckets/{location.bucket}/objects/{location.prefix}/")
        listed = _cel(f"{location.prefix}/")
        rule["availabilityCondition"] = {
            "expression": f"resource.name.startsWith({objects}) || "
            f"api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith({listed})"
        }
    return {"accessBoundary": {"accessBoundaryRules": [rule]}}


def _cel(text: str) -> str:
    r"""Return a CEL string literal; every character but letters, digits and a few signs is escaped.

    >>> _cel("a/b'c")
    "'a/b\\u0027c'"
    """
    return "'" + re.sub(r"[^A-Za-z0-9_./=-]", lambda found: _escaped(ord(found[0])), text) + "'"


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
