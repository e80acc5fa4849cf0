"""When a source answered last, and since when the monitor has set it aside: see store/schema.py."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("partitions", sa.Column("heard_at", sa.BigInteger()))
    op.add_column("partitions", sa.Column("aside_since", sa.BigInteger()))
