"""What each RSS feed said last: see store/schema.py."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

String = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "rss_feeds",
        sa.Column("partition", String, nullable=False),
        sa.Column("url", String, nullable=False),
        sa.Column("etag", String, nullable=False),
        sa.Column("last_modified", String, nullable=False),
        sa.Column("polled_at", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_error", String, nullable=True),
        sa.PrimaryKeyConstraint("partition"),
    )
