"""Names that no topic has: see monitor/new_names.py."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text, time = sa.Text(collation=collation), sa.BigInteger()
    op.create_table(
        "story_names",
        sa.Column("partition", text, primary_key=True),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("name", text, primary_key=True),
        sa.Column("written", text, nullable=False),
        sa.Column("counts_at", time, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("story_names_name", "story_names", ["name", "counts_at"])
    op.create_index("story_names_counts_at", "story_names", ["counts_at"])
    op.create_table(
        "new_names",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("until", time),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
