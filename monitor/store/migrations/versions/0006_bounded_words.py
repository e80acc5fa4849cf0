"""Of a story the first 100,000 characters are indexed, title and body together.

A record without a title has its text as one, up to a megabyte of it: more words than a tsvector takes. What was
indexed before stays found.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE stories DROP COLUMN words")  # and its index
        op.execute(
            "ALTER TABLE stories ADD COLUMN words tsvector GENERATED ALWAYS AS "
            "(to_tsvector('simple', left(title || ' ' || body, 100000))) STORED"
        )
        op.execute("CREATE INDEX stories_words ON stories USING gin (words)")
        return
    op.execute("DROP TRIGGER stories_words")
    op.execute(
        "CREATE TRIGGER stories_words AFTER INSERT ON stories BEGIN "
        'INSERT INTO story_numbers ("partition", "offset") VALUES (new."partition", new."offset"); '
        "INSERT INTO story_words (rowid, title, body) VALUES (last_insert_rowid(), "
        "substr(new.title, 1, 100000), substr(new.body, 1, max(99999 - length(new.title), 0))); END"
    )
