"""Critical stories: which story is critical for which topic, those that counted, and what was sent ahead of its bucket.

Rows from before are critical for no topic.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text = sa.Text(collation=collation)
    op.add_column("story_topics", sa.Column("critical", text, nullable=True))
    op.add_column("story_topics", sa.Column("critical_from", sa.Integer(), nullable=True))
    is_critical = sa.text("critical IS NOT NULL")
    op.create_index(
        "story_topics_critical",
        "story_topics",
        ["counts_at"],
        sqlite_where=is_critical,
        postgresql_where=is_critical,
    )
    op.create_table(
        "critical_stories",
        sa.Column("topic", text, primary_key=True),
        sa.Column("partition", text, primary_key=True),
        sa.Column("offset", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("counts_at", sa.BigInteger, nullable=False),
        sa.Column("word", text, nullable=False),
        sa.Column("negative", sa.Integer, nullable=False),
        sa.Column("needed", sa.Integer, nullable=False),
    )
    op.create_index("critical_stories_topic", "critical_stories", ["topic", "counts_at"])
    op.create_table(
        "sent_ahead",
        sa.Column("alert_id", text, primary_key=True),
        sa.Column("incident", text, nullable=False),
        sa.Column("written_at", sa.BigInteger, nullable=False),
        sa.Column("came_true", sa.Boolean()),
    )
    op.add_column("alerts", sa.Column("word", text, nullable=True))
