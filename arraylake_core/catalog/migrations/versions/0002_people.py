"""People, API tokens, the audit log, repeated requests, webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.Text
UTC = sa.DateTime


def upgrade() -> None:
    op.add_column("orgs", sa.Column("live_repos", sa.Integer(), server_default="0", nullable=False))
    op.execute(
        "UPDATE orgs SET live_repos = (SELECT count(*) FROM repos "
        "WHERE repos.org_id = orgs.id AND repos.state = 'active' AND repos.deleted_at IS NULL)"
    )
    op.add_column("repos", sa.Column("visibility", sa.String(length=32), server_default="PRIVATE", nullable=False))
    op.add_column("repos", sa.Column("optimization_config", JSON(), server_default="{}", nullable=False))
    # Pages are found in it alone, however far back they lie.
    op.create_index(
        "ix_repos_listed",
        "repos",
        ["org_id", "name", "id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NULL AND state = 'active'"),
        postgresql_where=sa.text("deleted_at IS NULL AND state = 'active'"),
    )
    op.create_table(
        "catalog_secrets",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["encryption_keys.id"], name=op.f("fk_catalog_secrets_key_id")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_catalog_secrets")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("family_name", sa.Text(), nullable=False),
        sa.Column("operator", sa.Boolean(), nullable=False),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "members",
        sa.Column("org_id", sa.String(length=24), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=True),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"], name=op.f("fk_members_org_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_members_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("org_id", "user_id", name=op.f("pk_members")),
    )
    op.create_index("ix_members_user_id", "members", ["user_id"], unique=False)
    op.create_table(
        "grants",
        sa.Column("repo_id", sa.String(length=24), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name=op.f("fk_grants_repo_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_grants_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("repo_id", "user_id", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_user_id", "grants", ["user_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org_id", sa.String(length=24), nullable=True),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("parent_id", sa.String(length=36), nullable=True),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("limited", sa.Boolean(), nullable=False),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.Column("expires", UTC(timezone=True), nullable=True),
        sa.Column("revoked", UTC(timezone=True), nullable=True),
        sa.Column("last_used", UTC(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"], name=op.f("fk_tokens_org_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["parent_id"], ["tokens.id"], name=op.f("fk_tokens_parent_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_tokens_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_tokens_digest")),
    )
    for column in ("org_id", "user_id", "parent_id"):
        op.create_index(f"ix_tokens_{column}", "tokens", [column], unique=False)
    op.create_table(
        "token_repos",
        sa.Column("token_id", sa.String(length=36), nullable=False),
        sa.Column("repo_id", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(["repo_id"], ["repos.id"], name=op.f("fk_token_repos_repo_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["token_id"], ["tokens.id"], name=op.f("fk_token_repos_token_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_id", "repo_id", name=op.f("pk_token_repos")),
    )
    op.create_index("ix_token_repos_repo_id", "token_repos", ["repo_id"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("principal_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=True),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["encryption_keys.id"], name=op.f("fk_idempotency_key_id")),
        sa.PrimaryKeyConstraint("principal_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_created", "idempotency", ["created"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("time", UTC(timezone=True), nullable=False),
        sa.Column("org", sa.String(length=100), nullable=True),
        sa.Column("principal_id", sa.String(length=36), nullable=False),
        sa.Column("principal", sa.String(length=254), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_org", "audit", ["org", "id"], unique=False)
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("org_id", sa.String(length=24), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", JSON(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["encryption_keys.id"], name=op.f("fk_webhooks_key_id")),
        sa.ForeignKeyConstraint(["org_id"], ["orgs.id"], name=op.f("fk_webhooks_org_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_org_id", "webhooks", ["org_id"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("webhook_id", sa.String(length=36), nullable=False),
        sa.Column("event", JSON(), nullable=False),
        sa.Column("created", UTC(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", UTC(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["due"], unique=False)
    op.create_index("ix_deliveries_webhook_id", "deliveries", ["webhook_id"], unique=False)
