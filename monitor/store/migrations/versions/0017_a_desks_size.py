"""What pages read fast at a desk's size: stories by source, counts by partition, and words by story."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

_COUNTED = """
UPDATE partitions SET
  counted_stories = (SELECT count(*) FROM stories x WHERE x."partition" = partitions."partition"),
  counted_late = (SELECT count(*) FROM stories x WHERE x."partition" = partitions."partition" AND x.late),
  counted_stale = (SELECT count(*) FROM stories x WHERE x."partition" = partitions."partition" AND x.stale),
  counted_dead_letters = (SELECT count(*) FROM dead_letters x WHERE x."partition" = partitions."partition")
"""


def upgrade() -> None:
    for name in ("stories", "late", "stale", "dead_letters"):
        op.add_column("partitions", sa.Column(f"counted_{name}", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(_COUNTED)
    op.create_index("stories_source", "stories", ["source", "counts_at"])
    if op.get_bind().dialect.name == "sqlite":
        op.create_index("story_numbers_position", "story_numbers", ["partition", "offset"])
