"""A change of the model at a recorded bucket: see store/switches.py."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text, time = sa.Text(collation=collation), sa.BigInteger()
    op.create_table(
        "model_switches",
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        *(sa.Column(name, text, nullable=False) for name in ("settings", "model", "before", "state")),
        sa.Column("counted_until", time),
        sa.Column("rescored", sa.BigInteger(), nullable=False),
        sa.Column("in_force_from", time),
        sa.Column("fills", sa.Integer()),
        sa.Column("body", sa.LargeBinary()),
    )
    op.create_table(
        "rescored_buckets",
        sa.Column("switch", sa.Integer(), primary_key=True, autoincrement=False),
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
        sqlite_with_rowid=False,
    )
    op.create_index("rescored_buckets_start", "rescored_buckets", ["switch", "start"])
