"""How new a story's words are, what the model's card says is usual, and what has changed: store/scorer_watch.py."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text, time = sa.Text(collation=collation), sa.BigInteger()
    op.add_column("stories", sa.Column("novelty", sa.Integer()))
    op.add_column("feed", sa.Column("reference", text))
    op.create_table(
        "scorer_sources",
        sa.Column("source", text, primary_key=True),
        sa.Column("body", text, nullable=False),
    )
    op.create_table(
        "scorer_changes",
        sa.Column("source", text, primary_key=True),
        sa.Column("kind", text, primary_key=True),
        sa.Column("found_at", time, primary_key=True, autoincrement=False),
        sa.Column("began_at", time, nullable=False),
        sa.Column("label", text, nullable=False),
        sa.Column("stories", sa.BigInteger(), nullable=False),
        sa.Column("after", sa.Double(), nullable=False),
        sa.Column("before", sa.Double()),
        sa.Column("card", sa.Double()),
        sa.Column("ended_at", time),
        sa.Column("ended", text),
    )
