"""Whom the subjects of identity providers are; who made a token for somebody else; which releases the tables are for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
compatible_from = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arraylake_version", sa.Column("compatible_from", sa.String(length=32), nullable=True))
    op.create_table(
        "identities",
        sa.Column("realm", sa.String(length=100), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_identities_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("realm", "issuer", "subject", name=op.f("pk_identities")),
    )
    if op.get_bind().dialect.name == "postgresql":
        # Pages are in the order of the characters' numbers, in every database: one made for a language sorts otherwise, and its index as well.
        op.drop_index("ix_repos_listed", "repos")
        op.create_index(
            "ix_repos_listed",
            "repos",
            ["org_id", sa.text('name COLLATE "C"'), "id"],
            postgresql_where=sa.text("deleted_at IS NULL AND state = 'active'"),
        )
    op.add_column("tokens", sa.Column("creator_id", sa.String(length=36), nullable=True))
    op.create_index("ix_identities_user_id", "identities", ["user_id"], unique=False)
