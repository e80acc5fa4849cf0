"""The indexes of what decisions refer to hold only those that refer to something: few do, and each index row costs."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for what in ("story", "event"):
        op.drop_index(f"decisions_{what}", "decisions")
        there_is_one = sa.text(f"{what}_partition IS NOT NULL")
        op.create_index(
            f"decisions_{what}",
            "decisions",
            [f"{what}_partition", f"{what}_offset"],
            sqlite_where=there_is_one,
            postgresql_where=there_is_one,
        )
