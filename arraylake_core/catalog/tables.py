"""The tables of the catalog, as SQLAlchemy Core metadata.

They are made and changed by the migrations alone; a test holds the two to each other. Documents are JSON in text columns, and the
constraints are those that SQLite and PostgreSQL share, so that one set of statements serves both. The conditions of indexes are written for
SQLite only here, and for both in the migrations: naming them for PostgreSQL would import its dialect at every start.
"""

from datetime import UTC, datetime
from typing import override

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeDecorator

__all__ = [
    "Json",
    "Utc",
    "audit",
    "buckets",
    "catalog_secrets",
    "deliveries",
    "encryption_keys",
    "grants",
    "idempotency",
    "identities",
    "journal_entries",
    "journals",
    "logins",
    "members",
    "metadata",
    "metadata_index",
    "orgs",
    "place_claims",
    "places",
    "refs",
    "repos",
    "token_repos",
    "tokens",
    "users",
    "version",
    "webhooks",
]


class Json(TypeDecorator[object]):
    """A JSON document in a text column."""

    impl = Text
    cache_ok = True

    @override
    def process_bind_param(self, value: object | None, dialect: Dialect) -> str | None:
        return None if value is None else msgspec.json.encode(value).decode()

    @override
    def process_result_value(self, value: str | None, dialect: Dialect) -> object | None:
        return None if value is None else msgspec.json.decode(value)


class Utc(TypeDecorator[datetime]):
    """A moment, kept in UTC; SQLite, which knows no time zones, gets it back too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

version = Table(
    "arraylake_version", MetaData(), Column("version_num", String(32), primary_key=True), Column("compatible_from", String(32))
)
"""Alembic's own table, for reading it without Alembic, and beside it the oldest revision whose releases can work with these tables; its name can't be
mistaken for another application's."""

encryption_keys = Table(
    "encryption_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("created", Utc, nullable=False),
)

orgs = Table(
    "orgs",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("description", Text),
    Column("created", Utc, nullable=False),
    Column("created_by", Text),
    Column("status", String(32), nullable=False),
    Column("live_repos", Integer, nullable=False, server_default="0"),
)

