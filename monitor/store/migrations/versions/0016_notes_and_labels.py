"""Notes on a time, corrected labels, and what finds similar stories: see store/notes.py, labels.py and similar.py."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    collation = "C" if op.get_bind().dialect.name == "postgresql" else None
    text = sa.Text(collation=collation)
    op.add_column("desk_actions", sa.Column("about_at", sa.BigInteger()))
    op.add_column("desk_actions", sa.Column("takes_back", sa.BigInteger()))
    op.add_column("desk_actions", sa.Column("story_partition", text))
    op.add_column("desk_actions", sa.Column("story_offset", sa.BigInteger()))
    op.add_column("desk_actions", sa.Column("label", text))
    op.create_table(
        "story_signs",
        sa.Column("partition", text, primary_key=True),
        sa.Column("offset", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("model", sa.BigInteger(), nullable=False),
        sa.Column("signs", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("desk_actions_story", "desk_actions", ["story_partition", "story_offset"])
