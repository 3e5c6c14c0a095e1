"""Which releases the tables are for."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
compatible_from = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("arraylake_version", sa.Column("compatible_from", sa.String(length=32), nullable=True))
