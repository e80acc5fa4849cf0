"""The first schema: see store/schema.py for what each table is."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

String = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", String, nullable=False),
        sa.Column("topic", String, nullable=False),
        sa.Column("kind", String, nullable=False),
        sa.Column("direction", String, nullable=False),
        sa.Column("state", String, nullable=False),
        sa.Column("origin", String, nullable=False),
        sa.Column("group_id", String, nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("pending_at", sa.BigInteger(), nullable=False),
        sa.Column("fired_at", sa.BigInteger(), nullable=True),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.Column("observed", sa.Double(), nullable=False),
        sa.Column("baseline", sa.Double(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("severity", String, nullable=True),
        sa.Column("window_start", sa.BigInteger(), nullable=False),
        sa.Column("window_end", sa.BigInteger(), nullable=False),
        sa.Column("evidence", String, nullable=False),
        sa.Column("sources", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("sentence", String, nullable=False),
        sa.Column("settings", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("alerts_fired_at", "alerts", ["fired_at"], unique=False)
    op.create_index("alerts_topic", "alerts", ["topic", "fired_at"], unique=False)
    op.create_table(
        "buckets",
        sa.Column("topic", String, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("stories", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("negative", sa.BigInteger(), nullable=False),
        sa.Column("neutral", sa.BigInteger(), nullable=False),
        sa.Column("positive", sa.BigInteger(), nullable=False),
        sa.Column("day_events", sa.Integer(), nullable=False),
        sa.Column("day_negative", sa.BigInteger(), nullable=False),
        sa.Column("sources", String, nullable=False),
        sa.Column("baseline", sa.Integer(), nullable=True),
        sa.Column("settings", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "start"),
        sqlite_with_rowid=False,
    )
    op.create_index("buckets_start", "buckets", ["start"], unique=False)
    op.create_table(
        "daily_state",
        sa.Column("day", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("day"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("partition", String, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reason", String, nullable=False),
        sa.Column("detail", String, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("replayed_as", String, nullable=True),
        sa.Column("settings", sa.Integer(), nullable=False),
        sa.Column("ingested_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "offset"),
    )
    op.create_table(
        "decisions",
        sa.Column("partition", String, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.BigInteger(), nullable=False),
        sa.Column("ending", String, nullable=False),
        sa.Column("weighs", sa.Boolean(), nullable=False),
        sa.Column("story_partition", String, nullable=True),
        sa.Column("story_offset", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("event_partition", String, nullable=True),
        sa.Column("event_offset", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("partition", "offset"),
        sqlite_with_rowid=False,
    )
    op.create_index("decisions_bucket", "decisions", ["bucket"], unique=False)
    op.create_index("decisions_event", "decisions", ["event_partition", "event_offset"], unique=False)
    op.create_index("decisions_story", "decisions", ["story_partition", "story_offset"], unique=False)
    op.create_table(
        "event_keys",
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("partition", String, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "bucket", "partition", "offset"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "feed",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("decided_until", sa.BigInteger(), nullable=True),
        sa.Column("members_version", sa.BigInteger(), nullable=False),
        sa.Column("model", String, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "feed_stalls",
        sa.Column("started_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("started_at"),
    )
    op.create_table(
        "outbox",
        sa.Column("alert_id", String, nullable=False),
        sa.Column("event", String, nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("state", String, nullable=False),
        sa.PrimaryKeyConstraint("alert_id", "event"),
    )
    op.create_index("outbox_state", "outbox", ["state", "decided_at"], unique=False)
    op.create_table(
        "partitions",
        sa.Column("partition", String, nullable=False),
        sa.Column("kind", String, nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("member", sa.Boolean(), nullable=False),
        sa.Column("idle", sa.Boolean(), nullable=False),
        sa.Column("watermark", sa.BigInteger(), nullable=True),
        sa.Column("largest", String, nullable=False),
        sa.Column("last_hash", String, nullable=True),
        sa.Column("latest", sa.BigInteger(), nullable=True),
        sa.Column("sorted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("partition"),
    )
    op.create_table(
        "settings_versions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("in_force_from", sa.BigInteger(), nullable=True),
        sa.Column("body", String, nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "stories",
        sa.Column("partition", String, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", String, nullable=False),
        sa.Column("content", String, nullable=False),
        sa.Column("published_at", sa.BigInteger(), nullable=False),
        sa.Column("counts_at", sa.BigInteger(), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("date_only", sa.Boolean(), nullable=False),
        sa.Column("title", String, nullable=False),
        sa.Column("body", String, nullable=False),
        sa.Column("source", String, nullable=False),
        sa.Column("url", String, nullable=False),
        sa.Column("language", String, nullable=False),
        sa.Column("status", String, nullable=False),
        sa.Column("tickers", String, nullable=False),
        sa.Column("negative", sa.Integer(), nullable=True),
        sa.Column("neutral", sa.Integer(), nullable=True),
        sa.Column("positive", sa.Integer(), nullable=True),
        sa.Column("model", String, nullable=True),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("extra", String, nullable=True),
        sa.Column("settings", sa.Integer(), nullable=False),
        sa.Column("ingested_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "offset"),
    )
    op.create_index("stories_counts_at", "stories", ["counts_at"], unique=False)
    op.create_index("stories_id", "stories", ["id"], unique=False)
    op.create_table(
        "story_ids",
        sa.Column("id", String, nullable=False),
        sa.Column("content", String, nullable=False),
        sa.Column("last_bucket", sa.BigInteger(), nullable=False),
        sa.Column("partition", String, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id", "content"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "story_topics",
        sa.Column("partition", String, nullable=False),
        sa.Column("offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("topic", String, nullable=False),
        sa.Column("counts_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("partition", "offset", "topic"),
        sqlite_with_rowid=False,
    )
    op.create_index("story_topics_topic", "story_topics", ["topic", "counts_at"], unique=False)
    op.create_table(
        "topics",
        sa.Column("topic", String, nullable=False),
        sa.Column("first_story_at", sa.BigInteger(), nullable=False),
        sa.Column("last_story_at", sa.BigInteger(), nullable=False),
        sa.Column("stories", sa.BigInteger(), nullable=False),
        sa.Column("learning_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("topic"),
    )
    op.execute("INSERT INTO feed (id, members_version) VALUES (1, 0)")
