"""A release that does not exist yet, with one more revision than this one: to this one's code, what the next release's catalog will be."""

import shutil
import sys
from pathlib import Path

import pytest

from arraylake_core.catalog import schema

__all__ = ["LATER", "be_later", "later_migrations", "later_program"]

LATER = "later"
_REVISION = """
from pathlib import Path
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = {later!r}, {head!r}, None, None
{compatible}
def upgrade():
    op.create_table("later", sa.Column("id", sa.Integer, primary_key=True))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SELECT pg_sleep(0.3)")
    op.add_column("repos", sa.Column("colour", sa.Text()))
    assert not Path({trap!r}).exists(), "interrupted"
"""
_PROGRAM = """
import sys
from pathlib import Path
from arraylake_core.catalog import schema
schema.MIGRATIONS = Path(sys.argv.pop(1))
schema.REVISIONS = (*schema.REVISIONS, "later")
schema.HEAD = "later"
from arraylake_core.cli import main
main()
"""


def later_migrations(directory: Path, compatible_from: str | None = schema.HEAD) -> Path:
    """Write the migrations of that release; the file ``trap`` beside them, while it is there, makes the last of them fail.

    Parameters
    ----------
    directory
        Where.
    compatible_from
        The oldest revision whose releases can work with it; None says nothing, so that none can.
    """
    scripts = directory / "migrations"
    shutil.copytree(schema.MIGRATIONS, scripts, dirs_exist_ok=True)
    compatible = "" if compatible_from is None else f"compatible_from = {compatible_from!r}"
    text = _REVISION.format(later=LATER, head=schema.HEAD, compatible=compatible, trap=str(directory / "trap"))
    (scripts / "versions" / "later.py").write_text(text)
    return scripts


def later_program(migrations: Path) -> list[str]:
    """Return the command of that release's ``arraylake-core``."""
    return [sys.executable, "-c", _PROGRAM, str(migrations)]


def be_later(monkeypatch: pytest.MonkeyPatch, migrations: Path) -> None:
    """Let this process be of that release, until the monkeypatch ends."""
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(schema, "REVISIONS", (*schema.REVISIONS, LATER))
    monkeypatch.setattr(schema, "HEAD", LATER)