buckets = Table(
    "buckets",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("org_id", ForeignKey("orgs.id"), nullable=False),
    Column("nickname", String(64), nullable=False),
    Column("platform", String(100), nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("extra_config", Json, nullable=False),
    Column("auth_config", Json, nullable=False),
    Column("secrets", LargeBinary),
    Column("key_id", ForeignKey("encryption_keys.id")),
    Column("is_default", Boolean(create_constraint=False), nullable=False),
    Column("store", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("created", Utc, nullable=False),
    Column("updated", Utc, nullable=False),
    Column("created_by", Text),
    UniqueConstraint("org_id", "nickname"),
    UniqueConstraint("org_id", "store", "path"),
    CheckConstraint("(secrets IS NULL) = (key_id IS NULL)", name="sealed"),
)
Index("ix_buckets_default", buckets.c.org_id, unique=True, sqlite_where=buckets.c.is_default)
Index("ix_buckets_key_id", buckets.c.key_id)

repos = Table(
    "repos",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("org_id", ForeignKey("orgs.id"), nullable=False),
    Column("bucket_id", ForeignKey("buckets.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("kind", String(100), nullable=False),
    Column("prefix", Text, nullable=False),
    Column("generated", Boolean(create_constraint=False), nullable=False),
    Column("state", String(16), nullable=False),
    Column("description", Text),
    Column("metadata", Json, nullable=False),
    Column("virtual_chunk_containers", Json, nullable=False),
    Column("status", Json, nullable=False),
    Column("created", Utc, nullable=False),
    Column("updated", Utc, nullable=False),
    Column("created_by", Text),
    Column("deleted_at", Utc),
    Column("deleted_by", Text),
    Column("retain_data", Boolean(create_constraint=False), nullable=False),
    Column("ref_floor", Integer, nullable=False),
    Column("visibility", String(32), nullable=False, server_default="PRIVATE"),
    Column("optimization_config", Json, nullable=False, server_default="{}"),
    CheckConstraint("state IN ('pending', 'active', 'purging')", name="state"),
)
Index(
    "ix_repos_live_name",
    repos.c.org_id,
    repos.c.name,
    unique=True,
    sqlite_where=repos.c.deleted_at.is_(None),
)
Index(
    "ix_repos_listed",
    repos.c.org_id,
    repos.c.name,
    repos.c.id,
    sqlite_where=repos.c.deleted_at.is_(None) & (repos.c.state == "active"),
)
Index("ix_repos_deleted", repos.c.org_id, repos.c.name, repos.c.deleted_at)
Index("ix_repos_bucket_id", repos.c.bucket_id)

metadata_index = Table(
    "metadata_index",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("repo_id", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_metadata_index_repo_id", "repo_id"),
)

# P14. A repo owns its own path and passes through every path above it. A path is either owned or passed through, which the key of
# places and the foreign key of place_claims hold together, and it is owned once, which the partial index holds. So no two repos can be at,
# above or below one another, whoever writes first.
places = Table(
    "places",
    metadata,
    Column("store", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("role", String(8), nullable=False),
    UniqueConstraint("store", "path", "role"),
    CheckConstraint("role IN ('owner', 'passage')", name="role"),
)

place_claims = Table(
    "place_claims",
    metadata,
    Column("repo_id", ForeignKey("repos.id"), primary_key=True),
    Column("store", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("role", String(8), nullable=False),
    ForeignKeyConstraint(["store", "path", "role"], ["places.store", "places.path", "places.role"]),
)
Index(
    "ix_place_claims_owner",
    place_claims.c.store,
    place_claims.c.path,
    unique=True,
    sqlite_where=place_claims.c.role == "owner",
)
Index("ix_place_claims_place", place_claims.c.store, place_claims.c.path, place_claims.c.role)

refs = Table(
    "refs",
    metadata,
    Column("repo_id", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("value", Text, nullable=False),
    Column("version", Integer, nullable=False),
)

journals = Table(
    "journals",
    metadata,
    Column("repo_id", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("length", Integer, nullable=False),
    Column("expires", Utc),
)

journal_entries = Table(
    "journal_entries",
    metadata,
    Column("repo_id", String(24), primary_key=True),
    Column("journal", String(256), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    ForeignKeyConstraint(["repo_id", "journal"], ["journals.repo_id", "journals.name"], ondelete="CASCADE"),
)

# A secret of the catalog itself, such as the one that API tokens are hashed with: sealed by an encryption key, and sealed anew when that one is rotated.
catalog_secrets = Table(
    "catalog_secrets",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("key_id", ForeignKey("encryption_keys.id"), nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),
    Column("first_name", Text, nullable=False),
    Column("family_name", Text, nullable=False),
    Column("operator", Boolean(create_constraint=False), nullable=False),
    Column("created", Utc, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("org_id", ForeignKey("orgs.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(8)),
    Column("created", Utc, nullable=False),
    # Whose claims gave the role; without one, an admin did.
    Column("issuer", Text),
    Index("ix_members_user_id", "user_id"),
)

# Whom an identity provider means by a subject. The realm is the one organization that the provider speaks for here, or empty: that of the
# whole deployment. What one realm says of an e-mail address neither takes nor keeps the person from whoever it is in another.
identities = Table(
    "identities",
    metadata,
    Column("realm", String(100), primary_key=True),
    Column("issuer", Text, primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("created", Utc, nullable=False),
    Index("ix_identities_user_id", "user_id"),
)

logins = Table(
    "logins",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("issuer", Text, primary_key=True),
    # When the token was issued whose claims were the last to be taken.
    Column("issued", Utc, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("repo_id", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("role", String(8), nullable=False),
    Column("created", Utc, nullable=False),
    Index("ix_grants_user_id", "user_id"),
)

# An API token is known by a keyed digest. It acts for the person who made it, never beyond that person's rights; one that was made with
# another token ends with it.
tokens = Table(
    "tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("org_id", ForeignKey("orgs.id", ondelete="CASCADE")),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("parent_id", ForeignKey("tokens.id", ondelete="CASCADE")),
    Column("name", String(100), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("role", String(8), nullable=False),
    Column("limited", Boolean(create_constraint=False), nullable=False),
    Column("created", Utc, nullable=False),
    Column("expires", Utc),
    Column("revoked", Utc),
    Column("last_used", Utc),
    # Who made it for somebody else; it ends when that person may not any more.
    Column("creator_id", String(36)),
    Index("ix_tokens_org_id", "org_id"),
    Index("ix_tokens_user_id", "user_id"),
    Index("ix_tokens_parent_id", "parent_id"),
)

token_repos = Table(
    "token_repos",
    metadata,
    Column("token_id", ForeignKey("tokens.id", ondelete="CASCADE"), primary_key=True),
    Column("repo_id", ForeignKey("repos.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_token_repos_repo_id", "repo_id"),
)

# What a repeated request gets back: the answer of the first, which was committed together with what it did.
idempotency = Table(
    "idempotency",
    metadata,
    Column("principal_id", String(36), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("key_id", ForeignKey("encryption_keys.id")),
    Column("created", Utc, nullable=False),
    Index("ix_idempotency_created", "created"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("time", Utc, nullable=False),
    Column("org", String(100)),
    Column("principal_id", String(36), nullable=False),
    Column("principal", String(254), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", Text, nullable=False),
    Column("request_id", String(64), nullable=False),
    Index("ix_audit_org", "org", "id"),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("org_id", ForeignKey("orgs.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Json, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("key_id", ForeignKey("encryption_keys.id"), nullable=False),
    Column("created", Utc, nullable=False),
    Column("created_by", Text),
    Index("ix_webhooks_org_id", "org_id"),
)

# An event on its way to one webhook: written in the transaction of the change, sent after it, and gone when it has arrived or was given up.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("webhook_id", ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", Json, nullable=False),
    Column("created", Utc, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", Utc, nullable=False),
    Column("problem", Text),
    Index("ix_deliveries_due", "due"),
    Index("ix_deliveries_webhook_id", "webhook_id"),
)
