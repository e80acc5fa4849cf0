"""Topics whose past is filled from the stored stories: see store/fills.py."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text, time = sa.Text(collation=collation), sa.BigInteger()
    for table in ("buckets", "story_topics"):
        op.add_column(table, sa.Column("filled", sa.Integer()))
    op.create_table(
        "fills",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("settings", sa.Integer(), nullable=False),
        sa.Column("topics", text, nullable=False),
        sa.Column("state", text, nullable=False),
        sa.Column("read_until", text, nullable=False),
        sa.Column("read", sa.BigInteger(), nullable=False),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("counted_until", time),
        sa.Column("in_force_from", time),
        sa.Column("body", sa.LargeBinary()),
    )
    op.create_table(
        "filled_buckets",
        sa.Column("fill", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("topic", text, primary_key=True),
        sa.Column("start", time, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("stories", "events")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("negative", "neutral", "positive")),
        sa.Column("day_events", sa.Integer(), nullable=False),
        sa.Column("day_negative", sa.BigInteger(), nullable=False),
        sa.Column("sources", text, nullable=False),
        sa.Column("baseline", sa.Integer()),
        sa.Column("settings", sa.Integer(), nullable=False),
        sa.Column("by_source", text),
        sa.Column("filled", sa.Integer()),
        sqlite_with_rowid=False,
    )
    op.create_index("filled_buckets_start", "filled_buckets", ["fill", "start"])
    op.create_table(
        "removed_topics",
        sa.Column("fill", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("partition", text, primary_key=True),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("topic", text, primary_key=True),
        sa.Column("counts_at", time, nullable=False),
        *(sa.Column(name, sa.Integer()) for name in ("negative", "neutral", "positive")),
        sa.Column("critical", text),
        *(sa.Column(name, sa.Integer()) for name in ("critical_from", "filled")),
        sqlite_with_rowid=False,
    )
