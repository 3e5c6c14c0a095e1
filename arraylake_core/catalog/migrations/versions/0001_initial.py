"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A migration stands for itself: it takes nothing from tables.py, which later releases change.
JSON = sa.Text
UTC = sa.DateTime


def upgrade() -> None:
    op.create_table(
        "encryption_keys",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encryption_keys")),
    )
    op.create_table(
        "orgs",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orgs")),
        sa.UniqueConstraint("name", name=op.f("uq_orgs_name")),
    )
    op.create_table(
        "places",
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.CheckConstraint("role IN ('owner', 'passage')", name=op.f("ck_places_role")),
        sa.PrimaryKeyConstraint("store", "path", name=op.f("pk_places")),
        sa.UniqueConstraint("store", "path", "role", name=op.f("uq_places_store_path_role")),
    )
    op.create_table(
        "buckets",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org_id", sa.String(length=24), nullable=False),
        sa.Column("nickname", sa.String(length=64), nullable=False),
        sa.Column("platform", sa.String(length=100), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("extra_config", JSON(), nullable=False),
        sa.Column("auth_config", JSON(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.Column("updated", UTC(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.CheckConstraint("(secrets IS NULL) = (key_id IS NULL)", name=op.f("ck_buckets_sealed")),
        sa.ForeignKeyConstraint(["key_id"], ["encryption_keys.id"], name=op.f("fk_buckets_key_id")),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"], name=op.f("fk_buckets_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_buckets")),
        sa.UniqueConstraint("org_id", "nickname", name=op.f("uq_buckets_org_id_nickname")),
        sa.UniqueConstraint("org_id", "store", "path", name=op.f("uq_buckets_org_id_store_path")),
    )
    op.create_index(
        "ix_buckets_default",
        "buckets",
        ["org_id"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.create_index("ix_buckets_key_id", "buckets", ["key_id"], unique=False)
    op.create_table(
        "repos",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("org_id", sa.String(length=24), nullable=False),
        sa.Column("bucket_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=100), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("generated", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", JSON(), nullable=False),
        sa.Column("virtual_chunk_containers", JSON(), nullable=False),
        sa.Column("status", JSON(), nullable=False),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.Column("updated", UTC(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.Column("deleted_at", UTC(timezone=True), nullable=True),
        sa.Column("deleted_by", sa.Text(), nullable=True),
        sa.Column("retain_data", sa.Boolean(), nullable=False),
        sa.Column("ref_floor", sa.Integer(), nullable=False),
        sa.CheckConstraint("state IN ('pending', 'active', 'purging')", name=op.f("ck_repos_state")),
        sa.ForeignKeyConstraint(["bucket_id"], ["buckets.id"], name=op.f("fk_repos_bucket_id")),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"], name=op.f("fk_repos_org_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repos")),
    )
    op.create_index("ix_repos_bucket_id", "repos", ["bucket_id"], unique=False)
    op.create_index("ix_repos_deleted", "repos", ["org_id", "name", "deleted_at"], unique=False)
    op.create_index(
        "ix_repos_live_name",
        "repos",
        ["org_id", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "journals",
        sa.Column("repo_id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("expires", UTC(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name=op.f("fk_journals_repo_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "name", name=op.f("pk_journals")),
    )
    op.create_table(
        "metadata_index",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("repo_id", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name=op.f("fk_metadata_index_repo_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest", "repo_id", name=op.f("pk_metadata_index")),
    )
    op.create_index("ix_metadata_index_repo_id", "metadata_index", ["repo_id"], unique=False)
    op.create_table(
        "place_claims",
        sa.Column("repo_id", sa.String(length=24), nullable=False),
        sa.Column("store", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name=op.f("fk_place_claims_repo_id")),
        sa.ForeignKeyConstraint(
            ["store", "path", "role"],
            ["places.store", "places.path", "places.role"],
            name=op.f("fk_place_claims_store_path_role"),
        ),
        sa.PrimaryKeyConstraint("repo_id", "store", "path", name=op.f("pk_place_claims")),
    )
    op.create_index(
        "ix_place_claims_owner",
        "place_claims",
        ["store", "path"],
        unique=True,
        sqlite_where=sa.text("role = 'owner'"),
        postgresql_where=sa.text("role = 'owner'"),
    )
    op.create_index("ix_place_claims_place", "place_claims", ["store", "path", "role"], unique=False)
    op.create_table(
        "refs",
        sa.Column("repo_id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name=op.f("fk_refs_repo_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "name", name=op.f("pk_refs")),
    )
    op.create_table(
        "journal_entries",
        sa.Column("repo_id", sa.String(length=24), nullable=False),
        sa.Column("journal", sa.String(length=256), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repo_id", "journal"],
            ["journals.repo_id", "journals.name"],
            name=op.f("fk_journal_entries_repo_id_journal"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("repo_id", "journal", "sequence", name=op.f("pk_journal_entries")),
    )
