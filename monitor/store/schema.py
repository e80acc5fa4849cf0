"""Define the tables for SQLAlchemy Core. `docs/store.md` explains each column; migrations/ creates the tables.

Two rules hold for all tables.

* Only one kind of process writes a table. Workers write `partitions`, `stories`, `story_topics`, `story_names`,
  `story_signs`, `dead_letters`, `gaps` and `rss_feeds`. People write `desk_actions`. The monitor writes the rest, and
  `partitions` of a source that does not answer.
* Text is ordered bytewise (`COLLATE "C"` on PostgreSQL, SQLite's default), so both databases give the same rows in the
  same order.

Times are microseconds since 1970, UTC. Scores are in 1/10,000.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, MetaData, Table, Text, text

metadata = MetaData()

CARRIED = "feed"
"""Stands in place of a model's identity (`stories.model`) for scores that a story brought along."""

String = Text().with_variant(Text(collation="C"), "postgresql")
Time = BigInteger


def _position(prefix: str = "", nullable: bool = False, key: bool = True) -> list[Column[object]]:
    return [
        Column(f"{prefix}partition", String, nullable=nullable, primary_key=key and not prefix),
        Column(f"{prefix}offset", BigInteger, nullable=nullable, primary_key=key and not prefix, autoincrement=False),
    ]


feed = Table(
    "feed",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("decided_until", Time),
    Column("members_version", BigInteger, nullable=False),
    Column("model", String),
    Column("reference", String),
)

settings_versions = Table(
    "settings_versions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("in_force_from", Time),
    Column("body", String, nullable=False),
)

topic_labels = Table(
    "topic_labels",
    metadata,
    Column("topic", String, primary_key=True),
    Column("watchlist", String, nullable=False),
    Column("tags", String, nullable=False),
)

