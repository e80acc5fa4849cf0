"""Full text of stories, kept by the database itself: a writer of `stories` need not know of it.

SQLite: an FTS5 index without a copy of the text, filled by a trigger. Its rows are numbered by `story_numbers` and not
by the rowids of `stories`, which a VACUUM may change. PostgreSQL: a generated tsvector column. Of a body the first
100,000 characters are indexed: a tsvector may not exceed a megabyte.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "ALTER TABLE stories ADD COLUMN words tsvector GENERATED ALWAYS AS "
            "(to_tsvector('simple', title || ' ' || left(body, 100000))) STORED"
        )
        op.execute("CREATE INDEX stories_words ON stories USING gin (words)")
        return
    op.execute(
        'CREATE TABLE story_numbers (number INTEGER PRIMARY KEY, "partition" TEXT NOT NULL, "offset" BIGINT NOT NULL)'
    )
    op.execute(
        "CREATE VIRTUAL TABLE story_words USING fts5(title, body, content='', tokenize='unicode61 remove_diacritics 2')"
    )
    op.execute(
        'INSERT INTO story_numbers ("partition", "offset") SELECT "partition", "offset" FROM stories '
        'ORDER BY counts_at, "partition", "offset"'
    )
    op.execute(
        "INSERT INTO story_words (rowid, title, body) SELECT n.number, s.title, substr(s.body, 1, 100000) "
        'FROM story_numbers n JOIN stories s ON s."partition" = n."partition" AND s."offset" = n."offset"'
    )
    op.execute(
        "CREATE TRIGGER stories_words AFTER INSERT ON stories BEGIN "
        'INSERT INTO story_numbers ("partition", "offset") VALUES (new."partition", new."offset"); '
        "INSERT INTO story_words (rowid, title, body) "
        "VALUES (last_insert_rowid(), new.title, substr(new.body, 1, 100000)); END"
    )
