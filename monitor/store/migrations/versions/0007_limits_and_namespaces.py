"""Places for topics, what came beyond them, and ids that belong to a feed and a source.

`story_ids.id` held the id as the record gave it, so two sources with one id were one story. It now holds the key of
(feed, source, id), which `counting.key_of` computes. Stories of a Kafka topic get its name as their feed, those of an
RSS feed its partition's, and those of files none. Ids seen before keep what was seen under them, as their first
record's source.
"""

import sqlalchemy as sa
from alembic import op

from foreshock.monitor.counting import key_of

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_AT_ONCE = 5_000


def upgrade() -> None:
    connection = op.get_bind()
    collation = "C" if connection.dialect.name == "postgresql" else None
    text, none = sa.Text(collation=collation), sa.text("''")
    op.add_column("topics", sa.Column("source", text))
    op.add_column("buckets", sa.Column("by_source", text))
    op.add_column("stories", sa.Column("feed", text, nullable=False, server_default=none))
    op.create_table(
        "beyond_limits",
        sa.Column("partition", text, primary_key=True),
        sa.Column("first_at", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("stories", sa.BigInteger, nullable=False),
        sa.Column("example", text, nullable=False),
    )
    _name_feeds(connection)
    _make_keys(connection)


def _name_feeds(connection: sa.Connection) -> None:
    partitions = sa.table("partitions", sa.column("partition"), sa.column("kind"))
    stories = sa.table("stories", sa.column("partition"), sa.column("feed"))
    for name, kind in connection.execute(sa.select(partitions.c.partition, partitions.c.kind)).all():
        feed = name.rpartition("/")[0] if kind == "kafka" else name if kind == "rss" else ""
        if feed:
            connection.execute(stories.update().where(stories.c.partition == name).values(feed=feed))


def _make_keys(connection: sa.Connection) -> None:
    names = ("id", "content", "last_bucket", "partition", "offset")
    old = sa.table("story_ids", *(sa.column(name) for name in names))
    stories = sa.table("stories", *(sa.column(name) for name in ("partition", "offset", "source", "feed")))
    # In a table of its own, because old and new keys share the primary key while both are there.
    connection.execute(sa.text("CREATE TEMPORARY TABLE old_story_ids AS SELECT * FROM story_ids"))
    connection.execute(old.delete())
    kept = sa.table("old_story_ids", *(sa.column(name) for name in names))
    here = sa.and_(stories.c.partition == kept.c.partition, stories.c.offset == kept.c.offset)
    query = sa.select(*kept.c, stories.c.feed, stories.c.source).join_from(kept, stories, here)
    query = query.order_by(kept.c.id, kept.c.content)
    rows = connection.execute(query.execution_options(yield_per=_AT_ONCE))
    for part in rows.partitions():
        values = [{**row._mapping, "id": key_of(row.feed, row.source, row.id)} for row in part]
        connection.execute(old.insert(), [{name: value[name] for name in names} for value in values])
    connection.execute(sa.text("DROP TABLE old_story_ids"))
