"""The tags of topics, and where they are defined: see store/topic_labels.py."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text = sa.Text(collation=collation)
    op.create_table(
        "topic_labels",
        sa.Column("topic", text, primary_key=True),
        sa.Column("watchlist", text, nullable=False),
        sa.Column("tags", text, nullable=False),
    )