partitions = Table(
    "partitions",
    metadata,
    Column("partition", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("member", Boolean, nullable=False),
    Column("idle", Boolean, nullable=False),
    Column("watermark", Time),
    Column("largest", String, nullable=False),
    Column("last_hash", String),
    Column("latest", Time),
    Column("sorted", Boolean, nullable=False),
    Column("heard_at", Time),
    Column("aside_since", Time),
    *(
        Column(f"counted_{name}", BigInteger, nullable=False, server_default="0")
        for name in ("stories", "late", "stale", "dead_letters")
    ),
)

stories = Table(
    "stories",
    metadata,
    *_position(),
    Column("id", String, nullable=False),
    Column("content", String, nullable=False),
    Column("published_at", Time, nullable=False),
    Column("counts_at", Time, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("stale", Boolean, nullable=False),
    Column("date_only", Boolean, nullable=False),
    Column("title", String, nullable=False),
    Column("body", String, nullable=False),
    Column("source", String, nullable=False),
    Column("url", String, nullable=False),
    Column("language", String, nullable=False),
    Column("status", String, nullable=False),
    Column("tickers", String, nullable=False),
    Column("negative", Integer),
    Column("neutral", Integer),
    Column("positive", Integer),
    Column("severity", Integer),
    Column("model", String),
    Column("signature", LargeBinary),
    Column("extra", String),
    Column("settings", Integer, nullable=False),
    Column("ingested_at", Time, nullable=False),
    Column("feed", String, nullable=False, server_default=""),
    Column("novelty", Integer),
    # Closing reads by when a story counts; a duplicate looks up its earlier records by id.
    Index("stories_counts_at", "counts_at"),
    Index("stories_id", "id"),
    # Pages list the sources, and the newest stories of one.
    Index("stories_source", "source", "counts_at"),
)

story_topics = Table(
    "story_topics",
    metadata,
    *_position(),
    Column("topic", String, primary_key=True),
    Column("counts_at", Time, nullable=False),
    Column("negative", Integer),
    Column("neutral", Integer),
    Column("positive", Integer),
    Column("critical", String),
    Column("critical_from", Integer),
    Column("filled", Integer),
    Index("story_topics_topic", "topic", "counts_at"),
    Index(
        "story_topics_critical",
        "counts_at",
        sqlite_where=text("critical IS NOT NULL"),
        postgresql_where=text("critical IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

story_names = Table(
    "story_names",
    metadata,
    *_position(),
    Column("name", String, primary_key=True),
    Column("written", String, nullable=False),
    Column("counts_at", Time, nullable=False),
    Index("story_names_name", "name", "counts_at"),
    Index("story_names_counts_at", "counts_at"),
    sqlite_with_rowid=False,
)

new_names = Table(
    "new_names",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("until", Time),
    Column("body", LargeBinary, nullable=False),
)

story_signs = Table(
    "story_signs",
    metadata,
    *_position(),
    Column("model", BigInteger, nullable=False),
    Column("signs", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

dead_letters = Table(
    "dead_letters",
    metadata,
    *_position(),
    Column("reason", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("replayed_as", String),
    Column("settings", Integer, nullable=False),
    Column("ingested_at", Time, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    *_position(),
    Column("bucket", Time, nullable=False),
    Column("ending", String, nullable=False),
    Column("weighs", Boolean, nullable=False),
    *_position("story_", nullable=True),
    *_position("event_", nullable=True),
    Index("decisions_bucket", "bucket"),
    *(
        Index(
            f"decisions_{what}",
            *(f"{what}_partition", f"{what}_offset"),
            sqlite_where=text(f"{what}_partition IS NOT NULL"),
            postgresql_where=text(f"{what}_partition IS NOT NULL"),
        )
        for what in ("story", "event")
    ),
    sqlite_with_rowid=False,
)

story_ids = Table(
    "story_ids",
    metadata,
    Column("id", String, primary_key=True),
    Column("content", String, primary_key=True),
    Column("last_bucket", Time, nullable=False),
    *_position(key=False),
    sqlite_with_rowid=False,
)

event_keys = Table(
    "event_keys",
    metadata,
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("bucket", Time, primary_key=True, autoincrement=False),
    *_position(),
    sqlite_with_rowid=False,
)


def _sums() -> list[Column[object]]:
    return [
        Column("topic", String, primary_key=True),
        Column("start", Time, primary_key=True, autoincrement=False),
        Column("stories", Integer, nullable=False),
        Column("events", Integer, nullable=False),
        Column("negative", BigInteger, nullable=False),
        Column("neutral", BigInteger, nullable=False),
        Column("positive", BigInteger, nullable=False),
        Column("day_events", Integer, nullable=False),
        Column("day_negative", BigInteger, nullable=False),
        Column("sources", String, nullable=False),
        Column("baseline", Integer),
        Column("settings", Integer, nullable=False),
        Column("by_source", String),
    ]


buckets = Table(
    "buckets",
    metadata,
    *_sums(),
    Column("filled", Integer),
    Index("buckets_start", "start"),
    sqlite_with_rowid=False,
)

series_grain = Table(
    "series_grain",
    metadata,
    Column("grain", String, primary_key=True),
    Column("until", Time, nullable=False),
)

fills = Table(
    "fills",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("settings", Integer, nullable=False),
    Column("topics", String, nullable=False),
    Column("state", String, nullable=False),
    Column("read_until", String, nullable=False),
    Column("read", BigInteger, nullable=False),
    Column("found", BigInteger, nullable=False),
    Column("counted_until", Time),
    Column("in_force_from", Time),
    Column("body", LargeBinary),
)

# Rows that are not in force: those of a fill under way (its number), and those that one replaced (minus its number).
filled_buckets = Table(
    "filled_buckets",
    metadata,
    Column("fill", Integer, primary_key=True, autoincrement=False),
    *_sums(),
    Column("filled", Integer),
    Index("filled_buckets_start", "fill", "start"),
    sqlite_with_rowid=False,
)

model_switches = Table(
    "model_switches",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("settings", String, nullable=False),
    Column("model", String, nullable=False),
    Column("before", String, nullable=False),
    Column("state", String, nullable=False),
    Column("counted_until", Time),
    Column("rescored", BigInteger, nullable=False),
    Column("in_force_from", Time),
    Column("fills", Integer),
    Column("body", LargeBinary),
)

# What the decided buckets before a switch would have been, had the model after it scored their stories.
rescored_buckets = Table(
    "rescored_buckets",
    metadata,
    Column("switch", Integer, primary_key=True, autoincrement=False),
    *_sums(),
    Index("rescored_buckets_start", "switch", "start"),
    sqlite_with_rowid=False,
)

removed_topics = Table(
    "removed_topics",
    metadata,
    Column("fill", Integer, primary_key=True, autoincrement=False),
    *_position(),
    Column("topic", String, primary_key=True),
    Column("counts_at", Time, nullable=False),
    Column("negative", Integer),
    Column("neutral", Integer),
    Column("positive", Integer),
    Column("critical", String),
    Column("critical_from", Integer),
    Column("filled", Integer),
    sqlite_with_rowid=False,
)

topics = Table(
    "topics",
    metadata,
    Column("topic", String, primary_key=True),
    Column("first_story_at", Time, nullable=False),
    Column("last_story_at", Time, nullable=False),
    Column("stories", BigInteger, nullable=False),
    Column("learning_until", Time),
    Column("source", String),
)

beyond_limits = Table(
    "beyond_limits",
    metadata,
    Column("partition", String, primary_key=True),
    Column("first_at", Time, nullable=False),
    Column("last_at", Time, nullable=False),
    Column("stories", BigInteger, nullable=False),
    Column("example", String, nullable=False),
)

daily_state = Table(
    "daily_state",
    metadata,
    Column("day", Time, primary_key=True, autoincrement=False),
    Column("bucket", Time, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

feed_stalls = Table(
    "feed_stalls",
    metadata,
    Column("started_at", Time, primary_key=True, autoincrement=False),
    Column("ended_at", Time, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", String, primary_key=True),
    Column("topic", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("direction", String, nullable=False),
    Column("state", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("group_id", String),
    Column("started_at", Time, nullable=False),
    Column("pending_at", Time, nullable=False),
    Column("fired_at", Time),
    Column("resolved_at", Time),
    Column("observed", Double, nullable=False),
    Column("baseline", Double, nullable=False),
    Column("score", Double, nullable=False),
    Column("severity", String),
    Column("window_start", Time, nullable=False),
    Column("window_end", Time, nullable=False),
    Column("evidence", String, nullable=False),
    Column("sources", Integer, nullable=False),
    Column("events", Integer, nullable=False),
    Column("sentence", String, nullable=False),
    Column("settings", Integer, nullable=False),
    Column("statistic", Double),
    Column("threshold", Double),
    Column("evidence_events", Integer),
    Column("inhibited_by", String),
    Column("inhibited_because", String),
    Column("word", String),
    Index("alerts_topic", "topic", "fired_at"),
    Index("alerts_fired_at", "fired_at"),
    Index("alerts_group", "group_id"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", String, primary_key=True),
    Column("first_alert", String, nullable=False),
    Column("state", String, nullable=False),
    Column("direction", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("started_at", Time, nullable=False),
    Column("fired_at", Time, nullable=False),
    Column("updated_at", Time, nullable=False),
    Column("notified_at", Time, nullable=False),
    Column("severity", String, nullable=False),
    Column("lead", String, nullable=False),
    Column("title", String, nullable=False),
    Column("events", Integer, nullable=False),
    Column("sources", Integer, nullable=False),
    Column("peak_events", Integer, nullable=False),
    Column("peak_at", Time),
    Column("ended_at", Time),
    Column("merged_into", String),
    Column("messages", Integer, nullable=False),
    Column("held", String, nullable=False),
    Column("settings", Integer, nullable=False),
    Index("incidents_state", "state", "fired_at"),
    Index("incidents_fired_at", "fired_at"),
)

critical_stories = Table(
    "critical_stories",
    metadata,
    Column("topic", String, primary_key=True),
    *_position(),
    Column("counts_at", Time, nullable=False),
    Column("word", String, nullable=False),
    Column("negative", Integer, nullable=False),
    Column("needed", Integer, nullable=False),
    Index("critical_stories_topic", "topic", "counts_at"),
)

sent_ahead = Table(
    "sent_ahead",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("incident", String, nullable=False),
    Column("written_at", Time, nullable=False),
    Column("came_true", Boolean),
)

outbox = Table(
    "outbox",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("event", String, primary_key=True),
    Column("decided_at", Time, nullable=False),
    Column("state", String, nullable=False),
    Column("alert", String),
    Index("outbox_state", "state", "decided_at"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("event", String, primary_key=True),
    Column("receiver", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt_at", Time),
    Column("tried_at", Time),
    Column("delivered_at", Time),
    Column("last_error", String),
    Column("route", String),
    Column("shown_as", String),
    Column("muted_by", String),
    Column("carried_by", String),
    Index("deliveries_state", "state", "receiver", "next_attempt_at"),
)

escalations = Table(
    "escalations",
    metadata,
    Column("alert_id", String, primary_key=True),
    Column("route", String, primary_key=True),
    Column("receivers", String, nullable=False),
    Column("state", String, nullable=False),
    Column("since", Time, nullable=False),
    Column("wait", Time, nullable=False),
    Column("due_at", Time),
    Index("escalations_state", "state", "due_at"),
)

digests = Table(
    "digests",
    metadata,
    Column("id", String, primary_key=True),
    Column("reason", String, nullable=False),
    Column("name", String, nullable=False),
    Column("begins_at", Time, nullable=False),
    Column("ends_at", Time, nullable=False),
    Column("due_at", Time, nullable=False),
    Column("body", String),
    Index("digests_name", "name", "due_at"),
)

receivers = Table(
    "receivers",
    metadata,
    Column("receiver", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("down_since", Time, nullable=False),
    Column("held_until", Time),
    Column("last_error", String, nullable=False),
)

desk_actions = Table(
    "desk_actions",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("action", String, nullable=False),
    Column("at", Time, nullable=False),
    Column("by", String, nullable=False),
    Column("note", String, nullable=False),
    Column("alert_id", String),
    Column("topic", String),
    Column("until", Time),
    Column("about_at", Time),
    Column("takes_back", BigInteger),
    *_position("story_", nullable=True),
    Column("label", String),
    Index("desk_actions_alert", "alert_id"),
    Index("desk_actions_topic", "topic", "number"),
    Index("desk_actions_story", "story_partition", "story_offset"),
)

rss_feeds = Table(
    "rss_feeds",
    metadata,
    Column("partition", String, primary_key=True),
    Column("url", String, nullable=False),
    Column("etag", String, nullable=False),
    Column("last_modified", String, nullable=False),
    Column("polled_at", Time, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("last_error", String),
)

scorer_sources = Table(
    "scorer_sources",
    metadata,
    Column("source", String, primary_key=True),
    Column("body", String, nullable=False),
)

scorer_changes = Table(
    "scorer_changes",
    metadata,
    Column("source", String, primary_key=True),
    Column("kind", String, primary_key=True),
    Column("found_at", Time, primary_key=True, autoincrement=False),
    Column("began_at", Time, nullable=False),
    Column("label", String, nullable=False),
    Column("stories", BigInteger, nullable=False),
    Column("after", Double, nullable=False),
    Column("before", Double),
    Column("card", Double),
    Column("ended_at", Time),
    Column("ended", String),
)

gaps = Table(
    "gaps",
    metadata,
    Column("partition", String, primary_key=True),
    Column("first_offset", BigInteger, primary_key=True, autoincrement=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("found_at", Time, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", String, nullable=False),
    Column("token", String, nullable=False),
    Column("expires_at", Time, nullable=False),
)

HAPPENED_TO_US = {
    *("ingested_at", "origin", "replayed_as", "latest", "version", "members_version"),
    *("found_at", "holder", "token", "expires_at", "heard_at", "aside_since", "rescored"),
}
"""Columns that say when or how Foreshock processed something, or how often it wrote.

The promise of equal rows leaves them out (docs/design.md#10-the-promise-of-equal-rows).
"""
